"""DiffRec: Wang et al. 2023, "Diffusion recommender model", SIGIR.

Adds Gaussian noise to the interaction vector; an MLP predicts the clean vector from it and a time embedding. Number of
steps, noise and widths are the authors' settings for ML-1M. The loss of each step is weighted by the decrease of its
signal-to-noise ratio, and steps are sampled in proportion to their recent losses. Sampling starts at the history
itself, without noise.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import Scorer
from sdiff.experiments.baselines.training import CPU, Recipe, layers, train
from sdiff.method.denoiser import timestep_embedding
from sdiff.method.histories import Histories

WIDTHS, TIME, DROPOUT = (600, 200, 600), 10, 0.5
STEPS, SCALE, LOW, HIGH = 40, 0.005, 0.005, 0.01
LOSSES = 10  # number of recent losses per step that determine its sampling probability
RECIPE = Recipe(lr=1e-3, batch_size=400, epochs=400, patience=60, eval_every=5, optimizer=torch.optim.AdamW)


class Noise(nn.Module):
    """A linear schedule of the variances 1 - alpha_bar, and the quantities derived from it, each (steps,)."""

    alpha_bar: Tensor
    of_x0: Tensor  # coefficients of the posterior mean
    of_xt: Tensor
    weight: Tensor

    def __init__(self, steps: int = STEPS) -> None:
        super().__init__()
        self.steps = steps
        alpha_bar = 1 - SCALE * torch.linspace(LOW, HIGH, steps, dtype=torch.float64)
        before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
        beta = (1 - alpha_bar / before).clamp(max=0.999)
        beta[0] = 1e-5  # as published: avoids overfitting to the noise of the first step
        alpha_bar = (1 - beta).cumprod(0)
        before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
        snr = alpha_bar / (1 - alpha_bar)
        of_step = {
            "alpha_bar": alpha_bar,
            "of_x0": beta * before.sqrt() / (1 - alpha_bar),
            "of_xt": (1 - before) * (1 - beta).sqrt() / (1 - alpha_bar),
            "weight": torch.cat([torch.ones(1), snr[:-1] - snr[1:]]),
        }
        for name, values in of_step.items():
            self.register_buffer(name, values.float(), persistent=False)

    def add(self, x: Tensor, t: Tensor) -> Tensor:
        """x_t (B, n_items) at steps t (B,)."""
        alpha_bar = self.alpha_bar[t][:, None]
        return alpha_bar.sqrt() * x + (1 - alpha_bar).sqrt() * torch.randn_like(x)


class DiffRec(nn.Module):
    def __init__(self, n_items: int, widths: tuple[int, ...] = WIDTHS, steps: int = STEPS) -> None:
        super().__init__()
        self.n_items, self.noise = n_items, Noise(steps)
        self.layers = layers(n_items + TIME, *widths, n_items)
        self.time = nn.Linear(TIME, TIME)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Estimates x_0 (B, n_items) from x_t (B, n_items) at steps t (B,)."""
        h = torch.cat([dropout(x_t, DROPOUT, self.training), self.time(timestep_embedding(t / 1000, TIME))], dim=1)
        for layer in self.layers[:-1]:
            h = torch.tanh(layer(h))
        return self.layers[-1](h)

    def sample(self, x: Tensor) -> Tensor:
        """Reverse process from x_T = histories (B, n_items), with the posterior mean at each step."""
        for t in range(self.noise.steps - 1, -1, -1):
            x0_hat = self(x, torch.full((len(x),), t, device=x.device))
            x = self.noise.of_x0[t] * x0_hat + self.noise.of_xt[t] * x
        return x

    def scores(self, x: Histories) -> Tensor:
        return self.sample(x.dense(self.n_items))


class Trained(DiffRec):
    """DiffRec with its training loss on the training part of a split."""

    def __init__(self, split: Split, device: torch.device = CPU) -> None:
        super().__init__(len(split.items))
        self.x, self.examples = Histories.from_interactions(split.train, device), len(split.users)
        self.losses = torch.zeros(self.noise.steps, LOSSES + 1, device=device)  # the last column is not read
        self.counts = torch.zeros(self.noise.steps, dtype=torch.int64, device=device)
        self.to(device)

    def loss(self, batch: Tensor) -> Tensor:
        x = self.x.take(batch).dense(self.n_items)
        share = self._share()
        t = torch.multinomial(share, len(x), replacement=True)
        of_user = self.noise.weight[t] * (self(self.noise.add(x, t), t) - x).square().mean(1)
        self._record(t, of_user.detach())
        return (of_user / (share[t] * self.noise.steps)).mean()

    def _record(self, t: Tensor, values: Tensor) -> None:
        """Keeps the last `LOSSES` losses of each step, in turn, without waiting for a GPU."""
        same = t[:, None] == t  # (B, B)
        earlier, number = same.tril(-1).sum(1), same.sum(1)  # in this batch, of the same step
        slot = torch.where(earlier >= number - LOSSES, (self.counts[t] + earlier) % LOSSES, LOSSES)
        self.losses[t, slot] = values
        self.counts += torch.zeros_like(self.counts).index_add_(0, t, torch.ones_like(t))

    def _share(self) -> Tensor:
        """Sampling probability (steps,) of each step: uniform until each step has enough losses."""
        uniform = torch.full((self.noise.steps,), 1 / self.noise.steps, device=self.counts.device)
        root = self.losses[:, :LOSSES].square().mean(1).sqrt()
        return torch.where((self.counts < LOSSES).any(), uniform, 0.999 * root / root.sum() + 0.001 * uniform)


def diffrec(split: Split, seed: int, epochs: int | None = None) -> tuple[Scorer, int]:
    torch.manual_seed(seed)
    return train(Trained(split), split, RECIPE, epochs)
