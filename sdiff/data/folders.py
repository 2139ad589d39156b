"""Reads a folder of tables: finds the one of interactions or the parts of a split, and the one of items.

They are found by the names of the files, or else by their columns: the table with users and items, or of several the
one with ratings, and the table with items and titles.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sdiff.base.errors import SDiffError
from sdiff.data.interactions import Split
from sdiff.data.items import Items
from sdiff.data.lists import are_lists, own_lists
from sdiff.data.own import own_split, own_table
from sdiff.data.preview import Preview, preview
from sdiff.data.reading import Reading
from sdiff.data.report import Report
from sdiff.data.roles import ITEM_IDS, ITEMS, METADATA, recognised
from sdiff.data.tables.files import is_blank

Found = Path | tuple[Path, ...]  # a table in one file, or in several
SHARD = re.compile(r"(.+)-(\d+)-of-(\d+)\.(.+)")  # train-00000-of-00002.parquet, as on the Hugging Face Hub
NOT_TABLES = {".bak", ".old", ".tmp", ".md", ".readme", ".html", ".pdf", ".doc", ".docx"}  # of files beside tables
# Of files that must be readable, because the table that is looked for may be among them.
TABLES = {".csv", ".tsv", ".parquet", ".json", ".jsonl", ".ndjson", ".inter", ".item", ".gz"}
SPLIT = {"train": {"train"}, "valid": {"valid", "validation", "val", "dev"}, "test": {"test"}}  # in names of files
MOST = 30  # tables whose columns are looked at


def read_folder(path: Path, reading: Reading) -> tuple[Split, Items, Report]:
    """The data set in a folder: see `sdiff.data.datasets.load_dataset`. Raises SDiffError if there is none."""
    try:
        files = sorted(file for file in path.iterdir() if not file.is_dir() and file.name[0] not in "._")
    except OSError as error:
        raise SDiffError(f"Cannot read {path}: {error.strerror}.") from error
    files = [file for file in files if file.suffix.lower() not in NOT_TABLES]
    tables = _tables(path, files)
    titles = [table for name, table in tables.items() if name.lower().startswith("items.")]
    if titles and not reading.items:
        if len(titles) > 1 or isinstance(titles[0], tuple):
            raise SDiffError(f"{path} has several files of items: keep one, join them, or name one with items=.")
        reading = replace(reading, items=str(titles[0]))
    if names := [name for name in tables if name.lower().startswith("interactions.")]:
        if len(names) > 1:
            raise SDiffError(f"{path} has several tables of interactions: keep one of {', '.join(names)}.")
        return _noted(own_table(tables[names[0]], reading), tables, names)
    parts = {part: [name for name in tables if SPLIT[part] & {*re.split(r"[._-]", name.lower())}] for part in SPLIT}
    if parts["train"] and parts["test"]:
        split = _split(path, {part: {name: tables[name] for name in names} for part, names in parts.items()}, reading)
        return _noted(split, tables, [name for names in parts.values() for name in names])
    if pieces := [file for file in files if file.name.startswith("part-")]:
        full = [piece for piece in pieces if not is_blank(piece)]  # Spark writes empty ones, too
        return own_table(tuple(full or pieces), reading)
    if not tables:
        raise SDiffError(
            f"{path} contains no table of interactions: add one, such as interactions.csv, or the parts of a split, "
            "such as train.csv and test.csv."
        )
    if len(tables) == 1:
        return own_table(next(iter(tables.values())), reading)
    return _by_columns(path, tables, reading)


def _noted(
    parts: tuple[Split, Items, Report], tables: Mapping[str, Found], used: Sequence[str]
) -> tuple[Split, Items, Report]:
    """Notes the tables of the folder that were not read, except for the maps of ids of a split of lists."""
    split, items, report = parts
    source = items.titles.table if items.titles else ""
    unused = [
        name
        for name, table in tables.items()
        if name not in (*used, "item_map.csv", "user_map.csv") and str(table) != source
        if isinstance(table, tuple) or table.suffix.lower() in TABLES
    ]
    if not unused:
        return parts
    return split, items, replace(report, notes=(f"Not used: {', '.join(unused)}.", *report.notes))


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


def _by_columns(path: Path, tables: Mapping[str, Found], reading: Reading) -> tuple[Split, Items, Report]:
    """Reads the tables of interactions and of items that their columns show. Notes which they are."""
    if len(tables) > MOST:
        raise SDiffError(f"{path} has {len(tables)} files: give the table of interactions alone.")
    if reading.names:
        raise SDiffError(f"{path} has several tables: give the one whose columns names= lists.")
    views, unreadable = {}, {}
    for name, table in tables.items():
        try:
            views[name] = preview(table, reading)
        except SDiffError as error:
            unreadable[name] = str(error)
    chosen = _table_of_pairs(path, tables, views, unreadable, reading)
    described = [name for name, view in views.items() if name != chosen and _has_titles(name, view, reading)]
    titled = [name for name in described if "description" not in _title(views[name]).lower()]
    described = titled if len(titled) == 1 else described
    titles = tables[described[0]] if len(described) == 1 and not reading.items else None
    split, items, report = own_table(tables[chosen], reading, titles)
    source = items.titles.table if items.titles else ""
    of_titles = described if titles else [name for name, table in tables.items() if str(table) == source]
    of_titles = [name for name in of_titles if name != chosen]
    reasons = {name: f" ({error.rstrip('.')})" for name, error in unreadable.items()}
    unused = [name + reasons.get(name, "") for name in tables if name not in (chosen, *of_titles)]
    note = f"Read from {chosen}"
    note += f", with titles from {of_titles[0]}" if of_titles else ""
    note += f"; not used: {', '.join(unused)}" if unused else ""
    notes = [f"{note}.", *report.notes]
    own, others = report.columns["item"].lower(), items.titles.columns.get("item", "").lower() if items.titles else ""
    between = [name for name, view in views.items() if name in unused and _translates(view, own)]
    if of_titles and own != others and between:
        notes.append(f"Titles may be those of other items: {between[0]} seems to translate between their ids.")
    return split, items, replace(report, notes=tuple(notes))


def _table_of_pairs(
    path: Path,
    tables: Mapping[str, Found],
    views: Mapping[str, Preview],
    unreadable: Mapping[str, str],
    reading: Reading,
) -> str:
    """The name of the table of interactions. Raises SDiffError if there is not exactly one."""
    pairs = [name for name, view in views.items() if _has_pairs(view, reading)]
    pairs = [name for name in pairs if len(views[name].rows) > 1] or pairs  # one object in JSON may be settings
    rated = [name for name in pairs if "rating" in views[name].roles]
    chosen = rated if len(rated) == 1 else pairs
    for name, error in unreadable.items():
        if Path(name).suffix.lower() in TABLES and not rated:  # it may have the ratings
            raise SDiffError(f"{error} If the table of interactions is another one, give it alone.")
    if len(chosen) > 1:
        raise SDiffError(f"{path} has several tables of interactions, {', '.join(chosen)}: give one of them.")
    if chosen:
        return chosen[0]
    advice = "give the table itself, and name its columns, such as ?user=COLUMN&item=COLUMN"
    users, items = ([name for name, view in views.items() if role in view.roles] for role in ("user", "item"))
    if nameless := [name for name, view in views.items() if {"rating", "timestamp"} & {*view.names}]:
        names = ",".join(views[nameless[0]].names)
        advice = f"if it is {nameless[0]}, which seems to have no header, give {path / nameless[0]}?names={names}"
    elif users and items:
        advice = f"join one with users and one with items, such as {users[0]} and {items[0]}"
    raise SDiffError(f"{path}, with {', '.join(tables)}, contains no table of users and items: {advice}.")


def _title(view: Preview) -> str:
    """The name of the column of titles; empty if there is none with a usual name."""
    return recognised(view.columns, METADATA).get("title", "")


def _translates(view: Preview, item: str) -> bool:
    """Whether a table has ids of items, such as those of the interactions, and other ids."""
    ids = [column for column in view.columns if "id" in column]
    return item in ids and len(ids) > 1 and "user" not in view.roles


def _has_pairs(view: Preview, reading: Reading) -> bool:
    """Whether a table has columns of users and of ids of items, the named ones if any are."""
    named = {role: name for role in ("user", "item") if (name := getattr(reading, role).strip().lower())}
    roles = recognised(view.columns, {"item": ITEM_IDS}) | {"user": view.roles.get("user")} | named
    return all(roles.get(role) in view.columns for role in ("user", "item"))


def _has_titles(name: str, view: Preview, reading: Reading) -> bool:
    """Whether a table has items and their titles. A column id counts only in a file that is named after items."""
    file = Path(name).stem.lower()
    if "user" in view.roles or re.search("review|comment|tag", file):
        return False
    words = {word.removesuffix("s") for word in re.split(r"[\W\d_]+", file)} & {
        noun.removesuffix("s") for noun in ITEMS
    }
    ids = (*ITEM_IDS, *(("id",) if words else ()))
    usual = {"item": ids, "title": METADATA["title"]}
    named = {role: name.strip().lower() for role, name in reading.items_columns.items() if role in usual}
    found = recognised(view.columns, usual) | named
    return all(found.get(role) in view.columns for role in usual)


def _tables(path: Path, files: list[Path]) -> dict[str, Found]:
    """The tables in a folder by name: files, or the shards of one table, such as train-00000-of-00002.parquet.

    Raises:
        SDiffError: the shards of a table are not complete, or there is also the whole table.
    """
    tables: dict[str, Found] = {file.name: file for file in files if not SHARD.fullmatch(file.name)}
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
