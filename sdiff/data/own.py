"""Reads tables that people bring: interactions, the parts of a split, and item metadata."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from sdiff.base.errors import SDiffError, brief
from sdiff.base.paths import expanded
from sdiff.data.ids import difference
from sdiff.data.interactions import Interactions, Split, Vocabulary
from sdiff.data.items import Items, items_in_log, read_items, untitled
from sdiff.data.readers import read_interactions, split_of
from sdiff.data.reading import Reading
from sdiff.data.report import Report
from sdiff.data.splits import given_split
from sdiff.data.tables.faults import Faults


def own_table(path: Any, reading: Reading, titles: Any = None) -> tuple[Split, Items, Report]:
    """Reads any table of interactions, and item metadata.

    The metadata is in `reading.items`, in a RecBole `.item` file next to the table, or in columns of the table itself.

    Args:
        path: of a file, or a data frame: see `open_table`.
        titles: a data frame of items, in place of `reading.items`.
    """
    path = path.read_all() if hasattr(path, "read_all") else path  # a stream of Arrow can be read once
    interactions, report = read_interactions(path, reading)
    split = split_of(interactions, reading)
    report = replace(report, unsplit=len(interactions) - len(split.train) - len(split.valid) - len(split.test))
    return split, own_items(path, interactions.items, reading, report, titles), report


def own_items(
    path: Any, items: Vocabulary, reading: Reading, report: Report, titles: Any = None, log: Any = None
) -> Items:
    """Item metadata for a table of interactions: see `own_table`.

    Args:
        log: the tables whose columns may describe the items, if there is no table of items; by default `path`. There
            is no metadata if they have different columns.
    """
    if titles is None and reading.items not in ("", "-"):
        titles = expanded(reading.items)
    if titles is None and isinstance(path, Path) and path.suffix == ".inter" and reading.items != "-":
        sibling = path.with_suffix("").with_suffix(".item")
        titles = next((file for file in (path.with_suffix(".item"), sibling) if file.exists()), None)
    if titles is not None:
        return read_items(titles, items, reading.items_layout, {}, reading.items_columns, reading.skip_faulty)
    if reading.items != "-":
        with suppress(SDiffError) if log else nullcontext():
            columns = reading.items_columns
            return items_in_log(log or path, items, reading.layout, report, columns) or untitled(items)
    return untitled(items)


def own_split(paths: Mapping[str, Any], reading: Reading) -> tuple[Split, Items, Report]:
    """Reads the parts of a given split from a table for each, and item metadata like `own_table`.

    Held-out pairs that are also in an earlier part are dropped and counted. Without a valid part, a tenth of each
    user's train part is held out: the last one if the order is known, otherwise a random one.

    Args:
        paths: of the parts train, test and optionally valid; a tuple of paths for a part that has several files.

    Raises:
        SDiffError: a part cannot be read, or there are options for splitting.
    """
    if reading.split or reading.core > 1:
        raise SDiffError("The folder contains a split: leave out the options split and core, or give one table.")
    tables, reports = _parts(paths, reading)
    users, items = (
        Vocabulary(tuple(dict.fromkeys(chain.from_iterable(getattr(table, role).ids for table in tables.values()))))
        for role in ("users", "items")
    )
    split, in_train = given_split({part: table.among(items, users) for part, table in tables.items()})
    report = replace(
        reports[0],
        faults=Faults.joined({part: report.faults for part, report in zip(tables, reports, strict=True)}),
        notes=tuple(dict.fromkeys(note for report in reports for note in report.notes)),
        below_rating=sum(report.below_rating for report in reports),
        repeated=sum(report.repeated for report in reports),
        in_train=in_train,
    )
    parts = [part if isinstance(part, tuple) else (part,) for part in paths.values()]
    return split, own_items(paths["train"], items, reading, report, log=tuple(chain.from_iterable(parts))), report


def _parts(paths: Mapping[str, Any], reading: Reading) -> tuple[dict[str, Interactions], list[Report]]:
    """Reads the parts of a split, held-out ones like the train part. Raises SDiffError if they do not fit together."""
    train, report = read_interactions(paths["train"], reading)
    if "%" in report.times:
        reading = replace(reading, timestamp_format=report.times)
    tables, reports = {"train": train}, [report]
    first = {part: path[0] if isinstance(path, tuple) else path for part, path in paths.items()}  # for messages
    for part, path in paths.items():
        if part == "train":
            continue
        tables[part], other = read_interactions(path, reading)
        reports.append(other)
        if report.times and other.times not in ("", report.times):
            raise SDiffError(
                f"The times in {first['train']} are read as {report.times}, those in {first[part]} as "
                f"{other.times}: write them the same way in both, or set timestamp_format."
            )
        for role in ("users", "items"):
            known, given = (getattr(table, role).ids for table in (train, tables[part]))
            new = [id for id in given if id not in getattr(train, role)]
            differing = difference(new, known, 1 / 2) if len(new) < len(given) else difference(known, given)
            if differing and len(new) < len(given):
                raise SDiffError(
                    f"{len(new):,} {role} in {first[part]}, such as {brief(new[0])}, are not in {first['train']}, and "
                    f"most differ from one there {differing}: write the ids the same way in both."
                )
            if len(new) == len(given) and (differing or role == "users"):  # items may all be new
                cause = f", because their ids differ {differing}" if differing else ""
                raise SDiffError(
                    f"None of the {role} in {first[part]} is in {first['train']}{cause}: write the ids the same way in "
                    "both."
                )
    return tables, reports
