"""One loop for rivals that learn: mini-batches, the epoch chosen on the validation part, its weights kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import Scorer
from sdiff.evaluation.evaluate import evaluate
from sdiff.method.histories import Histories
from sdiff.training.trainer import CRITERION

CPU = torch.device("cpu")


class Learner(Protocol):
    """A rival: what an epoch goes through (users, or pairs), the loss of some of it, the scores of histories."""

    @property
    def examples(self) -> int: ...
    def loss(self, batch: Tensor) -> Tensor: ...
    def scores(self, x: Histories) -> Tensor: ...


@dataclass(frozen=True)
class Recipe:
    """How a rival is trained; `patience` counts epochs, as ours does."""

    lr: float
    batch_size: int
    epochs: int
    patience: int
    eval_every: int = 1
    weight_decay: float = 0.0
    optimizer: type[torch.optim.Optimizer] = torch.optim.Adam

    def optimizer_of(self, model: nn.Module) -> torch.optim.Optimizer:
        return self.optimizer(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)  # pyright: ignore


def train(model: nn.Module, split: Split, recipe: Recipe, epochs: int | None = None) -> tuple[Scorer, int]:
    """The scorer at the epoch that is best on validation recall@20, and that epoch; `epochs` shortens a smoke run.

    `model` is a Learner as well. What it draws at random comes from torch's global generator, seeded by the caller.
    """
    learner: Learner = model  # pyright: ignore[reportAssignmentType]
    optimizer = recipe.optimizer_of(model)
    last = epochs or recipe.epochs
    best, kept, found = -1.0, {}, 0

    def scores(x: Histories) -> Tensor:
        return learner.scores(x)

    for epoch in tqdm(range(1, last + 1), unit="epoch", leave=False, disable=None):
        model.train()
        train_epoch(learner, optimizer, recipe.batch_size)
        if epoch % recipe.eval_every == 0 or epoch == last:
            model.eval()
            value = evaluate(scores, split, "valid", CPU)[CRITERION]
            if value > best:
                best, found = value, epoch
                kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            if epoch - found >= recipe.patience:
                break
    model.load_state_dict(kept)
    model.eval()
    return scores, found


def train_epoch(learner: Learner, optimizer: torch.optim.Optimizer, batch_size: int) -> None:
    for batch in torch.randperm(learner.examples).split(batch_size):
        loss = learner.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def best(scorers: Iterable[Scorer], split: Split) -> Scorer:
    """The one with the largest validation recall@20."""
    return max(scorers, key=lambda score: evaluate(score, split, "valid", CPU)[CRITERION])


def layers(*widths: int) -> nn.ModuleList:
    """Linear maps from each width to the next, drawn by Xavier's rule, biases near zero."""
    maps = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
    for layer in maps:
        assert isinstance(layer, nn.Linear)
        nn.init.xavier_normal_(layer.weight)
        nn.init.normal_(layer.bias, std=0.001)
    return maps
