"""Why an item is recommended: what each item of the history and each frequency adds to its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from sdiff.base.checks import generator
from sdiff.method.diffusion import memory_inputs, sample
from sdiff.method.schedule import NoiseSchedule
from sdiff.serving.recommender import Recommender

STEPS = 64  # between no history and the whole one


@dataclass(frozen=True)
class Explanation:
    """Two accounts of one score, each of which adds up to it.

    Attributes:
        score: of the item, as the model ranks by it: a logit where it was trained by a softmax.
        without: the score where the history says nothing.
        by_item: (n,) what each item of the history adds, in its order.
        remainder: score - without - sum(by_item), the error of the integral's sum.
        by_frequency: (K,) U_ik v̂_k, what each frequency of the estimate adds.
        beside: score - sum(by_frequency): the item's own bias, and what a head takes from the graph's neighbours.
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
    """Takes a score apart, for the history, noise and settings of `Recommender.recommend`.

    By item: integrated gradients (Sundararajan et al. 2017, ICML) along a c from a = 0 to 1. The condition c and the
    neighbours' weights are sums over the history, so that the integral is one too; T steps of sampling lie inside it.
    By frequency: the inverse transform is a sum over frequencies already.

    Raises:
        SDiffError: an unknown id, or a setting that is unknown, out of range or fixed in training.
    """
    config = model.config.at_inference(settings)
    x = model.encode(history)
    i = int(model.items.encode([item])[0])
    of_item = slice(i, i + 1)
    basis, graph, head = model.basis, model.model.graph, model.model.head
    n, K = len(x.items), len(basis.lam)
    each = torch.arange(n + 1, device=model.device)  # offsets that make a row of every entry
    parts = torch.stack(
        [basis.gft(replace(past, offsets=each)) for past in memory_inputs(x, config)], dim=1
    )  # (n, M, K)
    near = x.normalised().weights * graph.column(x.items, i) if graph else parts.new_zeros(n)  # (n,)

    a = torch.cat([(torch.arange(STEPS) + 0.5) / STEPS, torch.tensor([0.0, 1.0])]).to(model.device)
    c = (a[:, None, None] * parts.sum(0)).requires_grad_()  # (STEPS + 2, M, K)
    neighbours = (a * near.sum()).requires_grad_()
    noise = None
    if config.noise:
        drawn = torch.randn((config.T, 1, K), generator=generator(seed))
        noise = drawn.to(model.device).expand(-1, len(a), -1)
    v0_hat = sample(model.denoiser, NoiseSchedule.of(config), basis.lam, c, config.T, config.guidance, noise)
    score = basis.igft(v0_hat, of_item)[:, 0]
    if head:
        score = head(score, neighbours)
    by_c, by_neighbours = torch.autograd.grad(score[:STEPS].sum(), (c, neighbours), materialize_grads=True)
    by_item = torch.einsum("nmk,mk->n", parts, by_c.sum(0) / STEPS) + near * (by_neighbours.sum() / STEPS)

    nothing, whole = score[-2].item(), score[-1].item()
    alone = torch.cat([v0_hat[-1].detach().diag(), v0_hat.new_zeros(1, K)])  # each frequency, and none
    found = basis.igft(alone, of_item)[:, 0]
    by_frequency = (found[:-1] - found[-1]).double()
    return Explanation(
        score=whole,
        without=nothing,
        by_item=by_item.cpu().numpy(),
        remainder=whole - nothing - by_item.sum().item(),
        by_frequency=by_frequency.cpu().numpy(),
        beside=whole - by_frequency.sum().item(),
    )
