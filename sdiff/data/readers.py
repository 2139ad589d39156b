"""Reads interactions from a table and splits them. Invalid rows are reported by row number."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np

from sdiff.base.errors import SDiffError
from sdiff.data.database import literal, readable_errors
from sdiff.data.faults import Faults
from sdiff.data.interactions import Interactions, Split, Vocabulary, k_core
from sdiff.data.reading import SPLITS, Reading
from sdiff.data.roles import DATE, DIFFERENCES, MISSING, PAIR, describing, recognised, suggested_names
from sdiff.data.tables import LONGEST, Table, open_table
from sdiff.data.times import Times, find_times, settle

SHOWN = 3  # invalid rows quoted in an error
BLANK = r"[\s\x0b\x{85}\p{Z}]+"  # white space of any script
# Lists and objects, but not titles such as [REC] or ids such as {6f9619ff-8b86}.
NESTED = r"""(?s)\[(\s*[-.\d]*\s*|.*[,"'{\[].*)\]|\{\s*\}|\{.*[,:=].*\}|\(\s*['"].*['"],?\s*\)"""
ROUNDED = r"\d([.,]\d+)?[eE]\+\d+"  # a number as a spreadsheet shows it
ROUNDED_TIME = r"\d([.,]\d{1,3})?[eE]\+\d+"  # with fewer digits than a time has
SPACES = " \t\n\r\x0b\x0c\u00a0\u2007\u202f\u3000\ufeff"
BREAK = "has a line break: a quotation mark may be missing"


class FaultyRows(SDiffError):
    """Invalid rows in a table. The other rows can be read with skip_faulty=true.

    Attributes:
        table: its path.
        faults: the invalid rows.
    """

    def __init__(self, table: str, faults: Faults) -> None:
        self.table, self.faults = table, faults
        times, encoding = (
            all(fault.reason.startswith(start) for fault in faults.first) for start in ("timestamp is", "it is not in")
        )
        shown = "; ".join(map(str, faults.first[: 1 if encoding else SHOWN]))
        advice = "Fix them, or skip them with skip_faulty=true."
        if times:
            advice = (
                "Set their format, as in timestamp_format=%d/%m/%Y, fix them, skip them with skip_faulty=true, or "
                "leave out the times with timestamp=-."
            )
        more = "" if encoding or faults.count <= SHOWN else "; and others"
        super().__init__(
            f"{table}: {faults.count:,} of {faults.rows:,} rows are invalid: {shown}{more}."
            + ("" if encoding else f" {advice}")
        )

    def __reduce__(self) -> Any:  # pickle the finished message instead of the arguments of __init__
        return Exception.__new__, (type(self), *self.args), vars(self)


@dataclass(frozen=True)
class Report:
    """Number of rows in a table, its invalid rows, and the numbers of valid rows that were dropped, by reason.

    Attributes:
        faults: the invalid rows, and the number of all rows.
        below_rating: rows below the minimum rating.
        repeated: rows of a pair that occurred earlier.
        outside_core: pairs dropped by the k-core filter.
        in_train: held-out pairs dropped because they are also in an earlier part of a given split.
        columns: name of the column of each role.
        times: the unit or the format of the times.
        describing: name of each column that may describe the items, by role.
        unsplit: pairs dropped by a global split, because their user has none in the training part.
        notes: what may be wrong although it can be read, each a sentence.
    """

    faults: Faults
    below_rating: int = 0
    repeated: int = 0
    outside_core: int = 0
    in_train: int = 0
    columns: dict[str, str] = field(default_factory=dict)
    times: str = ""
    describing: dict[str, str] = field(default_factory=dict)
    unsplit: int = 0
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Number of rows, also of those that were not used."""
        return self.faults.rows


DEFAULT = Reading()
SAMPLED = 100  # rows in which dates are looked for
SAME = 0.05  # share of ids that may differ only in their spelling, without a note


def read_interactions(path: Any, reading: Reading = DEFAULT, where: str = "true") -> tuple[Interactions, Report]:
    """Reads the columns user and item, and optionally rating and timestamp, from a table.

    Args:
        path: of a file, or a data frame: see `open_table`.
        where: SQL condition on the table's columns; other rows are ignored. Must not come from users.

    Raises:
        SDiffError: the file is empty or unreadable, a column is missing, the format of the times is ambiguous, or no
            interactions are left.
        FaultyRows: rows have empty ids or unusable ratings or timestamps, and `skip_faulty` is off.
    """
    with open_table(path, reading.layout) as table:
        con, columns = table.con, _roles(table, reading)
        one_line = table.one_line(columns)
        if reading.min_rating is None:
            columns.pop("rating", None)
        elif "rating" not in columns:
            raise SDiffError(f"{table.name} has no column rating for min_rating: its columns are {table.listed}.")
        times = _times(table, columns, reading)
        with readable_errors(table.name):
            _scan(table, columns, where, times, one_line)
            if table.misquoted("pairs", one_line):
                _scan(table, columns, where, times, one_line)
        if _count(con, "odd"):
            for role in ("item", "user"):
                con.execute(f"""
                    UPDATE pairs SET fault = '{role} ' || reason FROM odd
                    WHERE role = '{role}' AND id = "{role}" AND included""")
        seconds, unit = settle(con, times) if "timestamp" in columns else ("NULL::DOUBLE", "")
        faults = table.faults("pairs", "fault")
        if not faults.rows:
            raise SDiffError(f"{table.name} has no rows.")
        if faults.count and not reading.skip_faulty:
            raise FaultyRows(table.name, faults)
        con.execute("DELETE FROM pairs WHERE fault IS NOT NULL OR NOT included")
        usable = _count(con)
        con.execute("DELETE FROM pairs WHERE rating < ?", [reading.min_rating])
        users, items = _vocabulary(con, "user"), _vocabulary(con, "item")
        arrays = con.execute(f"""
            SELECT users.i AS u, items.i AS i, {seconds} AS timestamp FROM pairs JOIN users ON users.id = pairs."user"
            JOIN items ON items.id = pairs.item ORDER BY pairs.rowid""").fetchnumpy()
        labels = {role: table.labels[sql] for role, sql in columns.items()}
        names = {sql: name for name, sql in table.columns.items()}
        others = describing(table.columns, {role: names[sql] for role, sql in columns.items()})
        notes = [] if "timestamp" in columns or reading.timestamp else _unused_dates(table, columns)
        notes += [note for role, ids in (("users", users), ("items", items)) if (note := _spellings(role, ids))]
    user, item = (arrays[name].astype(np.int64) for name in ("u", "i"))
    timestamps = arrays["timestamp"].astype(np.float64) if "timestamp" in columns else None
    unfiltered = Interactions.from_pairs(users, items, user, item, timestamps)
    remaining = unfiltered.where(k_core(unfiltered.rows, unfiltered.indices, reading.core)).compact()
    if not usable:
        raise SDiffError(f"{table.name} has no valid rows: {faults.first[0] if faults.count else 'all are left out'}.")
    if not len(remaining):
        raise SDiffError(
            f"{table.name} has no interactions left after the rating and {reading.core}-core filters: lower these "
            "limits."
        )
    dropped = usable - len(user), len(user) - len(unfiltered), len(unfiltered) - len(remaining)
    return remaining, Report(faults, *dropped, columns=labels, times=unit, describing=others, notes=tuple(notes))


def _unused_dates(table: Table, columns: dict[str, str]) -> list[str]:
    """A note of each column that seems to hold dates, which are not used because its name is not known."""
    others = [sql for sql in table.labels if sql not in columns.values()]
    if not others:
        return []
    rows = table.con.execute(f"SELECT {', '.join(others)} FROM {table.scan} LIMIT {SAMPLED}").fetchall()
    found = [
        table.labels[sql]
        for sql, values in zip(others, zip(*rows, strict=True), strict=True)
        if (given := [value for value in values if value]) and all(re.fullmatch(DATE, value) for value in given)
    ]
    return [
        f"{name} seems to hold dates, which are not used: if they are the times, set timestamp={name}."
        for name in found
    ]


def _spellings(role: str, ids: Vocabulary) -> str:
    """A note if many ids differ from another one only in their spelling; empty otherwise."""
    if all(id.isdigit() and id[0] != "0" for id in ids.ids):  # the usual case, and fast
        return ""
    for name, plain in DIFFERENCES.items():
        same = len(ids) - len({*map(plain, ids.ids)})
        if same > SAME * len(ids):
            return f"{same:,} of the {len(ids):,} {role} differ from another one only by {name}: they may be the same."
    return ""


def split_of(interactions: Interactions, reading: Reading = DEFAULT) -> Split:
    """Splits by `reading.split`. By default, chronological if there are timestamps, else random with a fixed seed.

    Raises:
        SDiffError: the split is by time, but there are no timestamps.
    """
    if reading.split not in ("", "random") and interactions.timestamps is None:
        raise SDiffError(f"A {reading.split} split needs a timestamp column: name it, or use split=random.")
    return SPLITS[reading.split or ("random" if interactions.timestamps is None else "chronological")](interactions)


def _roles(table: Table, reading: Reading) -> dict[str, str]:
    """SQL of the columns by role. Raises SDiffError if user, item or a named column is missing."""
    chosen = {role: name.strip().lower() for role in PAIR if (name := getattr(reading, role))}
    named = {role: name for role, name in chosen.items() if name != "-"}
    if absent := [name for name in named.values() if name not in table.columns]:
        raise SDiffError(
            f"{table.name} has no column {' and no column '.join(absent)}: its columns are {table.listed}."
        )
    if shared := [name for name, n in Counter(named.values()).items() if n > 1]:
        raise SDiffError(f"The column {shared[0]} has more than one role: name another column for one of them.")
    columns = {role: table.columns[name] for role, name in named.items()}
    guessed = {role: sql for role, sql in table.guessed(PAIR).items() if role not in chosen}
    columns = {role: sql for role, sql in guessed.items() if sql not in columns.values()} | columns
    if lists := [role for role in ("user", "item") if columns.get(role) in map(table.columns.get, table.sequences)]:
        raise SDiffError(
            f"The column {table.labels[columns[lists[0]]]} of {table.name} holds lists: write one row for each "
            f"{lists[0]}."
        )
    if reading.names and (
        {"user", "item"} <= recognised(table.rows[0] if table.rows else []).keys() or table.has_header
    ):
        raise SDiffError(
            f"{table.name} has a header, {', '.join(table.rows[0])[:200]}: leave out names, and choose columns by "
            "user=COLUMN&item=COLUMN."
        )
    if lacking := [role for role in ("user", "item") if role not in columns]:
        if first := table.data_as_header:
            raise SDiffError(
                f"{table.name} seems to have no header, because its first row is {', '.join(first)[:200]}: name the "
                f"columns, such as ?names={','.join(suggested_names([first, *table.rows]))}."
            )
        if encoding := table.proposed_encoding():
            raise SDiffError(
                f"{table.name} is not in UTF-8, so its columns' names cannot be read: set encoding={encoding}."
            )
        hint = f"Name them in the options, such as ?{'&'.join(f'{role}=COLUMN' for role in lacking)}"
        if table.is_frame:
            hint = f"Rename one, or name it, as in {lacking[0]}='COLUMN'."
        elif table.written[0] != "text":
            hint += "."
        elif len(table.columns) == 1:
            hint = "If its columns are separated by another character, name it, such as ?delimiter=~."
        else:
            hint += ", or all columns with names= if the file has no header."
        raise SDiffError(
            f"{table.name} has no column {' and no column '.join(lacking)}: its columns are {table.listed}. {hint}"
        )
    return columns


def _times(table: Table, columns: dict[str, str], reading: Reading) -> Times:
    """How the timestamps are read. Raises SDiffError if that is not clear."""
    if "timestamp" not in columns:
        return Times()
    times = find_times(table, as_text(columns["timestamp"]), reading.timestamp_format.strip(), True)
    if len(times.formats) > 1:
        options = " or ".join(f"timestamp_format={form}" for form in times.formats[:SHOWN])
        raise SDiffError(
            f"{table.name}: the dates in the column {table.labels[columns['timestamp']]} can be read in several ways, "
            f"such as the day or the month first: set {options}."
        )
    return times


def as_text(column: str) -> str:
    """SQL of a column's text without blanks around it, NULL if it is empty."""
    return f"nullif(trim({column}, {literal(SPACES)}), '')"


def _scan(table: Table, columns: dict[str, str], where: str, times: Times, one_line: list[str]) -> None:
    """Creates the tables `pairs` and `odd`.

    `pairs` has user, item, rating, number and date of the time, the fault of a row, if any, and whether one of the
    columns `one_line` is broken. Its rowid is the position in the file; row_number() would prevent a parallel scan.
    `odd` has the texts that are not ids, and why.
    """
    text = {role: as_text(columns[role]) if role in columns else "NULL" for role in PAIR}
    if any(cell.startswith('="') for row in table.rows for cell in row):  # ="007", with which Excel keeps a text
        text = {role: f"""regexp_replace({sql}, '^="(.*)"$', '\\1')""" for role, sql in text.items()}
    faults = [f"""WHEN "{role}" IS NULL THEN '{role} is empty'""" for role in ("user", "item")]
    if not table.is_frame:
        header = " AND ".join(
            f"""lower("{role}") = {literal(table.labels[columns[role]].lower())}""" for role in ("user", "item")
        )
        faults.append(f"WHEN {header} THEN 'the header is repeated'")
    kinds = {"rating": ("rating", "a number"), "timestamp": ("coalesce(number, date)", "seconds or a date")}
    if "timestamp" in columns:
        rounded = (
            f"contains(lower(timestamp_text), 'e+') AND regexp_full_match(timestamp_text, {literal(ROUNDED_TIME)})"
        )
        faults.append(f"WHEN {rounded} THEN 'timestamp is ' || timestamp_text || ', rounded by a spreadsheet'")
    for role, (value, kind) in kinds.items():
        if role in columns:
            reason = f"""'{role} is ''' || left(coalesce({role}_text, ''), {LONGEST}) || ''', not {kind}'"""
            faults.append(f"WHEN {value} IS NULL OR NOT isfinite({value}) THEN {reason}")
    table.con.execute(f"""
        CREATE OR REPLACE TABLE pairs AS
        SELECT "user", item, rating, number, date, included, broken,
            CASE WHEN NOT included THEN NULL {" ".join(faults)} END AS fault
        FROM (
            SELECT *, {times.date("timestamp_text")} AS date
            FROM (
                SELECT *, {_number("rating_text")} AS rating, {times.number("timestamp_text")} AS number
                FROM (
                    SELECT {text["user"]} AS "user", {text["item"]} AS item, {text["rating"]} AS rating_text,
                        {text["timestamp"]} AS timestamp_text, {where} AS included, {table.broken(one_line)} AS broken
                    FROM {table.scan})))""")
    names = {role: "NULL::VARCHAR" if table.is_frame else literal(table.labels[columns[role]]) for role in columns}
    ids = " UNION ALL ".join(
        f"""SELECT '{role}' AS role, id, {names[role]} AS header,
                {table.exact.get(columns[role], "NULL")}::DOUBLE AS exact
            FROM (SELECT DISTINCT "{role}" AS id FROM pairs WHERE included)"""
        for role in ("user", "item")
    )
    table.con.execute(f"""
        CREATE OR REPLACE TABLE odd AS
        SELECT role, id, CASE
            WHEN id = header THEN 'is the name of the column: the header is repeated'
            WHEN regexp_full_match(id, {literal(BLANK)}) THEN 'is empty'
            WHEN lower(id) IN ({", ".join(map(literal, MISSING))})
                THEN 'is ''' || id || ''', which stands for a missing value'
            WHEN abs(TRY_CAST(id AS DOUBLE)) > exact
                THEN 'is ' || id || ', too large for a column of floats: write ids as text or whole numbers'
            WHEN regexp_full_match(id, {literal(ROUNDED)})
                THEN 'is ' || id || ', rounded by a spreadsheet: export the ids as text'
            WHEN regexp_full_match(id, '[0-9]+[.]0+') AND whole IS NOT NULL
                THEN 'is ' || id || ', but another row has ' || whole || ': write ids the same way'
            WHEN {table.keeps_quotes} AND regexp_full_match(id, '".*"')
                THEN 'is ' || id || ', with its quotation marks: write all ids with them, or none'
            WHEN regexp_full_match(id, '[-=:+]{{2,}}')
                THEN 'is ' || id || ', a line of a drawn table: export the table as CSV'
            WHEN regexp_full_match(id, {literal(NESTED)})
                THEN 'is ''' || left(id, {LONGEST}) || ''', a list or an object: write one row for each pair'
            WHEN contains(id, chr(10)) THEN '{BREAK}' END AS reason
        FROM ({ids}) AS ids
        LEFT JOIN (SELECT role AS of, id AS whole FROM ({ids}))
            ON of = role AND regexp_full_match(id, '[0-9]+[.]0+') AND whole = regexp_replace(id, '[.]0+$', '')
        WHERE reason IS NOT NULL""")


def _number(text: str) -> str:
    """SQL of a rating: a number, also with a decimal comma, or true or false."""
    comma = f"CASE WHEN regexp_full_match({text}, '-?[0-9]+,[0-9][0-9]?') THEN replace({text}, ',', '.')::DOUBLE END"
    return f"coalesce(TRY_CAST({text} AS DOUBLE), {comma}, TRY_CAST(TRY_CAST({text} AS BOOLEAN) AS DOUBLE))"


def _count(con: duckdb.DuckDBPyConnection, table: str = "pairs") -> int:
    return con.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]


def _vocabulary(con: duckdb.DuckDBPyConnection, role: str) -> Vocabulary:
    """The ids of a role: whole numbers in numeric order, then other ids in text order."""
    con.execute(f"""
        CREATE TABLE {role}s AS SELECT id, row_number() OVER (ORDER BY TRY_CAST(id AS HUGEINT), id) - 1 AS i
        FROM (SELECT DISTINCT "{role}" AS id FROM pairs)""")
    return Vocabulary(tuple(id for (id,) in con.execute(f"SELECT id FROM {role}s ORDER BY i").fetchall()))
