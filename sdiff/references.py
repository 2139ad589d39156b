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
    root, n_items = normalised_adjacency_root(split.train.matrix()), len(split.items)

    def score(x: Histories) -> Tensor:
        rows = sp.csr_array((np.ones(len(x.items)), x.items.numpy(), x.offsets.numpy()), shape=(len(x), n_items))
        return torch.from_numpy(((rows @ root.T) @ root).toarray()).float()

    return score


REFERENCES = {"popularity": popularity, "A x": linear_filter}
