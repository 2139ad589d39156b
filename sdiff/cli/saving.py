"""Shared by commands that write a checkpoint: claiming the output folder and saving metrics."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sdiff.base.device import device_name, peak_memory_mb
from sdiff.base.distributed import Ranks
from sdiff.base.errors import SDiffError
from sdiff.base.files import claimed
from sdiff.cli.common import hidden
from sdiff.data.datasets import Dataset
from sdiff.evaluation.baselines import baseline_metrics
from sdiff.evaluation.evaluate import Part, evaluate
from sdiff.serving.recommender import Recommender
from sdiff.training.checkpoint import Checkpoint
from sdiff.training.trainer import CRITERION


@contextmanager
def output(folder: Path, ranks: Ranks) -> Iterator[None]:
    """Claims the folder of a run during the block.

    Raises:
        SDiffError: another run uses the folder, or it is not writable.
    """
    with ExitStack() as claim:
        try:
            if ranks.first:
                claim.enter_context(claimed(folder))  # fail before hours of training, not after
        except BlockingIOError:
            raise SDiffError(f"Another run writes to {folder}: wait until it ends, or choose another --out.") from None
        except OSError as error:
            raise SDiffError(f"Cannot write to {folder}: {error.strerror}.") from error
        yield


def check_empty(folder: Path, or_else: str = "") -> None:
    """Raises SDiffError if the folder already has a checkpoint."""
    if (folder / "config.json").exists():
        raise SDiffError(f"{folder} already has a checkpoint: choose another --out{or_else}.")


def finish(
    arguments: argparse.Namespace, checkpoint: Checkpoint, dataset: Dataset, started: float, epochs: int
) -> dict[str, Any]:
    """Evaluates the best of `epochs` epochs and saves its checkpoint, with its metrics, to --out."""
    ranks = arguments.ranks
    model = Recommender(checkpoint)
    metrics: dict[str, Any] = {
        "dataset": dataset.key,
        "data_fingerprint": dataset.split.fingerprint,
        "seed": arguments.seed,
        "command": arguments.command,
        "device": device_name(model.device),
        "processes": ranks.size,
        "epoch": checkpoint.provenance.epoch,
    } | checkpoint.metrics
    parts: list[Part] = [part for part in ("valid", "test") if len(getattr(dataset.split, part))]
    for part in parts:
        metrics[part] = measure(model, dataset, part, arguments.seed, ranks)
    if not ranks.first:
        return metrics
    metrics["references"] = baseline_metrics(dataset.split, parts)
    replace(checkpoint, metrics=metrics).save(arguments.out)
    metrics |= {"seconds": round(time.perf_counter() - started, 1), "peak_memory_mb": peak_memory_mb()}
    print(
        f"{arguments.out}: epoch {metrics['epoch']} of {epochs}, {metrics['seconds']} s",
        *([f"{metrics['peak_memory_mb']} MB"] if metrics["peak_memory_mb"] else []),
        *(f"{part} {CRITERION} {metrics[part][CRITERION]:.4f}" for part in ("valid", "test") if part in metrics),
        sep=", ",
    )
    return metrics | {"checkpoint": str(arguments.out)}


def measure(model: Recommender, dataset: Dataset, part: Part, seed: int, ranks: Ranks) -> dict[str, float]:
    """Recall and NDCG of a model on a part of a data set, as in the metrics of a checkpoint."""
    bar = partial(tqdm, desc=part, unit="batch", leave=False, disable=hidden(ranks))
    return evaluate(model.scorer(seed, ranks.rank), dataset.split, part, model.device, progress=bar, ranks=ranks)
