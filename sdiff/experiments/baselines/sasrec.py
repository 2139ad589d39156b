"""SASRec: Kang & McAuley 2018, "Self-attentive sequential recommendation", ICDM.

Causal self-attention over the last items of a history; each position predicts the next item. The loss is a softmax over
all items instead of one sampled negative, which is much more accurate (Klenitskiy & Vasilev 2023, "Turning dross into
gold loss", RecSys).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import Scorer
from sdiff.experiments.baselines.training import CPU, Recipe, train
from sdiff.method.histories import Histories

WIDTH, LAYERS, HEADS, LENGTH, DROPOUT = 64, 2, 2, 100, 0.2
RECIPE = Recipe(lr=1e-3, batch_size=128, epochs=150, patience=15)


class SASRec(nn.Module):
    """Input: item indices (B, LENGTH), newest last, padded on the left with n_items."""

    def __init__(self, split: Split) -> None:
        super().__init__()
        self.n_items = n_items = len(split.items)
        self.item = nn.Embedding(n_items + 1, WIDTH, padding_idx=n_items)
        self.position = nn.Parameter(torch.zeros(LENGTH, WIDTH))
        nn.init.normal_(self.item.weight, std=0.02)
        nn.init.normal_(self.position, std=0.02)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, WIDTH, DROPOUT, batch_first=True, norm_first=True)
        self.attention = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.dropout = nn.Dropout(DROPOUT)
        self.future: Tensor
        self.register_buffer("future", torch.triu(torch.ones(LENGTH, LENGTH, dtype=torch.bool), diagonal=1))
        histories = Histories.from_interactions(split.train, CPU)
        self.padded = pad(chunks(histories, LENGTH + 1), LENGTH + 1, n_items)  # LENGTH inputs and their targets
        self.examples = len(self.padded)

    def forward(self, items: Tensor) -> Tensor:
        """States (B, LENGTH, WIDTH); each depends on the items up to its position."""
        h = self.dropout(self.item(items) * WIDTH**0.5 + self.position)
        empty = (items == self.n_items)[:, None] & ~torch.eye(LENGTH, dtype=torch.bool)  # padding sees only itself
        return self.attention(h, mask=(self.future | empty).repeat_interleave(HEADS, dim=0))

    def logits(self, states: Tensor) -> Tensor:
        return states @ self.item.weight[: self.n_items].T

    def loss(self, batch: Tensor) -> Tensor:
        seen, following = self.padded[batch, :-1], self.padded[batch, 1:]
        real = (seen < self.n_items) & (following < self.n_items)
        return F.cross_entropy(self.logits(self(seen)[real]), following[real])

    def scores(self, x: Histories) -> Tensor:
        return self.logits(self(pad(x, LENGTH, self.n_items))[:, -1])


def sasrec(split: Split, seed: int, epochs: int | None = None) -> tuple[Scorer, int]:
    torch.manual_seed(seed)
    return train(SASRec(split), split, RECIPE, epochs)


def pad(x: Histories, length: int, padding: int) -> Tensor:
    """The last `length` items of each row, (B, length), newest last."""
    back = x.offsets[1:][x.rows] - torch.arange(len(x.items))  # 1 for the newest
    recent = back <= length
    padded = torch.full((len(x), length), padding)
    padded[x.rows[recent], length - back[recent]] = x.items[recent]
    return padded


def chunks(x: Histories, length: int) -> Histories:
    """Splits each row into rows of at most `length` items, starting from the newest."""
    lengths = x.offsets.diff()
    pieces = -(-lengths // length)
    first = lengths - (pieces - 1) * length  # the oldest piece may be shorter
    sizes = torch.full((int(pieces.sum()),), length)
    starts = pieces.cumsum(0) - pieces
    sizes[starts[pieces > 0]] = first[pieces > 0]
    return Histories(x.items, torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]), x.weights)
