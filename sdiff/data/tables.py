"""Reads table files (CSV and similar, Parquet, JSON, optionally gzipped) and data frames as text columns in DuckDB."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from sdiff.base.errors import SDiffError, brief
from sdiff.data.database import database, identifier, literal, readable_errors, temporary
from sdiff.data.dialect import NAMELESS, Dialect, Layout
from sdiff.data.faults import FORGET, KEPT, QUOTES, REJECTED, REJECTS, Fault, Faults, rejection
from sdiff.data.json_tables import arrangement, field_paths, is_json
from sdiff.data.quotes import need_quotes, swallow_rows
from sdiff.data.roles import METADATA, PAIR, recognised
from sdiff.data.sources import Source, write

LONGEST = 40  # maximum length of a name or value in a message, and maximum number of names
COLUMNS = 1000  # maximum per table; each column costs memory, however short the file
EXACT = {"FLOAT": 2**24, "DOUBLE": 2**53}  # larger whole numbers may have been rounded, by type of a column
INVALID = " invalid"  # name of an internal column
DETECTED = Layout()


class Table:
    """A table that DuckDB can scan.

    Attributes:
        con: the database that it belongs to.
        name: its path, for messages.
        columns: SQL of each column as VARCHAR, by lower-case name without RecBole's type suffix.
        sequences: the columns that are sequences, according to RecBole's type suffix.
        labels: name of each column as in the table, by the SQL in `columns`.
        exact: largest whole number that has not been rounded, by the SQL of columns of floats.
        scan: SQL of the relation with these columns.
        listed: column names for messages, shortened.
    """

    def __init__(
        self, con: duckdb.DuckDBPyConnection, origin: Source | str, name: str, layout: Layout, copy: Path, start: bool
    ) -> None:
        """Raises SDiffError if the origin is not a table, or has duplicate or too many columns.

        Args:
            origin: files, or the SQL name of a relation.
            copy: path of a file that may be written, and scanned in place of the origin.
            start: only the first rows are needed, not all of a text file.
        """
        self.con, self.name, self._layout, self._copy = con, name, layout, copy
        self._origin, self._dialect, self._unclosed = origin, None, set()
        self._types: dict[str, str] = {}
        self._lines_of_json = False
        with readable_errors(name):
            if isinstance(origin, str):
                self.scan, names = origin, self._described(origin)
            elif origin.parquet:
                files = ", ".join(literal(str(path)) for path in origin.literal_paths(copy))
                options = f"union_by_name = {len(origin.paths) > 1}, hive_partitioning = false"
                self.scan = f"read_parquet([{files}], {options})"
                names = self._described(self.scan)
            elif is_json(origin.text, origin.suffix):
                self.scan, names = self._json(origin, start)
            else:
                self._dialect = Dialect.of(origin.text, origin.suffix, layout)
                names = self._dialect.names
                self.scan = self._csv(*self._prepared(origin, start))
        if len(names) > COLUMNS:
            raise SDiffError(f"{name} has {len(names):,} columns, but the maximum is {COLUMNS:,}: remove some.")
        named = [column for column in names if not re.fullmatch(NAMELESS, column)]
        short = {column: re.sub(r":(token|float)(_seq)?$", "", column.strip().lower()) for column in named}
        if repeated := [column for column, n in Counter(short.values()).items() if n > 1]:
            raise SDiffError(f"{name} has more than one column {repeated[0][:LONGEST]!r}: rename or remove one.")
        self.columns = {key: self._column(column) for column, key in short.items()}
        self.labels = {self._column(column): column.strip() for column in named}
        kinds = {self._column(column): self._types.get(column, "") for column in named}
        self.exact = {column: EXACT[kind] for column, kind in kinds.items() if kind in EXACT}
        self.sequences = {key for column, key in short.items() if column.strip().lower().endswith(":token_seq")}
        self.listed = ", ".join(column[:LONGEST] for column in named[:LONGEST])

    @property
    def is_frame(self) -> bool:
        """Whether it is a data frame, not a file."""
        return isinstance(self._origin, str)

    @property
    def written(self) -> tuple[str, str, str]:
        """Format ("text", "json", "parquet" or "frame"), delimiter and encoding; empty where there is none."""
        if isinstance(self._origin, str):
            return "frame", "", ""
        if self._origin.parquet:
            return "parquet", "", ""
        return (
            ("text", self._dialect.delimiter, self._origin.encoding)
            if self._dialect
            else ("json", "", self._origin.encoding)
        )

    @property
    def data_as_header(self) -> list[str]:
        """The first row if it seems to be data, although it was read as column names."""
        return self._dialect.header if self._dialect and self._dialect.header_is_data else []

    @property
    def has_header(self) -> bool:
        """Whether the first row seems to be a header, although columns were named: only it has no numbers or dates."""
        return self._dialect is not None and self._dialect.first_is_header

    @property
    def keeps_quotes(self) -> bool:
        """Whether quotation marks around values would be part of them, because of a delimiter of several characters."""
        return self._dialect is not None and len(self._dialect.separator) > 1

    @property
    def rows(self) -> list[list[str]]:
        """The first rows of a delimited text file."""
        return self._dialect.rows if self._dialect else []

    def guessed(self, roles: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
        """SQL of the columns by role. A role gets the first of its names that the table has.

        Names are compared without punctuation: `userid` matches User-ID.
        """
        return {role: self.columns[name] for role, name in recognised([*self.columns], roles).items()}

    def faults(self, scanned: str, reason: str) -> Faults:
        """The invalid rows, after the whole table has been scanned.

        Args:
            scanned: name of a table with the rows that DuckDB could parse, in order. Those that it rejected are added.
            reason: SQL of why one of its rows is invalid, NULL if it is valid.
        """
        if self._lines_of_json:
            garbled = isinstance(self._origin, Source) and self._origin.garbled
            cause = self._encoding_advice() if garbled else "it is not valid JSON"
            reason = f"CASE WHEN broken THEN {literal(cause)} ELSE {reason} END"
        query = f"SELECT rowid, {reason} AS reason FROM {scanned} WHERE reason IS NOT NULL ORDER BY rowid LIMIT {KEPT}"
        found = self.con.execute(query).fetchall()
        [(rows, count)] = self.con.execute(f"SELECT count(*), count({reason}) FROM {scanned}").fetchall()
        rejected = self._rejected()
        first = self._dialect.skip + bool(self._dialect.header) + 1 if self._dialect else 1
        # The j-th rejected row (from 0) precedes the parsed rows from the before[j]-th (from 0) on.
        before = np.array([fault.row - first - j for j, fault in enumerate(rejected)])
        position = np.array([row for row, _ in found], dtype=np.int64)
        lines = (position + first + np.searchsorted(before, position, side="right")).tolist()
        numbered = [Fault(line, text) for line, (_, text) in zip(lines, found, strict=True)]
        every = sorted([*numbered, *rejected], key=lambda fault: fault.row)
        return Faults(rows + len(rejected), count + len(rejected), every[:KEPT])

    def one_line(self, columns: Mapping[str, str]) -> list[str]:
        """SQL of the columns that should not hold line breaks. One in them suggests a missing quotation mark.

        These are `columns`, by role, and others with usual names, except descriptions that are not ids. There are none
        if the table can have no quotation marks.
        """
        made = self._dialect
        if not made or len(made.separator) > 1:
            return []
        ids = {columns.get("user"), columns.get("item")}
        named = {*columns.values(), *self.guessed(PAIR).values(), *self.guessed(METADATA).values()}
        free = {column for column, label in self.labels.items() if "description" in label.lower()} - ids
        return [column for column in self.labels if column in named - free]

    def broken(self, one_line: Sequence[str]) -> str:
        """SQL of whether a row is not what was written: a line that is not valid JSON, or see `sdiff.data.quotes`."""
        if self._lines_of_json:
            return identifier(INVALID)
        if not one_line or not self._dialect:
            return "false"
        if not self._dialect.quote:
            return need_quotes(one_line)
        return swallow_rows([*self.labels], one_line, self._dialect.separator)

    def misquoted(self, scanned: str, one_line: Sequence[str]) -> bool:
        """Whether quotation marks have not been read right by a scan. If so, `scan` now does.

        Args:
            scanned: name of a table with the rows, and the column `broken`: see `broken`.
            one_line: see `one_line`.
        """
        made, origin = self._dialect, self._origin
        if not one_line or not made or not isinstance(origin, Source):
            return False
        if not made.quote:
            query = f"SELECT bool_or(broken), bool_or(broken IS NULL) FROM {scanned}"
            if self.con.execute(query).fetchall() != [(True, False)]:
                return False
            self.forget()
            self._dialect = replace(made, quote='"', escape='"')
            self.scan = self._csv(*self._prepared(origin, False))
            return True
        rejected = "FROM reject_errors WHERE error_type IN ('UNQUOTED VALUE', 'LINE SIZE OVER MAXIMUM')"
        lost = f"SELECT (SELECT count(*) {rejected}) + (SELECT count(*) FROM {scanned} WHERE broken)"
        if self.con.execute(lost).fetchall() == [(0,)]:
            return False
        self.forget()
        indices = {n for n, name in enumerate(made.names) if self._column(name) in one_line}
        faulty: list[int] = []
        write(
            self._copy,
            made.recovered(made.plain(self._lines(origin)), indices, faulty),
        )
        self.scan, self._unclosed = self._csv(self._copy, False), {*faulty}
        return True

    def forget(self) -> None:
        """Forgets the rows that the scans until now have rejected."""
        if self._dialect:
            self.con.execute(FORGET)

    def proposed_encoding(self) -> str:
        """The likely encoding of a text file whose start is not in the given one, else an empty text."""
        origin = self._origin
        return origin.proposal() if isinstance(origin, Source) and origin.garbled else ""

    def _described(self, relation: str) -> list[str]:
        self._types = {name: kind for name, kind, *_ in self.con.execute(f"DESCRIBE FROM {relation}").fetchall()}
        return [*self._types]

    def _column(self, name: str) -> str:
        """SQL of a column as text: lists and objects as JSON, and bytes as UTF-8 where they are."""
        column, kind = identifier(name), self._types.get(name, "VARCHAR")
        text = f"CAST({column} AS VARCHAR)"
        if kind in EXACT:  # also for whole numbers, if the column has gaps
            return rf"CASE WHEN {column} = 0 THEN '0' ELSE regexp_replace({text}, '\.0$', '') END"
        if kind == "BLOB":
            return f"coalesce(TRY(decode({column})), {text})"
        nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP"))
        return f"CAST(to_json({column}) AS VARCHAR)" if nested else text

    def _csv(self, path: Path, parallel: bool) -> str:
        """SQL of the scan of a text file. DuckDB's detection is off: invalid rows would mislead it."""
        made = self._dialect
        assert made
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in made.names)
        return (
            f"read_csv({literal(str(path))}, auto_detect = false, columns = {{{columns}}}, "
            f"skip = {made.skip}, header = {bool(made.header)}, "
            f"delim = {literal(made.separator)}, quote = {literal(made.quote)}, escape = {literal(made.escape)}, "
            f"store_rejects = true, rejects_limit = {REJECTS}, parallel = {parallel}, hive_partitioning = false)"
        )

    def _lines(self, origin: Source) -> Iterator[str]:
        """The lines of all files, with the header of the first one only."""
        return origin.lines(self._repeats_header if self._dialect and self._dialect.header else None)

    def _repeats_header(self, line: str, path: Path) -> bool:
        """Whether the first line of a further file is the header again. Raises SDiffError if it is another header."""
        assert self._dialect
        cells, names = (
            [name.strip().lower() for name in row if name.strip()]
            for row in (self._dialect.cells(line.rstrip("\n")), self._dialect.header)
        )
        if cells != names and (sorted(cells) == sorted(names) or {"user", "item"} <= recognised(cells).keys()):
            raise SDiffError(f"{path} has other columns than the first file of {self.name}: write them alike.")
        return cells == names

    def _json(self, origin: Source, start: bool) -> tuple[str, list[str]]:
        """SQL of the scan of a JSON file, and the keys of its first objects."""
        if re.match(r"[\[\s]*\{\s*'", origin.text):
            raise SDiffError(f"{self.name} holds Python dictionaries, not JSON: write it again with json.dumps.")
        form = arrangement(origin.text)
        by_line = form == "newline_delimited"
        path, _ = self._prepared(origin, start, by_line)
        options = f"format = '{form}', ignore_errors = {by_line}, hive_partitioning = false"
        objects = f"read_json_objects({literal(str(path))}, {options})"
        paths = field_paths(self.con, objects)
        if not paths:
            raise SDiffError(f"{self.name} holds no JSON objects: write one for each row.")
        fields = ", ".join(f"json ->> {literal(path)} AS {identifier(key)}" for key, path in paths.items())
        self._lines_of_json = by_line
        invalid = f", json IS NULL AS {identifier(INVALID)}" if by_line else ""
        return f"(SELECT {fields}{invalid} FROM {objects})", [*paths]

    def _prepared(self, origin: Source, start: bool, by_line: bool = False) -> tuple[Path, bool]:
        """A text file that DuckDB can scan, and whether it can do so in parallel: it drops long lines then.

        Args:
            start: the first rows are enough.
            by_line: whether a JSON file has one object on each line.
        """
        made = self._dialect
        if start and not origin.whole and (made or (by_line and "\n" in origin.text)):
            lines = io.StringIO(origin.text[: origin.text.rfind("\n") + 1] or origin.text)
            write(self._copy, made.plain(lines) if made else lines)
            return self._copy, False
        if start and origin.plain:  # an array in JSON, which cannot be cut; it may be large
            return origin.paths[0], False
        uniform, short = origin.survey()
        if origin.plain and uniform and not (made and made.rewritten):
            return origin.paths[0], short and not origin.packed
        write(
            self._copy,
            made.plain(self._lines(origin)) if made else origin.lines(),
        )
        return self._copy, short

    def _rejected(self) -> list[Fault]:
        """The rows that DuckDB could not parse. Raises SDiffError if there are more than it records."""
        if not self._dialect:
            return []
        rejects = self.con.execute(REJECTED).fetchall()
        [(recorded,)] = self.con.execute("SELECT count(*) FROM reject_errors").fetchall()
        self.forget()
        encoding = self._encoding_advice() if any(kind == "INVALID ENCODING" for _, kind, _ in rejects) else ""
        reasons = {"INVALID ENCODING": encoding, "UNQUOTED VALUE": QUOTES}
        faults = [
            Fault(line, QUOTES if line in self._unclosed else reasons.get(kind) or rejection(kind, message))
            for line, kind, message in rejects
        ]
        if recorded >= REJECTS:
            prefix = self._layout.prefix
            raise SDiffError(
                f"{self.name} has more rows that cannot be read than are counted, such as {faults[0]}. Set the right "
                f"{prefix}delimiter or {prefix}encoding, or fix the file."
            )
        return faults

    def _encoding_advice(self) -> str:
        assert isinstance(self._origin, Source)
        used, proposed, prefix = self._origin.encoding, self._origin.proposal(), self._layout.prefix
        example = self._origin.example(proposed)
        return (
            f"it is not in {used.upper()} (set the encoding of the file, such as {prefix}encoding={proposed}, if "
            f"{brief(example)} is right)"
        )


@contextmanager
def open_table(origin: Any, layout: Layout = DETECTED, start: bool = False) -> Iterator[Table]:
    """A table in a temporary database.

    Args:
        origin: the path of a file, a tuple of paths of files that are parts of one table, or a data frame of pandas,
            Polars, PyArrow, or any other library with the Arrow PyCapsule interface.
        start: only the first rows are needed.

    Raises:
        SDiffError: a file is missing, empty or not a table, or it has duplicate or too many columns.
    """
    paths = (Path(origin),) if isinstance(origin, str | Path) else origin if isinstance(origin, tuple) else ()
    with temporary() as folder, database(*paths, folder=folder) as con:
        copy = folder / "copy"
        if paths:
            name = str(paths[0] if len(paths) == 1 else paths[0].parent)
            yield Table(con, Source.of(paths, layout.encoding), name, layout, copy, start)
        else:
            try:
                read_all = getattr(origin, "read_all", None)  # of a stream that can be read once
                origin = read_all() if read_all else origin
                con.register("frame", Stream(origin) if _is_stream(origin) else origin)
            except (duckdb.Error, TypeError):
                if odd := _odd_columns(origin):
                    raise SDiffError(
                        f"The columns {', '.join(odd)} of the data frame have a type that cannot be read: convert them "
                        "to text or numbers, or leave them out."
                    ) from None
                raise SDiffError(
                    f"Give the path of a table or a data frame of pandas, Polars or PyArrow, not {brief(origin)}."
                ) from None
            yield Table(con, "frame", "The data frame", layout, copy, start)


@dataclass(frozen=True)
class Stream:
    """A data frame as a stream of Arrow data, which DuckDB reads without PyArrow."""

    frame: Any

    def __arrow_c_stream__(self, schema: Any = None) -> Any:
        return self.frame.__arrow_c_stream__(schema)


def _odd_columns(frame: Any) -> list[str]:
    """The columns of a data frame that DuckDB cannot read, each with its type."""
    odd = []
    for name in getattr(frame, "columns", ()):
        try:
            with duckdb.connect() as con:
                con.register("one", Stream(frame[[name]]) if _is_stream(frame) else frame[[name]])
                con.execute("DESCRIBE FROM one")
        except (duckdb.Error, TypeError, ValueError, NotImplementedError):
            odd.append(f"{name} ({frame[name].dtype})")
    return odd


def _is_stream(frame: Any) -> bool:
    """Whether to read a data frame as a stream. DuckDB scans those of pandas itself."""
    return hasattr(frame, "__arrow_c_stream__") and not type(frame).__module__.startswith("pandas")
