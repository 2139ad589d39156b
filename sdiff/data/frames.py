"""Reads interactions and titles from data frames (pandas, Polars, Arrow) and builds frames of the same kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np

from sdiff.base.errors import SDiffError, brief
from sdiff.data.interactions import Interactions, Vocabulary
from sdiff.data.items import items_in_log, read_items, untitled
from sdiff.data.readers import read_interactions
from sdiff.data.reading import DEFAULT, Reading
from sdiff.data.report import Report
from sdiff.data.tables.typed_table import REPEATED

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
            raise SDiffError(
                f"The column of ids {taken[0]} has the name of a column of the results: rename it, then fit or load "
                "again."
            )
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


def read_frame(frame: Any, reading: Reading = DEFAULT) -> tuple[Interactions, Form, Report]:
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
    form = Form(opened.implementation, str(user.name), str(item.name), _type(user), _type(item))
    return interactions, form, report


def titles_of(
    items: Vocabulary, titles: Any, interactions: Any = None, reading: Reading = DEFAULT, report: Report | None = None
) -> dict[str, str]:
    """Titles by item id, as in the table: from a frame of items, or else from a column of the interactions.

    Args:
        items: those of the model.
        titles: the frame of items, or None.
        interactions: a frame of interactions, or None.
        reading: names of columns.
        report: of reading the interactions.

    Raises:
        SDiffError: not a frame, a column is missing, or none of the items is in it.
    """
    if titles is not None:
        _opened(titles)
        found = read_items(titles, items, chosen={"year": "-", **reading.items_columns})
    else:
        found = report and items_in_log(interactions, items, reading.layout, report, reading.items_columns)
    if not found:
        return {}
    named = zip(items.ids, found.title, untitled(items).title, strict=True)
    return {id: title for id, title, none in named if title != none}


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
