"""What lists are like beside their mean accuracy: per user, and in coverage, novelty, diversity and popularity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from sdiff.base.device import Device, best_device
from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import Scorer
from sdiff.evaluation.evaluate import Part, unseen
from sdiff.evaluation.metrics import ndcg, recall

CPU = torch.device("cpu")
BATCH = 1000


@dataclass(frozen=True, eq=False)
class Lists:
    """users (U,) and the items of their lists (U, n), best first; -1 where none was left."""

    users: np.ndarray
    items: np.ndarray

    def matrix(self, n_items: int) -> sp.csr_array:
        """Ones (U, n_items) where an item is in a list."""
        row, place = (self.items >= 0).nonzero()
        return sp.csr_array((np.ones(len(row)), (row, self.items[row, place])), shape=(len(self.users), n_items))


@torch.inference_mode()
def lists(
    score: Scorer,
    split: Split,
    n: int,
    part: Part = "test",
    users: np.ndarray | None = None,
    device: Device = CPU,
) -> Lists:
    """The n best `unseen` items: of all who have something held out in `part`, or of `users`.

    `device` is that on which `score` takes histories.
    """
    device = best_device(device)
    whose = np.flatnonzero(getattr(split, part).lengths) if users is None else users
    batches = torch.from_numpy(whose).to(device).split(BATCH)
    found = unseen(score, split, part, n, batches, device)
    return Lists(
        whose, np.concatenate([items.where(scores > -torch.inf, -1).cpu().numpy() for _, scores, items in found])
    )


def accuracy(shown: Lists, split: Split, part: Part) -> dict[str, np.ndarray]:
    """Recall and NDCG (U,) of each user's list, at its length n. All users must have something held out in `part`."""
    wanted, n = getattr(split, part), shown.items.shape[1]
    member = wanted.matrix()[shown.users].toarray() > 0
    hits = torch.from_numpy(np.take_along_axis(member, shown.items, axis=1) & (shown.items >= 0))
    relevant = torch.from_numpy(wanted.lengths[shown.users])
    return {f"{name}@{n}": metric(hits, relevant, n).numpy() for name, metric in (("recall", recall), ("ndcg", ndcg))}


def measures(shown: Lists, split: Split) -> dict[str, float]:
    """What lists are like, whoever they are for.

    - coverage: the share of items that anybody is shown;
    - novelty: -log2 of the share of users who have an item, in bits;
    - diversity: 1 - the cosine of two items' users, its mean over the pairs of a list
      (all three: Castells et al. 2022, "Novelty and diversity in recommender systems");
    - popularity lift: how much more popular the items of users' lists are than those of their histories, as a share of
      the latter's popularity: 0 as popular, 1 twice as popular (Abdollahpouri et al. 2020, "The connection between
      popularity bias, calibration, and fairness in recommendation").
    """
    counts = split.train.item_counts
    seen_by, chosen = np.maximum(counts, 1), shown.matrix(len(split.items))
    X = sp.csr_array(split.train.matrix() @ sp.diags_array(seen_by**-0.5))
    cosines = []
    for rows in np.array_split(np.arange(len(shown.users)), -(-len(shown.users) // BATCH)):
        block = chosen[rows]
        whole, n = np.square((block @ X.T).toarray()).sum(1), block.sum(1)  # || sum of the unit columns ||^2
        cosines.append((whole - n) / np.maximum(n * (n - 1), 1))
    usual = _popularity(split.train.matrix()[shown.users], counts)
    return {
        "coverage": float((chosen.sum(0) > 0).mean()),
        "novelty": float(-np.log2(seen_by / len(split.users))[chosen.indices].mean()),
        "diversity": float(1 - np.concatenate(cosines).mean()),
        "popularity lift": float(_popularity(chosen, counts) / usual - 1),
    }


def _popularity(rows: sp.csr_array, counts: np.ndarray) -> float:
    """Mean over the rows of the mean popularity of their items."""
    n = rows.sum(1)
    return ((rows @ counts)[n > 0] / n[n > 0]).mean()
