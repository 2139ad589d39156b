"""Accuracy of a preset or a baseline over several seeds, compared with simple baselines on the same split.

    python -m sdiff.experiments.accuracy --dataset demo --preset paper --seeds 3 --save
    python -m sdiff.experiments.accuracy --dataset ml-1m-diffrec --preset sasrec --save
    python -m sdiff.experiments.accuracy --dataset yelp2018 --preset tuned --refit --save

With --refit, the number of epochs is chosen on the validation part. The model is then trained again for that many
epochs on the training and validation parts together, and tested; so are the baselines. Use it to compare with
published results on splits without a validation part.

With --runs, the state of each training is kept in a folder: the same command continues where it was interrupted.

Prints the mean test metrics. The last line is JSON with mean and standard deviation; --save writes it to
benchmarks/results.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from sdiff.base.checks import whole
from sdiff.base.device import best_device, device_name, peak_memory_mb
from sdiff.base.paths import expanded
from sdiff.config import AUTO, PRESETS, Config, parse_assignments, preset
from sdiff.data.datasets import Dataset, load_dataset
from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import BASELINES, Scorer
from sdiff.evaluation.evaluate import Part, evaluate
from sdiff.experiments.baselines.ease import ease
from sdiff.experiments.baselines.gfcf import gfcf
from sdiff.experiments.baselines.recency import RECENT
from sdiff.experiments.baselines.sasrec import sasrec
from sdiff.experiments.record import report, run_script, script_parser, versions
from sdiff.serving.recommender import Recommender
from sdiff.training.auto import MINUTES, best_of
from sdiff.training.run_state import load_state, resume, save_state
from sdiff.training.trainer import Trainer
from sdiff.training.validate import read_header

CPU = torch.device("cpu")
PARTS: tuple[Part, ...] = ("valid", "test")
TRAINED = {"sasrec": sasrec}
DENSE = 10_000  # maximum number of items of models with a dense matrix over all pairs of items, such as EASE


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument(
        "--preset", default="paper", help=f"preset ({', '.join(PRESETS)}), {AUTO}, or baseline ({', '.join(TRAINED)})"
    )
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, starting at 0")
    parser.add_argument("--refit", action="store_true", help="also train on the validation part before testing")
    parser.add_argument(
        "--runs", type=expanded, metavar="DIR", help="folder for the states of the trainings of a preset"
    )
    arguments = parser.parse_args()

    whole("--seeds", arguments.seeds, 1)
    dataset = load_dataset(arguments.dataset)
    if arguments.preset in (AUTO, *TRAINED) and (arguments.refit or arguments.set or arguments.runs):
        parser.error(f"--refit, --set and --runs are for presets only, not for {arguments.preset}.")
    if arguments.runs:
        arguments.runs.mkdir(parents=True, exist_ok=True)  # fail before the training, not after
    if arguments.preset in TRAINED:
        train = partial(run_trained, TRAINED[arguments.preset])
    elif arguments.preset == AUTO:
        train = run_auto
    else:
        config = preset(arguments.preset).override(parse_assignments(arguments.set))
        train = partial(run, config, refit=arguments.refit, runs=arguments.runs)
    runs = [train(dataset, seed) for seed in tqdm(range(arguments.seeds), unit="seed", disable=None)]
    memory = peak_memory_mb()  # before the baselines are computed
    makers = BASELINES | {"GF-CF": gfcf}
    if len(dataset.split.items) <= DENSE and not arguments.refit:  # these choose settings on the validation part
        makers |= {"EASE": ease} | (RECENT if dataset.split.train.ordered else {})
    result: dict[str, Any] = {
        "dataset": arguments.dataset,
        "data_fingerprint": dataset.split.fingerprint,
        "preset": arguments.preset,
        "set": arguments.set,
        "command": f"python -m sdiff.experiments.accuracy --dataset {arguments.dataset} --preset {arguments.preset} "
        f"--seeds {arguments.seeds}"
        + (f" --set {' '.join(arguments.set)}" if arguments.set else "")
        + (" --refit" if arguments.refit else ""),
        "seeds": arguments.seeds,
        "versions": versions("torch"),
        "device": device_name(best_device()),
        "mean": summary(runs, np.mean),
        "std": summary(runs, partial(np.std, ddof=int(len(runs) > 1))),
        "epochs": [r["epoch"] for r in runs],
        "chosen": [r["chosen"] for r in runs if "chosen" in r],
        "seconds": round(float(np.mean([r["seconds"] for r in runs])), 1),
        "peak_memory_mb": memory,
        "references": {name: baseline(make, dataset.split, arguments.refit) for name, make in makers.items()},
    }
    for name, row in (
        (arguments.preset, result["mean"]["test"]),
        *((n, r["test"]) for n, r in result["references"].items()),
    ):
        print(f"{name:<16}", *(f"{key} {row[key]:.4f}" for key in ("recall@10", "recall@20", "ndcg@10", "ndcg@20")))
    name = f"accuracy-{arguments.dataset}-{arguments.preset}{'-refit' if arguments.refit else ''}"
    report(result, name, arguments.save)


def run(config: Config, dataset: Dataset, seed: int, refit: bool = False, runs: Path | None = None) -> dict[str, Any]:
    """Trains with one seed and evaluates the best epoch on the validation and test parts.

    Args:
        runs: folder in which the states of the trainings are kept, and from which they are continued.
    """

    def state(config: Config, split: Split) -> Path | None:
        """A file for this training alone: whatever differs, such as its epochs, may give other results."""
        run = repr((config, split.fingerprint, seed, versions("torch"), device_name(best_device()))).encode()
        return runs / f"{hashlib.sha256(run).hexdigest()[:16]}.safetensors" if runs else None

    started, split = time.perf_counter(), dataset.split
    file = state(config, split)
    earlier = seconds_in(file)
    trainer = fitted(config, split, seed, file)
    valid, epoch = trainer.best.valid, trainer.best.epoch
    if refit:
        config, split = config.override({"epochs": epoch}), split.merged()
        file = state(config, split)
        earlier += seconds_in(file)
        trainer = fitted(config, split, seed, file)
    seconds = earlier + time.perf_counter() - started
    return {"valid": valid, "test": tested(trainer), "epoch": epoch, "seconds": seconds}


def seconds_in(state: Path | None) -> float:
    """Seconds of the epochs in the state of a training; 0 if there is none."""
    return load_state(state, read_header)[1]["seconds"] if state and state.exists() else 0.0


def run_auto(dataset: Dataset, seed: int) -> dict[str, Any]:
    """Chooses a preset on the validation part, as `sdiff train --preset auto`, and evaluates it."""
    started = time.perf_counter()
    trainer, name = best_of(dataset.split, seed, MINUTES)
    seconds = time.perf_counter() - started
    valid, epoch = trainer.best.valid, trainer.best.epoch
    return {"valid": valid, "test": tested(trainer), "epoch": epoch, "seconds": seconds, "chosen": name}


def tested(trainer: Trainer) -> dict[str, float]:
    """Test metrics of the best epoch."""
    model = Recommender(trainer.checkpoint("", ""), trainer.device)
    return evaluate(model.scorer(trainer.seed), trainer.split, "test", trainer.device)


def fitted(config: Config, split: Split, seed: int, state: Path | None = None) -> Trainer:
    """Trains to the end, with a progress bar.

    Args:
        state: file that keeps the state of the training. If it exists, the training continues from there.
    """
    trainer = Trainer(config, split, seed)
    if state and state.exists():
        resume(trainer, state)
    epochs = tqdm(
        trainer.iter_epochs(), total=config.epochs, initial=trainer.epoch, unit="epoch", leave=False, disable=None
    )
    for progress in epochs:
        if state and (progress.epoch % config.eval_every == 0 or progress.epoch == trainer.epochs):
            save_state(trainer, state)
    return trainer


def baseline(make: Callable[[Split], Scorer], split: Split, refit: bool) -> dict[str, dict[str, float]]:
    """Validation and test metrics of a baseline. With `refit`, the test uses the validation part for training, too."""
    score = make(split)
    valid = evaluate(score, split, "valid", CPU)
    if refit:
        split = split.merged()
        score = make(split)
    return {"valid": valid, "test": evaluate(score, split, "test", CPU)}


def run_trained(train: Callable[[Split, int], tuple[Scorer, int]], dataset: Dataset, seed: int) -> dict[str, Any]:
    """Trains a baseline with one seed and evaluates its best epoch on the validation and test parts."""
    started = time.perf_counter()
    score, epoch = train(dataset.split, seed)
    seconds = time.perf_counter() - started
    parts = {part: evaluate(score, dataset.split, part, CPU) for part in PARTS}
    return parts | {"epoch": epoch, "seconds": seconds}


def summary(runs: list[dict[str, Any]], statistic: Any) -> dict[str, dict[str, float]]:
    return {p: {key: float(statistic([r[p][key] for r in runs])) for key in runs[0][p]} for p in PARTS}


if __name__ == "__main__":
    run_script(main)
