"""Finds how a delimited text file is written: the delimiter, the quotation marks and the columns."""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import compress, islice, pairwise
from typing import Any

from sdiff.data.roles import recognised

DELIMITERS = (",", "\t", ";", "|", "::")
UNQUOTED = {"\t", "|", "::"}  # usually without quotation marks
TABS = {".tsv", ".inter", ".item", ".user"}  # the last three are RecBole's file types
SAMPLE = 100  # lines examined
SPAN = 1000  # maximum number of lines in a quoted value
# Empty lines, a line that names the delimiter as Excel writes it, and comments, before the first line of the table.
START = r"(?:\s*\n)?(?:sep=(.)\n(?=\s*\S))?(?:\s*\n|[%#](?:[^\S\n].*)?\n(?=\s*\S))*"
NAMELESS = r" \d*"  # pattern of the internal name of a column without a name
OPEN, WRONG = ["open"], ["wrong"]  # in place of rows whose quotation marks do not match


@dataclass(frozen=True)
class Layout:
    """Format of a table file. Empty fields are detected."""

    names: tuple[str, ...] = ()  # of the columns, if the file has no header
    delimiter: str = ""
    encoding: str = ""
    prefix: str = ""  # of the names of these options in messages


@dataclass(frozen=True)
class Dialect:
    """How a delimited text file is written.

    Attributes:
        names: of the columns. One that has no name is called by `NAMELESS`.
        skip: number of lines before the header or the first row.
        header: the values of the header; empty if there is none, or if it is a comment.
        delimiter: between the columns. If `runs`, several of them count as one.
        quote: quotation mark, or "" if there are none.
        escape: precedes a quotation mark inside a quoted value.
        rows: the first rows after the header.
    """

    names: tuple[str, ...]
    skip: int
    header: list[str]
    delimiter: str
    runs: bool
    quote: str
    escape: str
    rows: list[list[str]]

    @classmethod
    def of(cls, text: str, suffix: str, layout: Layout) -> Dialect:
        """Examines the start of a file, with \\n at the end of a line. `suffix` is that of its name."""
        start = re.match(START, text)
        assert start
        every = [line for line in text[start.end() :].split("\n") if line.strip()]
        if len(every) > 1 and not text.endswith("\n"):
            every = every[:-1]  # maybe cut
        lines = every[:SAMPLE]
        delimiter = layout.delimiter or start[1] or _delimiter(lines, suffix, len(layout.names))
        runs = delimiter in " \t" and _has_runs(lines, delimiter)
        quote = "" if delimiter in UNQUOTED and not _is_quoted(every, delimiter) else '"'
        if len(delimiter) > 1:
            quote = '"' if _encloses(lines, delimiter) else ""
        if all(re.fullmatch("'.*'", cell) for line in every for cell in line.split(delimiter)):
            quote = "'"
        inside = rf'\\"(?!"|{re.escape(delimiter)}|$)'  # a mark that does not end a value, and is not doubled
        escape = "\\" if quote and any(re.search(inside, line) for line in every) else quote
        made = cls(layout.names, text[: start.end()].count("\n"), [], delimiter, runs, quote, escape, [])
        rows = [made.cells(line) for line in lines]
        if layout.names:
            return replace(made, header=rows[0], rows=rows[1:]) if _counts(rows) else replace(made, rows=rows)
        comment = re.search(r"^#[^\S\n]+(\S.*?)\s*\Z", start[0], re.MULTILINE)
        names = made.cells(comment[1]) if comment else []
        headed = {"user", "item"} <= recognised(rows[0]).keys()
        if len(names) == len(rows[0]) > 1 and not (headed or any(map(is_value, names))):
            return replace(made, names=_names(names, rows), rows=rows)
        return replace(made, names=_names(rows[0], rows[1:]), header=rows[0], rows=rows[1:])

    @property
    def first_row(self) -> int:
        """The number of the first row after the header."""
        return self.skip + bool(self.header) + 1

    def blank_rows(self, lines: Iterable[str], rest: int) -> list[int]:
        """The numbers of the blank rows after the header, as in a spreadsheet: a row may have several lines.

        Args:
            lines: of the whole file, as DuckDB reads it.
            rest: number of other rows after which no blank ones are needed.
        """
        blank, number, row = [], 0, ""
        for line in lines:
            if not row:
                number += 1
                if number >= self.first_row and line == "\n":
                    blank.append(number)
                elif number >= self.first_row and not (rest := rest - 1):
                    break
            if self.quote and (row or self.quote in line):
                row += line
                if self._row(row) is not OPEN or row.count("\n") > SPAN:
                    row = ""
        return blank

    @property
    def header_is_data(self) -> bool:
        """Whether the header seems to be a row: it has numbers or dates, also where all of the next rows have them."""
        columns = [[row[n] for row in self.rows if len(row) > n] for n in range(len(self.header))]
        values = [bool(column) and all(map(is_value, column)) for column in columns]
        return any(map(is_value, self.header)) and all(map(is_value, compress(self.header, values)))

    @property
    def first_is_header(self) -> bool:
        """Whether the first of `rows` seems to be a header: only it has no value in some columns."""
        first, *others = self.rows or [[]]
        columns = [[row[n] for row in others if len(row) > n] for n in range(len(first))]
        return (
            not any(map(is_value, first)) and sum(bool(column) and all(map(is_value, column)) for column in columns) > 1
        )

    def cells(self, line: str) -> list[str]:
        """The values of a line."""
        if self.rewritten:
            line = self._rewritten(line)
        if len(self.separator) > 1:
            return line.split(self.delimiter)
        try:
            return next(csv.reader([line], **self._csv()))
        except csv.Error:  # too long a value
            return line.split(self.separator)

    @property
    def rewritten(self) -> bool:
        """Whether lines are rewritten before they are scanned: see `plain`."""
        return self.runs or self.separator != self.delimiter

    @property
    def separator(self) -> str:
        """The delimiter in the lines of `plain`: one character if values are in quotation marks, to check these."""
        return "\x1f" if self.quote and len(self.delimiter) > 1 else self.delimiter

    def plain(self, lines: Iterable[str]) -> Iterator[str]:
        """The lines with one `separator` between columns."""
        return (self._rewritten(line) + "\n" for line in lines) if self.rewritten else iter(lines)

    def _rewritten(self, line: str) -> str:
        if self.runs:
            return re.sub(r"\s+" if self.delimiter == " " else "\t+", self.delimiter, line.strip())
        quoted = f"({self.quote}[^{self.quote}]*{self.quote})"
        parts = re.split(quoted, line.rstrip("\n"))  # every other one is in quotation marks
        return "".join(part if n % 2 else part.replace(self.delimiter, self.separator) for n, part in enumerate(parts))

    def recovered(self, lines: Iterator[str], one_line: set[int], faulty: list[int]) -> Iterator[str]:
        """The lines, with one that DuckDB rejects in place of each line whose quotation marks do not match.

        A quoted value may continue on the following lines. If it does not end there, or if the row then has the wrong
        number of columns, only the line where it starts is faulty, and reading continues on the next one.

        Args:
            lines: with \\n at their ends.
            one_line: indices of the columns whose values have no line breaks.
            faulty: receives the numbers of the faulty rows, from 1. A row may have several lines.
        """
        ahead: deque[str] = deque()
        number = 0
        while line := ahead.popleft() if ahead else next(lines, ""):
            number += 1
            row, extent = self._row(line), 0
            while row is OPEN and extent < SPAN:
                if extent == len(ahead):
                    ahead.extend(islice(lines, 1))
                if extent == len(ahead):
                    break
                extent += 1
                if self.quote in ahead[extent - 1]:
                    row = self._row(line + "".join(islice(ahead, extent)))
            if extent and (len(row) != len(self.names) or self._swallows(row, islice(ahead, extent), one_line)):
                row = WRONG
            if row is OPEN or row is WRONG:
                faulty.append(number)
                yield self.separator * len(self.names) + "x\n"  # too many values
            else:
                yield line
                yield from (ahead.popleft() for _ in range(extent))

    def _swallows(self, row: list[str], more: Iterable[str], one_line: set[int]) -> bool:
        """Whether a row of several lines is several rows: a column `one_line` has a line break, or all lines but the
        first, `more`, have as many values as the row, and ones of the same form in these columns."""
        if any("\n" in row[column] for column in one_line):
            return True
        own = [_form(row[column]) for column in one_line]
        lines = [self.cells(line.rstrip("\n").replace(self.quote, "")) for line in more]
        return all(len(line) == len(row) and [_form(line[column]) for column in one_line] == own for line in lines)

    def _row(self, text: str) -> list[str]:
        """The values of a row of one or more lines: OPEN if a quotation mark is not closed, WRONG if misplaced."""
        if self.quote not in text:
            return []
        try:
            return next(csv.reader([text], strict=True, **self._csv()))
        except csv.Error as error:
            return OPEN if "unexpected end of data" in str(error) else WRONG

    def _csv(self) -> dict[str, Any]:
        """Options of `csv.reader`."""
        if not self.quote:
            return {"delimiter": self.separator, "quoting": csv.QUOTE_NONE}
        escape = {} if self.escape == self.quote else {"doublequote": False, "escapechar": self.escape}
        return {"delimiter": self.separator, "quotechar": self.quote, **escape}


def _delimiter(lines: list[str], suffix: str, width: int) -> str:
    """The delimiter of a file: it is as often in all lines, or else the most frequent one of the first line.

    `width` is the number of columns, if it is known.
    """
    first, *others = (re.sub('"[^"]*"', "x", line) for line in lines)
    if suffix in TABS and "\t" in first:
        return "\t"
    present = [delimiter for delimiter in DELIMITERS if delimiter in first]
    steady = [one for one in present if all(line.count(one) == first.count(one) for line in others)]
    fitting = [one for one in steady if first.count(one) == width - 1]
    # Not by frequency alone: genres may be separated by more marks than columns. "::" has two marks.
    ranked = fitting or steady or present
    best = max(ranked, key=lambda delimiter: len(delimiter) * first.count(delimiter), default=" ")
    return best if best in first.strip() else ","


def _has_runs(lines: list[str], delimiter: str) -> bool:
    """Whether the columns are aligned, with several delimiters between them. Tabs may also enclose empty values."""
    plain = {len(line.split(delimiter)) for line in lines}
    if plain != {1} and all(not any(line.split(delimiter)[1::2]) for line in lines):
        return True
    if len(plain) == 1 and (delimiter == "\t" or not any("  " in line or line != line.strip() for line in lines)):
        return False
    aligned = {len(re.split(r"\s+" if delimiter == " " else "\t+", line.strip())) for line in lines}
    return len(aligned) == 1 and aligned != {1}


def _is_quoted(lines: list[str], delimiter: str) -> bool:
    """Whether quotation marks enclose values rather than belong to them: all of a column, or those that need them.

    Rows with a value that goes on after its quotation marks speak against it.
    """
    if len(delimiter) > 1:
        return False
    rows, against = [], 0  # rows with their quotation marks, and without them
    for line in lines[1:]:
        try:
            rows.append((line.split(delimiter), next(csv.reader([line], delimiter=delimiter, strict=True))))
        except csv.Error as error:
            against += "expected after" in str(error)  # others may continue on the next line
    if not rows:
        return False
    [(width, _)] = Counter(len(values) for _, values in rows).most_common(1)
    needed = sum(
        len(cells) != len(values) == width or any({*cell[1:-1]} & {*',;"\t'} for cell in cells if cell.startswith('"'))
        for cells, values in rows
    )
    columns = zip(*(cells for cells, _ in rows if len(cells) == width), strict=True)
    return needed > against or any(all(cell.startswith('"') for cell in column) for column in columns)


def _encloses(lines: list[str], delimiter: str) -> bool:
    """Whether all values of a column are in quotation marks."""
    columns = zip(*(line.split(delimiter) for line in lines[1:]), strict=False)
    return any(all(re.fullmatch('".*"', cell) for cell in column) for column in columns)


def _names(header: list[str], rows: list[list[str]]) -> tuple[str, ...]:
    """The names of the columns of `rows`. Row names and the ends of lines may be columns that the header leaves out."""
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else len(header)
    if width == len(header) + 1:
        if all(row[-1] == "" for row in rows if len(row) == width):
            header = [*header, ""]
        elif all(len(row) == width for row in rows) and _numbers_rows([row[0] for row in rows]):
            header = ["", *header]  # as written by R and pandas
    elif width == len(header) - 1 and header[-1] == "":
        header = header[:-1]
    names = [name.strip() or f" {n}" for n, name in enumerate(header)]
    if any(map(is_value, names)):  # no header: equal values need different names
        names = [name if name not in names[:n] else f"{name} ({n + 1})" for n, name in enumerate(names)]
    return tuple(names)


def _counts(rows: list[list[str]]) -> bool:
    """Whether the first row numbers the columns, as the header of a data frame without names does.

    The values below one of these numbers are longer, unlike ratings.
    """
    first, *others = rows
    longer = any(all(len(row[n]) > 2 for row in others if len(row) > n) for n in range(2, len(first)))
    return len(first) > 2 and first == [*map(str, range(len(first)))] and longer and bool(others)


def _numbers_rows(values: list[str]) -> bool:
    """Whether values are ascending whole numbers, maybe with gaps where rows were taken out."""
    numbers = [int(value) for value in values if re.fullmatch(r"\d{1,15}", value)]
    return len(numbers) == len(values) and all(a < b for a, b in pairwise(numbers))


def _form(text: str) -> str:
    """The kinds of characters in a text, such as "9a" for 17x."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", text.strip()))


def is_value(text: str) -> bool:
    """Whether a text in the place of a column name seems to be a number or a date."""
    return re.fullmatch(r"[+-]?\d+([.,]\d+)*|\d{4}-\d\d-\d\d.*", text) is not None
