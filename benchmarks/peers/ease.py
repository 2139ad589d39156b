"""EASE: Steck 2019, "Embarrassingly shallow autoencoders for sparse data", WWW."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sdiff.evaluation import evaluate
from sdiff.histories import Histories
from sdiff.interactions import Split

STRENGTHS = (30.0, 100.0, 300.0, 1000.0)


def ease(split: Split) -> Callable[[Histories], Tensor]:
    """B = I - P diag(1 / P_ii) with P = (X'X + strength I)^-1; the strength is chosen on validation recall@20."""
    X = split.train.matrix()
    gram = (X.T @ X).toarray()
    scorers = [_scorer(gram, strength) for strength in STRENGTHS]
    return max(scorers, key=lambda score: evaluate(score, split, "valid", torch.device("cpu"))["recall@20"])


def _scorer(gram: np.ndarray, strength: float) -> Callable[[Histories], Tensor]:
    P = np.linalg.inv(gram + strength * np.eye(len(gram)))
    B = -P / np.diag(P)
    np.fill_diagonal(B, 0.0)
    weights = torch.from_numpy(B).float()  # (n_items, n_items)
    return lambda x: torch.nn.functional.embedding_bag(
        x.items, weights, x.offsets, mode="sum", per_sample_weights=x.weights, include_last_offset=True
    )
