"""How a table becomes interactions and their split. What cannot be used is said row by row."""

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
from sdiff.data.interactions import Interactions, Split, Vocabulary, chronological_split, k_core, random_split
from sdiff.data.tables import LONGEST, Fault, Layout, Table, database, said_of

# Columns by their role, the likeliest name first.
PAIR = {
    "user": ("user", "user_id", "userid", "uid"),
    "item": ("item", "item_id", "itemid", "iid", "movie_id", "movieid"),
    "rating": ("rating", "score"),
    "timestamp": ("timestamp", "time", "ts", "date"),
}
SHOWN = 3  # faulty rows in an error
SPLITS: dict[str, Callable[[Interactions], Split]] = {
    "chronological": chronological_split,
    "random": lambda interactions: random_split(interactions, 0),
}


@dataclass(frozen=True)
class Reading:
    """How a table of interactions is read. Columns that are not named are guessed by `PAIR`; "-" is none of them.

    Numbers, names and switches may be given as text, as a web address or a form has them: core="5", names="user, item",
    skip_faulty="true".

    Attributes:
        names, delimiter, encoding: as in `Layout`.
        min_rating: the least rating that counts as an interaction; without it every row counts.
        core: users and items with fewer pairs among themselves are left out.
        skip_faulty: rows that cannot be used are left out instead of refused.
        split: chronological or random; if empty, by time where there are times.
        items: a file with the items' metadata.

    Raises:
        SDiffError: a value is of another type, or out of range.
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
            raise SDiffError(f"split is one of {', '.join(SPLITS)}, not {brief(self.split)}.")
        if len(self.delimiter.encode(errors="replace")) > 4 or {*self.delimiter} & {*'"\r\n\0'}:
            raise SDiffError(
                f"delimiter must be at most 4 bytes without quotation marks and line breaks, not "
                f"{brief(self.delimiter)}."
            )
        given = {
            "names": _names(self.names),
            "min_rating": None if self.min_rating is None else number("min_rating", self.min_rating),
            "core": whole("core", number("core", self.core), 1),
            "skip_faulty": {"true": True, "false": False}.get(str(self.skip_faulty).lower()),
        }
        if given["skip_faulty"] is None:
            raise SDiffError(f"skip_faulty must be true or false, not {brief(self.skip_faulty)}.")
        for name, value in given.items():
            object.__setattr__(self, name, value)

    @classmethod
    def parse(cls, query: str) -> Reading:
        """From `min_rating=4&core=5&user=visitor`, as in a web address. Raises SDiffError that lists the keys."""
        keys = [f.name for f in fields(cls)]
        try:
            pairs = parse_qsl(query, strict_parsing=bool(query))
            values: dict[str, Any] = dict(pairs)
            if len(values) < len(pairs):
                raise ValueError("an option is given more than once")
            if unknown := set(values) - set(keys):
                raise ValueError(f"there is no {', '.join(sorted(unknown))}, but {', '.join(keys)}")
        except ValueError as error:
            raise SDiffError(f"Cannot read the options {query!r}: {error}.") from None
        return cls(**values)

    def query(self) -> str:
        """What `parse` takes: the options that are not as they are anyway."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        convert = {"names": ",".join, "skip_faulty": lambda flag: str(flag).lower()}
        return urlencode({key: convert.get(key, str)(value) for key, value in given.items()})

    @property
    def layout(self) -> Layout:
        return Layout(self.names, self.delimiter, self.encoding)


class FaultyRows(SDiffError):
    """Rows that cannot be used, in a table of which the others could be kept."""

    def __init__(self, path: Path, faults: list[Fault], rows: int) -> None:
        self.faults = faults
        super().__init__(
            f"{path}: {len(faults):,} of {rows:,} rows cannot be used: {'; '.join(map(str, faults[:SHOWN]))}"
            f"{' ...' if len(faults) > SHOWN else ''}. Mend them, or leave them out with skip_faulty=true."
        )

    def __reduce__(self) -> Any:  # between processes: with the message made, not the arguments it was made of
        return Exception.__new__, (type(self), *self.args), vars(self)


@dataclass(frozen=True)
class Preview:
    """The beginning of a table: its columns, which of them are taken for which role, and its first rows as text."""

    columns: list[str]
    roles: dict[str, str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Report:
    """What became of a table's rows: how many there were, and how many were left out, for each reason."""

    rows: int
    faults: list[Fault]
    below_rating: int
    repeated: int
    outside_core: int


def _names(names: Any) -> tuple[str, ...]:
    """Column names from a list of them, or from text with commas between them. Raises SDiffError."""
    if isinstance(names, str):
        names = names.split(",") if names.strip() else ()
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise SDiffError(f"names must be column names such as user,item,rating, not {brief(names)}.")
    stripped = tuple(name.strip() for name in names)
    if "" in stripped or len({name.lower() for name in stripped}) < len(stripped):
        raise SDiffError(f"names must be different column names, none of them empty, not {brief(','.join(stripped))}.")
    return stripped


PLAIN = Reading()
CELL = 200  # characters of a cell that are shown


def preview(path: Path, layout: Layout, n: int = 6) -> Preview:
    """The first n rows of a table and the roles that its columns are guessed to have. Raises SDiffError as `Table`."""
    with database(path) as con:
        table = Table(con, path, layout)
        roles = {sql: role for role, sql in table.guessed(PAIR).items()}
        with said_of(path):
            cut = ", ".join(f"left({column}, {CELL})" for column in table.columns.values())
            rows = con.execute(f"SELECT {cut} FROM {table.scan} LIMIT ?", [n]).fetchall()
    named = {roles[sql]: name for name, sql in table.columns.items() if sql in roles}
    return Preview(list(table.columns), named, [[text or "" for text in row] for row in rows])


def read_interactions(path: Path, reading: Reading = PLAIN, where: str = "true") -> tuple[Interactions, Report]:
    """Reads columns user, item and optional rating, timestamp (seconds, or a date) from a table file.

    Args:
        where: SQL that says which rows are interactions at all, of the columns by their name; not from users.

    Raises:
        SDiffError: unreadable or empty file, missing columns; rows with empty ids, with ratings or times that are no
            numbers, unless those are to be skipped (FaultyRows); nothing left.
    """
    with database(path) as con:
        table = Table(con, path, reading.layout)
        found = _roles(table, reading, path)
        if reading.min_rating is not None and "rating" not in found:
            raise SDiffError(f"{path} has no column rating for min_rating: its columns are {table.listed}.")
        with said_of(path):
            con.execute(_pairs(table, found, where))
        rows, faults = _faults(con, table)
        if not rows:
            raise SDiffError(f"{path} has no rows.")
        if faults and not reading.skip_faulty:
            raise FaultyRows(path, faults, rows)
        con.execute("DELETE FROM pairs WHERE fault IS NOT NULL OR NOT kept")
        usable = _count(con)
        con.execute("DELETE FROM pairs WHERE rating < ?", [reading.min_rating])
        users, items = _vocabulary(con, "user"), _vocabulary(con, "item")
        columns = con.execute("""
            SELECT users.i AS u, items.i AS i, timestamp FROM pairs JOIN users ON users.id = pairs."user"
            JOIN items ON items.id = pairs.item ORDER BY pairs.rowid""").fetchnumpy()
    user, item = (columns[name].astype(np.int64) for name in ("u", "i"))
    times = columns["timestamp"].astype(np.float64) if "timestamp" in found else None
    whole = Interactions.from_pairs(users, items, user, item, times)
    kept = whole.where(k_core(whole.rows, whole.indices, reading.core)).compact()
    if not len(kept):
        raise SDiffError(f"{path} has no interactions left after its rating and {reading.core}-core filters.")
    return kept, Report(rows, faults, usable - len(user), len(user) - len(whole), len(whole) - len(kept))


def split_of(interactions: Interactions, reading: Reading = PLAIN) -> Split:
    """As `reading` says, else chronological where there are times, and at random with a fixed seed where there are not.

    Raises:
        SDiffError: a chronological split is wanted, and there are no times.
    """
    if reading.split == "chronological" and interactions.timestamps is None:
        raise SDiffError("A chronological split needs a column timestamp.")
    return SPLITS[reading.split or ("random" if interactions.timestamps is None else "chronological")](interactions)


def _roles(table: Table, reading: Reading, path: Path) -> dict[str, str]:
    """SQL of the columns by their role. Raises SDiffError where user or item is missing, or what was named."""
    given = {role: name.strip().lower() for role in PAIR if (name := getattr(reading, role))}
    named = {role: name for role, name in given.items() if name != "-"}
    if absent := [name for name in named.values() if name not in table.columns]:
        raise SDiffError(f"{path} has no column {' and no column '.join(absent)}: its columns are {table.listed}.")
    guessed = {role: sql for role, sql in table.guessed(PAIR).items() if role not in given}
    found = guessed | {role: table.columns[name] for role, name in named.items()}
    if lacking := [role for role in ("user", "item") if role not in found]:
        raise SDiffError(
            f"{path} has no column {' and no column '.join(lacking)}: its columns are {table.listed}. "
            f"Say which to take by ?{'&'.join(f'{role}=COLUMN' for role in lacking)}."
        )
    return found


def _pairs(table: Table, found: dict[str, str], where: str) -> str:
    """SQL that makes the table pairs of user, item, rating, timestamp, and what is wrong with it, if anything.

    Its rowid is the place in the file; row_number() would cost the parallel scan.
    """
    text = {role: f"nullif(trim({found[role]}), '')" if role in found else "NULL" for role in PAIR}
    faults = [f"""WHEN "{role}" IS NULL THEN '{role} is empty'""" for role in ("user", "item")]
    for role, kind in (("rating", "a number"), ("timestamp", "seconds or a date")):
        if role in found:
            said = f"""'{role} is ''' || left(coalesce({role}_text, ''), {LONGEST}) || ''', not {kind}'"""
            faults.append(f"WHEN {role} IS NULL OR NOT isfinite({role}) THEN {said}")
    return f"""
        CREATE TABLE pairs AS
        SELECT "user", item, rating, timestamp, kept, CASE WHEN NOT kept THEN NULL {" ".join(faults)} END AS fault
        FROM (
            SELECT *, TRY_CAST(rating_text AS DOUBLE) AS rating,
                coalesce(TRY_CAST(timestamp_text AS DOUBLE), epoch(TRY_CAST(timestamp_text AS TIMESTAMP))) AS timestamp
            FROM (
                SELECT {text["user"]} AS "user", {text["item"]} AS item, {text["rating"]} AS rating_text,
                    {text["timestamp"]} AS timestamp_text, {where} AS kept
                FROM {table.scan}))"""


def _faults(con: duckdb.DuckDBPyConnection, table: Table) -> tuple[int, list[Fault]]:
    """How many rows the file has, and those that cannot be used."""
    faulty = con.execute("SELECT rowid + 1, fault FROM pairs WHERE fault IS NOT NULL ORDER BY rowid").fetchall()
    faults = table.faults([Fault(row, fault) for row, fault in faulty])
    return _count(con) + len(faults) - len(faulty), faults


def _count(con: duckdb.DuckDBPyConnection) -> int:
    return con.execute("SELECT count(*) FROM pairs").fetchall()[0][0]


def _vocabulary(con: duckdb.DuckDBPyConnection, role: str) -> Vocabulary:
    """Whole numbers in numeric order, other ids after them as text."""
    con.execute(f"""
        CREATE TABLE {role}s AS SELECT id, row_number() OVER (ORDER BY TRY_CAST(id AS HUGEINT), id) - 1 AS i
        FROM (SELECT DISTINCT "{role}" AS id FROM pairs)""")
    return Vocabulary(tuple(id for (id,) in con.execute(f"SELECT id FROM {role}s ORDER BY i").fetchall()))
