"""The denoiser phi_theta (Section 3.3, Figure 4): FiLM fusion per frequency, a time embedding and an MLP."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from sdiff.config import Config


def timestep_embedding(t: Tensor, dim: int) -> Tensor:
    """Sinusoidal embedding (B, dim) of times t (B,), as in DDPM. t in [0, 1] covers DDPM's 1,000 steps."""
    half = dim // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=t.device) / half)
    angles = 1000 * t[:, None] * frequencies  # (B, half)
    code = torch.cat([angles.cos(), angles.sin()], dim=1)
    return nn.functional.pad(code, (0, 1)) if dim % 2 else code  # (B, dim)


class FiLM(nn.Module):
    """v_fused = v_t + gamma * c + beta with gamma_i = f(c_i), beta_i = h(c_i), Eq. (17), for each of M memories.

    f and h are affine functions of each frequency separately, so the fusion is elementwise. They are initialised to
    gamma = 1 and beta = 0, which gives v_t + c.
    """

    def __init__(self, K: int, memories: int = 1) -> None:
        super().__init__()
        shape = (memories, K)
        self.f_weight, self.f_bias = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.ones(shape))
        self.h_weight, self.h_bias = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.zeros(shape))

    def forward(self, v_t: Tensor, c: Tensor) -> Tensor:
        gamma = self.f_weight * c + self.f_bias  # (B, M, K), Eq. (17)
        beta = self.h_weight * c + self.h_bias  # (B, M, K), Eq. (17)
        return v_t[:, None] + gamma * c + beta


class Concat(nn.Module):
    """Ablation without FiLM: v_t and the condition concatenated, (B, 1 + M, K) (Figure 6)."""

    def forward(self, v_t: Tensor, c: Tensor) -> Tensor:
        return torch.cat([v_t[:, None], c], dim=1)


class Denoiser(nn.Module):
    """Estimates v_0 (B, K) from v_t (B, K), the condition's spectrum U'c (B, M, K) and times t (B,), Eq. (16).

    c has M memories: the history weighted with M half-lives. With `residual`, the MLP is initialised to zero and
    its output is added to a weighted mean of v_t and c, whose weights are learned.
    """

    def __init__(self, config: Config, K: int) -> None:
        super().__init__()
        film, M = config.fusion == "film", config.memories
        self.time_dim = config.time_dim
        self.fuse = FiLM(K, M) if film else Concat()
        parts = M if film else M + 1
        self.mlp = nn.Sequential(
            nn.Linear(parts * K + config.time_dim, config.hidden),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, K),
        )
        self.skip = None
        if config.residual:
            self.skip = nn.Parameter(torch.full((parts, K), 1 / (2 * M if film else M + 1)))
            nn.init.zeros_(self.mlp[-1].weight)  # pyright: ignore
            nn.init.zeros_(self.mlp[-1].bias)  # pyright: ignore

    def forward(self, v_t: Tensor, c: Tensor, t: Tensor) -> Tensor:
        fused = self.fuse(v_t, c)  # (B, parts, K)
        v0_hat = self.mlp(torch.cat([fused.flatten(1), timestep_embedding(t, self.time_dim)], dim=1))
        return v0_hat if self.skip is None else v0_hat + (self.skip * fused).sum(1)

    def conditioned(self, c: Tensor, s: float) -> Callable[[Tensor, Tensor], Tensor]:
        """`guided` for a fixed condition: returns (v_t, t) -> v_c + s (v_c - v_u) at half the cost.

        The fusion and the first layer are linear in v_t. The contribution of the condition is therefore computed once
        for all steps, and that of the empty condition once for all rows. The last layer is linear, too, so the
        conditional and unconditional passes are combined before it.
        """
        first: nn.Linear = self.mlp[0]  # pyright: ignore[reportAssignmentType]
        W_in, W_time = first.weight.split([first.in_features - self.time_dim, self.time_dim], dim=1)
        fused, nothing = (self.fuse(torch.zeros_like(a[:, 0]), a) for a in (c, torch.zeros_like(c[:1])))
        of_c, of_nothing = (linear(a.flatten(1), W_in) for a in (fused, nothing))  # (B, hidden), (1, hidden)
        entered = slice(None) if isinstance(self.fuse, FiLM) else slice(1)  # the parts that contain v_t
        W_v = W_in.unflatten(1, fused.shape[1:])[:, entered].sum(1)  # (hidden, K)

        def estimate(v_t: Tensor, t: Tensor) -> Tensor:
            of_v = linear(v_t, W_v, first.bias) + linear(timestep_embedding(t, self.time_dim), W_time)
            hidden = silu(of_v + of_c)
            if s:
                hidden = (1 + s) * hidden - s * silu(of_v + of_nothing)
            v0_hat = self.mlp[-1](hidden)
            if self.skip is None:
                return v0_hat
            skipped = (self.skip * ((1 + s) * fused - s * nothing)).sum(1)
            return v0_hat + skipped + self.skip[entered].sum(0) * v_t

        return estimate
