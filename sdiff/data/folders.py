"""Reads a folder of tables: finds the one of interactions or the parts of a split, and the one of items.

They are found by the names of the files, or else by their columns: the table with users and items, or of several the
one with ratings, and the table with items and titles.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sdiff.base.errors import SDiffError
from sdiff.data.formats import are_lists, own_lists, own_split, own_table
from sdiff.data.interactions import Split
from sdiff.data.items import Items
from sdiff.data.preview import Preview, preview
from sdiff.data.reading import Reading
from sdiff.data.report import Report
from sdiff.data.roles import METADATA, recognised
from sdiff.data.tables.files import is_blank

Found = Path | tuple[Path, ...]  # a table in one file, or in several
SHARD = re.compile(r"(.+)-(\d+)-of-(\d+)\.(.+)")  # train-00000-of-00002.parquet, as on the Hugging Face Hub
NOT_TABLES = {".bak", ".old", ".tmp", ".md", ".readme", ".html", ".pdf", ".doc", ".docx"}  # of files beside tables
SPLIT = {"train": {"train"}, "valid": {"valid", "validation", "val", "dev"}, "test": {"test"}}  # in names of files
MOST = 30  # files whose columns are looked at, and files that are listed in a message


def read_folder(path: Path, reading: Reading) -> tuple[Split, Items, Report]:
    """The data set in a folder: see `sdiff.data.datasets.load_dataset`. Raises SDiffError if there is none."""
    try:
        files = sorted(file for file in path.iterdir() if not file.is_dir() and file.name[0] not in "._")
    except OSError as error:
        raise SDiffError(f"Cannot read {path}: {error.strerror}.") from error
    tables = _tables(path, files)
    titles = [table for name, table in tables.items() if name.lower().startswith("items.")]
    if titles and not reading.items:
        if len(titles) > 1 or isinstance(titles[0], tuple):
            raise SDiffError(f"{path} has several files of items: keep one, join them, or name one with items=.")
        reading = replace(reading, items=str(titles[0]))
    if names := [name for name in tables if name.lower().startswith("interactions.")]:
        if len(names) > 1:
            raise SDiffError(f"{path} has several tables of interactions: keep one of {', '.join(names)}.")
        return own_table(tables[names[0]], reading)
    parts = {part: [name for name in tables if SPLIT[part] & {*re.split(r"[._-]", name.lower())}] for part in SPLIT}
    if parts["train"] and parts["test"]:
        return _split(path, {part: {name: tables[name] for name in names} for part, names in parts.items()}, reading)
    if pieces := [file for file in files if file.name.startswith("part-")]:
        full = [piece for piece in pieces if not is_blank(piece)]  # Spark writes empty ones, too
        return own_table(tuple(full or pieces), reading)
    sharded = [table for table in tables.values() if isinstance(table, tuple)]
    if len(sharded) == 1:
        return own_table(sharded[0], reading)
    return _by_columns(path, {name: table for name, table in tables.items() if isinstance(table, Path)}, reading)


def _split(path: Path, parts: Mapping[str, Mapping[str, Found]], reading: Reading) -> tuple[Split, Items, Report]:
    """Reads the parts of a split, each from the only one of its tables by name."""
    if several := [names for names in parts.values() if len(names) > 1]:
        names = ", ".join(several[0])
        raise SDiffError(f"{path} has several files for one part of a split: keep one of {names}, or join them.")
    chosen = {part: table for part, names in parts.items() for table in names.values()}
    whole = {part: file for part, file in chosen.items() if isinstance(file, Path)}  # not in shards
    if len(whole) == len(chosen) and all(
        file.suffix == ".npy" or (not reading.names and are_lists(file)) for file in whole.values()
    ):
        return own_lists(whole, reading)
    return own_split(chosen, reading)


def _by_columns(path: Path, tables: Mapping[str, Path], reading: Reading) -> tuple[Split, Items, Report]:
    """Reads the tables of interactions and of items that their columns show. Notes which they are."""
    advice = "add one, such as interactions.csv, or the parts of a split, such as train.csv and test.csv"
    if not tables or len(tables) > MOST:
        raise SDiffError(f"{path} contains no table of interactions: {advice}.")
    views = _views(tables, reading)
    pairs = [name for name, view in views.items() if {"user", "item"} <= view.roles.keys()]
    rated = [name for name in pairs if "rating" in views[name].roles]
    chosen = rated if len(rated) == 1 else pairs
    if len(chosen) > 1:
        raise SDiffError(f"{path} has several tables of interactions: give one of them, such as {path / chosen[0]}.")
    if not chosen:
        if nameless := [name for name, view in views.items() if {"rating", "timestamp"} & {*view.names}]:
            names = ",".join(views[nameless[0]].names)
            advice = f"if it is {nameless[0]}, which seems to have no header, give {path / nameless[0]}?names={names}"
        raise SDiffError(f"{path}, with {', '.join(tables)}, contains no table of users and items: {advice}.")
    described = [
        name
        for name, view in views.items()
        if name not in pairs and {"item", "title"} <= recognised(view.columns, METADATA).keys()
    ]
    if not reading.items and len(described) == 1:
        reading = replace(reading, items=str(tables[described[0]]))
    split, items, report = own_table(tables[chosen[0]], reading)
    titles = f", with titles from {described[0]}" if reading.items == str(tables.get((described or [""])[0])) else ""
    others = [name for name in tables if name not in chosen and not (titles and name in described)]
    unused = f"; not used: {', '.join(others)}" if others else ""
    return split, items, replace(report, notes=(f"Read from {chosen[0]}{titles}{unused}.", *report.notes))


def _views(tables: Mapping[str, Path], reading: Reading) -> dict[str, Preview]:
    """Previews of the files that are tables."""
    views: dict[str, Preview] = {}
    for name, table in tables.items():
        with suppress(SDiffError):
            views[name] = preview(table, Reading(user=reading.user, item=reading.item))
    return views


def _tables(path: Path, files: list[Path]) -> dict[str, Found]:
    """The tables in a folder by name: files, or the shards of one table, such as train-00000-of-00002.parquet.

    Raises:
        SDiffError: the shards of a table are not complete, or there is also the whole table.
    """
    tables: dict[str, Found] = {
        file.name: file for file in files if not SHARD.fullmatch(file.name) and file.suffix.lower() not in NOT_TABLES
    }
    shards: dict[str, list[tuple[int, int, Path]]] = {}
    for file in files:
        if shard := SHARD.fullmatch(file.name):
            shards.setdefault(f"{shard[1]}.{shard[4]}", []).append((int(shard[2]), int(shard[3]), file))
    for name, found in shards.items():
        numbers, totals, parts = zip(*sorted(found), strict=True)
        if {*totals} != {len(parts)} or {*numbers} not in ({*range(len(parts))}, {*range(1, len(parts) + 1)}):
            raise SDiffError(f"{path} must have exactly {max(totals)} shards of {name}, but has {len(parts)}.")
        if name in tables:
            raise SDiffError(f"{path} has {name} and shards of it: keep one of them.")
        tables[name] = tuple(part for part in parts if not is_blank(part)) or parts
    return tables
