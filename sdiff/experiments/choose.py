"""Compares settings without using the validation or test part.

    python -m sdiff.experiments.choose --dataset ml-1m-diffrec --preset temporal --set horizon=7 --set K=64 hidden=256
    python -m sdiff.experiments.choose --dataset ml-1m-diffrec --preset tuned --sampling T=5 --sampling T=5 noise=1

The last eighth of every user's training part serves as the validation part. As in the test part of most splits, these
items directly follow the history. Prints one line for the unchanged preset and one for each --set, and below each of
them one for each --sampling, which needs no training. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from tqdm import tqdm

from sdiff.config import parse_assignments, preset
from sdiff.data.datasets import load_dataset
from sdiff.data.interactions import Split
from sdiff.evaluation.evaluate import evaluate
from sdiff.experiments.record import run_script
from sdiff.serving.recommender import Recommender
from sdiff.training.trainer import Trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--preset", required=True)
    for option in ("--set", "--sampling"):
        parser.add_argument(option, nargs="+", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    split = before_validation(load_dataset(arguments.dataset).split)
    rows = [
        row
        for settings in tqdm([[], *arguments.set], unit="setting", disable=None)
        for row in trained(arguments.preset, settings, arguments.sampling, split, arguments.seed)
    ]
    print(json.dumps({"dataset": arguments.dataset, "preset": arguments.preset, "seed": arguments.seed, "rows": rows}))


def trained(
    name: str, settings: list[str], sampling: list[list[str]], split: Split, seed: int
) -> Iterator[dict[str, Any]]:
    """Trains a preset with some settings; prints and yields its validation metrics as trained and for each sampling."""
    trainer = Trainer(preset(name).override(parse_assignments(settings)), split, seed)
    started = time.perf_counter()
    trainer.fit()
    seconds = time.perf_counter() - started
    model = Recommender(trainer.checkpoint("", name), trainer.device)
    for changed in ([], *sampling):
        valid = evaluate(model.scorer(seed, **parse_assignments(changed)), split, "valid", trainer.device)
        print(
            f"recall@20 {valid['recall@20']:.4f}  ndcg@20 {valid['ndcg@20']:.4f}  epoch {trainer.best.epoch:>3}  "
            f"{seconds:4.0f} s  {' '.join([*settings, *changed]) or name}",
            flush=True,
        )
        row = {"settings": settings, "sampling": changed, "epoch": trainer.best.epoch, "seconds": round(seconds, 1)}
        yield row | valid


def before_validation(split: Split) -> Split:
    """Holds out the last eighth of each user's training part: at least one interaction if the user has two or more."""
    train = split.train
    lengths = np.repeat(train.lengths, train.lengths)
    rest = train.positions < np.maximum(np.minimum(lengths * 7 // 8, lengths - 1), 1)
    return Split(train.where(rest), train.where(~rest), split.test.empty)


if __name__ == "__main__":
    run_script(main)
