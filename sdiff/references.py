"""Two references without any training, which a model has to beat: scorers, histories (B, n_items) -> (B, n_items)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from sdiff.histories import Histories
from sdiff.interactions import Split
from sdiff.spectrum import normalised_adjacency_root

Scorer = Callable[[Histories], Tensor]


def popularity(split: Split) -> Scorer:
    """Every user gets the most popular items of train."""
    counts = torch.from_numpy(split.train.item_counts).float()
    return lambda x: counts.repeat(len(x), 1)


def linear_filter(split: Split) -> Scorer:
    """A x = X~'X~ x by two sparse products: the least that graph filtering does (compare Shen et al. 2021, "How
    powerful is graph convolution for recommendation?")."""
    X = sp.coo_array(normalised_adjacency_root(split.train.matrix()))
    values = torch.from_numpy(X.data).float()
    root = torch.sparse_coo_tensor(torch.from_numpy(np.stack(X.coords)).long(), values, X.shape).coalesce()
    transposed = root.t().coalesce()  # (n_items, n_users)

    def score(x: Histories) -> Tensor:
        dense = torch.zeros(len(x), root.shape[1])
        dense[x.rows, x.items] = x.weights
        return (transposed @ (root @ dense.T)).T.contiguous()  # (B, n_items)

    return score


REFERENCES = {"popularity": popularity, "A x": linear_filter}
