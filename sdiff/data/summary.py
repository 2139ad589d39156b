"""Summary statistics of a data set: size, density, popularity skew and time range."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from sdiff.data.datasets import Dataset
from sdiff.data.items import Titles

HEAD = 0.2  # share of the items that counts as most popular


@dataclass(frozen=True)
class Summary:
    """Statistics over all parts of a split.

    Attributes:
        users: number of users.
        items: number of items.
        interactions: number of interactions.
        density: share of all user-item pairs that are interactions.
        median_history: median number of interactions per user.
        head_share: share of the interactions with the most popular fifth of the items; 0.2 if all are equally popular.
        from_day: ISO date of the first interaction, empty if there are no valid timestamps.
        to_day: ISO date of the last interaction, likewise.
        user_degrees: numbers of users with 1, 2-3, 4-7, 8-15, ... interactions.
        item_degrees: numbers of items with 1, 2-3, 4-7, 8-15, ... interactions.
        left_out: number of rows in the file that did not become interactions, by reason.
        columns: names of the columns that were read, by role, and the format of the times; empty for registered data.
        titles: how many items have a title, and from which columns, if there are any.
        notes: what may be wrong with a table although it can be read, each a sentence.
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
    columns: str = ""
    titles: str = ""
    notes: tuple[str, ...] = ()


def summarize(dataset: Dataset) -> Summary:
    """Statistics of a data set over train, valid and test together."""
    split = dataset.split
    parts = (split.train, split.valid, split.test)
    lengths = np.sum([part.lengths for part in parts], axis=0)
    counts = np.sum([part.item_counts for part in parts], axis=0)
    n = int(lengths.sum())
    head = np.sort(counts)[::-1][: max(round(HEAD * len(counts)), 1)].sum()
    times = np.concatenate([part.timestamps for part in parts if part.timestamps is not None] or [np.empty(0)])
    report, titles = dataset.report, dataset.items.titles
    return Summary(
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
            "invalid": report.faults.count,
            "below the minimum rating": report.below_rating,
            "repeated": report.repeated,
            "outside the k-core": report.outside_core,
        }
        | ({"held out, but in train": report.in_train} if report.in_train else {})
        | ({"of users without a training part": report.unsplit} if report.unsplit else {})
        | ({"invalid, of items": titles.faults.count} if titles and titles.faults.count else {})
        if report
        else {},
        columns=", ".join(
            f"{role}: {name}" + (f" ({report.times})" if role == "timestamp" and report.times else "")
            for role, name in report.columns.items()
        )
        if report
        else "",
        titles=_titles(titles) if titles else "",
        notes=report.notes if report else (),
    )


def _titles(titles: Titles) -> str:
    columns = ", ".join(f"{role}: {name}" for role, name in titles.columns.items())
    covered = f"{titles.found:,} of {titles.items:,} items have a title"
    return covered + f" ({columns})" * bool(columns) + f"; {titles.note}" * bool(titles.note)


def _octaves(degrees: np.ndarray) -> list[int]:
    """Histogram of `degrees` (n,) with the bins 1, 2-3, 4-7, ..."""
    return np.bincount(np.log2(degrees[degrees > 0]).astype(int)).tolist()


def _day(time: float) -> str:
    """ISO date of a unix time in seconds, or an empty text if it is out of range."""
    try:
        return datetime.fromtimestamp(time, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return ""
