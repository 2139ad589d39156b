"""The items that a softmax runs over in training: all, or in a large catalog a sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sdiff.method.histories import Histories
from sdiff.method.spectrum import EVERY, Items


@dataclass(frozen=True, eq=False)
class Candidates:
    """Items of a softmax for a batch of users.

    Attributes:
        items: (S,) item indices in ascending order, or a slice of all items.
        log_weights: (S,) logarithm of the number of items that each stands for; None if it is one.
    """

    items: Items
    log_weights: Tensor | None = None

    @classmethod
    def draw(cls, hidden: Histories, n_items: int, negatives: int, generator: Generator) -> Candidates:
        """The hidden items of a batch, and up to `negatives` of the others, each as likely as any other.

        Those that are drawn stand for all the others, so that the sum of the softmax is unbiased. The hidden items of a
        batch, among which are the popular ones, stand for themselves. All items, if this leaves none out.
        """
        own = hidden.items.unique()
        others = n_items - len(own)
        if others <= negatives:
            return ALL
        ranks = torch.randint(others, (negatives,), generator=generator, device=own.device).unique()
        before = own - torch.arange(len(own), device=own.device)  # how many others precede each hidden item
        drawn = ranks + torch.searchsorted(before, ranks, right=True)
        items, order = torch.cat([own, drawn]).sort()
        log_weights = torch.zeros(len(items), device=own.device)
        log_weights[order >= len(own)] = math.log(others / len(drawn))
        return cls(items, log_weights)

    def positions(self, x: Histories) -> Histories:
        """The entries of histories that are among these items, with the position there as their item."""
        return x if isinstance(self.items, slice) else x.among(self.items)

    def logits(self, scores: Tensor, shown: Histories, value: float) -> Tensor:
        """Logits (B, S) from the scores of these items, with `value` at the items that are shown. May overwrite them.

        The sum of the softmax is then that over all items, or an estimate of it.
        """
        weighted = scores if self.log_weights is None else scores + self.log_weights
        return self.positions(shown).fill_(weighted, value)


ALL = Candidates(EVERY)
