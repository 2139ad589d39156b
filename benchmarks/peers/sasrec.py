"""SASRec: Kang & McAuley 2018, "Self-attentive sequential recommendation", ICDM; trained by a softmax over all items.

Written plainly: causal self-attention over the last items of a history, every position predicts the next item. The
softmax over all items instead of one sampled negative is what makes it strong (Klenitskiy & Vasilev 2023, "Turning
dross into gold loss", RecSys).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from sdiff.evaluation import evaluate
from sdiff.histories import Histories
from sdiff.interactions import Split
from sdiff.references import Scorer

WIDTH, LAYERS, HEADS, LENGTH, DROPOUT = 64, 2, 2, 100, 0.2
LR, BATCH, EPOCHS, PATIENCE = 1e-3, 128, 150, 15
CPU = torch.device("cpu")


class SASRec(nn.Module):
    """Histories as (B, LENGTH) item indices, newest last, padded on the left with n_items."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.n_items = n_items
        self.item = nn.Embedding(n_items + 1, WIDTH, padding_idx=n_items)
        self.position = nn.Parameter(torch.zeros(LENGTH, WIDTH))
        nn.init.normal_(self.item.weight, std=0.02)
        nn.init.normal_(self.position, std=0.02)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, WIDTH, DROPOUT, batch_first=True, norm_first=True)
        self.attention = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.dropout = nn.Dropout(DROPOUT)
        self.future: Tensor
        self.register_buffer("future", torch.triu(torch.ones(LENGTH, LENGTH, dtype=torch.bool), diagonal=1))

    def forward(self, items: Tensor) -> Tensor:
        """States (B, LENGTH, WIDTH), each having seen the items up to its place."""
        h = self.dropout(self.item(items) * WIDTH**0.5 + self.position)
        empty = (items == self.n_items)[:, None] & ~torch.eye(LENGTH, dtype=torch.bool)  # padding sees itself alone
        return self.attention(h, mask=(self.future | empty).repeat_interleave(HEADS, dim=0))

    def logits(self, states: Tensor) -> Tensor:
        return states @ self.item.weight[: self.n_items].T


def sasrec(split: Split, seed: int) -> tuple[Scorer, int]:
    """Trains until validation recall@20 has not risen for PATIENCE epochs. Returns a scorer and its epoch."""
    torch.manual_seed(seed)
    model = SASRec(len(split.items))
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    histories = Histories.from_interactions(split.train, CPU)
    padded = pad(chunks(histories, LENGTH + 1), LENGTH + 1, model.n_items)  # 100 to see, each with its next

    @torch.inference_mode()
    def score(x: Histories) -> Tensor:
        model.eval()
        return model.logits(model(pad(x, LENGTH, model.n_items))[:, -1])

    best, kept, epoch = (-1.0, 0), {}, 0
    for epoch in tqdm(range(1, EPOCHS + 1), unit="epoch", leave=False, disable=None):
        model.train()
        for batch in torch.randperm(len(padded)).split(BATCH):
            seen, following = padded[batch, :-1], padded[batch, 1:]
            real = (seen < model.n_items) & (following < model.n_items)
            loss = F.cross_entropy(model.logits(model(seen)[real]), following[real])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found = evaluate(score, split, "valid", CPU)["recall@20"]
        if found > best[0]:
            best, kept = (found, epoch), {name: tensor.clone() for name, tensor in model.state_dict().items()}
        if epoch - best[1] >= PATIENCE:
            break
    model.load_state_dict(kept)
    return score, best[1]


def pad(x: Histories, length: int, padding: int) -> Tensor:
    """The last `length` items of each row, (B, length), newest last."""
    back = x.offsets[1:][x.rows] - torch.arange(len(x.items))  # 1 for the newest
    recent = back <= length
    padded = torch.full((len(x), length), padding)
    padded[x.rows[recent], length - back[recent]] = x.items[recent]
    return padded


def chunks(x: Histories, length: int) -> Histories:
    """Each row cut into rows of at most `length` items, counted from the newest."""
    lengths = x.offsets.diff()
    pieces = -(-lengths // length)
    first = lengths - (pieces - 1) * length  # the oldest piece is the short one
    sizes = torch.full((int(pieces.sum()),), length)
    starts = pieces.cumsum(0) - pieces
    sizes[starts[pieces > 0]] = first[pieces > 0]
    return Histories(x.items, torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]), x.weights)
