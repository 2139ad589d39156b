"""Reads timestamps: seconds or another unit, ISO 8601, and other forms of dates, all as seconds since 1970 in UTC."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product

import duckdb

from sdiff.base.errors import SDiffError, brief
from sdiff.data.database import literal, readable_errors
from sdiff.data.tables.faults import TIME
from sdiff.data.tables.table import Table

UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}  # per second
LARGEST = 1e11  # seconds: the year 5138. Larger numbers are in a smaller unit
# Dates that look like numbers, and the place of the year in them.
DIGITS = {
    **{"%Y": 1e0, "%Y%m": 1e2, "%Y%m%d": 1e4, "%Y%m%d%H": 1e6},
    **{"%Y%m%d%H%M": 1e8, "%Y%m%d%H%M%S": 1e10, "%Y%m%d%H%M%S%g": 1e13},
}
YEARS = (1900, 2100)  # in which dates are expected, unless they are in ISO 8601
DAYS = (
    "%Y-%m-%d",  # not in ISO 8601 with some of the clocks
    *("%Y/%m/%d", "%Y.%m.%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%m.%d.%Y", "%d-%m-%Y", "%m-%d-%Y", "%m %d, %Y"),
    *("%d/%m/%y", "%m/%d/%y", "%y/%m/%d", "%d.%m.%y", "%m.%d.%y", "%y.%m.%d", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d"),
    *("%d %b %Y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y", "%d-%b-%Y", "%d-%b-%y"),
)
CLOCKS = (
    *("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", " %H:%M:%S.%f", " %H:%M:%S %z", "T%H:%M:%S"),
    *(", %H:%M", ", %H:%M:%S", ", %I:%M:%S %p", ", %I:%M %p", " - %H:%M", " %H:%M:%S,%f"),
    *(" %I:%M%p", " %I:%M:%S%p", " %H:%M:%S UTC", "T%H:%M:%S,%f"),
)
WHOLE = (
    *("%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S UTC %Y", "%a %b %d %H:%M:%S GMT %Y", "%a %b %d %H:%M:%S %Y"),
    *("%a, %d %b %Y %H:%M:%S %z", "%a, %d %b %Y %H:%M:%S GMT", "%a, %d %b %Y %H:%M:%S", "%d/%b/%Y:%H:%M:%S %z"),
    *(
        "%a, %b %d, %Y",
        "%A, %B %d, %Y",
        "%Y%m%dT%H%M%S",
        "%Y%m%dT%H%M%SZ",
        "%Y%m%dT%H%M%S%z",
        "%Y%m%d %H:%M:%S",
        "%B %Y",
        "%b %Y",
        "%H:%M:%S %d/%m/%Y",
        "%H:%M %d/%m/%Y",
        "%Y-%m",
        "%m/%Y",
        "%m.%Y",
        "%Y.%m",
    ),
)
MONTHS = r"(0?[1-9]|1[0-2])\.(19|20)\d\d|(19|20)\d\d\.(0[1-9]|1[0-2])"  # which look like numbers
FORMATS = (*(day + clock for day, clock in product(DAYS, CLOCKS)), *WHOLE)
SHEET_DAYS = (25_569, 73_051)  # days that spreadsheets count from 1899-12-30: 1970 to 2099. Few times are so early
TICKS = (630_822_816_000_000_000, 662_380_416_000_000_000)  # .NET's tenths of a microsecond since year 1: 2000 to 2100
SAMPLE, TRIED = 1000, 50  # rows examined, and dates in which formats are tried
# SQL of the seconds of a text in ISO 8601, with an offset or the name of a time zone. DuckDB reads 01/02/20 as year 1,
# and other abbreviations than UTC as zones that they do not usually mean, such as BST as the time of Dhaka.
ABBREVIATION = r".*([^A-Za-z/_][A-Za-z]{{1,5}}|\(.*)"
ISO = (
    "CASE WHEN year(TRY_CAST({0} AS TIMESTAMPTZ)) BETWEEN 1901 AND 2099 AND (NOT regexp_full_match({0}, '"
    + ABBREVIATION
    + "')"
    " OR regexp_full_match({0}, '.*(UTC|GMT|Z)', 'i')) THEN epoch(TRY_CAST({0} AS TIMESTAMPTZ)) END"
)
NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", "": "dates"}


@dataclass(frozen=True)
class Times:
    """How a column of timestamps is read.

    Attributes:
        formats: of the dates, in the notation of strftime, or a unit; several if any of them may be meant. Empty if
            times are in ISO 8601 or numbers.
    """

    formats: tuple[str, ...] = ()

    def number(self, text: str) -> str:
        """SQL of the number in the SQL expression `text`, NULL if it is something else."""
        return f"TRY_CAST({text} AS DOUBLE)" if not self.formats or self.formats[0] in UNITS else "NULL::DOUBLE"

    def date(self, text: str) -> str:
        """SQL of the seconds of the date in the SQL expression `text` if the column `number` is NULL."""
        if not self.formats:
            return f"CASE WHEN number IS NULL THEN {ISO.format(text)} END"
        return "NULL::DOUBLE" if self.formats[0] in UNITS else _seconds(text, self.formats[0])


@dataclass(frozen=True)
class TimeReading:
    """A way to read the times of a table.

    Attributes:
        format: format or unit, as a value of `timestamp_format`; in words if there is none, such as "dates".
        example: a time as it is in the table.
        meaning: that time in UTC, such as "1 February 2020, 10:00"; empty if it cannot be read.
    """

    format: str
    example: str
    meaning: str


def time_readings(table: Table, text: str, chosen: str) -> tuple[TimeReading, ...]:
    """How the first times of a table can be read: in several ways if days and months can be exchanged.

    The example is one that the ways read differently, if there are several.

    Args:
        text: SQL of the times.
        chosen: the format or unit, if it is known.

    Raises:
        SDiffError: `chosen` is not a format.
    """
    con, times = table.con, find_times(table, text, chosen, False)
    with readable_errors(table.name):
        con.execute(f"""
            CREATE OR REPLACE TABLE pairs AS
            SELECT *, {times.date("t")} AS date, true AS included, NULL::VARCHAR AS fault
            FROM (SELECT *, {times.number("t")} AS number FROM ({_sample(table, text)}))""")
    if len(times.formats) > 1:
        ways = {form: _seconds("t", form) for form in times.formats}
    else:
        seconds, name = settle(con, times)
        ways = {name: seconds}
    values = ", ".join(ways.values())
    found = con.execute(f"""
        SELECT t, {values} FROM pairs ORDER BY len(list_distinct([{values}])) DESC, rowid LIMIT 1""").fetchone()
    if found is None:
        return ()
    return tuple(TimeReading(form, found[0], _spoken(time)) for form, time in zip(ways, found[1:], strict=True))


def _spoken(seconds: float | None) -> str:
    """A time in words, without the hour if it is midnight. Empty if it is unknown or beyond the calendar."""
    with suppress(TypeError, ValueError, OverflowError, OSError):
        time = datetime.fromtimestamp(seconds, UTC)  # pyright: ignore[reportArgumentType] (None is suppressed)
        return f"{time.day} {time:%B %Y}" + (f", {time:%H:%M}" if time.hour or time.minute else "")
    return ""


def _sample(table: Table, text: str) -> str:
    """SQL of the first times `t` of a table."""
    return f"SELECT {text} AS t FROM {table.scan} WHERE {text} IS NOT NULL LIMIT {SAMPLE}"


def find_times(table: Table, text: str, chosen: str, whole: bool) -> Times:
    """Finds how the SQL expression `text` of a table is written.

    Numbers and ISO 8601 need no format. Otherwise, the formats that fit most of the first rows are candidates. If
    there are several, and `whole`, the whole column decides.

    Args:
        chosen: the format or unit, if it is known.

    Raises:
        SDiffError: `chosen` is not a format.
    """
    con = table.con
    if chosen in UNITS:
        return Times((chosen,))
    if chosen:
        try:
            con.execute("SELECT try_strptime('', ?)", [chosen])
        except duckdb.Error:
            raise SDiffError(
                f"timestamp_format must be like %d/%m/%Y, or s, ms, us or ns, not {brief(chosen)}."
            ) from None
        return Times((chosen,))
    sample = _sample(table, text)
    read = f"TRY_CAST(t AS DOUBLE) IS NOT NULL OR {ISO.format('t')} IS NOT NULL"
    with readable_errors(table.name):
        known = con.execute(f"SELECT t, {read} FROM ({sample})").fetchall()
        months = bool(known) and all(re.fullmatch(MONTHS, time) for time, _ in known)
        if known and (digits := _digits([time for time, _ in known])):
            return Times(digits)
        foreign = [time for time, read in known if months or not read]
        foreign = foreign[:: max(len(foreign) // TRIED, 1)]  # of all parts of the sample
        if not months and 2 * sum(read for _, read in known) >= len(known):
            return Times()
        formats = tuple(form for form in FORMATS if 2 * sum(_fits(time, form) for time in foreign) > len(foreign))
        if len(formats) > 1:
            rows = f"SELECT {text} AS t FROM {table.scan}" if whole else sample
            formats = _best(con, f"({rows})", formats)
    return Times(formats)


def _digits(times: list[str]) -> tuple[str, ...]:
    """The formats of times that are six or eight digits and no numbers: days before years, or years of two digits.

    A few may be no dates; they are invalid rows.
    """
    widths = {*map(len, times)}
    forms = {8: ("%Y%m%d", "%d%m%Y", "%m%d%Y"), 6: ("%Y%m", "%y%m%d")}.get(max(widths), ())
    if not (widths in ({6}, {8}, {7, 8}) and all(map(str.isdigit, times))):
        return ()
    padded = [time.zfill(max(widths)) for time in times]  # a spreadsheet leaves out the zero of 1022020
    fitting = tuple(form for form in forms if 10 * sum(_fits(time, form) for time in padded) >= 9 * len(times))
    return () if fitting[:1] == ("%Y%m%d",) or fitting == ("%Y%m",) else fitting


def _fits(text: str, form: str) -> bool:
    with suppress(ValueError):
        return YEARS[0] <= datetime.strptime(text, form).year <= YEARS[1]
    return False


def _best(con: duckdb.DuckDBPyConnection, rows: str, formats: tuple[str, ...]) -> tuple[str, ...]:
    """The formats that fit the most rows, and give no future dates. Of those that read all rows alike, the first."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).timestamp()  # it is a day later in some time zones
    counts = ", ".join(f"count({_seconds('t', form)}), coalesce(max({_seconds('t', form)}), 0)" for form in formats)
    [found] = con.execute(f"SELECT {counts} FROM {rows}").fetchall()
    last = {form: last for form, n, last in zip(formats, found[::2], found[1::2], strict=True) if n == max(found[::2])}
    best = tuple(form for form, time in last.items() if time <= tomorrow) or tuple(last)
    differs = ", ".join(f"bool_or({_seconds('t', best[0])} <> {_seconds('t', form)})" for form in best)
    [differing] = con.execute(f"SELECT {differs} FROM {rows}").fetchall()
    return best[:1] + tuple(form for form, other in zip(best, differing, strict=True) if other)


def settle(con: duckdb.DuckDBPyConnection, times: Times) -> tuple[str, str]:
    """Decides what the numbers in the table `pairs` mean, and marks the rows where they mean something else as faulty.

    The columns `number` and `date` (seconds) hold what was read from each row.

    Returns:
        SQL of the seconds, and the unit or format of the times.
    """
    if times.formats:
        form = times.formats[0]
        return (f"number / {UNITS[form]}" if form in UNITS else "date"), form
    bounds = [f"WHEN abs(number) < {LARGEST * size} THEN '{unit}'" for unit, size in list(UNITS.items())[:-1]]
    kind = f"CASE WHEN number IS NULL THEN '' {' '.join(bounds)} ELSE 'ns' END"
    usable = "included AND fault IS NULL"
    kinds = con.execute(f"""
        SELECT {kind} AS kind, count(*) AS n, min(number), max(number) FROM pairs
        WHERE {usable} AND number IS DISTINCT FROM 0 GROUP BY kind ORDER BY n DESC""").fetchall()
    if not kinds:
        return "number", "s"
    unit, n, least, most = kinds[0]
    seconds, name = (f"number / {UNITS[unit]}", NAMES[unit]) if unit else ("date", NAMES[""])
    if unit == "s" and SHEET_DAYS[0] <= least and most < SHEET_DAYS[1]:
        seconds, name = f"(number - {SHEET_DAYS[0]}) * 86400", "days of a spreadsheet"
    if unit == "ns" and TICKS[0] <= least and most < TICKS[1]:
        seconds, name = "number / 1e7 - 62135596800", "ticks of .NET"
    for form, place in DIGITS.items():
        if unit and YEARS[0] * place <= least and most < (YEARS[1] + 1) * place:
            digits = _seconds("CAST(CASE WHEN number = floor(number) THEN number::BIGINT END AS VARCHAR)", form)
            matching = f"SELECT count({digits}) FROM pairs WHERE {usable} AND {kind} = '{unit}'"
            if con.execute(matching).fetchall()[0][0] == n:
                seconds, name = digits, form
    if len(kinds) > 1 or not seconds.startswith("number"):
        zero = "false" if seconds.startswith("number") else "number = 0"  # 0 is the same in all units
        value = "coalesce(TRY_CAST(number AS DECIMAL(38, 0))::VARCHAR, number::VARCHAR)"
        con.execute(f"""
            UPDATE pairs SET fault = '{TIME} ' || CASE WHEN number IS NULL THEN 'a date'
                ELSE 'the number ' || {value} END || ', but most are {name}'
            WHERE {usable} AND ({zero} OR number IS DISTINCT FROM 0 AND {kind} <> '{unit}')""")
    return seconds, name


def _seconds(text: str, form: str) -> str:
    """SQL of the seconds of a text in a format, NULL if it has another."""
    if form in ("%d%m%Y", "%m%d%Y"):
        text = f"CASE WHEN len({text}) = 7 THEN '0' || {text} ELSE {text} END"
    time = f"try_strptime({text}, {literal(form)})"
    return f"CASE WHEN year({time}) BETWEEN {YEARS[0]} AND {YEARS[1]} THEN epoch({time}) END"
