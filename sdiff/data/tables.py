"""Any table file as columns of text in DuckDB: CSV and its relatives, Parquet, JSON lines, gzipped or not."""

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

# Such a database can neither reach files or the network nor change any of this again.
LOCKED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "lock_configuration": "true",
}
HEAD = 1 << 16  # bytes and rows that are looked at before the whole is read
BLOCK = 1 << 23  # bytes; DuckDB holds four times as many of a CSV file
FULL = "Could not write"  # as DuckDB says that a disk takes no more
UNPINNED = "failed to pin block"  # in errors of other types, such as a commit's, that lack of memory causes
MEMORY = "2GB"  # of DuckDB; what is more goes to the disk
PER_THREAD = 125  # MB; the least that DuckDB's documentation recommends
LONGEST = 40  # characters of a name or a value, and names, that a sentence tells
COLUMNS = 1000  # of a table: each costs memory, however short the file
REJECTS = 100_000  # faulty rows that are told one by one
ENCODINGS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8"}  # by byte order mark
DELIMITERS = (",", "\t", ";", "|", "::")
UNQUOTED = {"\t", "|", "::"}  # what comes so, comes from systems that quote nothing
TABS = {".tsv", ".inter", ".item", ".user"}  # the last three are RecBole's atomic files
JSON = {".jsonl", ".ndjson", ".json"}


@dataclass(frozen=True)
class Layout:
    """How a table lies in its file. What is left empty is found out: a header, the delimiter, UTF-8."""

    names: tuple[str, ...] = ()  # of the columns, where the file has no header
    delimiter: str = ""
    encoding: str = ""


@dataclass(frozen=True)
class Fault:
    """A row that cannot be used: its number as an editor or spreadsheet shows it, and what is wrong."""

    row: int
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.reason}"


class Table:
    """A table file that DuckDB can scan.

    Attributes:
        columns: by their plain lower-case name (RecBole's types cut off) the SQL of each, as VARCHAR.
        scan: SQL of a relation that has them.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, path: Path, layout: Layout) -> None:
        """Raises SDiffError: no such file, empty, not a table, columns of one name."""
        self._con, self._path = con, path
        head = _head(path)
        suffix = next((s for s in path.suffixes[::-1] if s not in (".gz", ".zst")), "").lower()
        file = _literal(str(path))
        self._first = 1
        self._rejects = False
        with said_of(path):
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
            raise SDiffError(f"{path} has {len(names):,} columns, where at most {COLUMNS:,} are read: leave some out.")
        plain = [re.sub(r":(token|float)(_seq)?$", "", name.strip().lower()) for name in names]
        self.columns = {p: f"CAST({_name(name)} AS VARCHAR)" for p, name in zip(plain, names, strict=True)}
        self.listed = ", ".join(name[:LONGEST] for name in names[:LONGEST])  # in sentences

    def guessed(self, roles: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
        """SQL by role of the first column of each that has one of its names."""
        found = {role: [name for name in names if name in self.columns] for role, names in roles.items()}
        return {role: self.columns[names[0]] for role, names in found.items() if names}

    def faults(self, of_scanned: list[Fault]) -> list[Fault]:
        """All faults, once the table has been scanned whole: those of rows by their number among what could be scanned,
        which become numbers in the file, and the rows that were not even a row."""
        rejected = self._rejected()
        # The j-th rejected row (from 0) lies before all scanned ones from the at[j]-th (from 0) on.
        at = np.array([fault.row - self._first - j for j, fault in enumerate(rejected)])
        place = np.array([fault.row - 1 for fault in of_scanned], dtype=np.int64)
        rows = (place + self._first + np.searchsorted(at, place, side="right")).tolist()
        moved = [Fault(row, fault.reason) for row, fault in zip(rows, of_scanned, strict=True)]
        return sorted([*moved, *rejected], key=lambda fault: fault.row)

    def _csv(self, file: str, head: bytes, suffix: str, layout: Layout) -> tuple[str, list[str]]:
        """The scan and the names. Nothing is left to be sniffed: a few faulty rows would change what is found."""
        encoding = layout.encoding or next((e for mark, e in ENCODINGS.items() if head.startswith(mark)), "utf-8")
        try:
            text = head.decode(encoding, errors="replace")
        except (LookupError, ValueError):  # the latter also of a name with a null character
            raise SDiffError(f"There is no encoding {brief(encoding)}: utf-8, latin-1 and utf-16 are read.") from None
        lines = text.removeprefix("\ufeff").splitlines()
        if not lines:
            raise SDiffError(f"{self._path} is empty.")
        line = lines[0]
        delimiter = layout.delimiter or ("\t" if suffix in TABS else max(DELIMITERS, key=line.count))
        quote = "" if delimiter in UNQUOTED else '"'
        if layout.names:
            names = list(layout.names)
        elif len(delimiter) == 1:
            names = next(csv.reader([line], delimiter=delimiter, quotechar=quote or None, quoting=0 if quote else 3))
        else:
            names = line.split(delimiter)
        if twice := [name for name, n in Counter(name.strip().lower() for name in names).items() if n > 1]:
            raise SDiffError(
                f"{self._path} has more than one column {', '.join(twice)[:LONGEST]!r}: give each its own name."
            )
        columns = ", ".join(f"{_literal(name)}: 'VARCHAR'" for name in names)
        return (
            f"read_csv({file}, auto_detect = false, header = {not layout.names}, columns = {{{columns}}}, "
            f"delim = {_literal(delimiter)}, quote = '{quote}', escape = '{quote}', encoding = {_literal(encoding)}, "
            f"store_rejects = true, rejects_limit = {REJECTS}, parallel = {not _endless(self._path)})",
            names,
        )

    def _rejected(self) -> list[Fault]:
        if not self._rejects:
            return []
        found = self._con.execute("""
            SELECT line, error_type, error_message FROM reject_errors QUALIFY row_number() OVER (
                PARTITION BY line ORDER BY error_type <> 'LINE SIZE OVER MAXIMUM', error_type, error_message) = 1
            ORDER BY line""").fetchall()
        self._con.execute("TRUNCATE reject_errors; TRUNCATE reject_scans")
        return [Fault(line, _rejection(kind, message)) for line, kind, message in found]


@contextmanager
def database(table: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of its own on disk, so that a large table needs no large memory. It can reach this one file alone.

    Raises:
        SDiffError: no such file, a folder, a pipe or a device, or no room on the disk.
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
    """A database that takes as much memory as said, such as 512MB, and writes what is more to the folder `spill`.

    It has no more threads than the memory suffices for: each holds blocks that cannot be written to disk.
    """
    con = duckdb.connect(path, config={"memory_limit": memory, "temp_directory": str(spill)})
    megabytes = int(memory[:-2]) * {"MB": 1, "GB": 1000}[memory[-2:]]
    [(threads,)] = con.execute("SELECT current_setting('threads')").fetchall()
    con.execute(f"SET threads = {max(min(threads, megabytes // PER_THREAD), 1)}")
    return con


@contextmanager
def temporary() -> Iterator[Path]:
    """A folder for DuckDB's files, gone in the end. Raises SDiffError where there is no room for them."""
    try:
        with scratch(Path(tempfile.gettempdir())) as folder:
            yield folder
    except (OSError, duckdb.Error) as error:
        if isinstance(error, duckdb.Error) and FULL not in str(error):
            raise
        raise SDiffError(
            "There is no room for temporary files, or no right to write them: make room, or name another folder in "
            "the environment variable TMPDIR."
        ) from error


@contextmanager
def said_of(path: Path) -> Iterator[None]:
    """What DuckDB says of a file as a sentence, without the reader's own settings."""
    try:
        yield
    except duckdb.Error as error:
        if FULL in str(error):  # which says nothing of the file: see `temporary`
            raise
        if isinstance(error, duckdb.OutOfMemoryException) or UNPINNED in str(error):
            raise SDiffError(f"Cannot read {path} within {MEMORY}: leave out long cells, or rows.") from error
        reason = " ".join(str(error).split("\n\n")[0].split())
        raise SDiffError(f"Cannot read {path}: {reason:.500}") from error


def _head(path: Path) -> bytes:
    """The first bytes, unpacked. Raises SDiffError where no table can come of them, or a gzip file is damaged."""
    packed = path.suffix == ".gz"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            head = file.read(HEAD)
            while packed and file.read(BLOCK):  # to the checksum at its end, which DuckDB does not look at
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SDiffError(f"Cannot read {path}: it is not a whole gzip file ({error}). Copy it again.") from error
    except OSError as error:
        raise SDiffError(f"Cannot read {path}: {error.strerror}.") from error
    if not head.strip():
        raise SDiffError(f"{path} is empty.")
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise SDiffError(f"{path} is a spreadsheet or an archive: export the sheet as CSV, or unpack it, first.")
    if head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")) and path.suffix not in (".gz", ".zst"):
        raise SDiffError(f"{path} is compressed: give it the ending .gz or .zst.")
    known = head.startswith((b"PAR1", *ENCODINGS)) or path.suffix == ".zst"
    if b"\0" in head and not known:
        raise SDiffError(f"Cannot read {path}: it is binary, neither CSV, JSON lines nor Parquet.")
    return head


def _endless(path: Path) -> bool:
    """Whether some line may be longer than what DuckDB holds of a file at once: its parallel scan would lose it without
    a word. Packed files are not looked into; they are unpacked by one thread anyway."""
    if path.suffix in (".gz", ".zst"):
        return True
    with path.open("rb") as file:
        return any(len(block) == BLOCK and b"\n" not in block for block in iter(lambda: file.read(BLOCK), b""))


def _rejection(kind: str, message: str) -> str:
    counts = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message)
    if counts:
        return f"it has {counts[2]} value{'s' * (counts[2] != '1')}, not {counts[1]}"
    return {
        "INVALID ENCODING": "it is not in UTF-8 (say which encoding the file has, such as encoding=latin-1)",
        "UNQUOTED VALUE": "a quotation mark is not closed or stands inside a value",
        "LINE SIZE OVER MAXIMUM": "the line is longer than 2 MB",
    }.get(kind, kind.lower())


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
