"""The denoiser phi_theta (Section 3.3, Figure 4): FiLM fusion per frequency, a time code and an MLP."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sdiff.config import Config
from sdiff.linear import LinearDenoiser


def time_code(t: Tensor, dim: int) -> Tensor:
    """Sinusoidal code (B, dim) of times t (B,), as in DDPM; t in [0, 1] spans the 1,000 steps it was made for."""
    half = dim // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=t.device) / half)
    angles = 1000 * t[:, None] * frequencies  # (B, half)
    code = torch.cat([angles.cos(), angles.sin()], dim=1)
    return nn.functional.pad(code, (0, dim - 2 * half))  # (B, dim)


class FiLM(nn.Module):
    """v_fused = v_t + gamma * c + beta with gamma_i = f(c_i), beta_i = h(c_i), Eq. (17).

    f and h are affine for each frequency on its own, which keeps the fusion elementwise. They start at gamma = 1
    and beta = 0, that is v_t + c.
    """

    def __init__(self, K: int) -> None:
        super().__init__()
        self.f_weight, self.f_bias = nn.Parameter(torch.zeros(K)), nn.Parameter(torch.ones(K))
        self.h_weight, self.h_bias = nn.Parameter(torch.zeros(K)), nn.Parameter(torch.zeros(K))

    def forward(self, v_t: Tensor, c: Tensor) -> Tensor:
        gamma = self.f_weight * c + self.f_bias  # (B, K), Eq. (17)
        beta = self.h_weight * c + self.h_bias  # (B, K), Eq. (17)
        return v_t + gamma * c + beta


class Concat(nn.Module):
    """The ablation without FiLM: the condition beside v_t, (B, 2 K) (Figure 6)."""

    def forward(self, v_t: Tensor, c: Tensor) -> Tensor:
        return torch.cat([v_t, c], dim=1)


class Denoiser(nn.Module):
    """Estimates v_0 (B, K) from v_t (B, K), the condition's spectrum c = U'c (B, K) and times t (B,), Eq. (16)."""

    def __init__(self, config: Config, K: int) -> None:
        super().__init__()
        self.time_dim = config.time_dim
        self.fuse = FiLM(K) if config.fusion == "film" else Concat()
        fused = K if config.fusion == "film" else 2 * K
        self.mlp = nn.Sequential(
            nn.Linear(fused + config.time_dim, config.hidden), nn.SiLU(), nn.Linear(config.hidden, K)
        )

    def forward(self, v_t: Tensor, c: Tensor, t: Tensor) -> Tensor:
        return self.mlp(torch.cat([self.fuse(v_t, c), time_code(t, self.time_dim)], dim=1))


def make_denoiser(config: Config, K: int) -> Denoiser | LinearDenoiser:
    """The denoiser that the configuration asks for, for a basis of K frequencies."""
    return Denoiser(config, K) if config.denoiser == "mlp" else LinearDenoiser(K)
