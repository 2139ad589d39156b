"""Reads interactions and titles from data frames (pandas, Polars, Arrow) and builds frames of the same kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import narwhals as nw
import numpy as np

from sdiff.base.errors import SDiffError, brief
from sdiff.data.interactions import Interactions
from sdiff.data.readers import DEFAULT, PAIR, Reading, read_interactions
from sdiff.data.roles import METADATA, recognised
from sdiff.data.tables import LONGEST

REPEATED = "The frame has more than one column of the same name: rename or remove one."
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
            SDiffError: the library of the frame is not installed.
        """
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
    """Reads interactions from a frame with the checks and options of a table file.

    Args:
        frame: a pandas or Polars data frame, or an Arrow table. Columns are recognised as in a file, such as user_id.
        reading: names of the columns, minimum rating and so on. Options of file formats have no effect.

    Raises:
        SDiffError: not a frame, a column is missing, or no interactions are left.
        FaultyRows: rows have empty ids or unusable ratings or timestamps, and `skip_faulty` is off.
    """
    table = _opened(frame)
    columns = _roles(table, PAIR, ("user", "item"), {role: getattr(reading, role) for role in PAIR})
    values = {role: _values(table[name], is_id=role in ("user", "item")) for role, name in columns.items()}
    options = replace(reading, **dict.fromkeys(PAIR, ""), names=(), delimiter="", encoding="", items="")
    try:
        interactions, _ = read_interactions(values, options)
    except SDiffError as error:
        error.args = (str(error).replace("The data frame", "The frame"),)
        raise
    user, item = columns["user"], columns["item"]
    return interactions, Form(table.implementation, user, item, _type(table[user]), _type(table[item]))


def read_titles(frame: Any, item: str = "") -> dict[str, str]:
    """Titles by item id, from a frame with a column of item ids and one of titles.

    Args:
        item: name of the column of item ids; guessed if empty.

    Raises:
        SDiffError: not a frame, or a column is missing.
    """
    table = _opened(frame)
    columns = _roles(table, METADATA, ("item", "title"), {"item": item})
    ids, titles = (_texts(table[columns[role]]) for role in ("item", "title"))
    return {id: title for id, title in zip(ids, titles, strict=True) if id and title}


def _opened(frame: Any) -> nw.DataFrame:
    opened = _native(frame)
    if isinstance(opened, nw.DataFrame):
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


def _roles(
    table: nw.DataFrame, usual: Mapping[str, tuple[str, ...]], required: tuple[str, ...], named: Mapping[str, str]
) -> dict[str, str]:
    """Names of the columns by role: those in `named`, "-" for none, else the first of the `usual` names."""
    names = {name.strip().lower(): name for name in map(str, table.columns)}
    if len(names) < len(table.columns):
        raise SDiffError(REPEATED)
    listed = ", ".join(name[:LONGEST] for name in [*names.values()][:LONGEST])
    columns = {role: name for role, name in recognised(names.values(), usual).items() if not named.get(role)}
    for role, chosen in named.items():
        if chosen and chosen != "-":
            if chosen.strip().lower() not in names:
                raise SDiffError(f"The frame has no column {chosen}: its columns are {listed}.")
            columns[role] = names[chosen.strip().lower()]
    if lacking := [role for role in required if role not in columns]:
        raise SDiffError(
            f"The frame has no column {' and no column '.join(lacking)}: its columns are {listed}. Rename one"
            + (f", or name it, as in {lacking[0]}='COLUMN'." if lacking[0] in PAIR else ".")
        )
    return columns


def _values(column: nw.Series, is_id: bool) -> np.ndarray:
    """The values (n,) as DuckDB reads them: whole numbers, seconds and ratings as numbers, everything else as text."""
    kind = column.dtype
    if kind.is_integer() and not column.null_count():
        return column.to_numpy()
    if kind.is_float() and not is_id:
        return column.to_numpy()
    if kind in (nw.Date, nw.Datetime):
        times = column.cast(nw.Datetime("us")) if kind == nw.Date else column
        return (times.dt.timestamp("us").cast(nw.Float64()) / 1e6).to_numpy()
    return np.array(_texts(column), dtype=object)


def _texts(column: nw.Series) -> list[str | None]:
    """The values (n,) as text, None if missing. Floats such as 7.0, which pandas makes of 7 and a gap, become "7"."""
    return [
        None if missing else str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
        for value, missing in zip(column.to_list(), column.is_null().to_list(), strict=True)
    ]


def _type(column: nw.Series) -> nw.dtypes.DType | None:
    return column.dtype if column.dtype.is_integer() or column.dtype.is_float() else None
