"""`sdiff tune`: searches settings on the validation part, and keeps the best model."""

from __future__ import annotations

import argparse
import math
import sys
import time
from typing import Any

from tqdm import tqdm

from sdiff.base.checks import whole
from sdiff.base.errors import SDiffError
from sdiff.base.files import write_atomically
from sdiff.cli.common import announce
from sdiff.cli.saving import check_empty, finish, output
from sdiff.config import parse_assignments, preset
from sdiff.data.datasets import Dataset, absolute, load_dataset
from sdiff.training.checkpoint import Checkpoint
from sdiff.training.trainer import CRITERION, Progress
from sdiff.training.tune import SEARCH, Space, Study

TRIALS = 20


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Tries settings until --trials or --minutes are over. Saves the best model and a plot of the study to --out."""
    started = time.perf_counter()
    if arguments.ranks.launched:
        raise SDiffError("sdiff tune runs in one process: start it without torchrun.")
    minutes = math.inf if arguments.minutes is None else arguments.minutes
    if not minutes > 0:
        raise SDiffError(f"--minutes must be a positive number, not {minutes:g}.")
    unlimited = arguments.trials is None and arguments.minutes is not None
    trials = sys.maxsize if unlimited else whole("trials", TRIALS if arguments.trials is None else arguments.trials, 1)
    given = parse_assignments(arguments.set)
    base = preset(arguments.preset).override(given)
    searched = arguments.search or [
        text for text in SEARCH[arguments.preset].split() if text.partition("=")[0] not in given
    ]
    space = Space.parse(searched)
    if fixed := given.keys() & space.settings.keys():
        raise SDiffError(f"{', '.join(sorted(fixed))} cannot be both set and searched: leave it out of one.")
    dataset = load_dataset(absolute(arguments.dataset))
    announce(dataset)
    with output(arguments.out, arguments.ranks):
        if not arguments.resume:
            check_empty(arguments.out, ", or add --resume to continue")
        study = Study(arguments.out, base, space, dataset.split, arguments.seed, arguments.resume)
        tried = search(arguments, study, dataset, trials, minutes)
        if page := study.plot():
            write_atomically(arguments.out / "study.html", page.encode())
            print(f"{arguments.out / 'study.html'}: what mattered")
        checkpoint = Checkpoint.load(arguments.out)
        changed = (f"{name}={getattr(checkpoint.config, name)}" for name in space.settings)
        print(f"best: --preset {arguments.preset} --set {' '.join([*arguments.set, *changed])}")
        found = finish(arguments, checkpoint, dataset, started, checkpoint.metrics["curve"]["epoch"][-1])
        return found | {"trials": tried}


def search(
    arguments: argparse.Namespace, study: Study, dataset: Dataset, trials: int, minutes: float
) -> list[dict[str, Any]]:
    """Runs the trials, prints one line for each, and saves each model that is better than all before."""
    rows = []
    with tqdm(unit="epoch", leave=False, disable=None) as bar:
        for step in study.iter_trials(trials, minutes):
            if isinstance(step, Progress):
                bar.total, bar.n = step.epochs, step.epoch
                bar.refresh()
                continue
            trial, trainer = step
            if trial.best and trainer:
                trainer.checkpoint(dataset.key, arguments.preset).save(arguments.out)
            found = trial.reason if trial.value is None else f"{CRITERION} {trial.value:.4f}"
            settings = " ".join(f"{name}={_short(value)}" for name, value in trial.settings.items())
            bar.write(
                f"{trial.number:>4} {trial.state:<8} {found}  {trial.seconds:.0f} s  {settings}{'  *' * trial.best}",
                file=sys.stdout,
            )
            rows.append({"number": trial.number, "state": trial.state, "value": trial.value, **trial.settings})
    return rows


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
