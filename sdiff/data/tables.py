"""Reads table files (CSV and similar, Parquet, JSON lines, optionally compressed) as text columns in DuckDB."""

from __future__ import annotations

import csv
import gzip
import re
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

from sdiff.base.errors import SDiffError, brief
from sdiff.base.files import regular, scratch

# DuckDB settings that block access to files and the network, and lock themselves.
LOCKED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "lock_configuration": "true",
}
HEAD = 1 << 16  # bytes, and JSON rows, examined to find the format and the columns
BLOCK = 1 << 23  # bytes; a quarter of DuckDB's CSV buffer
FULL = "Could not write"  # in DuckDB's errors when a disk is full
UNPINNED = "failed to pin block"  # in out-of-memory errors of other types, such as a failed commit
MEMORY = "2GB"  # DuckDB's limit; larger data spills to disk
PER_THREAD = 125  # MB; the minimum that DuckDB's documentation recommends
LONGEST = 40  # maximum length of a name or value in a message, and maximum number of names
COLUMNS = 1000  # maximum per table; each column costs memory, however short the file
REJECTS = 100_000  # maximum number of unparsable rows that DuckDB records
ENCODINGS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8"}  # by byte order mark
DELIMITERS = (",", "\t", ";", "|", "::")
UNQUOTED = {"\t", "|", "::"}  # files with these delimiters use no quotes
TABS = {".tsv", ".inter", ".item", ".user"}  # the last three are RecBole's file types
JSON = {".jsonl", ".ndjson", ".json"}


@dataclass(frozen=True)
class Layout:
    """Format of a table file. Empty fields are detected: names from the header, the delimiter, the encoding (UTF-8)."""

    names: tuple[str, ...] = ()  # of the columns, if the file has no header
    delimiter: str = ""
    encoding: str = ""


@dataclass(frozen=True)
class Fault:
    """An invalid row: its line number, as an editor or spreadsheet shows it, and the reason."""

    row: int
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.reason}"


class Table:
    """A table file that DuckDB can scan.

    Attributes:
        columns: SQL of each column as VARCHAR, by lower-case name without RecBole's type suffix.
        scan: SQL of the relation with these columns.
        listed: column names for messages, shortened.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, path: Path, layout: Layout) -> None:
        """Raises SDiffError if the file is missing, empty or not a table, or has duplicate or too many columns."""
        self._con, self._path = con, path
        head = _head(path)
        suffix = next((s for s in path.suffixes[::-1] if s not in (".gz", ".zst")), "").lower()
        file = _literal(str(path))
        self._first = 1
        self._rejects = False
        with readable_errors(path):
            if head.startswith(b"PAR1"):
                self.scan = f"read_parquet({file})"
                names = [row[0] for row in con.execute(f"DESCRIBE FROM {self.scan}").fetchall()]
            elif suffix in JSON:
                lines = "'array'" if head.lstrip().startswith(b"[") else "'newline_delimited', ignore_errors = true"
                objects = f"read_json_objects({file}, format = {lines})"
                query = f"SELECT DISTINCT unnest(json_keys(json)) FROM (FROM {objects} LIMIT {HEAD})"
                keys = sorted(key for (key,) in con.execute(query).fetchall())
                fields = ", ".join(f"""json ->> {_literal('$."' + key + '"')} AS {_name(key)}""" for key in keys)
                self.scan, names = f"(SELECT {fields or 'NULL AS nothing'} FROM {objects})", keys
            else:
                self._first, self._rejects = (1 if layout.names else 2), True
                self.scan, names = self._csv(file, head, suffix, layout)
        if len(names) > COLUMNS:
            raise SDiffError(f"{path} has {len(names):,} columns, but the maximum is {COLUMNS:,}: remove some.")
        short = [re.sub(r":(token|float)(_seq)?$", "", name.strip().lower()) for name in names]
        self.columns = {key: f"CAST({_name(name)} AS VARCHAR)" for key, name in zip(short, names, strict=True)}
        self.listed = ", ".join(name[:LONGEST] for name in names[:LONGEST])  # for messages

    def guessed(self, roles: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
        """SQL of the columns by role. A role gets the first of its names that the table has."""
        matches = {role: [name for name in names if name in self.columns] for role, names in roles.items()}
        return {role: self.columns[names[0]] for role, names in matches.items() if names}

    def faults(self, scanned: list[Fault]) -> list[Fault]:
        """All faults by line number, after the whole table has been scanned.

        Args:
            scanned: faults whose `row` counts from 1 the rows that DuckDB could parse. Rejected rows are added.
        """
        rejected = self._rejected()
        # The j-th rejected row (from 0) precedes the parsed rows from the before[j]-th (from 0) on.
        before = np.array([fault.row - self._first - j for j, fault in enumerate(rejected)])
        position = np.array([fault.row - 1 for fault in scanned], dtype=np.int64)
        lines = (position + self._first + np.searchsorted(before, position, side="right")).tolist()
        numbered = [Fault(line, fault.reason) for line, fault in zip(lines, scanned, strict=True)]
        return sorted([*numbered, *rejected], key=lambda fault: fault.row)

    def _csv(self, file: str, head: bytes, suffix: str, layout: Layout) -> tuple[str, list[str]]:
        """SQL of the scan, and the column names. DuckDB's detection is off: invalid rows would mislead it."""
        encoding = layout.encoding or next((e for bom, e in ENCODINGS.items() if head.startswith(bom)), "utf-8")
        try:
            text = head.decode(encoding, errors="replace")
        except (LookupError, ValueError):  # ValueError if the name has a null character
            raise SDiffError(f"There is no encoding {brief(encoding)}: use utf-8, latin-1 or utf-16.") from None
        lines = text.removeprefix("\ufeff").splitlines()
        if not lines:
            raise SDiffError(f"{self._path} is empty.")
        first = lines[0]
        delimiter = layout.delimiter or ("\t" if suffix in TABS else max(DELIMITERS, key=first.count))
        quote = "" if delimiter in UNQUOTED else '"'
        if layout.names:
            names = list(layout.names)
        elif len(delimiter) == 1:
            names = next(csv.reader([first], delimiter=delimiter, quotechar=quote or None, quoting=0 if quote else 3))
        else:
            names = first.split(delimiter)
        if repeated := [name for name, n in Counter(name.strip().lower() for name in names).items() if n > 1]:
            raise SDiffError(
                f"{self._path} has more than one column {', '.join(repeated)[:LONGEST]!r}: rename or remove one."
            )
        columns = ", ".join(f"{_literal(name)}: 'VARCHAR'" for name in names)
        return (
            f"read_csv({file}, auto_detect = false, header = {not layout.names}, columns = {{{columns}}}, "
            f"delim = {_literal(delimiter)}, quote = '{quote}', escape = '{quote}', encoding = {_literal(encoding)}, "
            f"store_rejects = true, rejects_limit = {REJECTS}, parallel = {not _has_long_lines(self._path)})",
            names,
        )

    def _rejected(self) -> list[Fault]:
        if not self._rejects:
            return []
        rejects = self._con.execute("""
            SELECT line, error_type, error_message FROM reject_errors QUALIFY row_number() OVER (
                PARTITION BY line ORDER BY error_type <> 'LINE SIZE OVER MAXIMUM', error_type, error_message) = 1
            ORDER BY line""").fetchall()
        self._con.execute("TRUNCATE reject_errors; TRUNCATE reject_scans")
        return [Fault(line, _rejection(kind, message)) for line, kind, message in rejects]


@contextmanager
def database(table: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A temporary DuckDB database on disk, for tables larger than memory. It can access no file but `table`.

    Raises:
        SDiffError: the table is missing or not a regular file, or the disk is full.
    """
    try:
        regular(table)
    except OSError as error:
        raise SDiffError(f"Cannot read {table}: {error.strerror}.") from error
    with (
        temporary() as folder,
        connect(folder / "read.duckdb", MEMORY, folder) as con,
    ):
        con.execute("SET enable_progress_bar = false")
        con.execute(f"SET allowed_paths = [{_literal(str(table))}]")
        for name, value in LOCKED.items():
            con.execute(f"SET {name} = {value}")
        yield con


def connect(path: Path | str, memory: str, spill: Path | str) -> duckdb.DuckDBPyConnection:
    """A database limited to `memory`, such as "512MB", that spills larger data to the folder `spill`.

    The number of threads is limited by the memory, because each thread holds blocks that cannot be spilled.
    """
    con = duckdb.connect(path, config={"memory_limit": memory, "temp_directory": str(spill)})
    megabytes = int(memory[:-2]) * {"MB": 1, "GB": 1000}[memory[-2:]]
    [(threads,)] = con.execute("SELECT current_setting('threads')").fetchall()
    con.execute(f"SET threads = {max(min(threads, megabytes // PER_THREAD), 1)}")
    return con


@contextmanager
def temporary() -> Iterator[Path]:
    """A temporary folder for DuckDB files. Raises SDiffError if the disk is full or not writable."""
    try:
        with scratch(Path(tempfile.gettempdir())) as folder:
            yield folder
    except (OSError, duckdb.Error) as error:
        if isinstance(error, duckdb.Error) and FULL not in str(error):
            raise
        raise SDiffError(
            "There is no room for temporary files, or no permission to write them: free some disk space, or set the "
            "environment variable TMPDIR to another folder."
        ) from error


@contextmanager
def readable_errors(path: Path) -> Iterator[None]:
    """Turns DuckDB errors in the block into SDiffErrors about `path`, without DuckDB's list of reader options."""
    try:
        yield
    except duckdb.Error as error:
        if FULL in str(error):  # not about this file; handled by `temporary`
            raise
        if isinstance(error, duckdb.OutOfMemoryException) or UNPINNED in str(error):
            raise SDiffError(f"Cannot read {path} within {MEMORY}: remove long cells, or some rows.") from error
        reason = " ".join(str(error).split("\n\n")[0].split())
        raise SDiffError(f"Cannot read {path}: {reason:.500}") from error


def verify(path: Path) -> None:
    """Reads a gzip file to the checksum at its end, which DuckDB does not verify. Raises SDiffError if damaged."""
    if path.suffix == ".gz":
        with complete_gzip(path), gzip.open(path) as file:
            while file.read(BLOCK):
                pass


@contextmanager
def complete_gzip(path: Path) -> Iterator[None]:
    """Turns errors of a gzip file in the block into SDiffErrors."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SDiffError(f"Cannot read {path}: it is not a complete gzip file ({error}). Copy it again.") from error


def _head(path: Path) -> bytes:
    """The first bytes, decompressed. Raises SDiffError if they are not those of a table."""
    try:
        with complete_gzip(path), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise SDiffError(f"Cannot read {path}: {error.strerror}.") from error
    if not head.strip():
        raise SDiffError(f"{path} is empty.")
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise SDiffError(f"{path} is a spreadsheet or an archive: export the sheet as CSV, or extract the table.")
    if head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")) and path.suffix not in (".gz", ".zst"):
        raise SDiffError(f"{path} is compressed: rename it to end in .gz or .zst.")
    may_hold_zeros = head.startswith((b"PAR1", *ENCODINGS)) or path.suffix == ".zst"
    if b"\0" in head and not may_hold_zeros:
        raise SDiffError(f"Cannot read {path}: it is binary, but not Parquet. Export it as CSV, JSON lines or Parquet.")
    return head


def _has_long_lines(path: Path) -> bool:
    """Whether a line may be longer than DuckDB's buffer, because the parallel scan drops such lines silently.

    True for compressed files, which a single thread reads in any case.
    """
    if path.suffix in (".gz", ".zst"):
        return True
    with path.open("rb") as file:
        return any(len(block) == BLOCK and b"\n" not in block for block in iter(lambda: file.read(BLOCK), b""))


def _rejection(kind: str, message: str) -> str:
    """The reason of a fault, from an error that DuckDB recorded."""
    counts = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message)
    if counts:
        return f"it has {counts[2]} value{'s' * (counts[2] != '1')}, not {counts[1]}"
    return {
        "INVALID ENCODING": "it is not in UTF-8 (set the encoding of the file, such as encoding=latin-1)",
        "UNQUOTED VALUE": "a quotation mark is not closed or is inside a value",
        "LINE SIZE OVER MAXIMUM": "the line is longer than 2 MB",
    }.get(kind, kind.lower())


def _name(column: str) -> str:
    """A quoted SQL identifier."""
    return '"' + column.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """A quoted SQL string."""
    return "'" + text.replace("'", "''") + "'"
