"""The leaderboard: all models of a data set, measured on the same users."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Condition

import numpy as np
from cachetools import LRUCache, cached

from sdiff.app.handlers.comparison import sides
from sdiff.app.handlers.measuring import NOTHING_HELD_OUT, lists_of, sample
from sdiff.app.labels import PARTS
from sdiff.app.query import Query
from sdiff.app.server.public import public_message
from sdiff.app.state import checkpoints, open_dataset, size, stamps
from sdiff.base.errors import SDiffError
from sdiff.evaluation.baselines import BASELINES
from sdiff.evaluation.beyond_accuracy import reach
from sdiff.evaluation.evaluate import Part
from sdiff.training.checkpoint import read_origin


@dataclass(frozen=True)
class Standing:
    """A row of the leaderboard: a model or a baseline.

    Attributes:
        model: its name.
        origin: description of what it was trained with.
        recorded: recall@20 by part as written in its checkpoint, over all users. Empty if the checkpoint was trained on
            another split of the data.
        curve: (epoch, validation recall@20) of its training, written likewise.
        seconds: time of its training, or None if it was not trained or an earlier version did not write it.
        size: bytes of its files, or None if it has none.
        foreign: whether it was trained on another split, so that it may know held-out items of this one.
        measured: recall@20 by part, and "coverage" and "novelty", of its lists for a common sample of users. None if it
            was not measured yet.
        error: why it cannot be measured.
    """

    model: str
    origin: str = ""
    recorded: dict[Part, float] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)
    seconds: float | None = None
    size: int | None = None
    foreign: bool = False
    measured: dict[str, float] | None = None
    error: str = ""


_measured: LRUCache[Hashable, dict[str, float]] = LRUCache(256)
_condition = Condition()  # guards it


def leaderboard(dataset: str) -> Iterator[list[Standing]]:
    """All models of a data set and the baselines, best first by measured validation recall (test, without validation).

    The first table is made of the files of the checkpoints and of earlier measurements. Then each model that was not
    measured yet is, and a table follows each. A changed checkpoint is measured again.

    Raises:
        SDiffError: the data set is not open, or nothing is held out in it.
    """
    split = open_dataset(dataset).dataset.split
    samples: dict[Part, np.ndarray] = {part: sample(split, part) for part in PARTS if len(getattr(split, part))}
    if not samples:
        raise SDiffError(NOTHING_HELD_OUT)
    folders = checkpoints(dataset)
    standings, keys = {}, {}
    for name in sides(dataset):
        folder = folders.get(name)
        keys[name] = (split.fingerprint, name, folder and stamps(folder))
        with _condition:
            measured = _measured.get(keys[name])
        standings[name] = replace(_standing(dataset, name, folder), measured=measured)
    yield _ranked(standings)
    for name, standing in standings.items():
        if standing.measured is None and not standing.error:
            try:
                standings[name] = replace(standing, measured=_measure(keys[name], dataset, name, samples))
            except SDiffError as error:
                standings[name] = replace(standing, error=public_message(error))
            yield _ranked(standings)


def _standing(dataset: str, name: str, folder: Path | None) -> Standing:
    """What is known of a model without measuring it."""
    if name in BASELINES:
        return Standing(name, "not trained")
    if folder is None:  # `INSTANT`
        checkpoint = open_dataset(dataset).instant().checkpoint
        origin, metrics, described = checkpoint.provenance, checkpoint.metrics, "solved in closed form"
    else:
        try:
            origin, metrics = read_origin(folder)
        except SDiffError as error:
            return Standing(name, error=public_message(error))
        described = origin.created
    foreign = origin.data_fingerprint != open_dataset(dataset).dataset.split.fingerprint
    if foreign:
        described += ", trained on another split"
    recorded: dict[Part, float] = {}
    points = []
    if not foreign:
        recorded = {part: float(metrics[part]["recall@20"]) for part in PARTS if part in metrics}
        curve = metrics.get("curve", {"epoch": [], "recall@20": []})
        points = [*zip(curve["epoch"], curve["recall@20"], strict=True)]
    return Standing(name, described, recorded, points, metrics.get("train_seconds"), folder and size(folder), foreign)


@cached(_measured, key=lambda key, *_: key, condition=_condition)
def _measure(key: Hashable, dataset: str, name: str, samples: dict[Part, np.ndarray]) -> dict[str, float]:
    """`Standing.measured` of a model. `key` changes with the model and the data."""
    found: dict[str, float] = {}
    for part, users in samples.items():
        shown, split = lists_of(dataset, Query(dataset, name), part, users)
        found = reach(shown, split) | found  # of the first part
        found[part] = float(shown.values["recall@20"].mean())
    return found


def _ranked(standings: dict[str, Standing]) -> list[Standing]:
    """The rows, best first; without a measurement last."""

    def key(row: Standing) -> float:
        measured = row.measured or {}
        return -measured.get("valid", measured.get("test", -1.0))

    return sorted(standings.values(), key=key)
