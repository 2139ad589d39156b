"""Two untrained baselines that a model should outperform.

A scorer maps histories (B, n_items) to scores (B, n_items).
"""

from __future__ import annotations

from collections.abc import Callable

import scipy.sparse as sp
import torch
from torch import Tensor

from sdiff.base.device import Device
from sdiff.data.interactions import Split
from sdiff.evaluation.evaluate import Part, evaluate
from sdiff.method.eigen import to_torch
from sdiff.method.histories import Histories
from sdiff.method.spectrum import normalised_adjacency_root

Scorer = Callable[[Histories], Tensor]


def popularity(split: Split) -> Scorer:
    """Scores each item by its number of users in the training part."""
    counts = torch.from_numpy(split.train.item_counts).float()
    return lambda x: counts.repeat(len(x), 1)


def linear_filter(split: Split) -> Scorer:
    """A x = X~'X~ x by two sparse products: the simplest graph filter.

    Compare Shen et al. 2021, "How powerful is graph convolution for recommendation?".
    """
    smooth = smoothing(normalised_adjacency_root(split.train.matrix()))
    return lambda x: smooth(x.dense(len(split.items)))


def smoothing(root: sp.csr_array, device: Device = "cpu") -> Callable[[Tensor], Tensor]:
    """x A for dense rows x (B, n_items) and A = root' root, by two sparse products."""
    down, up = (to_torch(matrix).to(device) for matrix in (root, sp.csr_array(root.T)))
    return lambda x: (up @ (down @ x.T)).T.contiguous()


BASELINES = {"popularity": popularity, "A x": linear_filter}


def baseline_metrics(split: Split, parts: list[Part]) -> dict[str, dict[str, dict[str, float]]]:
    """The metrics of `popularity` and of `linear_filter` ("A x"), by name, part and metric."""
    cpu = torch.device("cpu")
    scorers = {name: make(split) for name, make in BASELINES.items()}
    return {name: {part: evaluate(score, split, part, cpu) for part in parts} for name, score in scorers.items()}
