"""The item graph, and a head that fuses neighbourhood scores with the spectral estimate."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from sdiff.data.interactions import Interactions
from sdiff.method.histories import Histories
from sdiff.method.spectrum import EVERY, Items, normalised_adjacency_root

BLOCK = 20_000_000  # entries of A' computed at once
CELLS = 2_000_000  # neighbours added at once; with ten times as many, a CPU takes three times as long


class ItemGraph(nn.Module):
    """A' = D_I^-1/2 X' D_U^-2p X D_I^-1/2, with its diagonal set to zero.

    The default p = 1/4 is that of GiffCF (Zhu et al. 2024). It does not depend on `user_power`, that of the spectrum.

    The K lowest frequencies describe global structure; the graph adds local similarity. About `entries` entries of
    A' are kept: all n_items^2 for a small catalog, otherwise the N largest of each row. `weights` (n_items, N) are
    scaled so that a row sums to n_items on average, unless `scaled` is false. `neighbours` (n_items, N) int32 are their
    column indices, or None if all entries are kept.
    """

    def __init__(self, n_items: int, entries: int, p: float = 1 / 4, scaled: bool = True) -> None:
        super().__init__()
        self.p, self.scaled = p, scaled
        N = min(max(entries // n_items, 1), n_items)
        self.weights: Tensor
        self.neighbours: Tensor | None
        self.register_buffer("weights", torch.zeros(n_items, N))
        self.register_buffer("neighbours", None if n_items == N else torch.zeros(n_items, N, dtype=torch.int32))

    def build(self, train: Interactions) -> None:
        """Computes the graph from the training part."""
        root = sp.csr_array(normalised_adjacency_root(train.matrix(), self.p).astype(np.float32))
        transposed = sp.csr_array(root.T)
        if self.neighbours is None:
            self.weights[:] = torch.from_numpy(sp.csr_array(transposed @ root).toarray())
            self.weights.fill_diagonal_(0.0)
        else:
            self._keep_largest(transposed, root)
        if self.scaled:
            self.weights *= len(self.weights) / self.weights.sum(1).mean().clamp(min=1e-12)

    def _keep_largest(self, transposed: sp.csr_array, root: sp.csr_array) -> None:
        """Keeps the N largest entries of each row of A' = X~'X~. Rows are computed in blocks to bound the memory.

        A row has at most as many entries as its users have interactions together. Rows with about as many are in a
        block, because all are padded to the length of the longest.
        """
        assert self.neighbours is not None
        n_items, N = self.weights.shape
        pattern = sp.csr_array((np.ones(transposed.nnz), transposed.indices, transposed.indptr), transposed.shape)
        most = np.minimum(pattern @ np.diff(root.indptr), n_items).astype(np.int64)
        order, first = np.argsort(-most, kind="stable"), 0
        while first < n_items:
            rows = order[first : first + max(BLOCK // max(most[order[first]], N), 1)]
            block = transposed[rows] @ root
            lengths = np.diff(block.indptr)
            block.data[block.indices == np.repeat(rows, lengths)] = 0.0  # the diagonal
            inside = torch.from_numpy(np.arange(max(lengths.max(), N)) < lengths[:, None])
            values, columns = torch.zeros(inside.shape), torch.zeros(inside.shape, dtype=torch.int32)
            values[inside], columns[inside] = torch.from_numpy(block.data), torch.from_numpy(block.indices).int()
            values, places = values.topk(N, dim=1)
            self.weights[rows] = values.to(self.weights)
            self.neighbours[rows] = columns.gather(1, places).to(self.neighbours)
            first += len(rows)

    def dot(self, x: Histories, items: Items = EVERY) -> Tensor:
        """x A (B, n_items), or only the columns of `items`: each item of a history adds its weight to its neighbours.

        Items are added in blocks, which bounds the memory and suits the caches of a CPU.
        """
        if self.neighbours is None:
            return x.dot(self.weights[:, items])
        n_items, N = self.weights.shape
        width, position = n_items, None
        if isinstance(items, Tensor):  # the last column takes what the others do not
            width, position = len(items) + 1, torch.full((n_items,), len(items), device=items.device)
            position[items] = torch.arange(len(items), device=items.device)
        scores = self.weights.new_zeros(len(x) * width)
        step = max(CELLS // N, 1)
        for parts in zip(*(part.split(step) for part in (x.rows, x.items, x.weights)), strict=True):
            rows, own, weights = parts
            columns = self.neighbours[own] if position is None else position[self.neighbours[own]]  # (step, N)
            cells = rows[:, None] * width + columns
            scores.scatter_add_(0, cells.flatten(), (weights[:, None] * self.weights[own]).flatten())
        return scores.view(len(x), width)[:, items if isinstance(items, slice) else slice(-1)]

    def pull(self, items: Tensor, g: Tensor) -> Tensor:
        """sum_i A_ji g_i (n,) for items j: what each contributes to g'(x A), for g (n_items,)."""
        if self.neighbours is None:
            return (self.weights @ g)[items]
        return (self.weights[items] * g[self.neighbours[items]]).sum(1)


class FilterHead(nn.Module):
    """g(s, a) = s + a: the low-pass scores and the neighbourhood scores A c, as in GF-CF."""

    def forward(self, s: Tensor, a: Tensor) -> Tensor:
        return s + a


class FusionHead(nn.Module):
    """g(s, a) = s + w a + h silu(p s + q a + r) + l log(1 + a) for an item's scores s = (U v0_hat)_i and a = (A c)_i.

    One hidden unit, with five parameters shared by all items, and the last term if `log`.
    """

    def __init__(self, log: bool = False) -> None:
        super().__init__()
        self.direct = nn.Parameter(torch.zeros(()))  # w
        self.hidden = nn.Parameter(torch.tensor([0.0, 0.5, 0.0]))  # p, q, r
        self.out = nn.Parameter(torch.tensor(0.1))  # h
        self.log = nn.Parameter(torch.zeros(())) if log else None  # l

    def forward(self, s: Tensor, a: Tensor) -> Tensor:
        p, q, r = self.hidden
        hidden = (p * s).add_(q * a).add_(r)  # in place, because the arrays are large
        fused = (self.direct * a).add_(s).add_(self.out * silu(hidden))
        return fused if self.log is None else fused.add_(self.log * torch.log1p(a))
