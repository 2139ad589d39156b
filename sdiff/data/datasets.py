"""Data sets: a registry of known ones, and anybody's own by its path. A set is read into a `Dataset`."""

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
    """A data set in memory: its split, its items' metadata, where it came from, and what became of its rows."""

    key: str
    title: str
    terms: str
    split: Split
    items: Items = field(repr=False)
    report: Report | None = field(default=None, repr=False)

    def served_by(self, items: Vocabulary) -> Dataset:
        """This set over a model's items: the raw set, say, in the order of a published split of it.

        Raises:
            SDiffError: the model does not know some of the items.
        """
        if items.fingerprint == self.split.items.fingerprint:
            return self
        if unknown := [id for id in self.split.items.ids if id not in items]:
            raise SDiffError(
                f"The model does not know {len(unknown):,} of the {len(self.split.items):,} items of {self.key}, such "
                f"as {unknown[0]}: it was trained on another set. Train one on {self.key}."
            )
        return replace(self, split=self.split.among(items), items=self.items.among(self.split.items, items))


def download(key: str, progress: Callable[[int, int | None], None] = lambda done, total: None) -> Source:
    """Fetches the missing files of a registered data set.

    Args:
        progress: called with the bytes of the current file so far and its total, None where that is not known.

    Raises:
        SDiffError: unknown key, a set that cannot be had without asking, or what `fetch` says.
    """
    if key not in REGISTRY:
        raise SDiffError(f"Unknown data set {key!r}: choose one of {', '.join(REGISTRY)}.")
    source = REGISTRY[key]
    if source.missing and not source.archives:
        raise SDiffError(
            f"{key} cannot be downloaded from here: get {', '.join(source.missing)} from {source.origin} and put them "
            f"into {source.path}."
        )
    for archive in source.archives if source.missing else ():
        if not all((source.path / name).is_file() for name in archive.names):
            fetch(archive, source.path, progress)
    return source


def available(key: str) -> Source:
    """A registered data set whose files are here. Raises SDiffError that says where the missing ones belong."""
    source = REGISTRY[key]
    if source.missing:
        raise SDiffError(
            f"{key} is not here: {f'sdiff datasets fetch {key}, or ' if source.archives else ''}"
            f"put {', '.join(source.missing)} (from {source.origin}) into {source.path}, "
            f"or set SDIFF_DATA_DIR to the folder that contains {source.path.name}."
        )
    return source


def load_dataset(key: str) -> Dataset:
    """A registered data set by its key, or anybody's own by the path of a table file, or of a folder with a table
    `interactions` and perhaps one `items`, or `hf:` and its name on the Hugging Face Hub. A path may be followed by
    options: `ratings.csv?min_rating=4&core=5`.

    Raises:
        SDiffError: unknown key, files that are missing or cannot be read, columns or values that are not right.
    """
    if key in REGISTRY:
        source = available(key)
        split, items = source.read(source.path)
        return Dataset(key, source.title, source.terms, split, items)
    name, _, query = key.partition("?")
    if name in REGISTRY:
        raise SDiffError(f"{name} brings its own options: leave out ?{query}.")
    reading = Reading.parse(query)

    def own(title: str, table: Path, reading: Reading, terms: str = "your own data") -> Dataset:
        return Dataset(key, title, terms, *own_table(table, reading))

    if name.startswith("hf:"):
        table = hub_table(name.removeprefix("hf:"), data_dir() / "hub")
        return own(name.removeprefix("hf:"), table, reading, "as its page on the Hugging Face Hub says")
    path = expanded(name)
    if path.is_dir():
        tables = {role: sorted(path.glob(f"{role}.*")) for role in ("interactions", "items")}
        if not tables["interactions"]:
            raise SDiffError(f"{path} holds no table of interactions, such as interactions.csv.")
        described = reading.items or next(map(str, tables["items"]), "")
        return own(path.name, tables["interactions"][0], replace(reading, items=described))
    if path.exists():
        return own(path.name, path, reading)
    if path.suffix or len(path.parts) > 1:
        raise SDiffError(f"There is no file {path}, and no folder of that name.")
    raise SDiffError(
        f"Unknown data set {name!r}: choose one of {', '.join(REGISTRY)}, "
        "or give the path of a table (CSV, TSV, JSON lines, Parquet) with the columns user and item."
    )
