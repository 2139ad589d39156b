"""Denoisers that are not trained: the optimal matrix for masked histories, and a graph filter."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sdiff.method.histories import Histories
from sdiff.method.spectrum import EVERY, Items, SpectralBasis, inverse


class LinearDenoiser(nn.Module):
    """v0_hat = W U'c: a Wiener filter in the spectral domain. It uses only the condition, not v_t or t."""

    def __init__(self, K: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.eye(K))

    def forward(self, v_t: Tensor, c: Tensor, t: Tensor) -> Tensor:
        return c[:, 0] @ self.W.T


class PassThrough(nn.Module):
    """v0_hat = U'c: with the inverse transform, an ideal low-pass filter."""

    def forward(self, v_t: Tensor, c: Tensor, t: Tensor) -> Tensor:
        return c.mean(1)


@dataclass(frozen=True, eq=False)
class DegreeBasis:
    """The transform of GF-CF (Shen et al. 2021): U'D^-1/2 x and w D^1/2 U v, with D the number of users of each item.

    Attributes:
        roots: D^1/2 (n_items,).
        weight: w, the weight of the low-pass scores.
    """

    spectrum: SpectralBasis
    roots: Tensor
    weight: float

    @property
    def U(self) -> Tensor:
        return self.spectrum.U

    @property
    def lam(self) -> Tensor:
        return self.spectrum.lam

    def gft(self, x: Histories) -> Tensor:
        """U'D^-1/2 x (B, K) of sparse histories."""
        return replace(x, weights=x.weights / self.roots[x.items]).dot(self.spectrum.U)

    def igft(self, v: Tensor, items: Items = EVERY) -> Tensor:
        """w D^1/2 U v (B, n_items), or only the columns of `items`."""
        roots = self.roots[items]
        if not self.weight:
            return v.new_zeros(len(v), len(roots))
        return self.weight * inverse(v, self.spectrum.U[items]) * roots


def solve(basis: SpectralBasis, x: Histories, mask: float) -> Tensor:
    """W (K, K) that minimises the expectation of `|| W U'Mask(x) - U'x ||^2` over histories x and masks.

    Let G = sum_u U'x x'U and D = U' diag(item counts) U. Masking adds the noise covariance mask / (1 - mask) D to the
    signal covariance G, hence W = G (G + mask / (1 - mask) D)^-1. In the item domain, the same objective gives the
    dropout autoencoder of Steck 2020 ("Autoencoders that don't overfit towards the identity", NeurIPS).
    """
    v = basis.gft(x).double()  # (B, K)
    G = v.T @ v
    counts = torch.bincount(x.items, minlength=len(basis.U)).double()  # (n_items,)
    U = basis.U.double()
    D = (U * counts[:, None]).T @ U
    noisy = G + mask / (1 - mask) * D
    noisy.diagonal().add_(1e-9 * noisy.trace() / len(noisy))  # avoids a singular matrix when an item has no users
    return torch.linalg.solve(noisy, G).T.float()
