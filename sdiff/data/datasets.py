"""Loads and downloads data sets: registered ones by key, others by path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from sdiff.base.errors import SDiffError
from sdiff.base.paths import data_dir, expanded
from sdiff.data.download import fetch
from sdiff.data.formats import own_table
from sdiff.data.hub import hub_table
from sdiff.data.interactions import Split, Vocabulary
from sdiff.data.items import Items
from sdiff.data.readers import Reading, Report
from sdiff.data.registry import REGISTRY, Source


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory.

    Attributes:
        key: what `load_dataset` was called with.
        title: name for display.
        terms: license or terms of use.
        split: its interactions.
        items: metadata of its items.
        report: counts of the rows of a table file; None for registered data sets.
    """

    key: str
    title: str
    terms: str
    split: Split
    items: Items = field(repr=False)
    report: Report | None = field(default=None, repr=False)

    def served_by(self, items: Vocabulary) -> Dataset:
        """The data set with the item vocabulary of a model, such as one trained on another split of the same data.

        Raises:
            SDiffError: the model does not know some of the items.
        """
        if items.fingerprint == self.split.items.fingerprint:
            return self
        if unknown := [id for id in self.split.items.ids if id not in items]:
            raise SDiffError(
                f"The model does not know {len(unknown):,} of the {len(self.split.items):,} items of {self.key}, such "
                f"as {unknown[0]}: it was trained on another data set. Train one on {self.key}."
            )
        return replace(self, split=self.split.among(items), items=self.items.among(self.split.items, items))


def download(key: str, progress: Callable[[int, int | None], None] = lambda done, total: None) -> Source:
    """Downloads the missing files of a registered data set.

    Args:
        key: one of those that `sdiff datasets` lists.
        progress: called with the bytes of the current file so far and its size, None if unknown.

    Raises:
        SDiffError: the key is unknown, the data set has no public download, or the download fails or does not match its
            checksum.
    """
    if key not in REGISTRY:
        raise SDiffError(f"Unknown data set {key!r}: choose one of {', '.join(REGISTRY)}.")
    source = REGISTRY[key]
    if source.missing and not source.archives:
        raise SDiffError(
            f"{key} cannot be downloaded automatically: get {', '.join(source.missing)} from {source.origin} and put "
            f"them into {source.path}."
        )
    for archive in source.archives if source.missing else ():
        if not all((source.path / name).is_file() for name in archive.names):
            fetch(archive, source.path, progress)
    return source


def available(key: str) -> Source:
    """The registered data set `key`. Raises SDiffError with instructions if files are missing."""
    source = REGISTRY[key]
    if source.missing:
        raise SDiffError(
            f"{key} is not available locally: {f'run sdiff datasets fetch {key}, or ' if source.archives else ''}"
            f"put {', '.join(source.missing)} (from {source.origin}) into {source.path}, "
            f"or set SDIFF_DATA_DIR to the folder that contains {source.path.name}."
        )
    return source


def load_dataset(key: str) -> Dataset:
    """Loads a data set.

    Args:
        key: one of

            - the key of a registered data set, such as "demo";
            - the path of a table file of interactions;
            - the path of a folder with a table `interactions.*` and optionally one `items.*`;
            - "hf:" and the name of a data set on the Hugging Face Hub.

            All but registered keys may end in options of `Reading`: "ratings.csv?min_rating=4&core=5".

    Raises:
        SDiffError: the key is unknown, a file is missing or unreadable, or columns, values or options are invalid.
    """
    if key in REGISTRY:
        source = available(key)
        split, items = source.read(source.path)
        return Dataset(key, source.title, source.terms, split, items)
    name, _, query = key.partition("?")
    if name in REGISTRY:
        raise SDiffError(f"{name} has fixed options: leave out ?{query}.")
    reading = Reading.parse(query)

    def load(title: str, table: Path, reading: Reading, terms: str = "your own data") -> Dataset:
        return Dataset(key, title, terms, *own_table(table, reading))

    if name.startswith("hf:"):
        table = hub_table(name.removeprefix("hf:"), data_dir() / "hub")
        return load(name.removeprefix("hf:"), table, reading, "see its page on the Hugging Face Hub")
    path = expanded(name)
    if path.is_dir():
        tables = {role: sorted(path.glob(f"{role}.*")) for role in ("interactions", "items")}
        if not tables["interactions"]:
            raise SDiffError(f"{path} contains no table of interactions: add one, such as interactions.csv.")
        metadata = reading.items or next(map(str, tables["items"]), "")
        return load(path.name, tables["interactions"][0], replace(reading, items=metadata))
    if path.exists():
        return load(path.name, path, reading)
    if path.suffix or len(path.parts) > 1:
        raise SDiffError(f"There is no file or folder {path}.")
    raise SDiffError(
        f"Unknown data set {name!r}: choose one of {', '.join(REGISTRY)}, "
        "or give the path of a table (CSV, TSV, JSON lines, Parquet) with the columns user and item."
    )
