"""GF-CF: Shen et al. 2021, "How powerful is graph convolution for recommendation?", CIKM."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import Scorer, linear_filter
from sdiff.method.histories import Histories
from sdiff.method.spectrum import cached_basis

K, ALPHA = 256, 0.3


def gfcf(split: Split) -> Scorer:
    """A x plus 0.3 times an ideal low-pass filter with K frequencies, as published."""
    smooth, low_pass = linear_filter(split), ideal_low_pass(split, K)
    return lambda x: smooth(x).add_(low_pass(x), alpha=ALPHA)


def ideal_low_pass(split: Split, K: int) -> Scorer:
    """A scorer that returns D_I^1/2 U U' D_I^-1/2 x, with U the eigenvectors of the K lowest frequencies."""
    U = cached_basis(split.train, K).U
    root = torch.from_numpy(np.sqrt(np.maximum(split.train.item_counts, 1))).float()[:, None]
    U_in, U_out = U / root, (U * root).T.contiguous()

    def score(x: Histories) -> Tensor:
        return x.dot(U_in) @ U_out

    return score
