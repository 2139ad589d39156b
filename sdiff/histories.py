"""A batch of interaction vectors on the device, kept sparse from the file to the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sdiff.interactions import Interactions


@dataclass(frozen=True, eq=False)
class Histories:
    """x (B, n_items) as ragged rows: `items` (nnz,) int64, `offsets` (B + 1,) int64, `weights` (nnz,) float32."""

    items: Tensor
    offsets: Tensor
    weights: Tensor

    @classmethod
    def from_interactions(cls, interactions: Interactions, device: torch.device) -> Histories:
        items = torch.from_numpy(interactions.indices).to(device)
        return cls(items, torch.from_numpy(interactions.indptr).to(device), torch.ones(len(items), device=device))

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[int] | np.ndarray], device: torch.device) -> Histories:
        lengths = np.array([0, *map(len, rows)], dtype=np.int64)
        flat = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows]) if len(rows) else np.empty(0, np.int64)
        items = torch.from_numpy(flat).to(device)
        return cls(items, torch.from_numpy(lengths.cumsum()).to(device), torch.ones(len(items), device=device))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def rows(self) -> Tensor:
        """Row index (nnz,) of each entry."""
        return torch.repeat_interleave(self.offsets.diff())

    def take(self, users: Tensor) -> Histories:
        """The rows `users` (B,), in that order, without a Python loop."""
        lengths = (self.offsets[1:] - self.offsets[:-1])[users]  # (B,)
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])  # (B + 1,)
        shift = torch.repeat_interleave(self.offsets[users] - offsets[:-1], lengths)  # (nnz,)
        entries = shift + torch.arange(len(shift), device=shift.device)
        return Histories(self.items[entries], offsets, self.weights[entries])

    def mask(self, p: float, generator: torch.Generator) -> Histories:
        """c = Mask(x): each entry is hidden with probability p (Algorithm 1).

        What stays is divided by 1 - p, as the dropout of DiffRec does, whose masking the paper takes over: at
        inference nothing is hidden, and the condition then has the size that the network knows.
        """
        kept = torch.rand(self.weights.shape, generator=generator, device=self.weights.device) >= p
        return replace(self, weights=self.weights * kept / (1 - p))
