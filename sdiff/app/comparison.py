"""Compares two models, or two settings of a model: their lists for one history, and their metrics over many users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from threading import Condition

import numpy as np
import torch
from cachetools import LRUCache, cached

from sdiff.app.handlers import changes, held_out_of, history_of, models, ranked, shifts
from sdiff.app.query import Query
from sdiff.app.state import Opened, open_dataset, serve
from sdiff.base.errors import SDiffError
from sdiff.config import Config
from sdiff.data.catalog import Row
from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import BASELINES, Scorer
from sdiff.evaluation.beyond_accuracy import accuracy, measures, top_n_lists
from sdiff.evaluation.evaluate import Part
from sdiff.method.histories import Histories

CPU = torch.device("cpu")
EFFORT, FEWEST = 4_000_000, 50  # scores to compute for a sample of users beside each list, and least size of the sample
SAMPLE = 1000  # maximum number of users to measure on
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
    """Two lists for one history.

    Attributes:
        lists: items of both lists, best first.
        shifts: for each list, how many places higher each item is than in the other one; None if the other list does
            not have it among its first 1,000.
        overlap: number of common items.
        words: description of the differences.
    """

    lists: tuple[list[Row], list[Row]]
    shifts: tuple[list[int | None], list[int | None]]
    overlap: int
    words: str


def compare(a: Query, b: Query) -> Comparison:
    """Compares the lists of two queries for the history of the first. `b.model` may be one of `BASELINES`.

    Raises:
        SDiffError: like `recommend`.
    """
    history, held_out = history_of(a), held_out_of(a)
    orders, rows = [], []
    for side in (a, b):
        opened, order = _ranking(history, side, a)
        orders.append([opened.dataset.split.items.ids[i] for i in order])
        rows.append(opened.catalog.rows(order[: a.k], held_out=held_out))
    tops = [order[: a.k] for order in orders]
    moves = [shifts(top, other) for top, other in zip(tops, reversed(orders), strict=True)]
    overlap = len(set(tops[0]) & set(tops[1]))
    words = f"**{overlap} of {len(tops[0])}** stand in both lists"
    if tops[0] == tops[1]:
        words += ", in the same order"
    elif moved := [abs(shift) for shift in moves[0] if shift is not None]:
        places = round(float(np.median(moved)))
        words += f"; an item of A's list is, at the median, {places} place{'s'[: places != 1]} away in B"
    hits = [sum(row.held_out for row in listed) for listed in rows]
    words += f". Of the {len(held_out)} items held out A finds {hits[0]} and B {hits[1]}." if held_out else "."
    return Comparison((rows[0], rows[1]), (moves[0], moves[1]), overlap, words)


def measure(a: Query, b: Query, part: Part) -> tuple[list[list[str]], str]:
    """Measures both sides on the same sample of users (seed 0).

    Returns rows (measure, A, B, B − A, meaning) and a caption. The difference in accuracy is paired by user and has its
    standard error.

    Raises:
        SDiffError: like `recommend`, or if nothing is held out in this part.
    """
    users = _sample(open_dataset(a.dataset).dataset.split, part)
    results = []
    for side in (a, b):
        opened, score, device = _scorer(a.dataset, side)
        split = opened.dataset.split
        shown = top_n_lists(score, split, 20, part, users, device)
        results.append((accuracy(shown, split, part), measures(shown, split)))
    rows = []
    for name, hint in HINTS.items():
        if name in PER_USER:
            each = [per_user[name] for per_user, _ in results]
            values, difference = [one.mean() for one in each], each[1] - each[0]
            error = f" ± {difference.std(ddof=1) / np.sqrt(len(users)):.4f}" if len(users) > 1 else ""
        else:
            values, error = [of_lists[name] for _, of_lists in results], ""
        rows.append([name, *(f"{value:.4f}" for value in values), f"{values[1] - values[0]:+.4f}{error}", hint])
    title = open_dataset(a.dataset).dataset.title
    words = f"A {a.model}, B {b.model} · {title} · lists of 20 for {len(users):,} users of the {part} part (seed 0)."
    if part == "test":
        words += " Choose settings on the validation part: what is chosen on test says less about anybody else."
    return rows, words


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
    users = _sample(split, part)[: max(EFFORT // (len(split.items) * config.T), FEWEST)]
    made = f"{model.checkpoint.provenance} {model.checkpoint.metrics}"  # a name may come to mean another model
    own, now = (_across(a.dataset, a.model, made, each, part, len(users)) for each in (model.config, config))
    rows = [[name, own[name], now[name]] for name in own]
    return rows, f"Lists of 20 for {len(users):,} people, drawn at random"


@cached(LRUCache(64), condition=Condition())
def _across(dataset: str, name: str, made: str, config: Config, part: Part, n: int) -> dict[str, str]:
    opened, model = serve(dataset, name)
    split, noise = opened.dataset.split, torch.Generator().manual_seed(0)
    users = _sample(split, part)[:n]
    shown = top_n_lists(lambda x: model.scores(x, config, noise), split, 20, part, users, model.device)
    values = {"recall@20": accuracy(shown, split, part)["recall@20"].mean()} | measures(shown, split)
    return {
        "Hits: recall@20": f"{values['recall@20']:.3f}",
        "Novelty": f"{values['novelty']:.2f} bits",
        "Catalog shown": f"{values['coverage']:.0%}",
    }


def sides(dataset: str) -> list[str]:
    """Choices for side B: the models of a data set, and the baselines."""
    return [*models(dataset), *BASELINES]


def describe(side: Query) -> str:
    """Describes a side: its model, and the settings that differ from the checkpoint's."""
    if side.model in BASELINES:
        return f"**{side.model}** · a baseline without settings"
    config = serve(side.dataset, side.model)[1].config
    differing = changes(config, config.at_inference(side.settings), side.seed)
    return f"**{side.model}** · {differing or 'with its own settings'}"


def _ranking(history: Sequence[str], side: Query, a: Query) -> tuple[Opened, list[int]]:
    """The top items for a history with the model and settings of `side`, and the filters of `a`."""
    opened, score, device = _scorer(a.dataset, side)
    x = Histories.from_ids(history, opened.dataset.split.items, device)
    with torch.inference_mode():
        return opened, ranked(score(x), x, a, opened.catalog)


def _sample(split: Split, part: Part) -> np.ndarray:
    """Indices of a fixed sample of users. Raises SDiffError if nothing is held out."""
    held_out = np.flatnonzero(getattr(split, part).lengths)
    if not len(held_out):
        raise SDiffError(f"Nothing is held out in the {part} part of this data set: measure on the other part.")
    return np.sort(np.random.default_rng(0).permutation(held_out)[:SAMPLE])


def _scorer(dataset: str, side: Query) -> tuple[Opened, Scorer, torch.device]:
    if side.model in BASELINES:
        return open_dataset(dataset), _reference(dataset, side.model), CPU
    opened, model = serve(dataset, side.model)
    config, noise = model.config.at_inference(side.settings), torch.Generator().manual_seed(side.seed)
    return opened, lambda x: model.scores(x, config, noise), model.device


@cached(LRUCache(4), condition=Condition())
def _reference(dataset: str, name: str) -> Scorer:
    return BASELINES[name](open_dataset(dataset).dataset.split)
