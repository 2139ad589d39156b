"""What became of the rows of a table: the report of reading it, and the error if rows are invalid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sdiff.base.errors import SDiffError
from sdiff.data.tables.faults import NOT_ENCODED, TIME, UNREAD_TIME, Faults

SHOWN = 3  # invalid rows quoted in an error


class FaultyRows(SDiffError):
    """Invalid rows in a table. The other rows can be read with skip_faulty=true.

    Attributes:
        table: its path.
        faults: the invalid rows.
    """

    def __init__(self, table: str, faults: Faults) -> None:
        self.table, self.faults = table, faults
        reasons = [fault.reason for fault in faults.first]
        times, unread, encoding = (
            all(phrase in reason for reason in reasons) for phrase in (TIME, UNREAD_TIME, NOT_ENCODED)
        )
        shown = "; ".join(map(str, faults.first[: 1 if encoding else SHOWN]))
        advice = "Fix them, or skip them with skip_faulty=true."
        if times:
            most = 2 * faults.count > faults.rows
            form = "Set their format, as in timestamp_format=%d/%m/%Y, fix" if unread and most else "Fix"
            advice = f"{form} them, skip them with skip_faulty=true, or leave out the times with timestamp=-."
        more = "" if encoding or faults.count <= SHOWN else "; and others"
        super().__init__(
            f"{table}: {faults.count:,} of {faults.rows:,} rows are invalid: {shown}{more}."
            + ("" if encoding else f" {advice}")
        )

    def __reduce__(self) -> Any:  # pickle the finished message instead of the arguments of __init__
        return Exception.__new__, (type(self), *self.args), vars(self)


@dataclass(frozen=True)
class Report:
    """Number of rows in a table, its invalid rows, and the numbers of valid rows that were dropped, by reason.

    Attributes:
        faults: the invalid rows, and the number of all rows.
        below_rating: rows below the minimum rating.
        repeated: rows of a pair that occurred earlier.
        outside_core: pairs dropped by the k-core filter.
        in_train: held-out pairs dropped because they are also in an earlier part of a given split.
        columns: name of the column of each role.
        times: the unit or the format of the times.
        describing: name of each column that may describe the items, by role.
        unsplit: pairs dropped by a global split, because their user has none in the training part.
        notes: what may be wrong although it can be read, each a sentence.
    """

    faults: Faults
    below_rating: int = 0
    repeated: int = 0
    outside_core: int = 0
    in_train: int = 0
    columns: dict[str, str] = field(default_factory=dict)
    times: str = ""
    describing: dict[str, str] = field(default_factory=dict)
    unsplit: int = 0
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Number of rows, also of those that were not used."""
        return self.faults.rows
