"""Beyond the mean accuracy: for whom and for which items it holds, and what the lists of 20 are like.

Recall@20 by the length of the users' histories, and the share of what is held out that the lists show by how often an
item was seen in train, both in five groups of equal size; coverage, novelty, diversity and popularity lift.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from sdiff.data.datasets import Dataset
from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import REFERENCES, Scorer
from sdiff.evaluation.beyond_accuracy import accuracy, measures, top_n_lists
from sdiff.experiments.accuracy import DENSE, fitted
from sdiff.experiments.peers.ease import ease
from sdiff.experiments.study import Job, Row, Study
from sdiff.serving.recommender import Recommender

N, GROUPS = 20, 5
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
    shown = top_n_lists(score, split, N)
    test = split.test
    users, recall = shown.users, accuracy(shown, split, "test")[f"recall@{N}"]
    pairs = test.matrix()[users].tocoo()
    found = np.asarray(
        shown.matrix(len(split.items))[pairs.row, pairs.col]
    ).ravel()  # of each held-out pair, 1 if shown

    def grouped(what: str, size: np.ndarray, values: np.ndarray) -> list[Row]:
        return [
            {"model": model, "group": f"{what} {name}", "recall@20": float(values[members].mean())}
            for name, members in fifths(size)
        ]

    return [
        {"model": model, "group": "all", "recall@20": float(recall.mean()), **measures(shown, split)},
        *grouped("history", split.train.lengths[users], recall),
        *grouped("item seen", split.train.item_counts[pairs.col], found),
    ]


def fifths(size: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Five groups of equal number by size, (range, members), smallest first; of equal sizes any may come first."""
    for members in np.array_split(np.argsort(size, kind="stable"), GROUPS):
        if len(members):
            yield f"{size[members].min()}-{size[members].max()}", members
