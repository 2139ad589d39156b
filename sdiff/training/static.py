"""Training steps with static shapes, which a GPU replays as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor

from sdiff.base.graphs import Graphs
from sdiff.method.crossfit import Fold
from sdiff.method.histories import Histories
from sdiff.method.static import Padded, capacity_for


class StaticSteps:
    """Trains on batches, as `Trainer.steps`, with one graph for each number of users and each capacity.

    All folds share the graphs: a step reads `self.fold`, into which the fold of its batch is copied.

    Args:
        histories: of all users.
        n_items: number of items.
        folds: of the trainer; may be empty.
        noise: generator of masks, times and noise.
        step: a gradient step on the histories of a batch and its fold; returns the loss.
    """

    def __init__(
        self,
        histories: Histories,
        n_items: int,
        folds: Sequence[Fold],
        noise: torch.Generator,
        step: Callable[[Histories, Fold | None, torch.Generator], Tensor],
    ) -> None:
        self.histories, self.n_items, self.noise, self.step = histories, n_items, noise, step
        self.fold = deepcopy(folds[0]) if folds else None
        self.graphs = Graphs(histories.items.device, noise)

    def __call__(self, batches: Sequence[tuple[Fold | None, Tensor]]) -> Iterator[Tensor]:
        """Yields the loss of each batch. It may be overwritten by the next one."""
        lengths = self.histories.offsets.diff()
        sizes = torch.stack([lengths[users].sum() for _, users in batches]).tolist()  # waits for the GPU once an epoch
        for (fold, users), size in zip(batches, sizes, strict=True):
            if self.fold is not None and fold is not None:
                self.fold.copy_(fold)
            capacity = capacity_for(size)
            yield self.graphs((len(users), capacity), partial(self._step, capacity), users)

    def _step(self, capacity: int, users: Tensor) -> Tensor:
        x = Padded.of(self.histories, users, capacity, self.n_items)
        return self.step(x, self.fold, self.noise)
