"""Loads and downloads data sets: registered ones by key, others by path."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sdiff.base.errors import SDiffError, brief
from sdiff.base.paths import data_dir, expanded
from sdiff.data.download import fetch
from sdiff.data.folders import read_folder
from sdiff.data.hub import hub_table
from sdiff.data.interactions import Split, Vocabulary
from sdiff.data.items import Items
from sdiff.data.own import own_table
from sdiff.data.reading import DEFAULT, Reading
from sdiff.data.registry import REGISTRY, Source
from sdiff.data.report import Report

OWN = "your own data"
FRAME = "frame"  # in place of the key of a data set, in a model of a data frame
HERE = "./"  # before a path that is relative to the folder of a checkpoint


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory.

    Attributes:
        key: what `load_dataset` was called with.
        title: name for display.
        terms: license or terms of use.
        split: its interactions.
        items: metadata of its items.
        report: counts of the rows of a table or of a given split; None for other registered data sets.
    """

    key: str
    title: str
    terms: str
    split: Split
    items: Items = field(repr=False)
    report: Report | None = field(default=None, repr=False)

    def served_by(self, items: Vocabulary) -> Dataset:
        """The data set re-indexed by the item vocabulary of a model, such as one trained on another split of its data.

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
            + (f" The folder of this name here is ./{key}." if Path(key).is_dir() else "")
        )
    return source


def load_dataset(key: str | Path) -> Dataset:
    """Loads a data set.

    Args:
        key: one of

            - the key of a registered data set, such as "demo";
            - the path of a table file of interactions;
            - the path of a folder with a table `interactions.*`, with the parts of a split `train.*`, `test.*` and
              optionally `valid.*`, or with the parts `part-*` of one table, and optionally a table `items.*`. A table
              may have several shards, such as `train-00000-of-00002.parquet`. In other folders, tables are recognised
              by their columns: see `sdiff.data.folders`;
            - "hf:" and the name of a data set on the Hugging Face Hub.

            All but registered keys may end in options of `Reading`: "ratings.csv?min_rating=4&core=5".

    Raises:
        SDiffError: the key is unknown, a file is missing or unreadable, or columns, values or options are invalid.
    """
    if not isinstance(key, str | Path):
        raise SDiffError(
            f"Give the name of a data set or the path of a table, not {brief(key)}. Use frame_dataset for a data frame."
        )
    key = str(key)
    if key in REGISTRY:
        source = available(key)
        found = source.read(source.path)
        report = found[2] if len(found) == 3 else None
        return Dataset(key, source.title, source.terms, found[0], found[1], report)
    name, query = key_parts(key)
    if name in REGISTRY:
        raise SDiffError(f"{name} has fixed options: leave out ?{query}.")
    reading = Reading.parse(query)

    if name.startswith("hf:"):
        name = name.removeprefix("hf:")
        table = hub_table(name, data_dir() / "hub")
        return Dataset(key, name, "see its page on the Hugging Face Hub", *own_table(table, reading))
    if name == FRAME:
        raise SDiffError("The model was trained on a data frame: give the path of a table with the same ids.")
    if not name.strip():
        raise SDiffError("The name of the data set is empty: give a name, or . for the current folder.")
    path = expanded(name)
    if path.is_dir():
        return Dataset(key, path.name, OWN, *read_folder(path, reading))
    if path.exists():
        return Dataset(key, path.name, OWN, *own_table(path, reading))
    if path.suffix or len(path.parts) > 1:
        raise SDiffError(f"There is no file or folder {path}.")
    raise SDiffError(
        f"Unknown data set {name!r}: choose one of {', '.join(REGISTRY)}, "
        "or give the path of a table (CSV, TSV, JSON lines, Parquet) with the columns user and item."
    )


def frame_dataset(frame: Any, reading: Reading = DEFAULT, items: Any = None, title: str = "data frame") -> Dataset:
    """A data set from a data frame of pandas, Polars or PyArrow, with the same checks as for a file.

    Args:
        frame: interactions, with the columns user and item and optionally rating and timestamp.
        items: a data frame with the titles, years and genres of the items.

    Raises:
        SDiffError: columns or values are invalid.
    """
    return Dataset(title, title, OWN, *own_table(frame, reading, items))


def absolute(key: str) -> str:
    """The key of `load_dataset` with absolute paths, so that it is valid in any folder."""
    return _with_paths(key, lambda path: str(expanded(path).absolute()))


def relative(key: str, folder: Path) -> str:
    """A key of `absolute` with paths relative to a folder, so that the folder and the data can be moved together."""
    if not os.path.isabs(key):
        return key
    return _with_paths(key, lambda path: HERE + Path(os.path.relpath(path, folder.absolute())).as_posix())


def located(key: str, folder: Path) -> str:
    """The absolute key for a key of `relative`.

    Files that are not there are looked for in the folder of data sets, by their names. Those that are nowhere keep the
    path where they should be.
    """
    if not key.startswith(HERE):
        return key
    name, query = key_parts(str(folder.absolute() / key))
    with suppress(SDiffError):  # `load_dataset` will raise it
        reading = Reading.parse(query)
        if reading.items.startswith(HERE):
            query = replace(reading, items=_found(str(folder.absolute() / reading.items))).query()
    return _found(name) + (f"?{query}" if query else "")


def _found(path: str) -> str:
    """A path, or that of a file of the same name in the folder of data sets if there is none at the first."""
    path = os.path.normpath(path)
    elsewhere = str(data_dir() / os.path.basename(path))
    return elsewhere if not os.path.exists(path) and os.path.exists(elsewhere) else path


def _with_paths(key: str, convert: Callable[[str], str]) -> str:
    """The key with its paths converted, if it has any."""
    name, query = key_parts(key)
    if name in REGISTRY or name.startswith("hf:") or not os.path.exists(expanded(name)):
        return key
    reading = Reading.parse(query)
    if reading.items not in ("", "-"):
        query = replace(reading, items=convert(reading.items)).query()
    return convert(name) + (f"?{query}" if query else "")


def key_parts(key: str) -> tuple[str, str]:
    """Path and options of a key of `load_dataset`. The path may itself have question marks, if there is such a file."""
    pieces = key.split("?")
    for n in range(len(pieces), 1, -1):
        if os.path.isfile(expanded("?".join(pieces[:n]))):  # False for names that are too long
            return "?".join(pieces[:n]), "?".join(pieces[n:])
    return pieces[0], "?".join(pieces[1:])
