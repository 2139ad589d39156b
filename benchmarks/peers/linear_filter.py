"""The linear graph filter A x, the least that graph filtering does (compare Shen et al. 2021, "How powerful is graph
convolution for recommendation?", CIKM)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from sdiff.histories import Histories
from sdiff.interactions import Split
from sdiff.spectrum import normalised_adjacency_root


def linear_filter(split: Split) -> Callable[[Histories], Tensor]:
    """Scores A x = X~'X~ x by two sparse products; there is nothing to choose."""
    root, n_items = normalised_adjacency_root(split.train.matrix()), len(split.items)

    def score(x: Histories) -> Tensor:
        rows = sp.csr_array((np.ones(len(x.items)), x.items.numpy(), x.offsets.numpy()), shape=(len(x), n_items))
        return torch.from_numpy(((rows @ root.T) @ root).toarray()).float()

    return score
