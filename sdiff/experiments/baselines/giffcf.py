"""GiffCF, the paper's Giff: Zhu et al. 2024, "Graph signal diffusion model for collaborative filtering", SIGIR.

The forward process smooths the history on the item graph instead of adding noise. The denoiser has two stages: the
first works on item embeddings, the second on the scores of each item. Settings are the authors' for ML-1M.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import svds
from torch import Tensor, nn
from torch.nn.functional import silu

from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import Scorer, smoothing
from sdiff.evaluation.evaluate import evaluate
from sdiff.experiments.baselines.training import CPU, Recipe, train
from sdiff.method.denoiser import timestep_embedding
from sdiff.method.histories import Histories
from sdiff.method.spectrum import normalised_adjacency_root
from sdiff.training.trainer import CRITERION

WIDTH, TIME, MASK = 200, 20, 0.5
STEPS, SMOOTHING, DECAY = 3, 1.5, 0.5
RECIPE = Recipe(lr=1e-3, batch_size=100, epochs=300, patience=150, eval_every=10)  # no progress in the first 50
STARTS, TRIAL = 4, replace(RECIPE, epochs=10)  # a mixer has two units only; some initialisations never learn


class Mixer(nn.Module):
    """Two swish units that combine `inputs` values per item, and the time, into one value."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(TIME, TIME), nn.SiLU(), nn.Linear(TIME, 1))
        self.inner, self.outer = nn.Linear(inputs + 1, 2), nn.Linear(2, 1)
        for layer in (self.inner, self.outer):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, inputs: list[Tensor], t: Tensor) -> Tensor:
        """Maps inputs, each (B, n), and t (B,) to (B, n)."""
        *of_inputs, of_time = self.inner.weight.unbind(1)  # (2,) each
        time = self.time(timestep_embedding(t / 1000, TIME))  # (B, 1)
        stacked = torch.stack([x.flatten() for x in inputs])  # (inputs, B n)
        inner = torch.stack(of_inputs, dim=1) @ stacked
        inner = inner.view(-1, *inputs[0].shape) + (of_time * time + self.inner.bias).T[:, :, None]  # (2, B, n)
        return (self.outer.weight @ silu(inner).flatten(1)).view_as(inputs[0]) + self.outer.bias


class GiffCF(nn.Module):
    def __init__(self, split: Split, generator: torch.Generator) -> None:
        super().__init__()
        self.x, self.generator = Histories.from_interactions(split.train, generator.device), generator
        self.n_items, self.examples = len(split.items), len(split.users)
        self.smooth = smoothing(graph_root(split), generator.device)
        self.items = nn.Parameter(torch.empty(self.n_items, WIDTH))
        nn.init.xavier_uniform_(self.items)
        self.of_items, self.of_scores = Mixer(2), Mixer(3)
        self.to(generator.device)

    def forward(self, z: Tensor, c: Tensor, Ac: Tensor, t: Tensor) -> Tensor:
        """Estimates x (B, n_items) from the smoothed z (B, n_items) and the masked history c."""
        of_z = z / self.n_items @ self.items
        of_c = c / c.sum(1, keepdim=True).clamp(min=1) @ self.items
        return self.of_scores([self.of_items([of_z, of_c], t) @ self.items.T, c, Ac], t)

    def smoothed(self, x: Tensor, Ax: Tensor, t: Tensor | int) -> Tensor:
        return x + SMOOTHING * t / STEPS * (Ax - x)

    def loss(self, batch: Tensor) -> Tensor:
        histories = self.x.take(batch)
        masked, _ = histories.mask(MASK, self.generator)
        t = torch.randint(1, STEPS + 1, (len(batch),), device=batch.device).float()
        x, c = histories.dense(self.n_items), masked.dense(self.n_items)
        z = self.smoothed(x, self.smooth(x), t[:, None])
        return (self(z, c, self.smooth(c), t) - x).square().sum(1).mean()

    def scores(self, x: Histories) -> Tensor:
        c = x.dense(self.n_items)
        Ac = self.smooth(c)
        z = self.smoothed(c, Ac, STEPS)
        for now, then in pairwise(range(STEPS, -1, -1)):
            x_hat = self(z, c, Ac, c.new_full((len(c),), float(now)))
            Ax_hat = self.smooth(x_hat)
            z = self.smoothed(x_hat, Ax_hat, then) + DECAY * (z - self.smoothed(x_hat, Ax_hat, now))
        return z


def graph_root(split: Split) -> sp.csr_array:
    """D_U^-1/4 X D_I^-1/2 (n_users, n_items), the root of the item graph, divided by its largest singular value."""
    root = normalised_adjacency_root(split.train.matrix(), p=1 / 4)
    _, (largest,), _ = svds(root, k=1, v0=np.ones(min(root.shape)))  # pyright: ignore
    return root / largest


def giffcf(split: Split, seed: int, epochs: int | None = None) -> tuple[Scorer, int]:
    """Tries several initialisations for ten epochs, then trains the one with the best validation recall@20."""

    def run(start: int, recipe: Recipe) -> tuple[Scorer, int]:
        torch.manual_seed(start)
        return train(GiffCF(split, torch.Generator().manual_seed(start)), split, recipe, epochs)

    def after_trial(start: int) -> float:
        return evaluate(run(start, TRIAL)[0], split, "valid", CPU)[CRITERION]

    return run(max(range(STARTS * seed, STARTS * (seed + 1)), key=after_trial), RECIPE)
