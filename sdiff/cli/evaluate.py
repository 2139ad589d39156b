"""`sdiff evaluate`: measures a checkpoint on held-out interactions."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import ExitStack
from functools import partial
from typing import Any

from tqdm import tqdm

from sdiff.base.distributed import Ranks
from sdiff.base.errors import SDiffError
from sdiff.base.paths import data_dir
from sdiff.config import parse_assignments
from sdiff.data.datasets import Dataset, load_dataset
from sdiff.data.summary import summarize
from sdiff.evaluation.evaluate import Part, evaluate
from sdiff.evaluation.report import assess
from sdiff.serving.export import write_users, writing
from sdiff.serving.recommender import Recommender


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures a checkpoint on a part of the data set, and writes each user's metrics to --out."""
    model = Recommender.load(arguments.checkpoint)
    key, dataset = dataset_of(model, arguments)
    announce(dataset)
    if dataset.split.fingerprint != model.checkpoint.provenance.data_fingerprint:
        print(
            f"sdiff: {arguments.checkpoint} was trained on another split ({model.checkpoint.provenance.dataset}): "
            f"its training data may include held-out interactions of {key}.",
            file=sys.stderr,
        )
    started = time.perf_counter()
    settings = parse_assignments(arguments.set)
    part, seed, ranks, protocol = arguments.split, arguments.seed, arguments.ranks, arguments.protocol
    bar = partial(tqdm, desc=part, unit="batch", leave=False, disable=hidden(ranks))
    score = model.scorer(seed, ranks.rank, **settings)
    with ExitStack() as stack:
        file = stack.enter_context(writing(arguments.out)) if arguments.out and ranks.first else None
        found = assess(score, dataset.split, part, model.device, arguments.k, bar, ranks, protocol)
        if file:
            write_users(found, *file)
    intervals = found.intervals(seed)
    seconds = round(time.perf_counter() - started, 3)
    for name, value in found.means.items():
        interval = "  [{:.4f}, {:.4f}]".format(*intervals[name]) if name in intervals else ""
        print(f"{name:<18} {value:.4f}{interval}")
    print(f"{'users':<18} {len(found.users)}")
    of = {"dataset": key, "split": part, "protocol": protocol, "seed": seed}
    return found.means | {"users": len(found.users), "intervals": intervals, "seconds": seconds} | of


def dataset_of(model: Recommender, arguments: argparse.Namespace) -> tuple[str, Dataset]:
    """Key and data set of --dataset, by default that of the training, with the model's item vocabulary."""
    key = arguments.dataset or model.checkpoint.provenance.dataset
    try:
        return key, load_dataset(key).served_by(model.items)
    except SDiffError as error:
        path = key.partition("?")[0]
        if arguments.dataset or not os.path.isabs(path) or os.path.exists(path):
            raise
        hint = f"If the data of this model were moved, name them with --dataset, or put them into {data_dir()}."
        raise SDiffError(f"{error} {hint}") from error


def announce(dataset: Dataset) -> None:
    """Says on stderr how a table was understood, and what was left out of it."""
    if dataset.report is None:
        return
    summary = summarize(dataset)
    left_out = (f"{n:,} {reason}" for reason, n in summary.left_out.items() if n)
    if facts := "; ".join(filter(None, (summary.columns, summary.titles, ", ".join(left_out)))):
        print(f"sdiff: {dataset.title}: {facts}", file=sys.stderr)


def measure(model: Recommender, dataset: Dataset, part: Part, seed: int, ranks: Ranks) -> dict[str, float]:
    """Recall and NDCG of a model on a part of a data set, as in the metrics of a checkpoint."""
    bar = partial(tqdm, desc=part, unit="batch", leave=False, disable=hidden(ranks))
    return evaluate(model.scorer(seed, ranks.rank), dataset.split, part, model.device, progress=bar, ranks=ranks)


def hidden(ranks: Ranks) -> bool | None:
    """Value of tqdm's `disable`: only rank 0 shows a progress bar, and only on a terminal."""
    return None if ranks.first else True
