"""Temporary DuckDB databases: confined to their files, limited in memory, with errors that a user can read."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from sdiff.base.errors import SDiffError
from sdiff.base.files import regular, scratch

# DuckDB settings that block access to files and the network, and lock themselves.
LOCKED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "lock_configuration": "true",
}
FULL = "Could not write"  # in DuckDB's errors when a disk is full
UNPINNED = "failed to pin block"  # in out-of-memory errors of other types, such as a failed commit
MEMORY = "2GB"  # DuckDB's limit; larger data spills to disk
PER_THREAD = 125  # MB; the minimum that DuckDB's documentation recommends


@contextmanager
def database(*tables: Path, folder: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A temporary DuckDB database on disk, for tables larger than memory. It can access only `tables` and `folder`.

    Raises:
        SDiffError: a table is missing or not a regular file, or the disk is full.
    """
    for table in tables:
        if any("\ud800" <= letter <= "\udfff" for letter in str(table)):
            raise SDiffError(f"Cannot read {str(table)!a}: its name is not in UTF-8. Rename it.")
        try:
            regular(table)
        except OSError as error:
            raise SDiffError(f"Cannot read {table}: {error.strerror}.") from error
    with (
        temporary() as spill,
        connect(spill / "read.duckdb", MEMORY, spill) as con,
    ):
        with suppress(duckdb.InvalidInputException):  # a notebook without ipywidgets, which has no bar to switch off
            con.execute("SET enable_progress_bar = false")
        con.execute("SET TimeZone = 'UTC'")  # times mean the same on every machine
        con.execute(f"SET allowed_paths = [{', '.join(literal(str(table)) for table in tables)}]")
        if folder:
            con.execute(f"SET allowed_directories = [{literal(str(folder))}]")
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
def readable_errors(path: Path | str) -> Iterator[None]:
    """Turns DuckDB errors in the block into SDiffErrors about `path`, without DuckDB's list of reader options."""
    try:
        yield
    except duckdb.Error as error:
        if FULL in str(error):  # not about this file; handled by `temporary`
            raise
        if isinstance(error, duckdb.OutOfMemoryException) or UNPINNED in str(error):
            raise SDiffError(f"Cannot read {path} within {MEMORY}: remove long cells, or some rows.") from error
        if "Malformed JSON" in str(error):
            raise SDiffError(
                f"Cannot read {path}: it is not valid JSON. Write it again, one object for each row."
            ) from error
        reason = re.sub(r"^[\w ]+ Error: ", "", " ".join(str(error).split("\n\n")[0].split()))
        raise SDiffError(f"Cannot read {path}: {reason:.500}") from error


def identifier(column: str) -> str:
    """A quoted SQL identifier."""
    return '"' + column.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A quoted SQL string."""
    return "'" + text.replace("'", "''") + "'"
