"""Reads interactions from a table and splits them. Invalid rows are reported by line number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import duckdb
import numpy as np

from sdiff.base.checks import number, whole
from sdiff.base.errors import SDiffError, brief
from sdiff.data.interactions import Interactions, Split, Vocabulary, k_core
from sdiff.data.splits import chronological_split, global_split, leave_last_out, random_split
from sdiff.data.tables import LONGEST, Fault, Layout, Table, database, readable_errors, verify

# Column names of each role, in order of preference.
PAIR = {
    "user": ("user", "user_id", "userid", "uid"),
    "item": ("item", "item_id", "itemid", "iid", "movie_id", "movieid"),
    "rating": ("rating", "score", "weight"),
    "timestamp": ("timestamp", "time", "ts", "date", "datetime"),
}
SHOWN = 3  # invalid rows quoted in an error
SPLITS: dict[str, Callable[[Interactions], Split]] = {
    "chronological": chronological_split,
    "leave-last-out": leave_last_out,
    "global": global_split,
    "random": lambda interactions: random_split(interactions, 0),
}


@dataclass(frozen=True)
class Reading:
    """Options for reading a table of interactions.

    Values may be text, as in a URL or a form: core="5", names="user, item", skip_faulty="true".

    Attributes:
        user: name of the column of user ids. An empty name is guessed from usual ones, such as user_id.
        item: likewise of item ids.
        rating: likewise of ratings; "-" means no such column.
        timestamp: likewise of times, in seconds or as dates; "-" means no such column.
        names: names of all columns, if the file has no header.
        delimiter: text between the columns, detected if empty.
        encoding: such as latin-1; UTF-8 if empty.
        min_rating: minimum rating of an interaction. None keeps all rows.
        core: minimum number of interactions per user and item (k-core).
        skip_faulty: skip invalid rows instead of raising an error.
        split: chronological, leave-last-out, global or random. If empty, chronological if there are timestamps, else
            random.
        items: path of a table with item metadata.

    Raises:
        SDiffError: a value has the wrong type or is out of range.
    """

    user: str = ""
    item: str = ""
    rating: str = ""
    timestamp: str = ""
    names: tuple[str, ...] = ()
    delimiter: str = ""
    encoding: str = ""
    min_rating: float | None = None
    core: int = 1
    skip_faulty: bool = False
    split: str = ""
    items: str = ""

    def __post_init__(self) -> None:
        for name in (*PAIR, "delimiter", "encoding", "split", "items"):
            if not isinstance(getattr(self, name), str):
                raise SDiffError(f"{name} must be text, not {brief(getattr(self, name))}.")
        if self.split not in ("", *SPLITS):
            raise SDiffError(f"split must be one of {', '.join(SPLITS)}, not {brief(self.split)}.")
        if len(self.delimiter.encode(errors="replace")) > 4 or {*self.delimiter} & {*'"\r\n\0'}:
            raise SDiffError(
                "delimiter must be at most 4 bytes, without quotation marks and line breaks, not "
                f"{brief(self.delimiter)}."
            )
        values = {
            "names": _names(self.names),
            "min_rating": None if self.min_rating is None else number("min_rating", self.min_rating),
            "core": whole("core", number("core", self.core), 1),
            "skip_faulty": {"true": True, "false": False}.get(str(self.skip_faulty).lower()),
        }
        if values["skip_faulty"] is None:
            raise SDiffError(f"skip_faulty must be true or false, not {brief(self.skip_faulty)}.")
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def parse(cls, query: str) -> Reading:
        """Parses a URL query such as `min_rating=4&core=5&user=visitor`. Raises SDiffError for invalid options."""
        keys = [f.name for f in fields(cls)]
        try:
            pairs = parse_qsl(query, strict_parsing=bool(query))
            values: dict[str, Any] = dict(pairs)
            if len(values) < len(pairs):
                raise ValueError("an option is given more than once")
            if unknown := set(values) - set(keys):
                raise ValueError(f"there is no {', '.join(sorted(unknown))}; the options are {', '.join(keys)}")
        except ValueError as error:
            raise SDiffError(f"Cannot read the options {query!r}: {error}.") from None
        return cls(**values)

    def query(self) -> str:
        """The options that differ from the defaults, as text for `parse`."""
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        convert = {"names": ",".join, "skip_faulty": lambda flag: str(flag).lower()}
        return urlencode({key: convert.get(key, str)(value) for key, value in changed.items()})

    @property
    def layout(self) -> Layout:
        """The options that concern the format of the file."""
        return Layout(self.names, self.delimiter, self.encoding)


class FaultyRows(SDiffError):
    """Invalid rows in a table. The other rows can be read with skip_faulty=true.

    Attributes:
        faults: line number and reason of each invalid row.
    """

    def __init__(self, path: Path, faults: list[Fault], rows: int) -> None:
        self.faults = faults
        super().__init__(
            f"{path}: {len(faults):,} of {rows:,} rows are invalid: {'; '.join(map(str, faults[:SHOWN]))}"
            f"{' ...' if len(faults) > SHOWN else ''}. Fix them, or skip them with skip_faulty=true."
        )

    def __reduce__(self) -> Any:  # pickle the finished message instead of the arguments of __init__
        return Exception.__new__, (type(self), *self.args), vars(self)


@dataclass(frozen=True)
class Preview:
    """The start of a table: all columns, the guessed column of each role, and the first rows as text."""

    columns: list[str]
    roles: dict[str, str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Report:
    """Number of rows in a table, its invalid rows, and the numbers of valid rows that were dropped, by reason.

    Attributes:
        rows: all rows.
        faults: line number and reason of each invalid row.
        below_rating: rows below the minimum rating.
        repeated: rows of a pair that occurred earlier.
        outside_core: pairs dropped by the k-core filter.
    """

    rows: int
    faults: list[Fault]
    below_rating: int
    repeated: int
    outside_core: int


def _names(names: Any) -> tuple[str, ...]:
    """Column names from a list or comma-separated text. Raises SDiffError if they are invalid."""
    if isinstance(names, str):
        names = names.split(",") if names.strip() else ()
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise SDiffError(f"names must be column names such as user,item,rating, not {brief(names)}.")
    stripped = tuple(name.strip() for name in names)
    if "" in stripped or len({name.lower() for name in stripped}) < len(stripped):
        raise SDiffError(f"names must be different column names, none of them empty, not {brief(','.join(stripped))}.")
    return stripped


DEFAULT = Reading()
CELL, ROWS = 200, 6  # maximum length of a cell, and maximum number of rows, in a preview


def preview(path: Path, layout: Layout) -> Preview:
    """The first rows of a table and the guessed roles of its columns. Raises SDiffError like `Table`."""
    with database(path) as con:
        table = Table(con, path, layout)
        roles = {sql: role for role, sql in table.guessed(PAIR).items()}
        with readable_errors(path):
            cells = ", ".join(f"left({column}, {CELL})" for column in table.columns.values())
            rows = con.execute(f"SELECT {cells} FROM {table.scan} LIMIT ?", [ROWS]).fetchall()
    named = {roles[sql]: name for name, sql in table.columns.items() if sql in roles}
    return Preview(list(table.columns), named, [[text or "" for text in row] for row in rows])


def read_interactions(path: Path, reading: Reading = DEFAULT, where: str = "true") -> tuple[Interactions, Report]:
    """Reads the columns user and item, and optionally rating and timestamp (seconds or a date), from a table file.

    Args:
        where: SQL condition on the table's columns; other rows are ignored. Must not come from users.

    Raises:
        SDiffError: the file is empty or unreadable, a column is missing, or no interactions are left.
        FaultyRows: rows have empty ids or unusable ratings or timestamps, and `skip_faulty` is off.
    """
    with database(path) as con:
        table = Table(con, path, reading.layout)
        verify(path)
        columns = _roles(table, reading, path)
        if reading.min_rating is not None and "rating" not in columns:
            raise SDiffError(f"{path} has no column rating for min_rating: its columns are {table.listed}.")
        with readable_errors(path):
            con.execute(_pairs(table, columns, where))
        rows, faults = _faults(con, table)
        if not rows:
            raise SDiffError(f"{path} has no rows.")
        if faults and not reading.skip_faulty:
            raise FaultyRows(path, faults, rows)
        con.execute("DELETE FROM pairs WHERE fault IS NOT NULL OR NOT included")
        usable = _count(con)
        con.execute("DELETE FROM pairs WHERE rating < ?", [reading.min_rating])
        users, items = _vocabulary(con, "user"), _vocabulary(con, "item")
        arrays = con.execute("""
            SELECT users.i AS u, items.i AS i, timestamp FROM pairs JOIN users ON users.id = pairs."user"
            JOIN items ON items.id = pairs.item ORDER BY pairs.rowid""").fetchnumpy()
    user, item = (arrays[name].astype(np.int64) for name in ("u", "i"))
    times = arrays["timestamp"].astype(np.float64) if "timestamp" in columns else None
    unfiltered = Interactions.from_pairs(users, items, user, item, times)
    remaining = unfiltered.where(k_core(unfiltered.rows, unfiltered.indices, reading.core)).compact()
    if not len(remaining):
        raise SDiffError(
            f"{path} has no interactions left after the rating and {reading.core}-core filters: lower these limits."
        )
    below_rating, repeated = usable - len(user), len(user) - len(unfiltered)
    return remaining, Report(rows, faults, below_rating, repeated, len(unfiltered) - len(remaining))


def split_of(interactions: Interactions, reading: Reading = DEFAULT) -> Split:
    """Splits by `reading.split`. By default, chronological if there are timestamps, else random with a fixed seed.

    Raises:
        SDiffError: the split is by time, but there are no timestamps.
    """
    if reading.split not in ("", "random") and interactions.timestamps is None:
        raise SDiffError(f"A {reading.split} split needs a timestamp column: name it, or use split=random.")
    return SPLITS[reading.split or ("random" if interactions.timestamps is None else "chronological")](interactions)


def _roles(table: Table, reading: Reading, path: Path) -> dict[str, str]:
    """SQL of the columns by role. Raises SDiffError if user, item or a named column is missing."""
    chosen = {role: name.strip().lower() for role in PAIR if (name := getattr(reading, role))}
    named = {role: name for role, name in chosen.items() if name != "-"}
    if absent := [name for name in named.values() if name not in table.columns]:
        raise SDiffError(f"{path} has no column {' and no column '.join(absent)}: its columns are {table.listed}.")
    guessed = {role: sql for role, sql in table.guessed(PAIR).items() if role not in chosen}
    columns = guessed | {role: table.columns[name] for role, name in named.items()}
    if lacking := [role for role in ("user", "item") if role not in columns]:
        raise SDiffError(
            f"{path} has no column {' and no column '.join(lacking)}: its columns are {table.listed}. "
            f"Name them in the options, such as ?{'&'.join(f'{role}=COLUMN' for role in lacking)}."
        )
    return columns


def _pairs(table: Table, columns: dict[str, str], where: str) -> str:
    """SQL that creates the table `pairs`: user, item, rating, timestamp, and the fault of a row, if any.

    Its rowid is the position in the file. row_number() would prevent a parallel scan.
    """
    text = {role: f"nullif(trim({columns[role]}), '')" if role in columns else "NULL" for role in PAIR}
    faults = [f"""WHEN "{role}" IS NULL THEN '{role} is empty'""" for role in ("user", "item")]
    for role, kind in (("rating", "a number"), ("timestamp", "seconds or a date")):
        if role in columns:
            reason = f"""'{role} is ''' || left(coalesce({role}_text, ''), {LONGEST}) || ''', not {kind}'"""
            faults.append(f"WHEN {role} IS NULL OR NOT isfinite({role}) THEN {reason}")
    return f"""
        CREATE TABLE pairs AS
        SELECT "user", item, rating, timestamp, included,
            CASE WHEN NOT included THEN NULL {" ".join(faults)} END AS fault
        FROM (
            SELECT *, TRY_CAST(rating_text AS DOUBLE) AS rating,
                coalesce(TRY_CAST(timestamp_text AS DOUBLE), epoch(TRY_CAST(timestamp_text AS TIMESTAMP))) AS timestamp
            FROM (
                SELECT {text["user"]} AS "user", {text["item"]} AS item, {text["rating"]} AS rating_text,
                    {text["timestamp"]} AS timestamp_text, {where} AS included
                FROM {table.scan}))"""


def _faults(con: duckdb.DuckDBPyConnection, table: Table) -> tuple[int, list[Fault]]:
    """The number of rows in the file, and its invalid rows."""
    faulty = con.execute("SELECT rowid + 1, fault FROM pairs WHERE fault IS NOT NULL ORDER BY rowid").fetchall()
    faults = table.faults([Fault(row, fault) for row, fault in faulty])
    return _count(con) + len(faults) - len(faulty), faults


def _count(con: duckdb.DuckDBPyConnection) -> int:
    return con.execute("SELECT count(*) FROM pairs").fetchall()[0][0]


def _vocabulary(con: duckdb.DuckDBPyConnection, role: str) -> Vocabulary:
    """The ids of a role: whole numbers in numeric order, then other ids in text order."""
    con.execute(f"""
        CREATE TABLE {role}s AS SELECT id, row_number() OVER (ORDER BY TRY_CAST(id AS HUGEINT), id) - 1 AS i
        FROM (SELECT DISTINCT "{role}" AS id FROM pairs)""")
    return Vocabulary(tuple(id for (id,) in con.execute(f"SELECT id FROM {role}s ORDER BY i").fetchall()))
