"""Compares models and settings: their lists for one history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Condition

import numpy as np
import torch
from cachetools import LRUCache, cached

from sdiff.app.handlers.pickers import model_title, models
from sdiff.app.handlers.ranking import changes, held_out_of, history_of, ranked, shifts
from sdiff.app.labels import BASELINE_LABELS, literal
from sdiff.app.query import Query
from sdiff.app.state import Opened, open_dataset, serve
from sdiff.base.errors import SDiffError
from sdiff.data.catalog import Row
from sdiff.evaluation.baselines import BASELINES, Scorer
from sdiff.method.histories import Histories

CPU = torch.device("cpu")
NAMES = "ABC"  # of the sides of a comparison; A is the page


@dataclass(frozen=True)
class Comparison:
    """Lists of several sides for one history. The first side is compared with the second, all others with the first.

    Attributes:
        lists: items of each list, best first.
        shifts: for each list, how many places higher each item is than in the list that it is compared with; None if
            that list does not have it among its first 1,000, or k if that is more.
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
        sentence = f"A and {name} have **{overlap} of {len(tops[0])}** items in common"
        if top == tops[0]:
            sentence += ", in the same order"
        elif moved := [abs(shift) for shift in shifts(tops[0], order) if shift is not None]:
            places = round(float(np.median(moved)))
            sentence += f"; the median item of A is {places} place{'s'[: places != 1]} away in {name}"
        words.append(f"{sentence}.")
    if held_out:
        hits = [f"{name} {sum(row.held_out for row in listed)}" for name, listed in zip(NAMES, rows, strict=False)]
        words.append(f"Hits among the {len(held_out)} held-out items of this user: {', '.join(hits)}.")
    return Comparison(rows, moves, overlaps, " ".join(words))


def sides(dataset: str) -> list[str]:
    """What a list can be compared with: the models of a data set, and the baselines."""
    return [*models(dataset), *BASELINES]


def title(model: str, short: bool = False) -> str:
    """What a model or a baseline is, in everyday words, and the name of a model. `short`: as in `model_title`."""
    return BASELINE_LABELS.get(model) or model_title(model, short)


def describe(side: Query) -> str:
    """Describes a side: its model, and the settings that differ from the checkpoint's."""
    own = "has no settings" if side.model in BASELINES else "with its own settings"
    return f"**{literal(title(side.model))}** · {differing(side) or own}"


def differing(side: Query) -> str:
    """Describes the settings of a side that differ from the checkpoint's. Empty if none does."""
    if side.model in BASELINES:
        return ""
    config = serve(side.dataset, side.model)[1].config
    return changes(config, config.at_inference(side.settings), side.seed)


def _ranking(history: Sequence[str], side: Query, a: Query) -> tuple[Opened, list[int]]:
    """The top items for a history with the model and settings of `side`, and the filters of `a`."""
    opened, score, device = scorer(a.dataset, side)
    x = Histories.from_ids(history, opened.dataset.split.items, device)
    with torch.inference_mode():
        return opened, ranked(score(x), x, a, opened.catalog)


def scorer(dataset: str, side: Query) -> tuple[Opened, Scorer, torch.device]:
    """The data set in the order of the side's items, its scores, and the device where they are computed."""
    if side.model in BASELINES:
        if side.settings:
            raise SDiffError(f"{side.model} is a baseline without settings: leave them out, or choose a model.")
        return open_dataset(dataset), _reference(dataset, side.model), CPU
    opened, model = serve(dataset, side.model)
    return opened, model.scorer(side.seed, **side.settings), model.device


@cached(LRUCache(4), condition=Condition())
def _reference(dataset: str, name: str) -> Scorer:
    return BASELINES[name](open_dataset(dataset).dataset.split)
