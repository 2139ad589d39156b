"""GF-CF: Shen et al. 2021, "How powerful is graph convolution for recommendation?", CIKM."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sdiff.histories import Histories
from sdiff.interactions import Split
from sdiff.references import Scorer, linear_filter
from sdiff.spectrum import cached_basis

K, ALPHA = 256, 0.3


def gfcf(split: Split) -> Scorer:
    """A x + 0.3 D_I^1/2 U U' D_I^-1/2 x: the linear filter and an ideal low-pass of K frequencies, as published."""
    smooth = linear_filter(split)
    U = cached_basis(split.train, K).U
    root = torch.from_numpy(np.sqrt(np.maximum(split.train.item_counts, 1))).float()[:, None]
    U_in, U_out = U / root, U * root

    def score(x: Histories) -> Tensor:
        return smooth(x).addmm_(x.dot(U_in), U_out.T, alpha=ALPHA)

    return score
