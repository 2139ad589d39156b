"""Reads interactions from a table and splits them. Invalid rows are reported by row number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb
import numpy as np

from sdiff.base.errors import SDiffError
from sdiff.data.columns import interaction_columns
from sdiff.data.database import literal, readable_errors
from sdiff.data.ids import mark_invalid_ids
from sdiff.data.interactions import Interactions, Split, Vocabulary, k_core
from sdiff.data.notes import notes_on
from sdiff.data.reading import DEFAULT, SPLITS, Reading
from sdiff.data.report import FaultyRows, Report
from sdiff.data.roles import PAIR, describing
from sdiff.data.tables.faults import TIME, UNREAD_TIME
from sdiff.data.tables.open import open_table
from sdiff.data.tables.table import LONGEST, Table
from sdiff.data.times import Times, find_times, settle

SHOWN = 3  # formats of times quoted in an error
ROUNDED_TIME = r"\d([.,]\d{1,3})?[eE]\+\d+"  # a number as a spreadsheet shows it, with fewer digits than a time has


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
        columns = interaction_columns(table, reading)
        times = _times(table, columns, reading)
        _scan(table, columns, where, times)
        mark_invalid_ids(table, columns)
        seconds, unit = settle(table.con, times) if "timestamp" in columns else ("", "")
        faults = table.faults("pairs", "fault")
        if not faults.rows:
            raise SDiffError(f"{table.name} has no rows.")
        if faults.count and not reading.skip_faulty:
            raise FaultyRows(table.name, faults)
        usable, rated, unfiltered = _interactions(table.con, seconds, reading.min_rating)
        if not usable:
            reason = faults.first[0] if faults.count else "all are left out"
            raise SDiffError(f"{table.name} has no valid rows: {reason}.")
        remaining = unfiltered.where(k_core(unfiltered.rows, unfiltered.indices, reading.core)).compact()
        if not len(remaining):
            raise SDiffError(
                f"{table.name} has no interactions left after the rating and {reading.core}-core filters: lower these "
                "limits."
            )
        names = {sql: name for name, sql in table.columns.items()}
        return remaining, Report(
            faults,
            below_rating=usable - rated,
            repeated=rated - len(unfiltered),
            outside_core=len(unfiltered) - len(remaining),
            columns={role: table.labels[sql] for role, sql in columns.items()},
            times=unit,
            describing=describing([*table.columns], {role: names[sql] for role, sql in columns.items()}),
            notes=notes_on(table, columns, reading.timestamp == "-", unfiltered),
        )


def split_of(interactions: Interactions, reading: Reading = DEFAULT) -> Split:
    """Splits by `reading.split`. By default, chronological if there are timestamps, else random with a fixed seed.

    Raises:
        SDiffError: the split is by time, but there are no timestamps.
    """
    if reading.split not in ("", "random") and interactions.timestamps is None:
        raise SDiffError(f"A {reading.split} split needs a timestamp column: name it, or use split=random.")
    return SPLITS[reading.split or ("random" if interactions.timestamps is None else "chronological")](interactions)


def _times(table: Table, columns: Mapping[str, str], reading: Reading) -> Times:
    """How the timestamps are read. Raises SDiffError if that is not clear."""
    if "timestamp" not in columns:
        return Times()
    times = find_times(table, table.stripped(columns["timestamp"]), reading.timestamp_format.strip(), True)
    if len(times.formats) > 1:
        options = " or ".join(f"timestamp_format={form}" for form in times.formats[:SHOWN])
        raise SDiffError(
            f"{table.name}: the dates in the column {table.labels[columns['timestamp']]} can be read in several ways, "
            f"such as the day or the month first: set {options}."
        )
    return times


def _scan(table: Table, columns: Mapping[str, str], where: str, times: Times) -> None:
    """Creates the table `pairs` of all rows, and again if quotation marks were misread.

    It has user, item, rating, number and date of the time, the fault of a row, if any, and whether it is `broken`: see
    `Table.broken`. Its rowid is the position in the file; row_number() would prevent a parallel scan.
    """
    text = {role: table.stripped(columns[role]) if role in columns else "NULL" for role in PAIR}
    faults, one_line = _faults(table, columns), table.one_line(columns)

    def scan() -> None:
        table.con.execute(f"""
            CREATE OR REPLACE TABLE pairs AS
            SELECT "user", item, rating, number, date, included, broken,
                CASE WHEN NOT included THEN NULL {faults} END AS fault
            FROM (
                SELECT *, {times.date("timestamp_text")} AS date
                FROM (
                    SELECT *, {_number("rating_text")} AS rating, {times.number("timestamp_text")} AS number
                    FROM (
                        SELECT {text["user"]} AS "user", {text["item"]} AS item, {text["rating"]} AS rating_text,
                            {text["timestamp"]} AS timestamp_text, {where} AS included,
                            {table.broken(one_line)} AS broken
                        FROM {table.scan})))""")

    with readable_errors(table.name):
        scan()
        if table.repair_quotes("pairs", one_line):
            scan()


def _faults(table: Table, columns: Mapping[str, str]) -> str:
    """SQL cases of why a row is invalid, except for what `mark_invalid_ids` finds."""
    faults = {f'"{role}" IS NULL': f"'{role} is empty'" for role in ("user", "item")}
    if table.format != "frame":
        header = (f'lower("{role}") = {literal(table.labels[columns[role]].lower())}' for role in ("user", "item"))
        faults[" AND ".join(header)] = "'the header is repeated'"
    if "timestamp" in columns:
        rounded = f"regexp_full_match(timestamp_text, {literal(ROUNDED_TIME)})"
        faults[f"contains(lower(timestamp_text), 'e+') AND {rounded}"] = (
            f"'{TIME} ' || timestamp_text || ', rounded by a spreadsheet'"
        )
    kinds = {
        "rating": ("rating", "rating is", ", not a number"),
        "timestamp": ("coalesce(number, date)", TIME, UNREAD_TIME),
    }
    for role, (value, start, end) in kinds.items():
        if role in columns:
            given = f"left(coalesce({role}_text, ''), {LONGEST})"
            faults[f"{role}_text IS NULL"] = f"'{start} empty{end}'"
            faults[f"{value} IS NULL OR NOT isfinite({value})"] = f"'{start} ''' || {given} || '''{end}'"
    return " ".join(f"WHEN {condition} THEN {reason}" for condition, reason in faults.items())


def _number(text: str) -> str:
    """SQL of a rating: a number, also with a decimal comma, or true or false."""
    comma = f"CASE WHEN regexp_full_match({text}, '-?[0-9]+,[0-9][0-9]?') THEN replace({text}, ',', '.')::DOUBLE END"
    return f"coalesce(TRY_CAST({text} AS DOUBLE), {comma}, TRY_CAST(TRY_CAST({text} AS BOOLEAN) AS DOUBLE))"


def _interactions(
    con: duckdb.DuckDBPyConnection, seconds: str, min_rating: float | None
) -> tuple[int, int, Interactions]:
    """The number of valid rows, the number of those with at least the minimum rating, and the interactions of these.

    Args:
        seconds: SQL of the time of a row of `pairs`; empty without times.
    """
    con.execute("DELETE FROM pairs WHERE fault IS NOT NULL OR NOT included")
    [(usable,)] = con.execute("SELECT count(*) FROM pairs").fetchall()
    con.execute("DELETE FROM pairs WHERE rating < ?", [min_rating])
    users, items = _vocabulary(con, "user"), _vocabulary(con, "item")
    arrays = con.execute(f"""
        SELECT users.i AS u, items.i AS i, {seconds or "NULL::DOUBLE"} AS timestamp
        FROM pairs JOIN users ON users.id = pairs."user" JOIN items ON items.id = pairs.item
        ORDER BY pairs.rowid""").fetchnumpy()
    user, item = (arrays[name].astype(np.int64) for name in ("u", "i"))
    timestamps = arrays["timestamp"].astype(np.float64) if seconds else None
    return usable, len(user), Interactions.from_pairs(users, items, user, item, timestamps)


def _vocabulary(con: duckdb.DuckDBPyConnection, role: str) -> Vocabulary:
    """The ids of a role: whole numbers in numeric order, then other ids in text order."""
    con.execute(f"""
        CREATE TABLE {role}s AS SELECT id, row_number() OVER (ORDER BY TRY_CAST(id AS HUGEINT), id) - 1 AS i
        FROM (SELECT DISTINCT "{role}" AS id FROM pairs)""")
    return Vocabulary(tuple(id for (id,) in con.execute(f"SELECT id FROM {role}s ORDER BY i").fetchall()))
