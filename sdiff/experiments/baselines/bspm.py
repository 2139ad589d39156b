"""BSPM: Choi et al. 2023, "Blurring-sharpening process models for collaborative filtering", SIGIR.

The history is blurred by the graph, then sharpened along dy/dt = -A y. The authors' settings for their three data sets
are tried, and the one with the best validation recall@20 is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import Scorer, smoothing
from sdiff.experiments.baselines.gfcf import ideal_low_pass
from sdiff.experiments.baselines.training import best
from sdiff.method.histories import Histories
from sdiff.method.spectrum import normalised_adjacency_root

EULER, RUNGE_KUTTA = (1, 1), (1, 1, 1 / 2, 1 / 6, 1 / 24)  # coefficients of the powers of (-step A)


@dataclass(frozen=True)
class Setting:
    """Settings of BSPM.

    Attributes:
        time, steps, solver: duration, number of steps and solver of the sharpening process.
        beta, K: weight and number of frequencies of the ideal low-pass filter; 0 for none.
        mean: whether to use the mean over all points in time instead of the last.
    """

    time: float
    steps: int
    solver: tuple[float, ...]
    beta: float
    K: int
    mean: bool


SETTINGS = (
    Setting(2.5, 1, RUNGE_KUTTA, 0.2, 448, False),  # Gowalla
    Setting(1.2, 1, EULER, 0.3, 384, True),  # Yelp2018
    Setting(2.2, 2, RUNGE_KUTTA, 0.0, 0, False),  # Amazon-Book
)


def bspm(split: Split) -> Scorer:
    return best((sharpened(split, setting) for setting in SETTINGS), split)


def sharpened(split: Split, setting: Setting) -> Scorer:
    smooth = smoothing(normalised_adjacency_root(split.train.matrix()))
    low_pass = ideal_low_pass(split, setting.K) if setting.beta else None
    step = setting.time / setting.steps

    def score(x: Histories) -> Tensor:
        blurred = smooth(x.dense(len(split.items)))  # one Euler step of dx/dt = A x - x
        y = blurred + setting.beta * low_pass(x) if low_pass else blurred
        total = blurred.clone()
        for _ in range(setting.steps):
            y = polynomial(y, step)
            total += y
        return total / (1 + setting.steps) if setting.mean else y

    def polynomial(y: Tensor, step: float) -> Tensor:
        term, total = y, torch.zeros_like(y)
        for power, coefficient in enumerate(setting.solver):
            term = -step * smooth(term) if power else term
            total += coefficient * term
        return total

    return score
