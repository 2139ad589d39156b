"""Reads interactions and titles from data frames (pandas, Polars, Arrow) and builds frames of the same kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np

from sdiff.base.errors import SDiffError, brief
from sdiff.data.database import readable_errors
from sdiff.data.interactions import Interactions
from sdiff.data.items import item_columns
from sdiff.data.readers import DEFAULT, Reading, read_interactions
from sdiff.data.tables import open_table

REPEATED = "The data frame has more than one column of the same name: rename or remove one."
WHOLE = nw.Int64()  # type of ids that are numbers in Python


@dataclass(frozen=True)
class Form:
    """Kind of a frame, and name and type of its columns of ids. Frames of equal form can be joined.

    Attributes:
        backend: library of the frame.
        user: name of the column of user ids.
        item: name of the column of item ids.
        user_type: type of the user ids; text if None.
        item_type: type of the item ids; text if None.
    """

    backend: Any = "pandas"
    user: str = "user"
    item: str = "item"
    user_type: nw.dtypes.DType | None = None
    item_type: nw.dtypes.DType | None = None

    def build(self, users: np.ndarray, items: np.ndarray, columns: Mapping[str, Any]) -> Any:
        """A frame of user ids (n,), item ids (n,) and further columns (n,) by name.

        Raises:
            SDiffError: the library of the frame is not installed, or a column of ids is named like a further one.
        """
        if taken := [name for name in (self.user, self.item) if name in columns]:
            raise SDiffError(f"The lists have a column {taken[0]}, too: rename that of the ids, and fit or load anew.")
        ids = {self.user: (users, self.user_type), self.item: (items, self.item_type)}
        data = {**{name: column.tolist() for name, (column, _) in ids.items()}, **columns}
        try:
            frame = nw.from_dict(data, backend=self.backend)
        except ModuleNotFoundError as error:
            raise SDiffError(f"{error.name} is not installed: install it, or use frames of another library.") from error
        return frame.with_columns(nw.col(name).cast(kind or nw.String()) for name, (_, kind) in ids.items()).to_native()


def is_frame(value: Any) -> bool:
    """Whether a value is a data frame, also one that has to be collected first."""
    return isinstance(_native(value), nw.DataFrame | nw.LazyFrame)


def read_frame(frame: Any, reading: Reading = DEFAULT) -> tuple[Interactions, Form]:
    """Reads interactions from a frame like those from a table file, with the same checks and options.

    Args:
        frame: a pandas or Polars data frame, or an Arrow table. Columns are recognised as in a file, such as user_id.
        reading: names of the columns, minimum rating and so on. Options of file formats have no effect.

    Raises:
        SDiffError: not a frame, a column is missing, or no interactions are left.
        FaultyRows: rows have empty ids or unusable ratings or timestamps, and `skip_faulty` is off.
    """
    opened = _opened(frame)
    interactions, report = read_interactions(frame, reading)
    columns = {str(name).strip(): opened.get_column(name) for name in opened.columns}  # names may be numbers
    user, item = (columns[report.columns[role]] for role in ("user", "item"))
    return interactions, Form(opened.implementation, str(user.name), str(item.name), _type(user), _type(item))


def read_titles(frame: Any, item: str = "") -> dict[str, str]:
    """Titles by item id, from a frame with a column of item ids and one of titles.

    Args:
        item: name of the column of item ids; guessed if empty.

    Raises:
        SDiffError: not a frame, or a column is missing.
    """
    _opened(frame)
    with open_table(frame) as table:
        columns = item_columns(table, {"item": item} if item else {})
        if "title" not in columns:
            raise SDiffError(f"{table.name} has no column title: its columns are {table.listed}. Rename one.")
        pairs = f"SELECT trim({columns['item']}), trim({columns['title']}) FROM {table.scan}"
        with readable_errors(table.name):
            return {id: title for id, title in table.con.execute(pairs).fetchall() if id and title}


def _opened(frame: Any) -> nw.DataFrame:
    """Raises SDiffError if it is not a frame, or if columns have the same name."""
    opened = _native(frame)
    if isinstance(opened, nw.DataFrame):
        if len({str(name).strip().lower() for name in opened.columns}) < len(opened.columns):
            raise SDiffError(REPEATED)
        return opened
    kind, hint = brief(frame), "give a pandas or Polars data frame, or an Arrow table"
    if isinstance(opened, nw.LazyFrame):
        kind, hint = "a lazy frame", "collect it first"
    raise SDiffError(f"Cannot read {kind} as a data frame: {hint}.")


def _native(value: Any) -> Any:
    """The frame as one of narwhals, which hides the differences between libraries; other values as they are."""
    try:
        return nw.from_native(value, pass_through=True)
    except nw.exceptions.DuplicateError:
        raise SDiffError(REPEATED) from None


def _type(column: nw.Series) -> nw.dtypes.DType | None:
    return column.dtype if column.dtype.is_integer() or column.dtype.is_float() else None
