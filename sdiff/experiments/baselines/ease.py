"""EASE: Steck 2019, "Embarrassingly shallow autoencoders for sparse data", WWW."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import Scorer
from sdiff.experiments.baselines.training import best

STRENGTHS = (30.0, 100.0, 300.0, 1000.0, 3000.0)


def ease(split: Split) -> Scorer:
    """B = I - P diag(1 / P_ii) with P = (X'X + strength I)^-1; the strength is chosen on validation recall@20."""
    X = split.train.matrix()
    gram = (X.T @ X).toarray()
    return best((_scorer(gram, strength) for strength in STRENGTHS), split)


def _scorer(gram: np.ndarray, strength: float) -> Scorer:
    P = np.linalg.inv(gram + strength * np.eye(len(gram)))
    B = -P / np.diag(P)
    np.fill_diagonal(B, 0.0)
    return rank_by(torch.from_numpy(B).float())


def rank_by(B: Tensor) -> Scorer:
    """A scorer that returns x B (B, n_items) for sparse histories x and a matrix B (n_items, n_items)."""
    return lambda x: x.dot(B)
