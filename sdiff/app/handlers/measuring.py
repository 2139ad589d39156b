"""Measures models and settings on a sample of the users."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import product
from threading import Condition, get_native_id
from typing import Any

import numpy as np
from cachetools import LRUCache, cached

from sdiff.app.handlers.comparison import NAMES, differing, scorer, title
from sdiff.app.labels import PARTS, RECALL
from sdiff.app.query import Query
from sdiff.app.settings import without_effect
from sdiff.app.state import open_dataset, serve
from sdiff.base.errors import SDiffError
from sdiff.data.interactions import Split
from sdiff.evaluation.beyond_accuracy import measures, reach
from sdiff.evaluation.evaluate import MeasuredLists, Part, evaluate_users

NICENESS = 10  # added to that of the app: lists go first
EFFORT, FEWEST = 2_000_000, 50  # scores to compute for a sample of users beside each list, and least size of the sample
LINE: dict[str, Any] = dict(concurrency_id="measure", concurrency_limit=1)  # gradio's queue of all measurements
SAMPLE = 1000  # maximum number of users to measure on
GRID = {"sigma_max": (0.0, 0.25, 0.5, 0.75, 1.0), "alpha_min": (0.0, 0.05, 0.1, 0.2, 0.4)}
NOTHING_HELD_OUT = "Nothing is held out in this data set, so its models cannot be measured."
PER_USER = ("recall@20", "ndcg@20")
HINTS = {
    "recall@20": RECALL,
    "ndcg@20": "like recall, but higher ranks count more",
    "coverage": "share of the catalog that is recommended to at least one user",
    "novelty": "how rare the recommended items are, in bits: 1 more is half as popular",
    "diversity": "how few users the items of a list have in common",
    "popularity lift": "popularity relative to the histories: 0 is equal, 1 is twice as popular",
}


def _lower_priority() -> None:
    if sys.platform == "linux":  # the only system on which threads, and those that torch starts for them, have one
        with suppress(OSError):
            usual = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, get_native_id(), min(usual + NICENESS, 19))


LOW_PRIORITY = ThreadPoolExecutor(1, "measure", _lower_priority)  # for many users, while others wait for one list


def measure(sides: Sequence[Query], part: Part) -> tuple[list[str], list[list[str]], str]:
    """Measures all sides on the same sample of users (seed 0).

    Returns the head of a table, its rows and a caption. Differences from A in accuracy are paired by user and have
    their standard error.

    Raises:
        SDiffError: like `recommend`, or if nothing is held out in this part.
    """
    dataset = sides[0].dataset
    users = sample(open_dataset(dataset).dataset.split, part)
    results = [_measures_of(dataset, side, part, users) for side in sides]
    names = NAMES[: len(sides)]
    rows = []
    for name, hint in HINTS.items():
        if not all(name in result for result in results):  # lists of one item have no diversity
            continue
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
    settings = (differing(side).replace("**", "") for side in sides)  # a caption is no Markdown
    described = [", ".join(filter(None, [title(side.model), each])) for side, each in zip(sides, settings, strict=True)]
    shown = "; ".join(f"{name}: {words}" for name, words in zip(names, described, strict=True))
    caption = (
        f"{shown} · {open_dataset(dataset).dataset.title} · lists of 20 for {len(users):,} users of the {PARTS[part]} "
        f"part (seed 0)."
    )
    if part == "test":
        caption += " Choose settings on the validation part: a choice made on the test part overstates the result."
    return head, rows, caption


def _measures_of(dataset: str, side: Query, part: Part, users: np.ndarray) -> dict[str, Any]:
    """Measures of a side's lists of 20 by name; those in `PER_USER` as arrays (n_users,)."""
    shown, split = lists_of(dataset, side, part, users)
    return shown.values | measures(shown, split)


def lists_of(dataset: str, side: Query, part: Part, users: np.ndarray) -> tuple[MeasuredLists, Split]:
    """A side's lists of 20, and the split in the order of its items."""
    opened, score, device = scorer(dataset, side)
    split = opened.dataset.split
    what: dict[str, Any] = dict(k=20, metrics=("recall", "ndcg"), users=users)
    return LOW_PRIORITY.submit(evaluate_users, score, split, part, device, **what).result(), split


def sensitivity(a: Query) -> Iterator[list[dict[str, float]]]:
    """Measures recall@20 over a grid of alpha_min and sigma_max, with the query's other settings.

    Uses a sample of validation users, or of test users if there is no validation part. Yields all cells so far after
    each one.

    Raises:
        SDiffError: like `measure`.
    """
    split = open_dataset(a.dataset).dataset.split
    part: Part = "valid" if len(split.valid) else "test"
    users = sample(split, part)
    cells = []
    for sigma_max, alpha_min in product(*grid(a).values()):
        setting = {"sigma_max": sigma_max, "alpha_min": alpha_min}
        shown, _ = lists_of(a.dataset, replace(a, settings=a.settings | setting), part, users)
        cells.append(setting | {"recall@20": shown.values["recall@20"].mean()})
        yield cells


def grid(a: Query) -> dict[str, tuple[float, ...]]:
    """The values of the grid. A setting without effect gets one value. Raises SDiffError if neither has an effect."""
    config = serve(a.dataset, a.model)[1].config.at_inference(a.settings)
    idle = without_effect(config)
    if idle.keys() >= GRID.keys():
        raise SDiffError(f"There is nothing to measure. {idle['alpha_min']}")
    return {name: (getattr(config, name),) if name in idle else values for name, values in GRID.items()}


def across_users(a: Query) -> tuple[list[list[str]], str]:
    """What settings do to the lists of a sample of users: (measure, own settings, these settings), and a caption.

    Raises:
        SDiffError: like `measure`.
    """
    opened, model = serve(a.dataset, a.model)
    split = opened.dataset.split
    part: Part = "valid" if len(split.valid) else "test"
    users = sample(split, part, max(EFFORT // (len(split.items) * model.config.T), FEWEST))
    made = f"{model.checkpoint.provenance} {model.checkpoint.metrics}"  # a name may come to mean another model
    usual = Query(a.dataset, a.model)
    own, now = (_across(made, side, part, len(users)) for side in (usual, replace(usual, settings=a.settings)))
    rows = [[name, own[name], now[name]] for name in own]
    caption = (
        f"Lists of 20 for {len(users):,} users, drawn at random: the model's own settings beside the current ones. "
    )
    return rows, f"{caption}Recall@20 is the {RECALL}."


@cached(
    LRUCache(64),
    key=lambda made, side, part, n: (made, side.dataset, side.model, *sorted(side.settings.items()), part, n),
    condition=Condition(),
)
def _across(made: str, side: Query, part: Part, n: int) -> dict[str, str]:
    """Measures of a side for n users, as text. `made` changes with its model."""
    users = sample(open_dataset(side.dataset).dataset.split, part, n)
    shown, split = lists_of(side.dataset, side, part, users)
    measured = reach(shown, split)
    return {
        "Recall@20": f"{shown.values['recall@20'].mean():.1%}",
        "Novelty of the lists": f"{measured['novelty']:.2f} bits",
        "Items shown at least once": f"{measured['coverage']:.0%}",
    }


def sample(split: Split, part: Part, n: int = SAMPLE) -> np.ndarray:
    """Indices of a fixed random sample of at most n users. Raises SDiffError if nothing is held out."""
    held_out = np.flatnonzero(getattr(split, part).lengths)
    if not any(len(getattr(split, each)) for each in PARTS):
        raise SDiffError(NOTHING_HELD_OUT)
    if not len(held_out):
        raise SDiffError(f"Nothing is held out in the {PARTS[part]} part of this data set: measure on the other part.")
    return np.sort(np.random.default_rng(0).permutation(held_out)[: min(n, SAMPLE)])
