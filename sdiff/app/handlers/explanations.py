"""Explanations of scores: by items of the history, and by waves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sdiff.app.handlers.ranking import history_of
from sdiff.app.handlers.waves import Carried, carried
from sdiff.app.query import Query
from sdiff.app.state import serve
from sdiff.data.catalog import Row
from sdiff.serving.explain import explain
from sdiff.serving.recommender import Recommender

NAMED = 6  # history items shown in an explanation; the others are summed
BANDS = 6  # frequency bands of an explanation, of equal size
CAUSES = 3  # history items at most that its sentence names


@dataclass(frozen=True)
class Why:
    """Explanation of an item's score: two lists of named parts that each sum to the score.

    Attributes:
        row: the item.
        causes: the history items that speak most for it, if any do.
        unit: what the score is.
        by_item: items of the history, and other parts by their names.
        by_frequency: bands of frequencies, and other parts.
        popularity: whether the score is the popularity of the item: see `Recommender.by_popularity`.
    """

    row: Row
    causes: list[Row]
    unit: str
    score: float
    by_item: list[tuple[Row | str, float]]
    by_frequency: list[tuple[str, float]]
    popularity: bool


def why(query: Query, item: str) -> Why:
    """Explains the score of an item. Raises SDiffError like `recommend`, and for an unknown item."""
    opened, model = serve(query.dataset, query.model)
    catalog, items = opened.catalog, opened.dataset.split.items
    past = list(dict.fromkeys(history_of(query)))  # an item counts once
    explanation = explain(model, past, item, seed=query.seed, **query.settings)
    by_item = explanation.by_item
    first = np.argsort(-np.abs(by_item))[:NAMED]
    rows = catalog.rows(items.encode([past[j] for j in first]).tolist())
    named = [(row, float(by_item[j])) for row, j in zip(rows, first, strict=True)]
    parts: list[tuple[Row | str, float]] = [*named]
    rest = len(past) - len(first)
    if rest:
        others = f"the other {rest} item{'s' * (rest > 1)}"
        parts.append((others, float(by_item.sum() - by_item[first].sum())))
    causes = [(row, value) for row, value in named if value > 0]
    popularity = model.by_popularity(model.encode(past), model.config.at_inference(query.settings))
    outside = _outside(model, popularity)
    unit = "logit of its score" if model.config.loss == "softmax" else "score"
    return Why(
        row=catalog.rows(items.encode([item]).tolist())[0],
        causes=[row for row, value in causes if value >= causes[0][1] / 2][:CAUSES],
        unit="number of people who have it" if popularity else unit,
        score=explanation.score,
        by_item=[("without a history", explanation.without), *parts, ("integration error", explanation.remainder)],
        by_frequency=[
            *_by_band(explanation.by_frequency, carried(query)),
            *[(outside, explanation.beside)] * bool(outside),
        ],
        popularity=popularity,
    )


def _by_band(by_frequency: np.ndarray, found: Carried) -> list[tuple[str, float]]:
    """The contribution of each band of waves, named by the wave in it that carries most of the history."""

    def name(band: np.ndarray) -> str:
        numbers = f"{band[0] + 1}–{band[-1] + 1}" if len(band) > 1 else str(band[0] + 1)
        return f"{numbers}: {found.waves[band[found.share[band].argmax()]].name}"

    bands: Sequence[np.ndarray] = np.array_split(np.arange(len(by_frequency)), min(BANDS, len(by_frequency)))
    return [(name(band), float(by_frequency[band].sum())) for band in bands]


def _outside(model: Recommender, popularity: bool) -> str:
    """What a score has besides its waves; empty if nothing."""
    if popularity:
        return "popularity, in place of the waves"
    parts = ["the item's own bias"] * (model.config.loss == "softmax")
    parts += ["neighbours in the item graph"] * (model.config.graph_entries > 0)
    return " and ".join(parts)
