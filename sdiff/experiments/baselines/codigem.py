"""CODIGEM: Walker et al. 2022, "Recommendation via collaborative diffusion generative model", KSEM.

Adds noise to the interaction vector in three steps. Each reverse step has its own network, and a decoder maps the least
noisy vector to the scores; only the decoder is used at inference. Settings are those of the authors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import Scorer
from sdiff.experiments.baselines.training import CPU, Recipe, train
from sdiff.method.histories import Histories

WIDTH, DEPTH, STEPS, BETA = 200, 5, 3, 1e-4
RECIPE = Recipe(lr=1e-3, batch_size=200, epochs=100, patience=15, optimizer=torch.optim.Adamax)


class Codigem(nn.Module):
    def __init__(self, split: Split) -> None:
        super().__init__()
        self.x = Histories.from_interactions(split.train, CPU)
        self.n_items, self.examples = len(split.items), len(split.users)
        self.back = nn.ModuleList(network(self.n_items, 2 * self.n_items) for _ in range(STEPS - 1))
        self.decode = nn.Sequential(network(self.n_items, self.n_items), nn.Tanh())
        for back in self.back:  # as published: only the first layer is initialised near zero
            for parameter in next(back.children()).parameters():
                nn.init.normal_(parameter, std=1e-4)

    def loss(self, batch: Tensor) -> Tensor:
        """Negative likelihood bound: squared error of the decoder, and a Gaussian for each reverse step."""
        x = self.x.take(batch).dense(self.n_items)
        z = [noised(x)]
        for _ in range(STEPS - 1):
            z.append(noised(z[-1]))
        bound = 0.5 * (x - self.decode(z[0])).square()
        for i, back in enumerate(self.back):
            mean, log_var = back(z[i + 1]).chunk(2, dim=1)
            bound = bound + 0.5 * (log_var + (z[i] - mean).square() * (-log_var).exp())
        return bound.sum(1).mean()

    def scores(self, x: Histories) -> Tensor:
        return self.decode(noised(x.dense(self.n_items)))


def noised(x: Tensor) -> Tensor:
    return math.sqrt(1 - BETA) * x + math.sqrt(BETA) * torch.randn_like(x)


def network(n_in: int, n_out: int) -> nn.Sequential:
    hidden = [module for _ in range(DEPTH - 1) for module in (nn.Linear(WIDTH, WIDTH), nn.PReLU())]
    return nn.Sequential(nn.Linear(n_in, WIDTH), nn.PReLU(), *hidden, nn.Linear(WIDTH, n_out))


def codigem(split: Split, seed: int, epochs: int | None = None) -> tuple[Scorer, int]:
    torch.manual_seed(seed)
    return train(Codigem(split), split, RECIPE, epochs)
