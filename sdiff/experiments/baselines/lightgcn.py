"""LightGCN (He et al. 2020, SIGIR) and, without layers, matrix factorisation with BPR (Rendle et al. 2009, UAI).

User and item embeddings are averaged over the layers of a graph convolution without weights. The loss is pairwise,
against one random item. Width, penalty and number of layers are as published. With layers, batch size and learning rate
are four times the published 2,048 and 0.001, because each batch requires a pass over the whole graph.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from sdiff.data.interactions import Interactions, Split
from sdiff.evaluation.baselines import Scorer
from sdiff.experiments.baselines.training import Recipe, train
from sdiff.method.eigen import to_torch
from sdiff.method.histories import Histories
from sdiff.method.spectrum import inverse_power

WIDTH, PENALTY = 64, 1e-4
RECIPES = {
    0: Recipe(lr=1e-3, batch_size=2048, epochs=400, patience=30, eval_every=5),
    3: Recipe(lr=4e-3, batch_size=8192, epochs=100, patience=20, eval_every=5),
}


class LightGCN(nn.Module):
    def __init__(self, interactions: Interactions, n_layers: int) -> None:
        super().__init__()
        self.n_users, self.n_layers = len(interactions.users), n_layers
        self.pairs = torch.from_numpy(np.stack([interactions.rows, interactions.indices], axis=1))
        self.embedding = nn.Parameter(0.1 * torch.randn(self.n_users + len(interactions.items), WIDTH))
        self.graph = to_torch(normalised_bipartite(interactions))
        self.examples = len(self.pairs)
        self.final: Tensor | None = None  # cached smoothed embeddings, until the weights change

    def smoothed(self) -> Tensor:
        """Embeddings of users and items (n_users + n_items, WIDTH), averaged over all layers."""
        h = total = self.embedding
        for _ in range(self.n_layers):
            h = self.graph @ h
            total = total + h
        return total / (self.n_layers + 1)

    def loss(self, batch: Tensor) -> Tensor:
        self.final = None
        user, item = self.pairs[batch].T
        other = torch.randint(len(self.embedding) - self.n_users, item.shape)
        nodes = torch.stack([user, item + self.n_users, other + self.n_users])
        u, i, j = self.smoothed()[nodes]
        penalty = self.embedding[nodes].square().sum() / (2 * len(batch))
        return softplus((u * (j - i)).sum(1)).mean() + PENALTY * penalty

    def scores(self, x: Histories) -> Tensor:
        assert x.users is not None, "the model has embeddings only for users of the training part"
        if self.final is None:
            self.final = self.smoothed()
        return self.final[x.users] @ self.final[self.n_users :].T


def normalised_bipartite(interactions: Interactions) -> sp.csr_array:
    """D^-1/2 [[0, X], [X', 0]] D^-1/2, with users first, then items."""
    X = interactions.matrix()
    adjacency = sp.csr_array(sp.block_array([[None, X], [X.T, None]]))
    root = sp.diags_array(inverse_power(adjacency.sum(1), 1 / 2))
    return sp.csr_array(root @ adjacency @ root)


def mf(split: Split, seed: int, epochs: int | None = None) -> tuple[Scorer, int]:
    return lightgcn(split, seed, epochs, n_layers=0)


def lightgcn(split: Split, seed: int, epochs: int | None = None, n_layers: int = 3) -> tuple[Scorer, int]:
    torch.manual_seed(seed)
    return train(LightGCN(split.train, n_layers), split, RECIPES[n_layers], epochs)
