"""MultiDAE and MultiVAE: Liang et al. 2018, "Variational autoencoders for collaborative filtering", WWW.

MultiDAE++ is a baseline of the DiffRec paper (Wang et al. 2023): a MultiDAE whose input has DiffRec's noise, which it
removes in one step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, normalize

from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import Scorer
from sdiff.experiments.baselines.diffrec import Noise
from sdiff.experiments.baselines.training import CPU, Recipe, layers, train
from sdiff.method.histories import Histories

WIDTH, LATENT, DROPOUT = 600, 200, 0.5
BETA, ANNEAL = 0.2, 2_000  # final weight of the KL term, and number of batches of its linear warm-up
RECIPE = Recipe(lr=1e-3, batch_size=500, epochs=200, patience=30)


class MultiDAE(nn.Module):
    """[n_items, 200, n_items] with a multinomial likelihood."""

    def __init__(self, split: Split, noise: Noise | None = None) -> None:
        super().__init__()
        self.x = Histories.from_interactions(split.train, CPU)
        self.n_items, self.examples, self.noise = len(split.items), len(split.users), noise
        self.encode, self.decode = layers(self.n_items, LATENT, self.n_items)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(torch.tanh(self.encode(dropout(normalize(x), DROPOUT, self.training))))

    def loss(self, batch: Tensor) -> Tensor:
        x = self.x.take(batch).dense(self.n_items)
        noisy = self.noise.add(x, torch.randint(self.noise.steps, (len(x),))) if self.noise else x
        return multinomial(self(noisy), x)

    def scores(self, x: Histories) -> Tensor:
        return self(x.dense(self.n_items))


class MultiVAE(nn.Module):
    """[n_items, 600, 200, 600, n_items] with a Gaussian latent variable."""

    def __init__(self, split: Split) -> None:
        super().__init__()
        self.x = Histories.from_interactions(split.train, CPU)
        self.n_items, self.examples = len(split.items), len(split.users)
        self.encode = layers(self.n_items, WIDTH, 2 * LATENT)
        self.decode = layers(LATENT, WIDTH, self.n_items)
        self.batches = 0

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, n_items), and mean and log variance (B, LATENT) of the latent variable."""
        h = torch.tanh(self.encode[0](dropout(normalize(x), DROPOUT, self.training)))
        mean, log_var = self.encode[1](h).chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * (log_var / 2).exp() if self.training else mean
        return self.decode[1](torch.tanh(self.decode[0](z))), mean, log_var

    def loss(self, batch: Tensor) -> Tensor:
        x = self.x.take(batch).dense(self.n_items)
        logits, mean, log_var = self(x)
        divergence = 0.5 * (mean.square() + log_var.exp() - log_var - 1).sum(1).mean()
        self.batches += 1
        return multinomial(logits, x) + BETA * min(self.batches / ANNEAL, 1.0) * divergence

    def scores(self, x: Histories) -> Tensor:
        return self(x.dense(self.n_items))[0]


def multinomial(logits: Tensor, x: Tensor) -> Tensor:
    """Negative multinomial log-likelihood of x, averaged over users."""
    return -(logits.log_softmax(1) * x).sum(1).mean()


def multi_dae(split: Split, seed: int, epochs: int | None = None) -> tuple[Scorer, int]:
    torch.manual_seed(seed)
    return train(MultiDAE(split), split, RECIPE, epochs)


def multi_dae_pp(split: Split, seed: int, epochs: int | None = None) -> tuple[Scorer, int]:
    torch.manual_seed(seed)
    return train(MultiDAE(split, Noise()), split, RECIPE, epochs)


def multi_vae(split: Split, seed: int, epochs: int | None = None) -> tuple[Scorer, int]:
    torch.manual_seed(seed)
    return train(MultiVAE(split), split, RECIPE, epochs)
