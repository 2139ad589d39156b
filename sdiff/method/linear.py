"""A linear denoiser with a closed-form solution: the optimal matrix for masked histories."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sdiff.method.histories import Histories
from sdiff.method.spectrum import SpectralBasis


class LinearDenoiser(nn.Module):
    """v0_hat = W U'c: a Wiener filter in the spectral domain. It uses only the condition, not v_t or t."""

    def __init__(self, K: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.eye(K))

    def forward(self, v_t: Tensor, c: Tensor, t: Tensor) -> Tensor:
        return c[:, 0] @ self.W.T


def solve(basis: SpectralBasis, x: Histories, mask: float) -> Tensor:
    """W (K, K) that minimises the expectation of || W U'Mask(x) - U'x ||^2 over histories x and masks.

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
