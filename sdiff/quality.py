"""What lists are like beside their accuracy: coverage, novelty and diversity, as in Castells et al. 2022, "Novelty and
diversity in recommender systems", Recommender Systems Handbook; and how far they lean on what is popular."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from sdiff.evaluation import Part, top_n
from sdiff.histories import Histories
from sdiff.interactions import Split
from sdiff.references import Scorer

BATCH = 1000


def lists(
    score: Scorer,
    split: Split,
    n: int,
    part: Part = "test",
    users: np.ndarray | None = None,
    device: torch.device | None = None,
) -> sp.csr_array:
    """Lists of n as ones in (n_users, n_items), what is left out as in `evaluate`; for all who have something held out
    in `part`, or for the given indices of users."""
    train, valid = (Histories.from_interactions(seen, device) for seen in (split.train, split.valid))
    whose = np.flatnonzero(getattr(split, part).lengths) if users is None else users
    rows, columns = [], []
    with torch.inference_mode():
        for batch in torch.from_numpy(whose).to(train.items.device).split(BATCH):
            history = train.take(batch)
            scores = score(history)
            if part == "test":
                seen = valid.take(batch)
                scores[seen.rows, seen.items] = -torch.inf
            values, items = top_n(scores, history, n)
            kept = values > -torch.inf
            rows.append(batch[:, None].expand_as(items)[kept].cpu())
            columns.append(items[kept].cpu())
    where = (torch.cat(rows).numpy(), torch.cat(columns).numpy())
    return sp.csr_array((np.ones(len(where[0])), where), shape=(len(split.users), len(split.items)))


def measures(shown: sp.csr_array, split: Split) -> dict[str, float]:
    """Of lists (n, n_items): coverage, the share of items that anybody is shown; novelty, -log2 of the share of users
    who have an item, in bits; diversity, 1 - the cosine of two items' users, its mean over the pairs of a list."""
    counts = np.maximum(split.train.item_counts, 1)
    X = sp.csr_array(split.train.matrix() @ sp.diags_array(counts**-0.5))
    cosines = []
    for rows in np.array_split(np.arange(len(shown.indptr) - 1), -(-len(shown.indptr) // BATCH)):
        block = shown[rows]
        whole, n = np.square((block @ X.T).toarray()).sum(1), block.sum(1)  # || sum of the unit columns ||^2
        cosines.append((whole - n) / np.maximum(n * (n - 1), 1))
    return {
        "coverage": float((shown.sum(0) > 0).mean()),
        "novelty": float(-np.log2(counts / len(split.users))[shown.indices].mean()),
        "diversity": float(1 - np.concatenate(cosines).mean()),
    }


def popularity_lift(shown: sp.csr_array, split: Split, users: np.ndarray) -> float:
    """How much more popular the items of users' lists are than those of their histories, as a share of the latter's
    popularity (Abdollahpouri et al. 2020, "The connection between popularity bias, calibration, and fairness in
    recommendation"): 0 as popular, 1 twice as popular."""
    counts = split.train.item_counts

    def popularity(lists: sp.csr_array) -> float:
        """Mean over users of the mean popularity of their items."""
        n = lists.sum(1)
        return float(((lists @ counts)[n > 0] / n[n > 0]).mean())

    return popularity(shown[users]) / popularity(split.train.matrix()[users]) - 1
