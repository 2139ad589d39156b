"""Measures of lists beyond accuracy: coverage, novelty, diversity and popularity lift."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sdiff.data.interactions import Split
from sdiff.evaluation.evaluate import TopNLists
from sdiff.evaluation.protocols import Protocol

SAMPLE = 10_000  # lists from which the diversity is estimated: each is compared with all users
ENTRIES = 20_000_000  # of a dense matrix (lists, users)


def measures(lists: TopNLists, split: Split, protocol: Protocol = "train") -> dict[str, float]:
    """Measures of the lists beyond accuracy. Popularity is that in the training part; `protocol` is as in `unseen`.

    - coverage: share of the items that are in at least one list;
    - novelty: -log2 of the share of users who have an item, in bits, averaged over all recommendations;
    - diversity: 1 - the mean cosine similarity of the pairs of items in a list, over their users; of at most 10,000
      lists (all three: Castells et al. 2022, "Novelty and diversity in recommender systems");
    - popularity lift: relative difference between the mean popularity of the recommended items and that of the items in
      the users' histories; 0: equally popular, 1: twice as popular (Abdollahpouri et al. 2020, "The connection between
      popularity bias, calibration, and fairness in recommendation").
    """
    counts = split.train.item_counts
    n_users, recommended = np.maximum(counts, 1), lists.matrix(len(split.items))  # n_users (n_items,): users per item
    X = sp.csr_array(split.train.matrix() @ sp.diags_array(n_users**-0.5))
    cosines = []
    size = min(len(lists.users), SAMPLE)
    sample = np.arange(size) * len(lists.users) // size
    for rows in np.array_split(sample, -(-len(sample) * len(split.users) // ENTRIES)):
        block = recommended[rows]
        total, n = np.square((block @ X.T).toarray()).sum(1), block.sum(1)  # || sum of the columns ||^2
        own = block @ (counts > 0)  # the columns have length 1, or 0 for items without users
        cosines.append(((total - own) / np.maximum(n * (n - 1), 1))[n > 1])
    mean_cosine = np.concatenate(cosines)
    histories = split.train if protocol == "train" else split.merged().train
    history_popularity = _popularity(histories.matrix()[lists.users], counts)
    diversity = {"diversity": float(1 - mean_cosine.mean())} if len(mean_cosine) else {}  # not of single items
    return (
        reach(lists, split)
        | diversity
        | {
            "popularity lift": float(_popularity(recommended, counts) / history_popularity - 1),
        }
    )


def reach(lists: TopNLists, split: Split) -> dict[str, float]:
    """Coverage and novelty, as in `measures`, which takes much longer."""
    listed = lists.items[lists.items >= 0]
    n_users = np.maximum(split.train.item_counts, 1)
    return {
        "coverage": len(np.unique(listed)) / len(split.items),
        "novelty": float(-np.log2(n_users / len(split.users))[listed].mean()),
    }


def _popularity(rows: sp.csr_array, counts: np.ndarray) -> float:
    """Mean popularity of the items of each row, averaged over the non-empty rows."""
    n = rows.sum(1)
    return ((rows @ counts)[n > 0] / n[n > 0]).mean()
