"""Noise schedules: signal and noise levels per frequency and time, Eqs. (9)-(14), and the ablations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdiff.config import Config, Schedule


@dataclass(frozen=True)
class NoiseSchedule:
    """Signal and noise over time: `q(v_t | v_0) = N(alpha_t * v_0, sigma_t^2 I)` per frequency, Eq. (11).

    `alpha`, `sigma` and `snr` take times t (B,) or a scalar, in [0, tau], and frequencies lam (K,). They return (B, K)
    or (K,).

    Attributes:
        kind: `vp` is the method; alpha_min = 0 and sigma_max = 1 give Eq. (12). `ve` and `ddpm` are the ablations of
            Table 3: `ve` has the alpha of `vp` and sigma = sigma_max t / tau at all frequencies; `ddpm` ignores
            alpha_min and sigma_max.
        alpha_min: least factor of the signal, Eq. (13).
        sigma_max: largest standard deviation of the noise, Eq. (14).
        tau: the time at which sampling starts.
    """

    kind: Schedule = "vp"
    alpha_min: float = 0.0
    sigma_max: float = 0.5
    tau: float = 1.0

    @classmethod
    def of(cls, config: Config) -> NoiseSchedule:
        """The schedule of a configuration."""
        return cls(config.schedule, config.alpha_min, config.sigma_max, config.tau)

    def alpha(self, t: Tensor, lam: Tensor) -> Tensor:
        """Factor of v_0 in v_t, in [0, 1]."""
        if self.kind == "ddpm":
            return _ddpm_alpha(t / self.tau)[..., None].expand(*t.shape, len(lam))
        return (1 - self.alpha_min) * heat_kernel(t, lam) + self.alpha_min  # Eq. (13)

    def sigma(self, t: Tensor, lam: Tensor) -> Tensor:
        """Standard deviation of the noise at time t."""
        if self.kind == "ddpm":
            return (1 - self.alpha(t, lam) ** 2).clamp(min=0).sqrt()
        if self.kind == "ve":  # grows linearly in time, equal for all frequencies (Section 4.3)
            return (self.sigma_max * t / self.tau)[..., None].expand(*t.shape, len(lam))
        return (1 - heat_kernel(t, lam) ** 2).clamp(min=0).sqrt().clamp(max=self.sigma_max)  # Eq. (14)

    def snr(self, t: Tensor, lam: Tensor) -> Tensor:
        """SNR(t) = alpha_t^2 / sigma_t^2 (Section 3.2); infinite at t = 0, and for vp at lam = 0."""
        return self.alpha(t, lam) ** 2 / self.sigma(t, lam) ** 2

    def times(self, T: int, device: torch.device | None = None) -> Tensor:
        """t_k = tau k / T for k = 0 ... T, (T + 1,) (Section 4.1)."""
        return self.tau * torch.arange(T + 1, device=device) / T


def heat_kernel(t: Tensor, lam: Tensor) -> Tensor:
    """lambda_t = exp(-t lam): the eigenvalues of C_t = exp(-L t), the solution of the heat equation, Eqs. (4)-(7)."""
    return torch.exp(-t[..., None] * lam)  # Eqs. (9), (10)


def frequencies(lam: Tensor, config: Config) -> Tensor:
    """The frequencies (K,) that the schedule uses for ascending eigenvalues lam (K,).

    `graph`: the eigenvalues. All but the first lie close together, so that all but the first get the same noise.
    `stretched` and `rank` spread them over [0, 2], the range that the paper states: linearly, or evenly.
    """
    if config.frequency_scale == "stretched":
        return 2 * (lam - lam[0]) / (lam[-1] - lam[0]).clamp(min=1e-12)
    if config.frequency_scale == "rank":
        return torch.linspace(0, 2, len(lam), device=lam.device)
    return lam


def _ddpm_alpha(u: Tensor) -> Tensor:
    """alpha of the DDPM (Ho et al. 2020) at the fraction u of its 1,000 steps, with beta linear from 1e-4 to 0.02.

    Uses the continuous limit, alpha = exp(-1/2 int beta), with beta from 0.1 to 20 per unit of u (Song et al. 2021).
    """
    return torch.exp(-0.5 * (0.1 * u + 0.5 * (20 - 0.1) * u**2))
