"""A batch of sparse interaction vectors on a device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from sdiff.base.device import Device
from sdiff.data.interactions import Interactions, Unknown, Vocabulary

TINY = torch.finfo(torch.float32).tiny  # keeps a quotient or a logarithm finite where a row is empty


@dataclass(frozen=True, eq=False)
class Histories:
    """A batch of histories x (B, n_items) as ragged rows, each oldest first.

    Attributes:
        items: (nnz,) int64, item indices.
        offsets: (B + 1,) int64, the start of each row in `items`.
        weights: (nnz,) float32.
        users: (B,) user indices of the rows after `take`. S-Diff does not use them; baselines with user embeddings do.
    """

    items: Tensor
    offsets: Tensor
    weights: Tensor
    users: Tensor | None = None

    _KEPT: ClassVar = ("rows", "age")  # cached properties that do not depend on the weights

    @classmethod
    def from_interactions(cls, interactions: Interactions, device: Device) -> Histories:
        """The histories (n_users, n_items) of all users, with weights 1."""
        items = torch.from_numpy(interactions.indices).to(device)
        return cls(items, torch.from_numpy(interactions.indptr).to(device), torch.ones(len(items), device=device))

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[int] | np.ndarray], device: Device) -> Histories:
        """Histories of item indices, with weights 1."""
        lengths = np.array([0, *map(len, rows)], dtype=np.int64)
        flat = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows]) if len(rows) else np.empty(0, np.int64)
        items = torch.from_numpy(flat).to(device)
        return cls(items, torch.from_numpy(lengths.cumsum()).to(device), torch.ones(len(items), device=device))

    @classmethod
    def from_ids(
        cls, ids: Iterable[str | int], items: Vocabulary, device: Device, unknown: Unknown = "error"
    ) -> Histories:
        """One history (1, n_items) of item ids, oldest first. Repeated ids are dropped: x is in {0, 1}.

        Raises:
            SDiffError: as `Vocabulary.encode`.
        """
        return cls.from_lists([list(dict.fromkeys(items.encode(ids, unknown=unknown)))], device)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def rows(self) -> Tensor:
        """Row index (nnz,) of each entry."""
        return torch.repeat_interleave(self.offsets.diff())

    def dot(self, matrix: Tensor) -> Tensor:
        """x M (B, K) for a matrix M (n_items, K): for each history, the weighted sum of its items' rows of M."""
        return embedding_bag(
            self.items, matrix, self.offsets, mode="sum", per_sample_weights=self.weights, include_last_offset=True
        )

    def dense(self, n_items: int) -> Tensor:
        """x as a matrix (B, n_items)."""
        matrix = self.weights.new_zeros(len(self), n_items)
        matrix[self.rows, self.items] = self.weights
        return matrix

    def at(self, matrix: Tensor) -> Tensor:
        """The values (nnz,) of a matrix (B, n_items) at the entries."""
        return matrix[self.rows, self.items]

    def fill_(self, matrix: Tensor, value: float) -> Tensor:
        """Sets a matrix (B, n_items) to `value` at the entries, in place."""
        matrix[self.rows, self.items] = value
        return matrix

    def take(self, users: Tensor) -> Histories:
        """The rows `users` (B,), in that order."""
        lengths = (self.offsets[1:] - self.offsets[:-1])[users]  # (B,)
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])  # (B + 1,)
        shift = torch.repeat_interleave(self.offsets[users] - offsets[:-1], lengths)  # (nnz,)
        entries = shift + torch.arange(len(shift), device=shift.device)
        return Histories(self.items[entries], offsets, self.weights[entries], users)

    def where(self, keep: Tensor) -> Histories:
        """The entries where `keep` (nnz,) is true; rows may become empty."""
        offsets = torch.cat([keep.new_zeros(1, dtype=torch.int64), keep.cumsum(0)])[self.offsets]
        return Histories(self.items[keep], offsets, self.weights[keep], self.users)

    def among(self, items: Tensor) -> Histories:
        """The entries that are among `items` (S,), which ascend, with the position there as their item."""
        position = torch.searchsorted(items, self.items).clamp(max=len(items) - 1)
        return replace(self, items=position).where(items[position] == self.items)

    def mask(self, p: float, generator: torch.Generator) -> tuple[Histories, Histories]:
        """(c, hidden) with c = Mask(x): each entry is hidden with probability p (Algorithm 1).

        The entries of c are divided by 1 - p, as in the dropout of DiffRec, whose masking the paper adopts. At
        inference, when nothing is hidden, the condition then has the same scale as in training.
        """
        visible = torch.rand(self.weights.shape, generator=generator, device=self.weights.device) >= p
        c = self.where(visible)
        return c.weighted(c.weights / (1 - p)), self.where(~visible)

    def cut(self, horizon: float, generator: torch.Generator) -> tuple[Histories, Histories]:
        """(past, future) of each row, split at a random point.

        The past has at least one entry; a row of one entry has no future. The weights of the future halve every
        `horizon` entries after the split point.
        """
        lengths = self.offsets.diff()
        u = torch.rand(len(self), generator=generator, device=self.weights.device)
        point = (1 + (u * (lengths - 1)).long())[self.rows]  # (nnz,)
        position = torch.arange(len(self.items), device=point.device) - self.offsets[:-1][self.rows]
        fading = self.weighted(self.weights * 2.0 ** (-(position - point).clamp(min=0) / horizon))
        return self.where(position < point), fading.where(position >= point)

    def recent(self, half_life: float) -> Histories:
        """Weights that halve every `half_life` entries back from the newest, scaled to keep the L1 norm of each row."""
        return self.weighted(2.0 ** (-self.age / half_life))._scaled_to(self.size)

    @cached_property
    def age(self) -> Tensor:
        """Number (nnz,) of newer entries in the same row."""
        rows = self.rows
        return self.offsets[1:][rows] - 1 - torch.arange(len(rows), device=rows.device)

    def normalised(self) -> Histories:
        """Each row divided by its L1 norm; empty rows stay empty."""
        return self._scaled_to(torch.ones_like(self.size))

    @cached_property
    def size(self) -> Tensor:
        """L1 norm (B,) of each row."""
        return self.weights.new_zeros(len(self)).index_add_(0, self.rows, self.weights.abs())

    def _scaled_to(self, size: Tensor) -> Histories:
        return self.weighted(self.weights * (size / self.size.clamp(min=TINY))[self.rows])

    def weighted(self, weights: Tensor) -> Self:
        """The same entries with other weights (nnz,). What does not depend on the weights is not computed again."""
        result = replace(self, weights=weights)
        result.__dict__.update((name, self.__dict__[name]) for name in self._KEPT if name in self.__dict__)
        return result
