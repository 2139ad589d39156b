"""Histories and scores with static shapes, as a CUDA graph needs them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from threading import Lock
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from sdiff.base.graphs import Graphs
from sdiff.config import Config
from sdiff.method.diffusion import sampling_noise, score_with
from sdiff.method.histories import Histories
from sdiff.method.model import Model

DENSE = 128  # with at least one entry in so many cells, a dense product is faster than one row per entry
AT_ONCE = 10_000_000  # with more scores in a batch, a GPU does not wait for launches


@dataclass(frozen=True, eq=False, kw_only=True)
class Padded(Histories):
    """Histories of fixed capacity: shapes depend only on it and on the number of rows, and no method waits for a GPU.

    An entry of weight zero is absent: `where` sets weights to zero instead of removing entries, and the entries beyond
    those of the last row fill the capacity.

    Attributes:
        n_items: number of items.
        row: (capacity,) row index of each entry.
    """

    n_items: int
    row: Tensor

    _KEPT: ClassVar = ("present", "cells", "age")

    @classmethod
    def of(cls, x: Histories, users: Tensor, capacity: int, n_items: int) -> Padded:
        """The rows `users` (B,) of x, which have at most `capacity` entries."""
        starts, lengths = x.offsets[users], x.offsets.diff()[users]
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])  # (B + 1,)
        entry = torch.arange(capacity, device=offsets.device)
        row = torch.searchsorted(offsets[1:], entry, right=True).clamp(max=len(users) - 1)  # (capacity,)
        present = entry < offsets[-1]
        source = torch.where(present, (starts - offsets[:-1])[row] + entry, 0)
        return cls(x.items[source], offsets, x.weights[source] * present, users, n_items=n_items, row=row)

    @cached_property
    def rows(self) -> Tensor:
        return self.row

    @cached_property
    def present(self) -> Tensor:
        """Whether an entry (capacity,) is not absent."""
        return self.weights != 0

    @cached_property
    def cells(self) -> Tensor:
        """Index (capacity,) of each entry in a flat matrix (B, n_items), or the one after the last if it is absent."""
        return torch.where(self.present, self.row * self.n_items + self.items, len(self) * self.n_items)

    def dot(self, matrix: Tensor) -> Tensor:
        if len(self.items) * DENSE > len(self) * self.n_items:
            return self.dense(self.n_items) @ matrix
        rows = matrix.index_select(0, self.items) * self.weights[:, None]  # (capacity, K)
        return rows.new_zeros(len(self), matrix.shape[1]).index_add_(0, self.row, rows)

    def dense(self, n_items: int) -> Tensor:
        flat = self.weights.new_zeros(len(self) * n_items + 1).scatter_add_(0, self.cells, self.weights)
        return flat[:-1].view(len(self), n_items)

    def at(self, matrix: Tensor) -> Tensor:
        """The values of a matrix (B, n_items) at the entries, and 0 where an entry is absent."""
        values = matrix.flatten().gather(0, self.cells.clamp(max=matrix.numel() - 1))
        return torch.where(self.present, values, 0.0)

    def fill_(self, matrix: Tensor, value: float) -> Tensor:
        marked = torch.zeros(matrix.numel() + 1, dtype=torch.bool, device=matrix.device).scatter_(0, self.cells, True)
        return matrix.masked_fill_(marked[:-1].view_as(matrix), value)

    def where(self, keep: Tensor) -> Padded:
        return replace(self, weights=self.weights * keep)

    @cached_property
    def age(self) -> Tensor:
        """Number of newer entries in the same row, and infinity where an entry is absent."""
        count = pad(self.present.cumsum(0), (1, 0))  # (capacity + 1,)
        newer = count[self.offsets[1:]][self.row] - count[1:]
        return torch.where(self.present, newer, torch.inf)


class StaticScore:
    """`score` with static shapes for one model. On a GPU, a small batch is replayed as a CUDA graph.

    There is one graph for each number of rows, capacity and configuration. Threads take turns.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.lock = model, Lock()
        self.graphs = Graphs(model.log_counts.device)

    def __call__(self, x: Histories, config: Config, generator: torch.Generator, shared: bool = False) -> Tensor:
        """Scores (B, n_items) in a new tensor. Arguments are those of `score`."""
        noise = sampling_noise(self.model, 1 if shared else len(x), config, generator)
        if not 0 < len(x) * len(self.model.log_counts) <= AT_ONCE:
            return score_with(noise, self.model, x, config)
        capacity = capacity_for(len(x.items))
        items, weights = (pad(part, (0, capacity - len(part))) for part in (x.items, x.weights))
        inputs = [items, x.offsets, weights, *([] if noise is None else [noise])]
        with self.lock:
            return self.graphs((len(x), capacity, config, shared), partial(self._scores, config), *inputs).clone()

    def _scores(
        self, config: Config, items: Tensor, offsets: Tensor, weights: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        rows = torch.arange(len(offsets) - 1, device=offsets.device)
        x = Padded.of(Histories(items, offsets, weights), rows, len(items), len(self.model.log_counts))
        return score_with(noise, self.model, x, config)


def capacity_for(entries: int) -> int:
    """The next power of two: at most half of the entries are padding, and there are few different shapes."""
    return 1 << max(entries - 1, 0).bit_length()
