"""Opens a table of any format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sdiff.data.database import database, readable_errors, temporary
from sdiff.data.tables.dialect import Layout
from sdiff.data.tables.files import TableFiles
from sdiff.data.tables.json_table import JsonTable, is_json
from sdiff.data.tables.table import Table
from sdiff.data.tables.text_table import TextTable
from sdiff.data.tables.typed_table import FrameTable, ParquetTable

DETECTED = Layout()


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
    name = str(paths[0] if len(paths) == 1 else paths[0].parent) if paths else "The data frame"
    with temporary() as folder, database(*paths, folder=folder) as con:
        with readable_errors(name):
            if not paths:
                table: Table = FrameTable(con, origin)
            else:
                files, copy = TableFiles.of(paths, layout.encoding), folder / "copy"
                if files.parquet:
                    table = ParquetTable(con, name, files, copy)
                elif is_json(files.text, files.suffix):
                    table = JsonTable(con, name, files, layout, copy, start)
                else:
                    table = TextTable(con, name, files, layout, copy, start)
        yield table
