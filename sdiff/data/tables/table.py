"""A table as text columns in DuckDB. There is a subclass for each format."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import duckdb

from sdiff.base.errors import SDiffError
from sdiff.data.database import identifier, literal
from sdiff.data.roles import recognised
from sdiff.data.tables.dialect import NAMELESS
from sdiff.data.tables.faults import KEPT, Fault, Faults

LONGEST = 40  # maximum length of a name or value in a message, and maximum number of names
COLUMNS = 1000  # maximum per table; each column costs memory, however short the file
SPACES = " \t\n\r\x0b\x0c\u00a0\u2007\u202f\u3000\ufeff"
EXACT = {"FLOAT": 2**24, "DOUBLE": 2**53}  # larger whole numbers may have been rounded, by type of a column


class Table:
    """A table that DuckDB can scan.

    Attributes:
        con: the database that it belongs to.
        name: its path, for messages.
        scan: SQL of the relation with its columns.
        columns: SQL of each column as VARCHAR, by lower-case name without RecBole's type suffix.
        sequences: the columns that are sequences, according to RecBole's type suffix.
        labels: name of each column as in the table, by the SQL in `columns`.
        exact: largest whole number that has not been rounded, by the SQL of columns of floats.
        listed: column names for messages, shortened.
        format: "text", "json", "parquet" or "frame".
        delimiter: between the columns of a text; empty for other formats.
        encoding: of a text or JSON; empty for other formats.
        rows: the first rows of a text; empty for other formats.
        data_as_header: the first row of a text if it seems to be data, although it was read as column names.
        has_header: whether the first row of a text seems to be a header, although columns were named.
        index: names of the index of a data frame, which is no column.
        keeps_quotes: whether quotation marks around values would be part of them, because of a long delimiter.
    """

    format = delimiter = encoding = ""
    rows: Sequence[Sequence[str]] = ()
    data_as_header: Sequence[str] = ()
    index: Sequence[str] = ()
    has_header = keeps_quotes = False

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        name: str,
        scan: str,
        names: Sequence[str],
        types: Mapping[str, str] = {},
    ) -> None:
        """Raises SDiffError if it has duplicate or too many columns.

        Args:
            names: of the columns of `scan`. One that has no name is called by `NAMELESS`.
            types: DuckDB's type of each column; text where there is none.
        """
        self.con, self.name, self.scan, self._types = con, name, scan, types
        if len(names) > COLUMNS:
            raise SDiffError(f"{name} has {len(names):,} columns, but the maximum is {COLUMNS:,}: remove some.")
        named = [column for column in names if not re.fullmatch(NAMELESS, column)]
        short = {column: re.sub(r":(token|float)(_seq)?$", "", column.strip().lower()) for column in named}
        if repeated := [column for column, n in Counter(short[column] for column in named).items() if n > 1]:
            raise SDiffError(f"{name} has more than one column {repeated[0][:LONGEST]!r}: rename or remove one.")
        self.columns = {key: self._as_text(column) for column, key in short.items()}
        self.labels = {self._as_text(column): column.strip() for column in named}
        kinds = {self._as_text(column): types.get(column, "") for column in named}
        self.exact = {column: EXACT[kind] for column, kind in kinds.items() if kind in EXACT}
        self.sequences = {key for column, key in short.items() if column.strip().lower().endswith(":token_seq")}
        self.listed = ", ".join(column[:LONGEST] for column in named[:LONGEST])

    def guessed(self, roles: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
        """SQL of the columns by role. A role gets the first of its names that the table has.

        Names are compared without punctuation: `userid` matches User-ID.
        """
        return {role: self.columns[name] for role, name in recognised([*self.columns], roles).items()}

    def stripped(self, column: str) -> str:
        """SQL of a column's text without blanks around it, NULL if it is empty. Excel's ="007" is the text 007."""
        trimmed = f"trim({column}, {literal(SPACES)})"
        if any(cell.startswith('="') for row in self.rows for cell in row):
            unwrapped = rf"""regexp_replace({trimmed}, '(?s)^="(.*)"$', '\1')"""
            return f"nullif(trim({unwrapped}, {literal(SPACES)}), '')"
        # Looking at the ends takes a tenth of the time of trimming characters other than spaces.
        ends = (f"{end}({column}, 1) BETWEEN '!' AND '~'" for end in ("left", "right"))
        return f"CASE WHEN {' AND '.join(ends)} THEN {column} ELSE nullif({trimmed}, '') END"

    def faults(self, scanned: str, reason: str) -> Faults:
        """The invalid rows, after the whole table has been scanned.

        Args:
            scanned: name of a table with the rows that DuckDB could parse, in order. Those that it rejected are added.
            reason: SQL of why one of its rows is invalid, NULL if it is valid.
        """
        query = f"SELECT rowid, {reason} AS reason FROM {scanned} WHERE reason IS NOT NULL ORDER BY rowid LIMIT {KEPT}"
        found = self.con.execute(query).fetchall()
        [(rows, count)] = self.con.execute(f"SELECT count(*), count({reason}) FROM {scanned}").fetchall()
        rejected = self._rejected()
        numbers = self._row_numbers([position for position, _ in found], rejected)
        invalid = [Fault(number, text) for number, (_, text) in zip(numbers, found, strict=True)]
        every = sorted([*invalid, *rejected], key=lambda fault: fault.row)
        return Faults(rows + len(rejected), count + len(rejected), every[:KEPT])

    def one_line(self, columns: Mapping[str, str]) -> list[str]:
        """SQL of the columns that should not hold line breaks; empty if the table has no quotation marks.

        Args:
            columns: SQL of the columns that will be read, by role.
        """
        return []

    def broken(self, one_line: Sequence[str]) -> str:
        """SQL of whether a row seems to be misread, because of its quotation marks or because it is not valid JSON."""
        return "false"

    def repair_quotes(self, scanned: str, one_line: Sequence[str]) -> bool:
        """Whether quotation marks were misread by a scan. If so, `scan` has been changed and now reads them right.

        Args:
            scanned: name of a table with the rows, and the column `broken`: see `broken`.
            one_line: see `one_line`.
        """
        return False

    def forget_rejected(self) -> None:
        """Forgets the rows that the scans until now have rejected."""

    def proposed_encoding(self) -> str:
        """The likely encoding of a text file whose start is not in the given one, else an empty text."""
        return ""

    def _rejected(self) -> list[Fault]:
        """The rows that DuckDB could not parse. Raises SDiffError if there are more than it records."""
        return []

    def _row_numbers(self, positions: Sequence[int], rejected: Sequence[Fault]) -> Iterable[int]:
        """The numbers of the parsed rows at `positions`, as in `Fault`."""
        return [position + 1 for position in positions]

    def _as_text(self, name: str) -> str:
        """SQL of a column as text: lists and objects as JSON, and bytes as UTF-8 where they are."""
        column, kind = identifier(name), self._types.get(name, "VARCHAR")
        text = f"CAST({column} AS VARCHAR)"
        if kind in EXACT:  # also for whole numbers, if the column has gaps
            return rf"CASE WHEN {column} = 0 THEN '0' ELSE regexp_replace({text}, '\.0$', '') END"
        if kind == "BLOB":
            return f"coalesce(TRY(decode({column})), {text})"
        nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP"))
        return f"CAST(to_json({column}) AS VARCHAR)" if nested else text
