"""A model is a basis, a denoiser and, where asked for, a head that meets the graph's neighbours."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sdiff.config import Config
from sdiff.method.denoiser import Denoiser
from sdiff.method.graph import FusionHead, ItemGraph
from sdiff.method.histories import Histories
from sdiff.method.linear import LinearDenoiser
from sdiff.method.spectrum import EVERY, SpectralBasis


class LearntBasis(nn.Module):
    """A graph Fourier transform into logits: it starts at the eigenvectors and is trained by a softmax.

    U_in reads histories, U_out ranks items: one and the same matrix where the basis is tied, and where it is fixed,
    when only scale and bias are learnt. Both start at sqrt(n_items) U, so that the mean over a history is of order one.
    The scores are logits, scale * U_out v + bias; the bias starts at the items' log popularity.
    """

    def __init__(self, spectrum: SpectralBasis, item_counts: Tensor, config: Config) -> None:
        super().__init__()
        start = math.sqrt(len(spectrum.U)) * spectrum.U
        self.U_in = nn.Parameter(start.clone(), requires_grad=config.basis != "fixed")
        self._U_out = nn.Parameter(start.clone()) if config.basis == "directional" else None
        self.log_scale = nn.Parameter(torch.tensor(-3.0))
        self.bias = nn.Parameter(torch.log(item_counts + 1.0))
        self.lam: Tensor
        self.register_buffer("lam", spectrum.lam, persistent=False)

    @property
    def U_out(self) -> Tensor:
        return self.U_in if self._U_out is None else self._U_out

    def gft(self, x: Histories) -> Tensor:
        """U_in'x (B, K) of sparse rows."""
        return x.dot(self.U_in)

    def igft(self, v: Tensor, items: slice = EVERY) -> Tensor:
        """Logits (B, n_items), or those of some items."""
        return torch.addmm(self.bias[items], v * self.log_scale.exp(), self.U_out[items].T)


class Model(nn.Module):
    """What is trained and kept: `basis`, `denoiser`, `graph` and `head`, beside the graph's own `spectrum`."""

    def __init__(self, config: Config, spectrum: SpectralBasis, item_counts: Tensor) -> None:
        super().__init__()
        self.spectrum = spectrum
        self.basis = LearntBasis(spectrum, item_counts, config) if config.loss == "softmax" else spectrum
        K = len(spectrum.lam)
        self.denoiser = Denoiser(config, K) if config.denoiser == "mlp" else LinearDenoiser(K)
        self.graph = ItemGraph(len(item_counts), config.graph_entries) if config.graph_entries else None
        self.head = FusionHead() if self.graph else None

    def scores(self, v0_hat: Tensor, x: Histories) -> Tensor:
        """x_hat (B, n_items) = U v0_hat; with a head, fused with what the history x says of its neighbours."""
        s = self.basis.igft(v0_hat)
        return s if self.graph is None or self.head is None else self.head(s, self.graph.dot(x.normalised()))
