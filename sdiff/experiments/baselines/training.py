"""Training loop of the baselines: mini-batches, and early stopping on the validation part."""

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
    """A baseline: number of training examples (users or pairs), loss of a batch of them, and scores of histories."""

    @property
    def examples(self) -> int: ...
    def loss(self, batch: Tensor) -> Tensor: ...
    def scores(self, x: Histories) -> Tensor: ...


@dataclass(frozen=True)
class Recipe:
    """Training settings of a baseline; `patience` is in epochs."""

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
    """Returns the scorer of the epoch with the best validation recall@20, and that epoch.

    Args:
        model: a module that is also a `Learner`. It uses torch's global generator, which the caller must seed.
        epochs: replaces `recipe.epochs`, for smoke runs.
    """
    learner: Learner = model  # pyright: ignore[reportAssignmentType]
    optimizer = recipe.optimizer_of(model)
    last = epochs or recipe.epochs
    best_value, best_weights, best_epoch = -1.0, {}, 0

    def scores(x: Histories) -> Tensor:
        return learner.scores(x)

    for epoch in tqdm(range(1, last + 1), unit="epoch", leave=False, disable=None):
        model.train()
        train_epoch(learner, optimizer, recipe.batch_size)
        if epoch % recipe.eval_every == 0 or epoch == last:
            model.eval()
            value = evaluate(scores, split, "valid", CPU)[CRITERION]
            if value > best_value:
                best_value, best_epoch = value, epoch
                best_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            if epoch - best_epoch >= recipe.patience:
                break
    model.load_state_dict(best_weights)
    model.eval()
    return scores, best_epoch


def train_epoch(
    learner: Learner, optimizer: torch.optim.Optimizer, batch_size: int, device: torch.device = CPU
) -> None:
    for batch in torch.randperm(learner.examples, device=device).split(batch_size):
        loss = learner.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def best(scorers: Iterable[Scorer], split: Split) -> Scorer:
    """The scorer with the highest validation recall@20."""
    return max(scorers, key=lambda score: evaluate(score, split, "valid", CPU)[CRITERION])


def layers(*widths: int) -> nn.ModuleList:
    """Linear layers between consecutive widths, with Xavier initialisation and biases near zero."""
    maps = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
    for layer in maps:
        assert isinstance(layer, nn.Linear)
        nn.init.xavier_normal_(layer.weight)
        nn.init.normal_(layer.bias, std=0.001)
    return maps
