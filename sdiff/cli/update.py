"""`sdiff update`: continues a trained model on data that have grown."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import closing
from typing import Any

from tqdm import tqdm

from sdiff.cli.common import announce, hidden
from sdiff.cli.saving import check_empty, finish, output
from sdiff.data.datasets import absolute, load_dataset
from sdiff.training.checkpoint import Checkpoint
from sdiff.training.update import continued, update


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains for a few epochs from the weights of --checkpoint and saves the new checkpoint to --out."""
    started, ranks = time.perf_counter(), arguments.ranks
    former = Checkpoint.load(arguments.checkpoint)
    dataset = load_dataset(absolute(arguments.dataset))
    if ranks.first:
        announce(dataset)
    with output(arguments.out, ranks):
        check_empty(arguments.out)
        trainer = update(former, dataset.split, arguments.seed, ranks=ranks)
        new = len(trainer.split.items) - len(former.items)
        if ranks.first:
            print(f"{len(former.items):,} known and {new:,} new items")
            if not dataset.split.train.ordered or "split=random" in dataset.key:
                print(
                    "sdiff: this data set is split at random, so that held-out interactions may be among those that "
                    "the checkpoint was trained on, and the metrics too high.",
                    file=sys.stderr,
                )
        with (
            closing(trainer.iter_epochs()) as epochs,
            tqdm(epochs, total=trainer.epochs, unit="epoch", disable=hidden(ranks)) as bar,
        ):
            for progress in bar:
                if progress.valid:
                    bar.set_postfix(loss=f"{progress.loss:.4f}", best=f"{progress.best:.4f} at {progress.best_epoch}")
        dataset = dataset.served_by(trainer.split.items)
        checkpoint = continued(trainer, former, dataset.key)
        return finish(arguments, checkpoint, dataset, started, trainer.epoch) | {"new_items": new}
