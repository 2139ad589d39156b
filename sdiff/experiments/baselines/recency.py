"""Linear baselines that use the order: recency-weighted histories, and ridge regression from past to future items.

The half-life (and the strength of the ridge penalty) is chosen on validation recall@20.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import scipy.sparse as sp
import torch

from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import Scorer, linear_filter
from sdiff.experiments.baselines.ease import ease, rank_by
from sdiff.experiments.baselines.training import CPU, best
from sdiff.method.histories import Histories

HALF_LIVES = (1.0, 2.0, 4.0, 8.0, 16.0)
STRENGTHS = (1.0, 3.0, 10.0)  # relative to the mean of the diagonal of P'P
CUTS, HORIZON = 6, 10.0


def recent_ease(split: Split) -> Scorer:
    """EASE, applied to recency-weighted histories."""
    return _with_recency(ease(split), split)


def recent_filter(split: Split) -> Scorer:
    """A x for recency-weighted histories x."""
    return _with_recency(linear_filter(split), split)


def next_items_ridge(split: Split) -> Scorer:
    """Ridge regression: B that minimises || P B - F ||^2 + strength || B ||^2.

    Each training history is cut at six random points. P are the recency-weighted, normalised items before the cut; F
    are the items after it, with weights that decrease with the distance from the cut.
    """
    generator = torch.Generator().manual_seed(0)
    x = Histories.from_interactions(split.train, CPU)
    pairs = [x.cut(HORIZON, generator) for _ in range(CUTS)]
    n = len(split.items)

    def candidates() -> Iterable[Scorer]:
        for half_life in HALF_LIVES:
            gram, cross = np.zeros((n, n)), np.zeros((n, n))
            for past, future in pairs:
                P, F = _matrix(past.recent(half_life).normalised(), n), _matrix(future, n)
                gram += (P.T @ P).toarray()
                cross += (P.T @ F).toarray()
            scale = gram.trace() / n
            for strength in STRENGTHS:
                B = np.linalg.solve(gram + strength * scale * np.eye(n), cross)
                yield _recent(rank_by(torch.from_numpy(B).float()), half_life)

    return best(candidates(), split)


def _with_recency(score: Scorer, split: Split) -> Scorer:
    return best((_recent(score, half_life) for half_life in HALF_LIVES), split)


def _recent(score: Scorer, half_life: float) -> Scorer:
    return lambda x: score(x.recent(half_life))


def _matrix(x: Histories, n: int) -> sp.csr_array:
    return sp.csr_array((x.weights.numpy(), x.items.numpy(), x.offsets.numpy()), shape=(len(x), n))


RECENT: dict[str, Callable[[Split], Scorer]] = {
    "A x, recency": recent_filter,
    "EASE, recency": recent_ease,
    "next-items ridge": next_items_ridge,
}
