"""CDAE: Wu et al. 2016, "Collaborative denoising auto-encoders for top-N recommender systems", WSDM.

The input of the single hidden layer is a corrupted history and a user embedding. The loss is logistic, on the items of
the history and five random negatives for each.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, dropout

from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import Scorer
from sdiff.experiments.baselines.training import CPU, Recipe, layers, train
from sdiff.method.histories import Histories

WIDTH, CORRUPTION, NEGATIVES = 200, 0.5, 5
RECIPE = Recipe(lr=1e-3, batch_size=256, epochs=300, patience=30, eval_every=2, weight_decay=1e-5)


class CDAE(nn.Module):
    def __init__(self, split: Split) -> None:
        super().__init__()
        self.x = Histories.from_interactions(split.train, CPU)
        self.n_items, self.examples = len(split.items), len(split.users)
        self.encode, self.decode = layers(self.n_items, WIDTH, self.n_items)
        self.user = nn.Embedding(len(split.users), WIDTH)
        nn.init.normal_(self.user.weight, std=0.01)

    def forward(self, x: Tensor, users: Tensor) -> Tensor:
        return self.decode(torch.sigmoid(self.encode(dropout(x, CORRUPTION, self.training)) + self.user(users)))

    def loss(self, batch: Tensor) -> Tensor:
        x = self.x.take(batch).dense(self.n_items)
        share = NEGATIVES * x.sum(1, keepdim=True) / self.n_items
        sampled = (x > 0) | (torch.rand_like(x) < share)
        return binary_cross_entropy_with_logits(self(x, batch), x, sampled.float(), reduction="sum") / len(batch)

    def scores(self, x: Histories) -> Tensor:
        assert x.users is not None, "the model has embeddings only for users of the training part"
        return self(x.dense(self.n_items), x.users)


def cdae(split: Split, seed: int, epochs: int | None = None) -> tuple[Scorer, int]:
    torch.manual_seed(seed)
    return train(CDAE(split), split, RECIPE, epochs)
