"""The method on one screen: forward noising, the training loss (Algorithm 1), guidance and sampling (Algorithm 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from sdiff.config import Config
from sdiff.histories import Histories
from sdiff.schedule import NoiseSchedule
from sdiff.spectrum import SpectralBasis


class Predictor(Protocol):
    """Anything that estimates v_0 (B, K) from v_t (B, K), U'c (B, K) and t (B,)."""

    def __call__(self, v_t: Tensor, c: Tensor, t: Tensor) -> Tensor: ...


def q_sample(schedule: NoiseSchedule, v_0: Tensor, t: Tensor, lam: Tensor, eps: Tensor | None) -> Tensor:
    """v_t = alpha_t * v_0 + sigma_t * eps (B, K): Eq. (1) per frequency; without eps the mean."""
    mean = schedule.alpha(t, lam) * v_0
    return mean if eps is None else mean + schedule.sigma(t, lam) * eps  # Eqs. (3), (8)-(11)


def training_loss(
    denoiser: Predictor, basis: SpectralBasis, x: Histories, config: Config, generator: torch.Generator
) -> Tensor:
    """|| phi(v_t, U'c, t) - v_0 ||^2 averaged over users and frequencies: one step of Algorithm 1.

    The term at one t, Eq. (16), of the bound on the likelihood, Eq. (15).
    """
    schedule = NoiseSchedule.of(config)
    device = basis.lam.device
    v_0 = basis.gft(x)  # (B, K)
    c = basis.gft(x.mask(config.mask, generator))  # (B, K)
    conditional = torch.rand(len(x), 1, generator=generator, device=device) >= config.p_uncond
    t = schedule.tau * torch.rand(len(x), generator=generator, device=device)  # (B,)
    eps = torch.randn(v_0.shape, generator=generator, device=device)
    v_t = q_sample(schedule, v_0, t, basis.lam, eps)
    return (denoiser(v_t, c * conditional, t) - v_0).square().mean()  # Eq. (16)


def guided(denoiser: Predictor, v_t: Tensor, c: Tensor, t: Tensor, s: float) -> Tensor:
    """Classifier-free guidance v_c + s (v_c - v_u) in one pass of the network: s = 0 is the conditional estimate."""
    if s == 0:
        return denoiser(v_t, c, t)
    both = denoiser(torch.cat([v_t, v_t]), torch.cat([c, torch.zeros_like(c)]), torch.cat([t, t]))
    v_c, v_u = both.chunk(2)
    return v_c + s * (v_c - v_u)


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
        c: U'c (B, K), the whole history's spectrum: the condition and, noised to t = tau, the start.
        T: number of reverse steps.
        noise: eps (T, B, K), the draw for each step down from t = tau; without it sampling follows the means.
        callback: called as callback(k, v_t, v0_hat) at each step k = T ... 1.

    Returns:
        The last estimate of v_0, (B, K).
    """
    times = schedule.times(T, c.device)
    v0_hat = c
    for k in range(T, 0, -1):
        t = times[k].expand(len(c))
        v_t = q_sample(schedule, v0_hat, t, lam, None if noise is None else noise[T - k])
        v0_hat = guided(denoiser, v_t, c, t, guidance)
        if callback is not None:
            callback(k, v_t, v0_hat)
    return v0_hat


@torch.inference_mode()
def denoise(
    denoiser: Predictor,
    basis: SpectralBasis,
    x: Histories,
    config: Config,
    generator: torch.Generator,
    callback: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Algorithm 2 as the configuration has it: sparse histories x in, v0_hat (B, K) out.

    The generator is a CPU one, so that every device sees the same noise.
    """
    c = basis.gft(x)  # (B, K)
    noise = torch.randn(config.T, *c.shape, generator=generator).to(c.device) if config.noise else None
    return sample(denoiser, NoiseSchedule.of(config), basis.lam, c, config.T, config.guidance, noise, callback)
