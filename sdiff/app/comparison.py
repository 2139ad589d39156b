"""Compares models and settings: lists for one history, metrics over many users, and all models of a data set."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from threading import Condition
from typing import Any

import numpy as np
import torch
from cachetools import LRUCache, cached

from sdiff.app.handlers import changes, held_out_of, history_of, models, ranked, shifts
from sdiff.app.query import Query
from sdiff.app.state import Opened, checkpoints, open_dataset, serve, size, stamps
from sdiff.app.words import public_message
from sdiff.base.errors import SDiffError
from sdiff.config import Config
from sdiff.data.catalog import Row
from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import BASELINES, Scorer
from sdiff.evaluation.beyond_accuracy import TopNLists, accuracy, measures, reach, top_n_lists
from sdiff.evaluation.evaluate import Part
from sdiff.method.histories import Histories
from sdiff.training.checkpoint import read_origin

CPU = torch.device("cpu")
EFFORT, FEWEST = 4_000_000, 50  # scores to compute for a sample of users beside each list, and least size of the sample
SAMPLE = 1000  # maximum number of users to measure on
NAMES = "ABC"  # of the sides of a comparison; A is the page
TITLES = {"popularity": "most popular items (baseline)", "A x": "linear graph filter (baseline)"}
PARTS: dict[Part, str] = {"valid": "validation", "test": "test"}
GRID = {"sigma_max": (0.0, 0.25, 0.5, 0.75, 1.0), "alpha_min": (0.0, 0.05, 0.1, 0.2, 0.4)}
PER_USER = ("recall@20", "ndcg@20")
HINTS = {
    "recall@20": "share of the held-out items in the top 20, relative to the maximum possible",
    "ndcg@20": "like recall, but higher ranks count more",
    "coverage": "share of the catalog that is recommended to at least one user",
    "novelty": "how rare the recommended items are, in bits",
    "diversity": "how little the items of a list share their users",
    "popularity lift": "popularity relative to the histories: 0 is equal, 1 is twice as popular",
}


@dataclass(frozen=True)
class Comparison:
    """Lists of several sides for one history. The first side is compared with the second, all others with the first.

    Attributes:
        lists: items of each list, best first.
        shifts: for each list, how many places higher each item is than in the list that it is compared with; None if
            that list does not have it among its first 1,000.
        overlaps: number of items that each list but the first has in common with the first.
        words: description of the differences.
    """

    lists: list[list[Row]]
    shifts: list[list[int | None]]
    overlaps: list[int]
    words: str


def compare(sides: Sequence[Query]) -> Comparison:
    """Compares the lists of two or three queries for the history of the first.

    The model of a side may be one of `BASELINES`.

    Raises:
        SDiffError: like `recommend`.
    """
    a = sides[0]
    history, held_out = history_of(a), held_out_of(a)
    orders, rows = [], []
    for side in sides:
        opened, order = _ranking(history, side, a)
        items = opened.dataset.split.items  # in the order of the model
        orders.append([items.ids[i] for i in order])
        rows.append(opened.catalog.rows(order[: a.k], held_out=items.encode(held_out).tolist()))
    tops = [order[: a.k] for order in orders]
    moves = [shifts(top, orders[n == 0]) for n, top in enumerate(tops)]
    overlaps = [len({*tops[0]} & {*top}) for top in tops[1:]]
    words = []
    for name, top, order, overlap in zip(NAMES[1:], tops[1:], orders[1:], overlaps, strict=False):
        said = f"A and {name} have **{overlap} of {len(tops[0])}** items in common"
        if top == tops[0]:
            said += ", in the same order"
        elif moved := [abs(shift) for shift in shifts(tops[0], order) if shift is not None]:
            places = round(float(np.median(moved)))
            said += f", and the median item of A is {places} place{'s'[: places != 1]} away in {name}"
        words.append(f"{said}.")
    if held_out:
        hits = [f"{name} {sum(row.held_out for row in listed)}" for name, listed in zip(NAMES, rows, strict=False)]
        words.append(f"Hits among the {len(held_out)} held-out items: {', '.join(hits)}.")
    return Comparison(rows, moves, overlaps, " ".join(words))


def measure(sides: Sequence[Query], part: Part) -> tuple[list[str], list[list[str]], str]:
    """Measures all sides on the same sample of users (seed 0).

    Returns the head of a table, its rows and a caption. Differences from A in accuracy are paired by user and have
    their standard error.

    Raises:
        SDiffError: like `recommend`, or if nothing is held out in this part.
    """
    dataset = sides[0].dataset
    users = _sample(open_dataset(dataset).dataset.split, part)
    results = [_lists_measured(dataset, side, part, users) for side in sides]
    names = NAMES[: len(sides)]
    rows = []
    for name, hint in HINTS.items():
        values = [float(np.mean(result[name])) for result in results]
        cells = [f"{values[0]:.4f}"]
        for value, result in zip(values[1:], results[1:], strict=True):
            error = ""
            if name in PER_USER and len(users) > 1:
                difference = result[name] - results[0][name]
                error = f" ± {difference.std(ddof=1) / np.sqrt(len(users)):.4f}"
            cells += [f"{value:.4f}", f"{value - values[0]:+.4f}{error}"]
        rows.append([name, *cells, hint])
    head = ["measure", "A", *(text for name in names[1:] for text in (name, f"{name} − A")), "meaning"]
    shown = ", ".join(f"{name}: {title(side.model)}" for name, side in zip(names, sides, strict=True))
    caption = (
        f"{shown} · {open_dataset(dataset).dataset.title} · lists of 20 for {len(users):,} users of the {PARTS[part]} "
        f"part (seed 0)."
    )
    if part == "test":
        caption += " Choose settings on the validation part: a choice made on the test part overstates the result."
    return head, rows, caption


def _lists_measured(dataset: str, side: Query, part: Part, users: np.ndarray) -> dict[str, Any]:
    """Measures of a side's lists of 20 by name; those in `PER_USER` as arrays (n_users,)."""
    shown, split = _lists(dataset, side, part, users)
    return accuracy(shown, split, part) | measures(shown, split)


def _lists(dataset: str, side: Query, part: Part, users: np.ndarray) -> tuple[TopNLists, Split]:
    """A side's lists of 20, and the split in the order of its items."""
    opened, score, device = _scorer(dataset, side)
    return top_n_lists(score, opened.dataset.split, 20, part, users, device), opened.dataset.split


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
    samples: dict[Part, np.ndarray] = {part: _sample(split, part) for part in PARTS if len(getattr(split, part))}
    if not samples:
        raise SDiffError("Nothing is held out in this data set, so its models cannot be measured.")
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
        described = f"preset {origin.preset}, {origin.created}"
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
        shown, split = _lists(dataset, Query(dataset, name), part, users)
        found = reach(shown, split) | found  # of the first part
        found[part] = float(accuracy(shown, split, part)["recall@20"].mean())
    return found


def _ranked(standings: dict[str, Standing]) -> list[Standing]:
    """The rows, best first; without a measurement last."""

    def key(row: Standing) -> float:
        measured = row.measured or {}
        return -measured.get("valid", measured.get("test", -1.0))

    return sorted(standings.values(), key=key)


def sensitivity(a: Query) -> Iterator[list[dict[str, float]]]:
    """Measures recall@20 over a grid of alpha_min and sigma_max, with the query's other settings.

    Uses a sample of validation users, or of test users if there is no validation part. Yields all cells so far after
    each one.

    Raises:
        SDiffError: like `measure`.
    """
    split = open_dataset(a.dataset).dataset.split
    part: Part = "valid" if len(split.valid) else "test"
    users = _sample(split, part)
    cells = []
    for sigma_max, alpha_min in product(*grid(a).values()):
        setting = {"sigma_max": sigma_max, "alpha_min": alpha_min}
        opened, score, device = _scorer(a.dataset, replace(a, settings=a.settings | setting))
        shown = top_n_lists(score, opened.dataset.split, 20, part, users, device)
        cells.append(setting | {"recall@20": accuracy(shown, opened.dataset.split, part)["recall@20"].mean()})
        yield cells


def grid(a: Query) -> dict[str, tuple[float, ...]]:
    """The values of the grid. Without noise, sigma_max has no effect and gets one value. Raises SDiffError."""
    config = serve(a.dataset, a.model)[1].config.at_inference(a.settings)
    return GRID if config.noise else GRID | {"sigma_max": (config.sigma_max,)}


def across_users(a: Query) -> tuple[list[list[str]], str]:
    """What settings do to the lists of a sample of users: (measure, own settings, these settings), and a caption.

    Raises:
        SDiffError: like `measure`.
    """
    opened, model = serve(a.dataset, a.model)
    split = opened.dataset.split
    part: Part = "valid" if len(split.valid) else "test"
    config = model.config.at_inference(a.settings)
    users = _sample(split, part, max(EFFORT // (len(split.items) * model.config.T), FEWEST))
    made = f"{model.checkpoint.provenance} {model.checkpoint.metrics}"  # a name may come to mean another model
    own, now = (_across(a.dataset, a.model, made, each, part, len(users)) for each in (model.config, config))
    rows = [[name, own[name], now[name]] for name in own]
    return rows, f"Lists of 20 for {len(users):,} people, drawn at random"


@cached(LRUCache(64), condition=Condition())
def _across(dataset: str, name: str, made: str, config: Config, part: Part, n: int) -> dict[str, str]:
    opened, model = serve(dataset, name)
    split, noise = opened.dataset.split, torch.Generator().manual_seed(0)
    users = _sample(split, part, n)
    shown = top_n_lists(lambda x: model.scores(x, config, noise), split, 20, part, users, model.device)
    values = {"recall@20": accuracy(shown, split, part)["recall@20"].mean()} | reach(shown, split)
    return {
        "Hits: recall@20": f"{values['recall@20']:.3f}",
        "Novelty": f"{values['novelty']:.2f} bits",
        "Catalog shown": f"{values['coverage']:.0%}",
    }


def sides(dataset: str) -> list[str]:
    """What a list can be compared with: the models of a data set, and the baselines."""
    return [*models(dataset), *BASELINES]


def title(model: str) -> str:
    """A model's name, or what a baseline is."""
    return TITLES.get(model, model)


def describe(side: Query) -> str:
    """Describes a side: its model, and the settings that differ from the checkpoint's."""
    if side.model in BASELINES:
        return f"**{title(side.model)}** · has no settings"
    config = serve(side.dataset, side.model)[1].config
    differing = changes(config, config.at_inference(side.settings), side.seed)
    return f"**{side.model}** · {differing or 'with its own settings'}"


def _ranking(history: Sequence[str], side: Query, a: Query) -> tuple[Opened, list[int]]:
    """The top items for a history with the model and settings of `side`, and the filters of `a`."""
    opened, score, device = _scorer(a.dataset, side)
    x = Histories.from_ids(history, opened.dataset.split.items, device)
    with torch.inference_mode():
        return opened, ranked(score(x), x, a, opened.catalog)


def _sample(split: Split, part: Part, n: int = SAMPLE) -> np.ndarray:
    """Indices of a fixed random sample of at most n users. Raises SDiffError if nothing is held out."""
    held_out = np.flatnonzero(getattr(split, part).lengths)
    if not len(held_out):
        raise SDiffError(f"Nothing is held out in the {PARTS[part]} part of this data set: measure on the other part.")
    return np.sort(np.random.default_rng(0).permutation(held_out)[: min(n, SAMPLE)])


def _scorer(dataset: str, side: Query) -> tuple[Opened, Scorer, torch.device]:
    if side.model in BASELINES:
        if side.settings:
            raise SDiffError(f"{side.model} is a baseline without settings: leave them out, or choose a model.")
        return open_dataset(dataset), _reference(dataset, side.model), CPU
    opened, model = serve(dataset, side.model)
    config, noise = model.config.at_inference(side.settings), torch.Generator().manual_seed(side.seed)
    return opened, lambda x: model.scores(x, config, noise), model.device


@cached(LRUCache(4), condition=Condition())
def _reference(dataset: str, name: str) -> Scorer:
    return BASELINES[name](open_dataset(dataset).dataset.split)
