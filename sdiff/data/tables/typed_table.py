"""Tables whose columns have types: Parquet files and data frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from sdiff.base.errors import SDiffError, brief
from sdiff.data.database import literal
from sdiff.data.tables.files import TableFiles
from sdiff.data.tables.table import Table

REPEATED = "The data frame has more than one column of the same name: rename or remove one."


class ParquetTable(Table):
    """A table in Parquet files."""

    format = "parquet"

    def __init__(self, con: duckdb.DuckDBPyConnection, name: str, files: TableFiles, copy: Path) -> None:
        """Raises SDiffError if it has duplicate or too many columns. For `copy`, see `TableFiles.literal_paths`."""
        paths = ", ".join(literal(str(path)) for path in files.literal_paths(copy))
        scan = f"read_parquet([{paths}], union_by_name = {len(files.paths) > 1}, hive_partitioning = false)"
        types = _types(con, scan)
        super().__init__(con, name, scan, [*types], types)


class FrameTable(Table):
    """A data frame of pandas, Polars, PyArrow, or any other library with the Arrow PyCapsule interface."""

    format = "frame"

    def __init__(self, con: duckdb.DuckDBPyConnection, frame: Any) -> None:
        """Raises SDiffError if it is no data frame, or has columns that cannot be read, are duplicate or too many."""
        try:
            read_all = getattr(frame, "read_all", None)  # of a stream that can be read once
            frame = read_all() if read_all else frame
            names = [str(name).strip().lower() for name in _columns(frame)]
            if len({*names}) < len(names):
                raise SDiffError(REPEATED)
            if any(str(kind) == "Object" for kind in getattr(frame, "dtypes", ())):  # of Polars: pointers
                raise TypeError
            con.register("frame", _readable(frame))
        except (duckdb.Error, TypeError):
            if odd := _odd_columns(frame):
                raise SDiffError(
                    f"The columns {', '.join(odd)} of the data frame have a type that cannot be read: convert them to "
                    "text or numbers, or leave them out."
                ) from None
            raise SDiffError(
                f"Give the path of a table or a data frame of pandas, Polars or PyArrow, not {brief(frame)}."
            ) from None
        names = getattr(getattr(frame, "index", None), "names", ())  # of pandas
        self.index = [str(name) for name in names if name is not None]
        types = _types(con, "frame")
        super().__init__(con, "The data frame", "frame", [*types], types)


@dataclass(frozen=True)
class Stream:
    """A data frame as a stream of Arrow data, which DuckDB reads without PyArrow."""

    frame: Any

    def __arrow_c_stream__(self, schema: Any = None) -> Any:
        return self.frame.__arrow_c_stream__(schema)


def _readable(frame: Any) -> Any:
    """A data frame as DuckDB reads it: those of pandas as they are, others as a stream."""
    is_stream = hasattr(frame, "__arrow_c_stream__") and not type(frame).__module__.startswith("pandas")
    return Stream(frame) if is_stream else frame


def _columns(frame: Any) -> Sequence[Any]:
    """The names of the columns of a data frame; of PyArrow, `columns` are arrays."""
    return getattr(frame, "column_names", getattr(frame, "columns", ()))


def _odd_columns(frame: Any) -> list[str]:
    """The columns of a data frame that DuckDB cannot read, each with its type."""
    odd = []
    for name in _columns(frame):
        try:
            with duckdb.connect() as con:
                con.register("one", _readable(frame[[name]]))
                con.execute("DESCRIBE FROM one")
            objects = str(getattr(frame[name], "dtype", "")) == "Object"  # of Polars: pointers
        except (duckdb.Error, TypeError, ValueError, NotImplementedError):
            objects = True
        if objects:
            kind = getattr(frame[name], "dtype", getattr(frame[name], "type", ""))
            odd.append(f"{name} ({kind})")
    return odd


def _types(con: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """DuckDB's type of each column of a relation."""
    return {name: kind for name, kind, *_ in con.execute(f"DESCRIBE FROM {relation}").fetchall()}
