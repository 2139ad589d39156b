"""Delimited text files, such as CSV: rows that DuckDB rejects, and quotation marks that were misread."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb

from sdiff.base.errors import SDiffError
from sdiff.data.database import literal
from sdiff.data.roles import METADATA, PAIR, recognised
from sdiff.data.tables.dialect import Dialect, Layout
from sdiff.data.tables.faults import FORGET, QUOTES, REJECTED, REJECTS, Fault, rejection, row_numbers
from sdiff.data.tables.files import TableFiles, opened, write
from sdiff.data.tables.quotes import need_quotes, swallow_rows
from sdiff.data.tables.table import Table


class TextTable(Table):
    """A table in delimited text."""

    format = "text"

    def __init__(
        self, con: duckdb.DuckDBPyConnection, name: str, files: TableFiles, layout: Layout, copy: Path, start: bool
    ) -> None:
        """Raises SDiffError if it has duplicate or too many columns, or cannot be decoded.

        Args:
            copy: path of a file that may be written, and scanned in place of `files`.
            start: only the first rows are needed.
        """
        made = Dialect.of(files.text, files.suffix, layout)
        self._files, self._layout, self._copy, self._dialect = files, layout, copy, made
        self._unclosed: set[int] = set()  # numbers of rows with a quotation mark that is not closed
        self.delimiter, self.encoding, self.rows = made.delimiter, files.encoding, made.rows
        self.data_as_header = made.header if made.header_is_data else []
        self.has_header = made.first_is_header
        self.keeps_quotes = len(made.separator) > 1
        if start:
            write(copy, made.plain(files.first_lines()))
            scan = self._scan_of(copy)
        else:
            scan = self._scan_of_all()
        super().__init__(con, name, scan, made.names)

    def one_line(self, columns: Mapping[str, str]) -> list[str]:
        """SQL of the columns that should not hold line breaks. One in them suggests a missing quotation mark.

        These are `columns`, by role, and others with usual names, except descriptions that are not ids.
        """
        if self.keeps_quotes:
            return []
        ids = {columns.get("user"), columns.get("item")}
        named = {*columns.values(), *self.guessed(PAIR).values(), *self.guessed(METADATA).values()}
        free = {column for column, label in self.labels.items() if "description" in label.lower()} - ids
        return [column for column in self.labels if column in named - free]

    def broken(self, one_line: Sequence[str]) -> str:
        """SQL of whether quotation marks of a row seem to be misread: see `sdiff.data.tables.quotes`."""
        if not one_line:
            return "false"
        if not self._dialect.quote:
            return need_quotes(one_line)
        return swallow_rows([*self.labels], one_line, self._dialect.separator)

    def repair_quotes(self, scanned: str, one_line: Sequence[str]) -> bool:
        """Reads again with quotation marks if values need them, or without the rows where one is not closed."""
        made = self._dialect
        if not one_line:
            return False
        if not made.quote:
            query = f"SELECT bool_or(broken), bool_or(broken IS NULL) FROM {scanned}"
            if self.con.execute(query).fetchall() != [(True, False)]:
                return False
            self.forget_rejected()
            self._dialect = replace(made, quote='"', escape='"')
            self.scan = self._scan_of_all()
            return True
        rejected = "FROM reject_errors WHERE error_type IN ('UNQUOTED VALUE', 'LINE SIZE OVER MAXIMUM')"
        lost = f"SELECT (SELECT count(*) {rejected}) + (SELECT count(*) FROM {scanned} WHERE broken)"
        if self.con.execute(lost).fetchall() == [(0,)]:
            return False
        self.forget_rejected()
        indices = {n for n, name in enumerate(made.names) if self._as_text(name) in one_line}
        faulty: list[int] = []
        write(self._copy, made.recovered(made.plain(self._lines()), indices, faulty))
        self.scan, self._unclosed = self._scan_of(self._copy), {*faulty}
        return True

    def forget_rejected(self) -> None:
        self.con.execute(FORGET)

    def proposed_encoding(self) -> str:
        return self._files.proposal_if_garbled()

    def _scan_of_all(self) -> str:
        """SQL of the scan of all files: of a copy if DuckDB cannot read them as they are."""
        files, made = self._files, self._dialect
        uniform, short = files.survey()
        if files.plain and uniform and not made.rewritten:
            return self._scan_of(files.paths[0], parallel=short and not files.packed)
        write(self._copy, made.plain(self._lines()))
        return self._scan_of(self._copy, parallel=short)

    def _scan_of(self, path: Path, parallel: bool = False) -> str:
        """SQL of the scan of a file. DuckDB's detection is off: invalid rows would mislead it.

        Args:
            parallel: whether the lines are short; DuckDB drops long ones then.
        """
        made, self._scanned = self._dialect, path
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in made.names)
        return (
            f"read_csv({literal(str(path))}, auto_detect = false, columns = {{{columns}}}, "
            f"skip = {made.skip}, header = {bool(made.header)}, "
            f"delim = {literal(made.separator)}, quote = {literal(made.quote)}, escape = {literal(made.escape)}, "
            f"store_rejects = true, rejects_limit = {REJECTS}, parallel = {parallel}, hive_partitioning = false)"
        )

    def _lines(self) -> Iterator[str]:
        """The lines of all files, with the header of the first one only."""
        return self._files.lines(self._repeats_header if self._dialect.header else None)

    def _repeats_header(self, line: str, path: Path) -> bool:
        """Whether the first line of a further file is the header again. Raises SDiffError if it is another header."""
        cells, names = (
            [name.strip().lower() for name in row if name.strip()]
            for row in (self._dialect.cells(line.rstrip("\n")), self._dialect.header)
        )
        if cells != names and (sorted(cells) == sorted(names) or {"user", "item"} <= recognised(cells).keys()):
            raise SDiffError(f"{path} has other columns than the first file, {self._files.paths[0]}: write them alike.")
        return cells == names

    def _rejected(self) -> list[Fault]:
        rejects = self.con.execute(REJECTED).fetchall()
        [(recorded,)] = self.con.execute("SELECT count(*) FROM reject_errors").fetchall()
        self.forget_rejected()
        prefix = self._layout.prefix
        encoding = self._files.advice(prefix) if any(kind == "INVALID ENCODING" for _, kind, _ in rejects) else ""
        reasons = {"INVALID ENCODING": encoding, "UNQUOTED VALUE": QUOTES}
        faults = [
            Fault(row, QUOTES if row in self._unclosed else reasons.get(kind) or rejection(kind, message))
            for row, kind, message in rejects
        ]
        if recorded >= REJECTS:
            raise SDiffError(
                f"{self.name} has more rows that cannot be read than are counted, such as {faults[0]}. Set the right "
                f"{prefix}delimiter or {prefix}encoding, or fix the file."
            )
        return faults

    def _row_numbers(self, positions: Sequence[int], rejected: Sequence[Fault]) -> Sequence[int]:
        """Also counts the rows that DuckDB leaves out: those before the table, the header, rejected and blank ones."""
        if not positions:
            return []
        made = self._dialect
        with opened(self._scanned) as file:
            lines = io.TextIOWrapper(file, "utf-8", errors="surrogateescape")
            blank = made.blank_rows(lines, max(positions) + 1 + len(rejected))
        return row_numbers(positions, made.first_row, sorted([*blank, *(fault.row for fault in rejected)]))
