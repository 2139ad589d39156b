"""`sdiff evaluate`: measures a checkpoint on held-out interactions."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from functools import partial
from typing import Any

from tqdm import tqdm

from sdiff.cli.common import announce, dataset_of, hidden
from sdiff.config import parse_assignments
from sdiff.evaluation.report import assess
from sdiff.serving.export import write_users, writing
from sdiff.serving.recommender import Recommender


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures a checkpoint on a part of the data set, and writes each user's metrics to --out."""
    model = Recommender.load(arguments.checkpoint)
    key, dataset = dataset_of(model, arguments)
    if arguments.ranks.first:
        announce(dataset)
    if arguments.ranks.first and dataset.split.fingerprint != model.checkpoint.provenance.data_fingerprint:
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
