"""`sdiff train`: trains a preset, or all that fit the data, and keeps the best epoch."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sdiff.base.device import device_name, peak_memory_mb
from sdiff.base.distributed import Ranks
from sdiff.base.errors import SDiffError
from sdiff.base.files import claimed
from sdiff.cli.evaluate import announce, hidden, measure
from sdiff.config import AUTO, Config, parse_assignments, preset
from sdiff.data.datasets import Dataset, absolute, load_dataset
from sdiff.evaluation.baselines import baseline_metrics
from sdiff.evaluation.evaluate import Part
from sdiff.serving.recommender import Recommender
from sdiff.training.auto import MINUTES, Failure, Step, compare
from sdiff.training.checkpoint import Checkpoint
from sdiff.training.checkpointing import checkpointed
from sdiff.training.run_state import resume
from sdiff.training.trainer import CRITERION, Trainer


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains a model and saves its checkpoint to --out."""
    started = time.perf_counter()
    if arguments.preset == AUTO:
        if arguments.set or arguments.resume or arguments.ranks.launched:
            raise SDiffError(
                "The preset auto cannot be used with --set, --resume or several processes: choose another preset."
            )
        minutes = MINUTES if arguments.minutes is None else arguments.minutes
        if not 0 < minutes < math.inf:
            raise SDiffError(f"--minutes must be a positive number, not {minutes:g}.")
        dataset = load_dataset(absolute(arguments.dataset))
        announce(dataset)
        with output(arguments.out, arguments.ranks):
            return train_best(arguments, dataset, minutes, started)
    if arguments.minutes is not None:
        raise SDiffError("--minutes needs --preset auto: limit other presets by --set epochs=N.")
    config = preset(arguments.preset).override(parse_assignments(arguments.set))
    dataset = load_dataset(absolute(arguments.dataset))
    if arguments.ranks.first:
        announce(dataset)
    with output(arguments.out, arguments.ranks):
        return train_into(arguments, config, dataset, started)


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


def train_into(arguments: argparse.Namespace, config: Config, dataset: Dataset, started: float) -> dict[str, Any]:
    """Trains in the claimed folder --out, evaluates the best epoch and saves both. Returns the metrics."""
    ranks = arguments.ranks
    trainer = Trainer(config, dataset.split, arguments.seed, ranks=ranks)
    state = arguments.out / "training.safetensors"
    if arguments.resume:
        if state.exists() or not ranks.launched:  # a cluster restarts a run with the same command
            resume(trainer, state)
    else:
        check_empty(arguments.out, ", or add --resume to continue")
    with (
        closing(checkpointed(trainer, arguments.out, dataset.key, arguments.preset, state)) as run,
        tqdm(total=config.epochs, initial=trainer.epoch, unit="epoch", disable=hidden(ranks)) as bar,
    ):
        for progress in run:
            bar.total = progress.epochs
            bar.update(1)
            if progress.valid:
                bar.set_postfix(loss=f"{progress.loss:.4f}", best=f"{progress.best:.4f} at {progress.best_epoch}")
    return finish(arguments, trainer.checkpoint(dataset.key, arguments.preset), dataset, started, trainer.epoch)


def train_best(arguments: argparse.Namespace, dataset: Dataset, minutes: float, started: float) -> dict[str, Any]:
    """Trains the presets that fit the data set, prints their validation metrics and saves the best model.

    The best model so far is saved at once, so that it is left if the command is interrupted.
    """
    check_empty(arguments.out)
    rows: list[dict[str, Any]] = []
    best: list[tuple[Trainer, str]] = []

    def keep(trainer: Trainer, name: str) -> None:
        best[:] = [(trainer, name)]
        trainer.checkpoint(dataset.key, name).save(arguments.out)

    with tqdm(unit="epoch", leave=False, disable=None) as bar:
        for step in compare(dataset.split, arguments.seed, minutes, keep):
            if isinstance(step, Step):
                bar.set_description(step.preset)
                bar.total, bar.n = step.progress.epochs, step.progress.epoch
                bar.refresh()
            elif isinstance(step, Failure):
                bar.write(f"{step.preset:<10} {step.error}", file=sys.stdout)
            else:
                row = {"preset": step.preset, **step.chosen, **step.valid}
                row |= {f"{CRITERION} by {name}": recalls for name, recalls in step.valid_by.items()}
                rows.append(row | {"epoch": step.epoch, "seconds": round(step.seconds, 1)})
                chosen = "  ".join(f"{name} {value:g}" for name, value in step.chosen.items())
                bar.write(
                    f"{step.preset:<10} valid {CRITERION} {step.valid[CRITERION]:.4f}  "
                    f"ndcg@20 {step.valid['ndcg@20']:.4f}  {chosen}  {step.seconds:.0f} s",
                    file=sys.stdout,
                )
    ((trainer, name),) = best
    checkpoint = trainer.checkpoint(dataset.key, name)
    return finish(arguments, checkpoint, dataset, started, trainer.epoch) | {"candidates": rows}


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
