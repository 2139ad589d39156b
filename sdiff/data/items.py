"""Item metadata: titles, years, genres and further columns of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sdiff.base.errors import SDiffError
from sdiff.data.columns import NOTHING, item_columns, named_columns
from sdiff.data.database import literal, readable_errors
from sdiff.data.genres import separated
from sdiff.data.ids import MISSING, cause_of_mismatch, difference
from sdiff.data.interactions import Vocabulary
from sdiff.data.report import FaultyRows, Report
from sdiff.data.roles import METADATA, candidates
from sdiff.data.tables.dialect import Layout
from sdiff.data.tables.faults import Faults
from sdiff.data.tables.open import DETECTED, open_table
from sdiff.data.tables.table import Table

# For titles such as MovieLens's "Matrix, The (1999)".
YEAR, NO_YEAR = r"\(([0-9]{4})\)$", r"\s*\([0-9]{4}\)$"
SAMPLE = 100_000  # ids compared to find out why some do not match
CONSTANT = 0.9  # minimum share of an item's rows that hold its most frequent value, in a column that describes items
FOUR = r"(?:^|[^0-9])([0-9]{4})(?:[01][0-9][0-3][0-9])?(?:[^0-9]|$)"  # not part of a number, unless that is a date
ROLES = ("title", "year", "genres")
ARTICLE = r"^(.*), (The|A|An|Le|La|Les|L''|Il|El|Der|Die|Das)$"


@dataclass(frozen=True)
class Titles:
    """How many items of a data set a table of items covers.

    Attributes:
        found: number of items with a title.
        items: number of items.
        faults: the invalid rows of a table of items.
        columns: name of the column of each role.
        note: why others have none, if it can be seen; empty otherwise.
        table: the name of the table that they are from.
    """

    found: int
    items: int
    faults: Faults
    columns: dict[str, str] = field(default_factory=dict)
    note: str = ""
    table: str = ""


@dataclass(frozen=True)
class Items:
    """Metadata of items, in vocabulary order.

    Attributes:
        title: (n_items,) such as "Heat".
        year: (n_items,) 0 if unknown.
        genres: (n_items,) separated by `|`, empty if unknown.
        extra: (n_items,) texts by column name: the other columns of the table.
        titles: how many items the table covers; None without a table.
    """

    title: list[str]
    year: list[int]
    genres: list[str]
    extra: dict[str, list[str]] = field(default_factory=dict)
    titles: Titles | None = None

    def among(self, own: Vocabulary, other: Vocabulary) -> Items:
        """The metadata reordered from the vocabulary `own` to `other`. Items missing in `own` are untitled."""
        row = np.full(len(other), -1)
        row[other.encode(own.ids)] = np.arange(len(own))

        def reordered(column: list, default: list) -> list:
            return [column[i] if i >= 0 else default[n] for n, i in enumerate(row.tolist())]

        defaults = untitled(other)
        return Items(
            reordered(self.title, defaults.title),
            reordered(self.year, defaults.year),
            reordered(self.genres, defaults.genres),
            {name: reordered(column, defaults.genres) for name, column in self.extra.items()},
            self.titles,
        )


def read_items(
    path: Any,
    items: Vocabulary,
    layout: Layout = DETECTED,
    known: Mapping[str, str] = {},
    chosen: Mapping[str, str] = {},
    skip_faulty: bool = False,
) -> Items:
    """Reads titles, years and genres of `items`, and the table's other columns as `extra`.

    Without a year column, the year is taken from the end of the title, such as "Heat (1995)".

    Args:
        path: of a file, or a data frame: see `open_table`.
        known: column names, or trusted SQL, by role. If given, columns are not guessed and `extra` is empty.
        chosen: names of columns by role; "-" means no such column, and no year in titles. Others are guessed.
        skip_faulty: skip invalid rows instead of raising an error.

    Raises:
        SDiffError: the table cannot be read, has no item column or none of `chosen`, or has none of the items.
        FaultyRows: rows cannot be read, and `skip_faulty` is off.
    """
    with open_table(path, layout) as table:
        _register(table, items)
        columns = {role: table.columns.get(sql, sql) for role, sql in known.items()} or item_columns(table, chosen)
        if not known and "item" not in chosen:
            columns["item"] = _fitting(table, columns["item"])
        extra = {} if known else {name: sql for name, sql in table.columns.items() if sql not in columns.values()}
        faults = _load(table, columns, extra, table.one_line(columns))
        if faults.count and not skip_faulty:
            raise FaultyRows(table.name, faults)
        return _metadata(table, items, columns, extra, faults)


def items_in_log(
    path: Any, items: Vocabulary, layout: Layout, report: Report, chosen: Mapping[str, str] = {}
) -> Items | None:
    """Metadata of items from columns of the interactions, such as the name of a product. None if there are none.

    A column is guessed only if it describes the items: most rows of an item must have the same value. An item column
    of names also holds the titles.

    Args:
        path: of the interactions: see `open_table`.
        report: of reading the interactions.
        chosen: as in `read_items`.

    Raises:
        SDiffError: there is no column of `chosen`.
    """
    named = {role: name for role, name in chosen.items() if role != "item"}
    describing = {role: name for role, name in (report.describing | named).items() if name != "-"}
    if not describing:
        return None
    with open_table(path, layout) as table:
        sql = {label: column for column, label in table.labels.items()}
        pair = {role: sql[label] for role, label in report.columns.items()}
        columns, item = named_columns(table, describing), pair["item"]
        year = {"year": NOTHING} if chosen.get("year") == "-" else {}
        _register(table, items)
        _load(table, {"item": item, **columns, **year}, {}, table.one_line(pair))
        described = {
            role: column
            for role, column in columns.items()
            if role in named or column == item or _belongs_to_items(table, role)
        }
        if not described:
            return None
        kept = {*described} | ({"year"} if "title" in described and "year" not in columns else set())
        values = ", ".join(
            f"coalesce(arg_min({role}, rowid) FILTER (WHERE {role} <> ''), '') AS {role}"
            if role in kept
            else f"'' AS {role}"
            for role in ROLES
        )
        table.con.execute(f"CREATE OR REPLACE TABLE metadata AS SELECT id, {values} FROM metadata GROUP BY id")
        return _metadata(table, items, {"item": item, **described}, {}, Faults(report.rows))


def _register(table: Table, items: Vocabulary) -> None:
    """Creates the table `ids` of the items."""
    rows = "SELECT unnest(?::VARCHAR[]) AS id, unnest(range(?)) AS i"
    table.con.execute(f"CREATE TABLE ids AS {rows}", [[*items.ids], len(items)])


def _fitting(table: Table, first: str) -> str:
    """SQL of the column of item ids: of those with a usual name, the one with the most items, or else the `first`."""
    columns = [table.columns[name] for name in candidates(list(table.columns), METADATA["item"])]
    if len(columns) < 2:
        return first
    texts = map(table.stripped, columns)
    counts = ", ".join(f"count(DISTINCT {text}) FILTER ({text} IN (SELECT id FROM ids))" for text in texts)
    with readable_errors(table.name):
        [found] = table.con.execute(f"SELECT {counts} FROM {table.scan}").fetchall()
    table.forget_rejected()
    return columns[found.index(max(found))]


def _load(table: Table, columns: Mapping[str, str], extra: Mapping[str, str], one_line: list[str]) -> Faults:
    """Creates the table `metadata` with id, title, year, genres and extra_0, ..., all as text. Returns invalid rows.

    Args:
        one_line: see `Table.one_line`.
    """
    title, genres = (_present(columns.get(role, "NULL")) for role in ("title", "genres"))
    if "year" in columns:
        year = f"coalesce(regexp_extract({columns['year']}, '{FOUR}', 1), '')"
    else:
        year = f"regexp_extract({title}, '{YEAR}', 1)"
        title = rf"regexp_replace(regexp_replace({title}, '{NO_YEAR}', ''), '{ARTICLE}', '\2 \1')"
    others = "".join(f", {_present(sql)} AS extra_{n}" for n, sql in enumerate(extra.values()))
    selected = f"""
        SELECT {table.stripped(columns["item"])} AS id, {title} AS title, {year} AS year, {genres} AS genres{others},
            {table.broken(one_line)} AS broken"""
    with readable_errors(table.name):
        table.con.execute(f"CREATE TABLE metadata AS {selected} FROM {table.scan}")
        if table.repair_quotes("metadata", one_line):
            table.con.execute(f"CREATE OR REPLACE TABLE metadata AS {selected} FROM {table.scan}")
    return table.faults("metadata", "CASE WHEN coalesce(id, '') = '' THEN 'item is empty' END")


def _present(column: str) -> str:
    """SQL of the text of a column, empty where it is a word for a missing value."""
    missing = f"lower(trim({column})) IN ({', '.join(map(literal, MISSING))})"
    return f"CASE WHEN {missing} THEN '' ELSE coalesce(trim({column}), '') END"


def _belongs_to_items(table: Table, column: str) -> bool:
    """Whether most rows of an item have the same value in a column of `metadata`."""
    [(share,)] = table.con.execute(f"""
        SELECT sum(most) / sum(n) FROM (
            SELECT max(n) AS most, sum(n) AS n
            FROM (SELECT id, count(*) AS n FROM metadata WHERE {column} <> '' AND id <> '' GROUP BY id, {column})
            GROUP BY id HAVING sum(n) > 1)""").fetchall()
    return share is not None and share > CONSTANT


def _metadata(
    table: Table, items: Vocabulary, columns: Mapping[str, str], extra: Mapping[str, str], faults: Faults
) -> Items:
    """The rows of the table `metadata` for `items`. Raises SDiffError if there are none."""
    con = table.con
    others = "".join(f", coalesce(extra_{n}, '')" for n in range(len(extra)))
    found = con.execute(f"""
        SELECT coalesce(nullif(title, ''), 'Item ' || id), coalesce(TRY_CAST(year AS INTEGER), 0),
            coalesce(nullif(genres, '(no genres listed)'), ''){others}, first IS NOT NULL, coalesce(title, '') <> ''
        FROM ids LEFT JOIN (
            SELECT coalesce(min(rowid) FILTER (WHERE title <> ''), min(rowid)) AS first, id FROM metadata GROUP BY id
        ) USING (id)
        LEFT JOIN metadata ON metadata.rowid = first ORDER BY i""").fetchall()
    title, year, genres, *others, known, titled = map(list, zip(*found, strict=True))
    note = (
        "" if "title" in columns else "it has no column of titles with a usual name: name it, as in items_title=COLUMN"
    )
    if not all(known):
        unused = "SELECT id FROM metadata WHERE id <> '' AND id NOT IN (SELECT id FROM ids) LIMIT ?"
        given = [id for (id,) in con.execute(unused, [SAMPLE]).fetchall()]
        if not any(known):
            raise SDiffError(
                f"0 of {len(items):,} items have a title in {table.name}: {cause_of_mismatch(items.ids, given)}."
            )
        lacking = [id for id, there in zip(items.ids, known, strict=True) if not there]
        if differing := difference(lacking, given, 1 / 2):
            note = note or f"most others differ from an id in {table.name} {differing}"
    sequence = columns.get("genres") in {table.columns[name] for name in table.sequences}
    labels = {role: table.labels[sql] for role, sql in columns.items() if sql in table.labels}
    titles = Titles(sum(titled), len(items), faults, labels, note, table.name)
    return Items(title, year, separated(genres, sequence), dict(zip(extra, others, strict=True)), titles)


def untitled(items: Vocabulary) -> Items:
    """Metadata for items without a table: titles such as "Item 7", no years and no genres."""
    return Items([f"Item {id}" for id in items.ids], [0] * len(items), [""] * len(items))
