"""Invalid rows of a table: the first ones with their reasons, and how many there are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

KEPT = 200  # maximum number of invalid rows whose reasons are kept
REJECTS = 100_000  # maximum number of unparsable rows that DuckDB records
# In the reasons of faults, by which `FaultyRows` chooses its advice.
TIME, UNREAD_TIME, NOT_ENCODED = "timestamp is", ", not seconds or a date", "it is not in"
QUOTES = "a quotation mark is not closed or is inside a value"
# SQL of the rows that DuckDB could not parse, with one of the errors of each, and what forgets them.
REJECTED = """
    SELECT line, error_type, error_message FROM reject_errors QUALIFY row_number() OVER (
        PARTITION BY line ORDER BY error_type <> 'LINE SIZE OVER MAXIMUM', error_type, error_message) = 1
    ORDER BY line"""
FORGET = "TRUNCATE reject_errors; TRUNCATE reject_scans"


@dataclass(frozen=True)
class Fault:
    """An invalid row: its number, as in a spreadsheet, where a header is row 1, the reason, and the file of several."""

    row: int
    reason: str
    file: str = ""

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}: {self.reason}".removeprefix(", ")


@dataclass(frozen=True)
class Faults:
    """The invalid rows of a table.

    Attributes:
        rows: number of all rows of the table.
        count: number of invalid rows.
        first: the first of them, at most `KEPT`.
    """

    rows: int
    count: int = 0
    first: Sequence[Fault] = ()

    @classmethod
    def joined(cls, parts: Mapping[str, Faults]) -> Faults:
        """Those of several tables by name."""
        first = [replace(fault, file=name) for name, part in parts.items() for fault in part.first]
        each = parts.values()
        return cls(sum(part.rows for part in each), sum(part.count for part in each), first[:KEPT])


def rejection(kind: str, message: str) -> str:
    """The reason of a fault, from an error that DuckDB recorded."""
    counts = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message)
    if counts:
        return f"it has {counts[2]} value{'s' * (counts[2] != '1')}, not {counts[1]}"
    return "the line is longer than 2 MB" if kind == "LINE SIZE OVER MAXIMUM" else kind.lower()


def row_numbers(positions: Sequence[int], first: int, others: Sequence[int]) -> list[int]:
    """The numbers of the rows at `positions` (from 0) among the parsed ones.

    Args:
        first: number of the first row.
        others: numbers of the rows that were not parsed, in ascending order.
    """
    before = np.array(others) - first - np.arange(len(others))  # how many parsed rows precede each of the others
    return (np.array(positions) + first + np.searchsorted(before, positions, side="right")).tolist()
