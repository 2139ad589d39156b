"""Compares settings without using the validation or test part.

    python -m sdiff.experiments.choose --dataset ml-1m-diffrec --preset temporal --set horizon=7 --set K=64 hidden=256

The last eighth of every user's training part serves as the validation part. As in the test part of most splits, these
items directly follow the history. Prints one line for the unchanged preset and one for each --set. The last line is
JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
from tqdm import tqdm

from sdiff.config import parse_assignments, preset
from sdiff.data.datasets import load_dataset
from sdiff.data.interactions import Split
from sdiff.training.trainer import Trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--set", nargs="+", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    split = before_validation(load_dataset(arguments.dataset).split)
    rows = [
        row(arguments.preset, settings, split, arguments.seed)
        for settings in tqdm([[], *arguments.set], unit="setting", disable=None)
    ]
    print(json.dumps({"dataset": arguments.dataset, "preset": arguments.preset, "seed": arguments.seed, "rows": rows}))


def row(name: str, settings: list[str], split: Split, seed: int) -> dict[str, Any]:
    """Trains a preset with some settings; prints and returns its validation metrics."""
    trainer = Trainer(preset(name).override(parse_assignments(settings)), split, seed)
    started = time.perf_counter()
    trainer.fit()
    seconds = time.perf_counter() - started
    valid = trainer.best.valid
    print(
        f"recall@20 {valid['recall@20']:.4f}  ndcg@20 {valid['ndcg@20']:.4f}  epoch {trainer.best.epoch:>3}  "
        f"{seconds:4.0f} s  {' '.join(settings) or name}",
        flush=True,
    )
    return {"settings": settings, "epoch": trainer.best.epoch, "seconds": round(seconds, 1)} | valid


def before_validation(split: Split) -> Split:
    """Holds out the last eighth of each user's training part: at least one interaction if the user has two or more."""
    train = split.train
    lengths = np.repeat(train.lengths, train.lengths)
    rest = train.positions < np.maximum(np.minimum(lengths * 7 // 8, lengths - 1), 1)
    return Split(train.where(rest), train.where(~rest), split.test.where(np.zeros(len(split.test), dtype=bool)))


if __name__ == "__main__":
    main()
