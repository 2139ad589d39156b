"""Training losses (Algorithm 1): the paper's squared error in the spectral domain, and a ranking loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from sdiff.base.distributed import ALONE, Ranks
from sdiff.config import Config
from sdiff.config import Loss as Kind
from sdiff.method.candidates import ALL, Candidates
from sdiff.method.diffusion import condition, neighbourhood_scores, q_sample, scaled
from sdiff.method.histories import TINY, Histories
from sdiff.method.model import Model
from sdiff.method.schedule import NoiseSchedule, frequencies


class LossSum(NamedTuple):
    """A loss before averaging: the sum over its terms, and their total weight."""

    sum: Tensor
    weight: Tensor

    def mean(self, ranks: Ranks = ALONE) -> Tensor:
        """sum / weight.

        With several ranks, each divides by the mean weight of all ranks. The mean over ranks of the losses and of their
        gradients then equals that of the whole batch, however its users and hidden items are distributed.
        """
        return self.sum / ranks.mean(self.weight).clamp(min=1e-9)  # a batch may have no hidden items


def denoising_loss(model: Model, x: Histories, config: Config, generator: Generator) -> LossSum:
    """The loss of Algorithm 1: `|| phi(v_t, U'c, t) - v_0 ||^2` over users and frequencies.

    This is the term at one t, Eq. (16), of the likelihood bound, Eq. (15).

    Args:
        x: (B, n_items) histories of a batch of users, which are masked here.
        generator: of masks, times and noise, on the device of the model.
    """
    shown, _ = hide(x, config, generator)  # c = Mask(x)
    c = condition(model.basis, shown, config)  # U'c (B, M, K)
    c_or_none = drop_condition(c, config.p_uncond, generator)
    t = uniform_times(c, config.tau, generator)  # (B,)
    v_0 = model.basis.gft(scaled(x, config))  # U'x (B, K)
    v_t, t = noised(model, v_0, t, c, c_or_none, shown, None, config, generator)
    v0_hat = model.denoiser(v_t, c_or_none, t)
    return LossSum((v0_hat - v_0).square().sum(), v_0.new_full((), v_0.numel()))  # Eq. (16)


def ranking_loss(model: Model, x: Histories, config: Config, generator: Generator) -> LossSum:
    """Softmax loss over the items that are not shown: the weighted mean of (1 - (n p)^q) / q over all hidden items.

    n is the total weight of a user's hidden items: their number, unless weights fade with `half_life`. This is the
    generalised cross-entropy of Zhang & Sabuncu 2018 (NeurIPS), with the probability p relative to 1 / n, the best
    value for n items. For q = 0 it is the limit -log(n p), in nats. With `negatives`, p is an estimate from some of the
    items. Arguments are those of `denoising_loss`.
    """
    # The steps of Algorithm 1 as above, repeated so that each loss can be read from top to bottom.
    shown, hidden = hide(x, config, generator)
    c = condition(model.basis, shown, config)  # U'c (B, M, K)
    c_or_none = drop_condition(c, config.p_uncond, generator)
    t = uniform_times(c, config.tau, generator)  # (B,)
    v_0 = model.basis.gft(scaled(x, config))  # U'x (B, K)
    candidates = ALL
    if config.negatives:
        candidates = Candidates.draw(hidden, len(model.log_counts), config.negatives, generator)
    near = neighbourhood_scores(model, shown, config, candidates.items)
    v_t, t = noised(model, v_0, t, c, c_or_none, shown, near, config, generator, candidates)
    v0_hat = model.denoiser(v_t, c_or_none, t)
    logits = candidates.logits(model.scores(v0_hat, near, candidates.items), shown, -torch.inf)  # (B, S)
    log_n_p = (
        candidates.positions(hidden).at(logits.log_softmax(dim=1)) + hidden.size.clamp(min=TINY).log()[hidden.rows]
    )
    surprise = -torch.expm1(config.q * log_n_p) / config.q if config.q else -log_n_p
    return LossSum((hidden.weights * surprise).sum(), hidden.weights.sum())


LOSSES: dict[Kind, Callable[[Model, Histories, Config, Generator], LossSum]] = {
    "mse": denoising_loss,
    "softmax": ranking_loss,
}


def hide(x: Histories, config: Config, generator: Generator) -> tuple[Histories, Histories]:
    """Splits each history into (shown, hidden): the condition and the rest. With a half-life: past and future."""
    return x.cut(config.horizon, generator) if config.half_life else x.mask(config.mask, generator)


def drop_condition(c: Tensor, p_uncond: float, generator: Generator) -> Tensor:
    """c (B, M, K), with each user's condition set to zero with probability p_uncond (classifier-free guidance)."""
    return c * (torch.rand(len(c), 1, 1, generator=generator, device=c.device) >= p_uncond)


def uniform_times(c: Tensor, tau: float, generator: Generator) -> Tensor:
    """t ~ U(0, tau), one for each user (B,)."""
    return tau * torch.rand(len(c), generator=generator, device=c.device)


def noised(
    model: Model,
    v_0: Tensor,
    t: Tensor,
    c: Tensor,
    c_or_none: Tensor,
    shown: Histories,
    near: Tensor | None,
    config: Config,
    generator: Generator,
    candidates: Candidates = ALL,
) -> tuple[Tensor, Tensor]:
    """v_t (B, K) ~ q(v_t | v_0), and its t (B,).

    For a share `sampled` of the rows, v_t is made as in sampling, so that it contains no hidden items: at one of the T
    steps, from the condition at t = tau, and from the denoiser's own first estimate at the later steps. With some
    `candidates`, that estimate is made of these, among which the hidden items always are.
    """
    schedule, lam = NoiseSchedule.of(config), frequencies(model.basis.lam, config)

    def q(v: Tensor, t: Tensor) -> Tensor:
        eps = torch.randn(v.shape, generator=generator, device=v.device) * model.noise_scale
        return q_sample(schedule, v, t, lam, eps)

    v_t = q(v_0, t)
    if not config.sampled:
        return v_t, t
    as_sampled = torch.rand(len(t), generator=generator, device=t.device) < config.sampled
    k = torch.randint(1, config.T + 1, (len(t),), generator=generator, device=t.device)
    t_k = schedule.times(config.T, t.device)[k]
    tau = torch.full_like(t, config.tau)
    v_k = v_tau = q(c.mean(1), tau)
    if config.T > 1:
        with torch.no_grad():
            estimate = model.v_0(model.denoiser(v_tau, c_or_none, tau), c.mean(1), shown, near, candidates)
        v_k = torch.where((k == config.T)[:, None], v_tau, q(estimate, t_k))
    return torch.where(as_sampled[:, None], v_k, v_t), torch.where(as_sampled, t_k, t)
