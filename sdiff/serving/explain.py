"""Explanations: the contribution of each history item and each frequency to the score of an item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sdiff.base.device import generator
from sdiff.config import Config
from sdiff.method.diffusion import mean_memory, memory_inputs, sample, sampling_noise
from sdiff.method.histories import Histories
from sdiff.method.schedule import NoiseSchedule, frequencies
from sdiff.method.spectrum import EVERY
from sdiff.serving.recommender import Recommender

STEPS = 64  # of the integral, from the empty history to the full one
BLOCK = 1_000_000  # scores of all items that several steps hold at once, for some values of a


@dataclass(frozen=True)
class Explanation:
    """Two decompositions of a score; each sums to the score.

    Attributes:
        score: the score by which the item is ranked; a logit if the model was trained with a softmax loss, and the
            number of training interactions of the item where `Recommender.by_popularity`.
        without: the score with an empty condition, the baseline of the integral. Between steps, items of the history
            are still left out of the expected hidden items.
        by_item: (n,) contribution of each item of the history, in the order of the history.
        remainder: score - without - sum(by_item), the numerical error of the integral.
        by_frequency: (K,) U_ik v̂_k, contribution of each frequency.
        beside: score - sum(by_frequency): the bias of the item, what the fusion head and `beta` add, or popularity.
    """

    score: float
    without: float
    by_item: np.ndarray
    remainder: float
    by_frequency: np.ndarray
    beside: float


def explain(
    model: Recommender, history: Sequence[str | int], item: str | int, *, seed: int = 0, **settings: Any
) -> Explanation:
    """Decomposes the score of an item, for the same history, noise and settings as `Recommender.recommend`.

    By item: integrated gradients (Sundararajan et al. 2017, ICML) along a c from a = 0 to 1, through all T sampling
    steps. The condition c and the neighbourhood scores are sums over the history, hence so is the integral. By
    frequency: the inverse transform is a sum over frequencies.

    Args:
        history: item ids, oldest first.
        item: id of the item to explain. It may be any item of the vocabulary, recommended or not.
        seed: seed of the sampling noise.
        **settings: those of `Config.at_inference`.

    Raises:
        SDiffError: an unknown id, or a setting that is unknown, out of range, or fixed in training.
    """
    config = model.config.at_inference(settings)
    x = model.encode(history)
    i = int(model.items.encode([item])[0])
    of_item = slice(i, i + 1)
    basis, graph = model.basis, model.model.graph
    n, K, n_items = len(x.items), len(basis.lam), len(model.items)
    if model.by_popularity(x, config):
        popularity = float(model.checkpoint.item_counts[i])
        return Explanation(popularity, popularity, np.zeros(n), 0.0, np.zeros(K), popularity)
    one_per_row = torch.arange(n + 1, device=model.device)  # offsets: each history item in a row of its own
    parts = torch.stack(
        [basis.gft(replace(weighted, offsets=one_per_row)) for weighted in memory_inputs(x, config)], dim=1
    )  # (n, M, K)
    # Neighbourhood scores (n_items or 1,). Only several steps need those of all items.
    shown = EVERY if config.T > 1 else of_item
    whole = mean_memory(x, config)
    near = None if graph is None else graph.dot(whole)[0, shown]
    integral = _integral(model, config, x, parts.sum(0), near, i, generator(seed))
    by_item = torch.einsum("nmk,mk->n", parts, integral.by_c)
    if graph is not None:
        by_near = by_item.new_zeros(n_items)
        by_near[shown] = integral.by_near
        by_item = by_item + whole.weights * graph.pull(x.items, by_near)

    single = torch.cat([integral.v0_hat.diag(), integral.v0_hat.new_zeros(1, K)])  # each frequency; last row: none
    single_scores = model.model.scores(single, None, of_item, config.beta)[:, 0]
    by_frequency = (single_scores[:-1] - single_scores[-1]).double()
    return Explanation(
        score=integral.score,
        without=integral.without,
        by_item=by_item.cpu().numpy(),
        remainder=integral.score - integral.without - by_item.sum().item(),
        by_frequency=by_frequency.cpu().numpy(),
        beside=integral.score - by_frequency.sum().item(),
    )


class _Integral(NamedTuple):
    """The gradients of a score by c (M, K) and by the neighbourhood scores, integrated over a from 0 to 1.

    `without`, `score` and `v0_hat` (K,) are the score at a = 0, and score and estimate at a = 1.
    """

    by_c: Tensor
    by_near: Tensor
    without: float
    score: float
    v0_hat: Tensor


def _integral(
    model: Recommender,
    config: Config,
    x: Histories,
    whole_c: Tensor,
    whole_near: Tensor | None,
    item: int,
    random: torch.Generator,
) -> _Integral:
    """Integrates the gradients of the score of an item along a c and a times the neighbourhood scores.

    Args:
        whole_c: (M, K) the condition.
        whole_near: the neighbourhood scores, of all items or of this one; None without a graph.
    """
    of_item, n_items = slice(item, item + 1), len(model.items)
    a = torch.cat([(torch.arange(STEPS) + 0.5) / STEPS, torch.tensor([0.0, 1.0])]).to(model.device)
    weights = (torch.arange(len(a), device=model.device) < STEPS) / STEPS  # of the integral; the last two are its ends
    noise = sampling_noise(model.model, 1, config, random)
    scores: list[float] = []
    v0_hat = by_c = torch.zeros_like(whole_c)
    by_near = torch.zeros_like(whole_c if whole_near is None else whole_near)
    block = len(a) if config.T == 1 else max(BLOCK // n_items, 1)
    for a_b, weights_b in zip(a.split(block), weights.split(block), strict=True):
        c = (a_b[:, None, None] * whole_c).requires_grad_()  # (B, M, K)
        near = None if whole_near is None else (a_b[:, None] * whole_near).requires_grad_()
        rows = x.take(torch.zeros(len(a_b), dtype=torch.int64, device=model.device))  # x for each a
        v0_hat = sample(
            model.denoiser,
            NoiseSchedule.of(config),
            frequencies(model.basis.lam, config),
            c,
            config.T,
            config.guidance,
            noise,
            as_v_0=lambda v0_hat, c=c, rows=rows, near=near: model.model.v_0(v0_hat, c.mean(1), rows, near),
        )
        near_item = near[:, of_item] if near is not None and near.shape[1] == n_items else near
        score = model.model.scores(v0_hat, near_item, of_item, config.beta)[:, 0]
        inputs = [c] if near is None else [c, near]
        of_c, *of_near = torch.autograd.grad((weights_b * score).sum(), inputs, materialize_grads=True)
        by_c = by_c + of_c.sum(0)
        if of_near:
            by_near = by_near + of_near[0].sum(0)
        scores += score.tolist()
    *_, without, score = scores
    return _Integral(by_c, by_near, without, score, v0_hat[-1].detach())
