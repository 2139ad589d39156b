"""The method on one screen: forward noising, the training loss (Algorithm 1), guidance and sampling (Algorithm 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from sdiff.base.distributed import ALONE, Ranks
from sdiff.config import Config
from sdiff.method.histories import Histories
from sdiff.method.model import Model
from sdiff.method.schedule import NoiseSchedule

OWN_ESTIMATE = 0.2  # share of training in which v_t is made from the denoiser's own estimate, as after the first step


class Predictor(Protocol):
    """Anything that estimates v_0 (B, K) from v_t (B, K), U'c (B, M, K) and t (B,)."""

    def __call__(self, v_t: Tensor, c: Tensor, t: Tensor) -> Tensor: ...


class Basis(Protocol):
    """A graph Fourier transform: the graph's own, or one that is learnt."""

    @property
    def lam(self) -> Tensor: ...
    def gft(self, x: Histories) -> Tensor: ...
    def igft(self, v: Tensor, items: slice = ...) -> Tensor: ...


def remembered(x: Histories, config: Config) -> list[Histories]:
    """c, a history as each of M memories weighs it. Without a half-life all of it weighs the same."""
    if config.normalise:
        x = x.normalised()
    half_lives = [config.half_life * 4**m for m in range(config.memories)]
    return [x.recent(h) if h else x for h in half_lives]


def condition(basis: Basis, x: Histories, config: Config) -> Tensor:
    """U'c (B, M, K): the spectrum of a history, once for each memory."""
    return torch.stack([basis.gft(c) for c in remembered(x, config)], dim=1)


def q_sample(schedule: NoiseSchedule, v_0: Tensor, t: Tensor, lam: Tensor, eps: Tensor | None) -> Tensor:
    """v_t = alpha_t * v_0 + sigma_t * eps (B, K): Eq. (1) per frequency; without eps the mean."""
    mean = schedule.alpha(t, lam) * v_0
    return mean if eps is None else mean + schedule.sigma(t, lam) * eps  # Eqs. (3), (8)-(11)


def training_loss(
    model: Model, x: Histories, config: Config, generator: torch.Generator, ranks: Ranks = ALONE
) -> Tensor:
    """One step of Algorithm 1: the denoiser sees what `x` shows of itself and estimates the rest.

    With loss=mse: || phi(v_t, U'c, t) - v_0 ||^2 averaged over users and frequencies, the term at one t, Eq. (16), of
    the bound on the likelihood, Eq. (15). With loss=softmax: how likely the n hidden items of a user are among all that
    are not shown, (1 - (n p)^q) / q averaged over them, the generalised cross-entropy of Zhang & Sabuncu 2018 (NeurIPS)
    with p relative to the best that it can be. q = 0 is its limit -log(n p).

    Where `x` is a rank's share of a batch, the mean over the ranks is the loss of the whole batch, and so it is with
    gradients, however users and hidden items fell to the ranks: each divides by the ranks' mean weight, not its own.
    """
    basis, denoiser, schedule = model.basis, model.denoiser, NoiseSchedule.of(config)
    device = basis.lam.device
    shown, hidden = x.cut(config.horizon, generator) if config.half_life else x.mask(config.mask, generator)
    c = condition(basis, shown, config)  # (B, M, K)
    conditional = torch.rand(len(x), 1, 1, generator=generator, device=device) >= config.p_uncond
    c_or_none = c * conditional
    t = schedule.tau * torch.rand(len(x), generator=generator, device=device)  # (B,)

    def noised(v: Tensor, t: Tensor) -> Tensor:
        return q_sample(schedule, v, t, basis.lam, torch.randn(v.shape, generator=generator, device=device))

    v_0 = basis.gft(x.normalised() if config.normalise else x)  # (B, K)
    if config.leak:
        v_t = noised(v_0, t)
    else:  # what sampling will see: first the noised history, at t = tau, then the denoiser's own estimate
        tau = torch.full_like(t, schedule.tau)
        first = torch.rand(len(x), generator=generator, device=device) >= OWN_ESTIMATE
        v_tau = noised(c.mean(1), tau)
        with torch.no_grad():
            v_t = noised(denoiser(v_tau, c_or_none, tau), t)
        v_t, t = torch.where(first[:, None], v_tau, v_t), torch.where(first, tau, t)
    v0_hat = denoiser(v_t, c_or_none, t)
    if config.loss == "mse":
        return (v0_hat - v_0).square().sum() / ranks.mean(torch.tensor(v_0.numel(), device=device))  # Eq. (16)
    logits = model.scores(v0_hat, shown)  # (B, n_items)
    logits[shown.rows, shown.items] = -torch.inf
    log_n_p = logits.log_softmax(dim=1)[hidden.rows, hidden.items] + hidden.size.log()[hidden.rows]
    surprise = -torch.expm1(config.q * log_n_p) / config.q if config.q else -log_n_p
    weight = ranks.mean(hidden.weights.sum())
    return (hidden.weights * surprise).sum() / weight.clamp(min=1e-9)  # a batch may hide nothing


def guided(denoiser: Predictor, v_t: Tensor, c: Tensor, t: Tensor, s: float) -> Tensor:
    """Classifier-free guidance v_c + s (v_c - v_u) in one pass of the network: s = 0 is the conditional estimate."""
    if s == 0:
        return denoiser(v_t, c, t)
    both = denoiser(torch.cat([v_t, v_t]), torch.cat([c, torch.zeros_like(c)]), torch.cat([t, t]))
    v_c, v_u = both.chunk(2)
    return v_c + s * (v_c - v_u)


def guide(denoiser: Predictor, c: Tensor, s: float, T: int) -> Callable[[Tensor, Tensor], Tensor]:
    """`guided` for one condition and T steps: (v_t, t) -> v0_hat, with one time t (1,) for all rows.

    A denoiser may offer `conditioned(c, s)`, which computes once what steps and passes have in common. That takes less
    time only where there are several steps of two passes each.
    """
    conditioned = getattr(denoiser, "conditioned", None)
    if conditioned is not None and s and T > 1:
        return conditioned(c, s)
    return lambda v_t, t: guided(denoiser, v_t, c, t.expand(len(c)), s)


def sample(
    denoiser: Predictor,
    schedule: NoiseSchedule,
    lam: Tensor,
    c: Tensor,
    T: int,
    guidance: float = 0.0,
    noise: Tensor | None = None,
    callback: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Algorithm 2: from the noised spectrum of the whole history back to an estimate of v_0, Eq. (2).

    Args:
        c: U'c (B, M, K), the whole history's spectrum: the condition and, noised to t = tau, the start.
        T: number of reverse steps.
        noise: eps (T, B, K), the draw for each step down from t = tau; without it sampling follows the means.
        callback: called as callback(k, v_t, v0_hat) at each step k = T ... 1.

    Returns:
        The last estimate of v_0, (B, K).
    """
    times = schedule.times(T, c.device)
    v0_hat = c.mean(1)  # (B, K)
    estimate = guide(denoiser, c, guidance, T)
    for k in range(T, 0, -1):
        t = times[k : k + 1]  # (1,), the same for all rows
        v_t = q_sample(schedule, v0_hat, t, lam, None if noise is None else noise[T - k])
        v0_hat = estimate(v_t, t)
        if callback is not None:
            callback(k, v_t, v0_hat)
    return v0_hat


@torch.inference_mode()
def denoise(
    model: Model,
    x: Histories,
    config: Config,
    generator: torch.Generator,
    callback: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Algorithm 2 as the configuration has it: sparse histories x in, v0_hat (B, K) out.

    The generator is a CPU one, so that every device sees the same noise.
    """
    c = condition(model.basis, x, config)  # (B, M, K)
    shape = (config.T, *c[:, 0].shape)
    noise = torch.randn(shape, generator=generator).to(c.device) if config.noise else None
    schedule, lam = NoiseSchedule.of(config), model.basis.lam
    return sample(model.denoiser, schedule, lam, c, config.T, config.guidance, noise, callback)


def score(model: Model, x: Histories, config: Config, generator: torch.Generator) -> Tensor:
    """x_hat (B, n_items): what Algorithm 2 estimates of histories x, back among the items."""
    return model.scores(denoise(model, x, config, generator), x)
