"""A data set's card: how large, how dense, how unequal and from when it is, before anything is trained on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from sdiff.data.datasets import Dataset

HEAD = 0.2  # of the items: the most popular ones
MILLISECONDS = 1e11  # times above it, as seconds, would lie beyond the year 5000


@dataclass(frozen=True)
class Card:
    """Counts over all parts of a split.

    Attributes:
        head_share: what part of the interactions the most popular fifth of the items has; 0.2 if all were equal.
        from_day, to_day: dates, empty where no times are known or where they are no times of day.
        user_degrees, item_degrees: how many users (items) have 1, 2-3, 4-7, 8-15, ... interactions, none left out.
        left_out: rows of the file that did not become interactions, by reason.
    """

    users: int
    items: int
    interactions: int
    density: float
    median_history: float
    head_share: float
    from_day: str
    to_day: str
    user_degrees: list[int]
    item_degrees: list[int]
    left_out: dict[str, int]


def card(dataset: Dataset) -> Card:
    """Counts of all parts together."""
    split = dataset.split
    parts = (split.train, split.valid, split.test)
    lengths = np.sum([part.lengths for part in parts], axis=0)
    counts = np.sum([part.item_counts for part in parts], axis=0)
    n = int(lengths.sum())
    head = np.sort(counts)[::-1][: max(round(HEAD * len(counts)), 1)].sum()
    times = np.concatenate([part.timestamps for part in parts if part.timestamps is not None] or [np.empty(0)])
    report = dataset.report
    return Card(
        users=len(split.users),
        items=len(split.items),
        interactions=n,
        density=n / len(split.users) / len(split.items),
        median_history=float(np.median(lengths)),
        head_share=float(head / n),
        from_day=_day(times.min()) if len(times) else "",
        to_day=_day(times.max()) if len(times) else "",
        user_degrees=_octaves(lengths),
        item_degrees=_octaves(counts),
        left_out={
            "faulty": len(report.faults),
            "below the rating": report.below_rating,
            "repeated": report.repeated,
            "outside the core": report.outside_core,
        }
        if report
        else {},
    )


def _octaves(degrees: np.ndarray) -> list[int]:
    """How many of `degrees` (n,) lie in 1, 2-3, 4-7, ..."""
    return np.bincount(np.log2(degrees[degrees > 0]).astype(int)).tolist()


def _day(time: float) -> str:
    try:
        return datetime.fromtimestamp(time / 1000 if time > MILLISECONDS else time, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return ""
