"""Beyond the mean accuracy: for whom and for which items it holds, and what the lists of 20 are like.

Recall@20 by the length of the users' histories, and the share of what is held out that the lists show by how often an
item was seen in train, both in five groups of equal size; coverage, novelty and diversity as in Castells et al. 2022,
"Novelty and diversity in recommender systems", Recommender Systems Handbook.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import scipy.sparse as sp
import torch

from benchmarks.accuracy import DENSE, fitted
from benchmarks.peers.ease import ease
from benchmarks.study import Job, Row, Study
from sdiff.datasets import Dataset
from sdiff.evaluation import top_n
from sdiff.histories import Histories
from sdiff.interactions import Split
from sdiff.recommender import Recommender
from sdiff.references import REFERENCES, Scorer

CPU = torch.device("cpu")
N, GROUPS, BATCH = 20, 5, 1000
PLAIN = REFERENCES | {"EASE": ease}


def jobs() -> dict[str, Job]:
    return {"S-Diff": of_preset} | {name: partial(of_reference, name) for name in PLAIN}


def fits(job: str, dataset: Dataset) -> bool:
    return job != "EASE" or len(dataset.split.items) <= DENSE


def of_preset(study: Study) -> list[Row]:
    trainer = fitted(study.config, study.dataset.split, study.seed)
    model = Recommender(trainer.checkpoint(study.dataset.key, ""), trainer.device)
    noise = torch.Generator().manual_seed(study.seed)
    return described("S-Diff", lambda x: model.scores(x, study.config, noise).cpu(), study.dataset.split)


def of_reference(name: str, study: Study) -> list[Row]:
    return described(name, PLAIN[name](study.dataset.split), study.dataset.split)


def described(model: str, score: Scorer, split: Split) -> list[Row]:
    """One row with the measures of the lists, then one for each group, all on the test part."""
    shown = lists(score, split)
    test = split.test
    found = np.asarray(shown[test.rows, test.indices]).ravel()  # of each held-out pair, 1 if it is shown
    users = np.flatnonzero(test.lengths)
    hits = np.bincount(test.rows, found, minlength=len(split.users))[users]
    recall = hits / np.minimum(test.lengths[users], N)

    def grouped(what: str, size: np.ndarray, values: np.ndarray) -> list[Row]:
        return [
            {"model": model, "group": f"{what} {name}", "recall@20": float(values[members].mean())}
            for name, members in fifths(size)
        ]

    return [
        {"model": model, "group": "all", "recall@20": float(recall.mean()), **measures(shown[users], split)},
        *grouped("history", split.train.lengths[users], recall),
        *grouped("item seen", split.train.item_counts[test.indices], found),
    ]


def lists(score: Scorer, split: Split) -> sp.csr_array:
    """The lists of 20 of all who have something held out in test, as ones in (n_users, n_items)."""
    train, valid = (Histories.from_interactions(part, CPU) for part in (split.train, split.valid))
    rows, columns = [], []
    with torch.inference_mode():
        for batch in torch.from_numpy(np.flatnonzero(split.test.lengths)).split(BATCH):
            history, seen = train.take(batch), valid.take(batch)
            scores = score(history)
            scores[seen.rows, seen.items] = -torch.inf
            values, items = top_n(scores, history, N)
            kept = values.isfinite()
            rows.append(batch[:, None].expand_as(items)[kept])
            columns.append(items[kept])
    where = (torch.cat(rows).numpy(), torch.cat(columns).numpy())
    return sp.csr_array((np.ones(len(where[0])), where), shape=(len(split.users), len(split.items)))


def measures(shown: sp.csr_array, split: Split) -> Row:
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


def fifths(size: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Five groups of equal number by size, (range, members), smallest first; of equal sizes any may come first."""
    for members in np.array_split(np.argsort(size, kind="stable"), GROUPS):
        if len(members):
            yield f"{size[members].min()}-{size[members].max()}", members
