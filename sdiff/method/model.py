"""The model: a basis, a denoiser and, optionally, an item graph with a fusion head."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sdiff.config import Config
from sdiff.method.candidates import ALL, Candidates
from sdiff.method.crossfit import Fold
from sdiff.method.denoiser import Denoiser
from sdiff.method.graph import FilterHead, FusionHead, ItemGraph
from sdiff.method.histories import Histories
from sdiff.method.linear import DegreeBasis, LinearDenoiser, PassThrough
from sdiff.method.spectrum import EVERY, Items, SpectralBasis, inverse


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
        self.moved: tuple[Tensor, Tensor] | None = None  # U_in and U_out within `shifted`
        self.shift: tuple[Tensor, Tensor] | None = None  # in place of `moved`, if only some rows are needed
        self.some_rows = config.negatives > 0  # enough for a batch
        self.lam: Tensor
        self.register_buffer("lam", spectrum.lam, persistent=False)

    def encoder(self, items: Items = EVERY) -> Tensor:
        """U_in (n_items, K), or the rows of `items`."""
        return self.moved[0][items] if self.moved else self._rows(self.U_in, items)

    def decoder(self, items: Items = EVERY) -> Tensor:
        """U_out (n_items, K), or the rows of `items`."""
        if self.moved:
            return self.moved[1][items]
        return self._rows(self.U_in if self._U_out is None else self._U_out, items)

    def _rows(self, matrix: Tensor, items: Items) -> Tensor:
        if self.shift is None:
            return matrix[items]
        U, U_f = self.shift
        return matrix[items] + (U_f[items] - U[items]).mul_(math.sqrt(len(U)))

    @contextmanager
    def shifted(self, U: Tensor, U_f: Tensor) -> Iterator[None]:
        """In the block, U_in and U_out are shifted from the eigenvectors U to those of a fold, U_f."""
        if self.some_rows:
            self.shift = U, U_f
        else:
            shift = (U_f - U).mul_(math.sqrt(len(U)))
            U_in = self.U_in + shift
            self.moved = U_in, U_in if self._U_out is None else self._U_out + shift
        try:
            yield
        finally:
            self.moved = self.shift = None

    def gft(self, x: Histories) -> Tensor:
        """U_in'x (B, K) of sparse histories."""
        if self.shift is None:
            return x.dot(self.encoder())
        items = x.items.unique()
        return x.among(items).dot(self.encoder(items))

    def igft(self, v: Tensor, items: Items = EVERY) -> Tensor:
        """Logits (B, n_items), or only those of `items`."""
        return inverse(v * self.log_scale.exp(), self.decoder(items), self.bias[items])


class Model(nn.Module):
    """The parts of a model, and the item graph's `spectrum`.

    `denoiser` and `head` are trained, `basis` only if loss=softmax. `graph` and, with `standardise`, `noise_scale` (K,)
    are computed from the data. A model with denoiser=filter is not trained at all.

    Args:
        item_counts: (n_items,) number of training interactions of each item.
    """

    def __init__(self, config: Config, spectrum: SpectralBasis, item_counts: Tensor) -> None:
        super().__init__()
        self.spectrum, self.mask, self.normalise = spectrum, config.mask, config.normalise
        K, n_items = len(spectrum.lam), len(item_counts)
        if config.denoiser == "filter":
            self.basis = DegreeBasis(spectrum, item_counts.clamp(min=1).sqrt(), config.low_pass)
            self.denoiser = PassThrough()
            self.graph = ItemGraph(n_items, config.graph_entries, p=1 / 2, scaled=False)
            self.head = FilterHead()
        else:
            self.basis = LearntBasis(spectrum, item_counts, config) if config.loss == "softmax" else spectrum
            self.denoiser = Denoiser(config, K) if config.denoiser == "mlp" else LinearDenoiser(K)
            self.graph = ItemGraph(n_items, config.graph_entries) if config.graph_entries else None
            self.head = FusionHead(config.graph_log) if self.graph else None
        self.noise_scale: Tensor
        self.register_buffer("noise_scale", torch.ones(K), persistent=config.standardise)
        self.log_counts: Tensor
        self.register_buffer("log_counts", torch.log(item_counts + 1.0), persistent=False)

    @property
    def closed_form(self) -> bool:
        """Whether the denoiser is computed instead of trained."""
        return not isinstance(self.denoiser, Denoiser)

    def scores(self, v0_hat: Tensor, near: Tensor | None, items: Items = EVERY, beta: float = 0.0) -> Tensor:
        """x_hat (B, n_items) = U v0_hat, or only of `items`.

        With a head, fused with `near`, the `neighbourhood_scores` of these items.

        `beta` discounts popular items: scores are divided by (number of users + 1)^beta, and logits reduced by its log.
        """
        scores = self.basis.igft(v0_hat, items)
        if self.head is not None and near is not None:
            scores = self.head(scores, near)
        if not beta:
            return scores
        discount = beta * self.log_counts[items]
        return scores - discount if isinstance(self.basis, LearntBasis) else scores * torch.exp(-discount)

    def v_0(self, v0_hat: Tensor, c: Tensor, x: Histories, near: Tensor | None, candidates: Candidates = ALL) -> Tensor:
        """The denoiser's output v0_hat as an estimate of v_0 (B, K), which the next step of Algorithm 2 noises again.

        With the softmax loss, the output gives logits. Their probabilities p over the items not in the history x are
        the expected hidden items: v_0 = (1 - m) c + m n U'p, with c = U'x, the share m of hidden items (`mask`), and
        the number n of items in x, or 1 if histories are normalised. `near` are scores of the `candidates`.
        """
        if not isinstance(self.basis, LearntBasis):
            return v0_hat
        least = torch.finfo(v0_hat.dtype).min  # not -inf: a history may contain every item
        logits = candidates.logits(self.scores(v0_hat, near, candidates.items), x, least)
        hidden = logits.softmax(1) @ self.basis.encoder(candidates.items)
        return (1 - self.mask) * c + self.mask * (hidden if self.normalise else x.size[:, None] * hidden)

    @contextmanager
    def on(self, fold: Fold | None) -> Iterator[None]:
        """In the block, the model uses the basis and the graph of a fold, if `fold` is given."""
        if fold is None:
            yield
            return
        basis, graph = self.basis, self.graph
        self.graph = fold.graph
        try:
            if isinstance(basis, LearntBasis):
                with basis.shifted(self.spectrum.U, fold.U):
                    yield
            else:
                self.basis = SpectralBasis(fold.U, self.spectrum.lam)
                yield
        finally:
            self.basis, self.graph = basis, graph
