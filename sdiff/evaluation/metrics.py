"""Ranking metrics per user, computed from the hits among the ranked items."""

from __future__ import annotations

import torch
from torch import Tensor


def recall(hits: Tensor, relevant: Tensor, k: int) -> Tensor:
    """Recall@k = `|hits in the first k| / min(k, |T|)` (B,), in [0, 1].

    This is the convention of MultiVAE (Liang et al. 2018) and GiffCF, and the one consistent with Table 1 of the paper.
    A list of hits only scores 1, even if more than k items are relevant.

    Args:
        hits: (B, >= k) bool, whether the item at each rank is relevant, best rank first.
        relevant: (B,) number `|T|` of relevant items, at least 1.
    """
    return hits[:, :k].sum(1) / relevant.clamp(max=k)


def recall_all(hits: Tensor, relevant: Tensor, k: int) -> Tensor:
    """Recall@k = `|hits in the first k| / |T|` (B,), in [0, 1]. Arguments are those of `recall`.

    This is the convention of DiffRec, BSPM and LightGCN.
    """
    return hits[:, :k].sum(1) / relevant


def ndcg(hits: Tensor, relevant: Tensor, k: int) -> Tensor:
    """NDCG@k = DCG / ideal DCG (B,), in [0, 1], with binary gain and the discount 1 / log2(rank + 1).

    Arguments are those of `recall` (Järvelin & Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques").
    """
    discount = 1 / torch.log2(torch.arange(2, k + 2, device=hits.device))  # (k,)
    ideal = discount.cumsum(0)[relevant.clamp(max=k) - 1]  # (B,)
    return (hits[:, :k] * discount[: hits.shape[1]]).sum(1) / ideal
