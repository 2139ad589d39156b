"""The model: a basis, a denoiser and, optionally, an item graph with a fusion head."""

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
    """A learned graph Fourier transform, initialised to the eigenvectors, whose inverse gives logits.

    U_in encodes histories and U_out scores items. They are the same matrix if the basis is "tied" or "fixed"; if it is
    "fixed", only scale and bias are learned. Both are initialised to sqrt(n_items) U, so that the mean over a history
    is of order one. The logits are scale * U_out v + bias; the bias is initialised to the log popularity of the items.
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
        """U_in'x (B, K) of sparse histories."""
        return x.dot(self.U_in)

    def igft(self, v: Tensor, items: slice = EVERY) -> Tensor:
        """Logits (B, n_items), or only those of `items`."""
        return torch.addmm(self.bias[items], v * self.log_scale.exp(), self.U_out[items].T)


class Model(nn.Module):
    """The parts of a model, and the item graph's `spectrum`.

    `denoiser` and `head` are trained, `basis` only if loss=softmax. `graph` is computed from the data.
    """

    def __init__(self, config: Config, spectrum: SpectralBasis, item_counts: Tensor) -> None:
        super().__init__()
        self.spectrum = spectrum
        self.basis = LearntBasis(spectrum, item_counts, config) if config.loss == "softmax" else spectrum
        K = len(spectrum.lam)
        self.denoiser = Denoiser(config, K) if config.denoiser == "mlp" else LinearDenoiser(K)
        self.graph = ItemGraph(len(item_counts), config.graph_entries) if config.graph_entries else None
        self.head = FusionHead() if self.graph else None

    def scores(self, v0_hat: Tensor, x: Histories) -> Tensor:
        """x_hat (B, n_items) = U v0_hat; with a head, fused with the neighbourhood scores x A."""
        s = self.basis.igft(v0_hat)
        return s if self.graph is None or self.head is None else self.head(s, self.graph.dot(x.normalised()))
