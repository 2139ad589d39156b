"""The first rows of a table, and how it is understood, before it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sdiff.data.database import readable_errors
from sdiff.data.reading import DEFAULT, Reading
from sdiff.data.roles import PAIR, suggested_names
from sdiff.data.tables.open import open_table
from sdiff.data.times import TimeReading, time_readings

CELL, ROWS = 200, 6  # maximum length of a cell, and maximum number of rows, in a preview


@dataclass(frozen=True)
class Preview:
    """The start of a table, and how it is understood.

    Attributes:
        columns: names of all columns.
        roles: the column of each role: the named or else the guessed one.
        rows: the first rows as text.
        format: "text", "json" or "parquet".
        delimiter: of the columns of a text; several blanks or tabs may count as one. Empty for other formats.
        encoding: of a text or JSON; empty for Parquet.
        proposed_encoding: the likely encoding, if the file is not in `encoding`.
        names: suggested names of the columns, if the file seems to have no header.
        times: the ways in which the times can be read, if no format is given. If there are several, name one.
        time: how they are read; None if there are none, or if a format must be named.
    """

    columns: list[str]
    roles: dict[str, str]
    rows: list[list[str]]
    format: str
    delimiter: str = ""
    encoding: str = ""
    proposed_encoding: str = ""
    names: tuple[str, ...] = ()
    times: tuple[TimeReading, ...] = ()
    time: TimeReading | None = None


def preview(path: Any, reading: Reading = DEFAULT) -> Preview:
    """The first rows of a table, and how it is understood. Named columns that it does not have are ignored.

    Raises:
        SDiffError: like `open_table`, or `timestamp_format` is invalid.
    """
    with open_table(path, reading.layout, start=True) as table:
        named = {role: getattr(reading, role).strip().lower() for role in PAIR}
        columns = {role: sql for role, sql in table.guessed(PAIR).items() if named[role] != "-"}
        columns |= {role: table.columns[name] for role, name in named.items() if name in table.columns}
        names = {sql: name for name, sql in table.columns.items()}
        with readable_errors(table.name):
            cells = ", ".join(f"left({column}, {CELL})" for column in table.columns.values())
            rows = table.con.execute(f"SELECT {cells} FROM {table.scan} LIMIT ?", [ROWS]).fetchall()
        times: tuple[TimeReading, ...] = ()
        chosen = ()
        if "timestamp" in columns:
            text, form = table.stripped(columns["timestamp"]), reading.timestamp_format.strip()
            chosen = times = time_readings(table, text, "")
            if form:
                chosen = [time for time in times if time.format == form] or time_readings(table, text, form)
        return Preview(
            list(table.columns),
            {role: names[sql] for role, sql in columns.items()},
            [[text or "" for text in row] for row in rows],
            table.format,
            table.delimiter,
            table.encoding,
            table.proposed_encoding(),
            suggested_names([*map(list, [table.data_as_header, *table.rows])]) if table.data_as_header else (),
            times,
            chosen[0] if len(chosen) == 1 else None,
        )
