"""LinkProp: Fu et al. 2022, "Revisiting neighborhood-based link prediction for collaborative filtering", WWW."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import Scorer
from sdiff.evaluation.evaluate import evaluate
from sdiff.experiments.baselines.training import CPU
from sdiff.method.eigen import to_torch
from sdiff.method.histories import Histories
from sdiff.training.trainer import CRITERION

EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def linkprop(split: Split) -> Scorer:
    """D_U^-alpha X D_I^-beta X' D_U^-gamma X D_I^-delta; alpha does not affect the ranking.

    The other three exponents are chosen on validation recall@20 by two rounds of coordinate search.
    """
    exponents = [0.5, 0.5, 0.5]
    for i in (0, 1, 2, 0, 1, 2):
        candidates = [[*exponents[:i], e, *exponents[i + 1 :]] for e in EXPONENTS]
        exponents = max(candidates, key=lambda c: evaluate(propagated(split, *c), split, "valid", CPU)[CRITERION])
    return propagated(split, *exponents)


def propagated(split: Split, beta: float, gamma: float, delta: float) -> Scorer:
    X = split.train.matrix()
    user, item = (np.maximum(X.sum(axis), 1) for axis in (1, 0))
    there = to_torch(sp.csr_array(sp.diags_array(user**-gamma) @ X))
    back = to_torch(sp.csr_array(sp.diags_array(item**-delta) @ X.T))
    weight = torch.from_numpy(item**-beta).float()

    def score(x: Histories) -> Tensor:
        x = replace(x, weights=x.weights * weight[x.items])
        return (back @ (there @ x.dense(len(weight)).T)).T.contiguous()

    return score
