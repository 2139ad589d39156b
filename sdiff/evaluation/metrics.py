"""Ranking metrics per user, computed from the hits among the ranked items."""

from __future__ import annotations

import torch
from torch import Tensor

CATALOG = 10**7  # more items than a catalog has: what follows in a list changes no metric


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
    ranx has the same discount. LensKit's default is 1 / log2(max(rank, 2)): rank 2 counts as much as rank 1.
    """
    k = min(k, CATALOG)
    discount = 1 / torch.log2(torch.arange(2, k + 2, device=hits.device))  # (k,)
    ideal = discount.cumsum(0)[relevant.clamp(max=k) - 1]  # (B,)
    return (hits[:, :k] * discount[: hits.shape[1]]).sum(1) / ideal


def precision(hits: Tensor, relevant: Tensor, k: int) -> Tensor:
    """Precision@k = `|hits in the first k| / k` (B,), in [0, 1]; below 1 for users with fewer than k relevant items.

    Arguments are those of `recall`.
    """
    return hits[:, :k].sum(1) / k


def hit_rate(hits: Tensor, relevant: Tensor, k: int) -> Tensor:
    """1 if an item in the first k is relevant, else 0 (B,). Arguments are those of `recall`."""
    return hits[:, :k].any(1).float()


def mrr(hits: Tensor, relevant: Tensor, k: int) -> Tensor:
    """Reciprocal rank of the first hit (B,), in [0, 1]; 0 without a hit in the first k.

    Arguments are those of `recall` (Voorhees 1999, "The TREC-8 question answering track report").
    """
    return (hits[:, :k] / _ranks(hits, k)).amax(1)


def average_precision(hits: Tensor, relevant: Tensor, k: int) -> Tensor:
    """AP@k = sum over the hits in the first k of the precision at their rank / `|T|` (B,), in [0, 1].

    Its mean over users is the MAP of ranx. LensKit divides by min(k, `|T|`) instead. Arguments are those of `recall`.
    """
    first = hits[:, :k]
    return (first * first.cumsum(1) / _ranks(hits, k)).sum(1) / relevant


def _ranks(hits: Tensor, k: int) -> Tensor:
    """Ranks 1, 2, ... (k,) of the items, or as many as there are."""
    return torch.arange(1, min(k, hits.shape[1]) + 1, device=hits.device)


#: Metrics of a user's list, by name.
METRICS = {
    "recall": recall,
    "recall_all": recall_all,
    "precision": precision,
    "ndcg": ndcg,
    "mrr": mrr,
    "map": average_precision,
    "hit_rate": hit_rate,
}
