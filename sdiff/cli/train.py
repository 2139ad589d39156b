"""`sdiff train`: trains a preset, or all that fit the data, and keeps the best epoch."""

from __future__ import annotations

import argparse
import math
import sys
import time
from contextlib import closing
from typing import Any

from tqdm import tqdm

from sdiff.base.errors import SDiffError
from sdiff.cli.common import announce, hidden
from sdiff.cli.saving import check_empty, finish, output
from sdiff.config import AUTO, Config, parse_assignments, preset
from sdiff.data.datasets import Dataset, absolute, load_dataset
from sdiff.training.auto import MINUTES, Failure, Step, compare
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
