"""Recall@20 by groups of users and of items, and measures beyond accuracy of the top-20 lists.

Users are grouped by the length of their history; their recall@20 is averaged. Held-out interactions are grouped by the
number of users of the item in the training part; the value is the share that is in the lists. There are five groups of
equal size each. The measures are coverage, novelty, diversity and popularity lift.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from sdiff.base.device import Device
from sdiff.data.datasets import Dataset
from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import BASELINES, Scorer
from sdiff.evaluation.beyond_accuracy import measures
from sdiff.evaluation.evaluate import evaluate_users
from sdiff.experiments.accuracy import DENSE, fitted
from sdiff.experiments.baselines.ease import ease
from sdiff.experiments.study import Job, Row, Study
from sdiff.serving.recommender import Recommender

N, GROUPS = 20, 5
PLAIN = BASELINES | {"EASE": ease}


def jobs() -> dict[str, Job]:
    return {"S-Diff": of_preset} | {name: partial(of_baseline, name) for name in PLAIN}


def fits(job: str, dataset: Dataset) -> bool:
    return job != "EASE" or len(dataset.split.items) <= DENSE


def of_preset(study: Study) -> list[Row]:
    trainer = fitted(study.config, study.dataset.split, study.seed)
    model = Recommender(trainer.checkpoint(study.dataset.key, ""), trainer.device)
    return described("S-Diff", model.scorer(study.seed), study.dataset.split, model.device)


def of_baseline(name: str, study: Study) -> list[Row]:
    return described(name, PLAIN[name](study.dataset.split), study.dataset.split)


def described(model: str, score: Scorer, split: Split, device: Device = "cpu") -> list[Row]:
    """One row with the measures of the lists, then one row for each group, all on the test part."""
    lists = evaluate_users(score, split, "test", device, k=N)
    users, recall = lists.users, lists.values[f"recall@{N}"]
    pairs = split.test.matrix()[users].tocoo()
    hits = np.asarray(lists.matrix(len(split.items))[pairs.row, pairs.col]).ravel()  # for each held-out pair: 1 or 0

    def grouped(kind: str, size: np.ndarray, values: np.ndarray) -> list[Row]:
        return [
            {"model": model, "group": f"{kind} {name}", "recall@20": float(values[members].mean())}
            for name, members in fifths(size)
        ]

    return [
        {"model": model, "group": "all", "recall@20": float(recall.mean()), **measures(lists, split)},
        *grouped("history", split.train.lengths[users], recall),
        *grouped("item seen", split.train.item_counts[pairs.col], hits),
    ]


def fifths(size: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Five groups of equally many members, sorted by size: (range of sizes, indices of the members)."""
    for members in np.array_split(np.argsort(size, kind="stable"), GROUPS):
        if len(members):
            yield f"{size[members].min()}-{size[members].max()}", members
