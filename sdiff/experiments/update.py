"""How much recall does an update lose against training anew, and how much time does it save?

    python -m sdiff.experiments.update --dataset ml-1m --preset temporal --save

Interactions with timestamps are divided by time: before 60 %, from there to 70 %, to 80 % and the rest. If there is
only an order, the same parts of each user's history are taken, and a twentieth of the items, drawn at random, is left
out of the first two. A model is trained on the first part and validated on the second one. Then the second part becomes
known, with its new users and items, and the third one is for validation. Four models are tested on the rest:

- before: the former model, which cannot recommend new items;
- placed: the same weights, with the new items placed in its spectrum, and the item graph of the grown data;
- updated: as by `sdiff update`;
- anew: trained on the first two parts together.

Seconds are those of everything between the interactions and the model: spectrum, item graph, folds and epochs. Prints
one line for each model. The last line is JSON; --save writes it to benchmarks/results.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.functional import pad
from tqdm import tqdm

from sdiff.base.checks import generator
from sdiff.base.device import best_device, device_name
from sdiff.config import Config, parse_assignments, preset
from sdiff.data.datasets import load_dataset
from sdiff.data.interactions import Interactions, Split
from sdiff.data.splits import global_split
from sdiff.evaluation.evaluate import evaluate
from sdiff.experiments.record import report, versions
from sdiff.method.histories import Histories
from sdiff.serving.recommender import Recommender
from sdiff.training.checkpoint import Checkpoint
from sdiff.training.trainer import CRITERION, Trainer
from sdiff.training.update import continued, update

NEW = 0.05  # share of items that are new, where it is not time that decides
SHOWN = (CRITERION, "ndcg@20", "seconds", "epochs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--preset", default="temporal")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, starting at 0")
    parser.add_argument("--save", action="store_true", help="write the result to benchmarks/results")
    arguments = parser.parse_args()

    split = load_dataset(arguments.dataset).split
    before, now = slices(split)
    config = preset(arguments.preset).override(parse_assignments(arguments.set))
    runs = []
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as cache:  # no spectrum is known already
            os.environ["SDIFF_CACHE_DIR"] = cache
            runs.append(compared(config, before, now, seed))
    means = {
        model: {key: float(np.mean([run[model][key] for run in runs])) for key in runs[0][model]} for model in runs[0]
    }
    kept, part = (100 * means["updated"][key] / means["anew"][key] for key in (CRITERION, "seconds"))
    print(f"the update keeps {kept:.1f} % of {CRITERION} in {part:.1f} % of the time")
    result: dict[str, Any] = {
        "dataset": arguments.dataset,
        "preset": arguments.preset,
        "set": arguments.set,
        "command": f"python -m sdiff.experiments.update --dataset {arguments.dataset} --preset {arguments.preset} "
        f"--seeds {arguments.seeds}" + (f" --set {' '.join(arguments.set)}" if arguments.set else ""),
        "seeds": arguments.seeds,
        "versions": versions("torch"),
        "device": device_name(best_device()),
        "counts": {
            name: {
                "users": int((part.lengths > 0).sum()),
                "items": int((part.item_counts > 0).sum()),
                "pairs": len(part),
            }
            for name, part in {"before": before.train, "now": now.train, "test": now.test}.items()
        },
        "mean": means,
        "runs": runs,
    }
    report(result, f"update-{arguments.dataset}-{arguments.preset}", arguments.save)


def slices(split: Split) -> tuple[Split, Split]:
    """The split of the former model, over its own users and items, and that of the grown data."""
    if split.train.timestamps is None:
        now, train = split, split.train
        new = np.random.default_rng(0).random(len(train.items)) < NEW
        first = (train.positions < np.repeat(train.lengths, train.lengths) * 6 / 7) & ~new[train.indices]
    else:
        now = global_split(split.merged().train.joined(split.test))
        train, times = now.train, now.train.timestamps
        assert times is not None
        first = times < np.sort(times)[len(times) * 6 // 7]
    former = train.where(first).compact()
    users, items = (np.bincount(index[first]) for index in (train.rows, train.indices))
    known = (train.rows < len(users)) & (train.indices < len(items))
    known[known] = (users[train.rows[known]] > 0) & (items[train.indices[known]] > 0)
    later = train.where(~first & known).compact().among(former.items, former.users)
    return Split(former, later, later.where(later.rows < 0)), now


def counts(part: Interactions) -> dict[str, int]:
    """Users and items with interactions, and the number of these."""
    return {"users": int((part.lengths > 0).sum()), "items": int((part.item_counts > 0).sum()), "pairs": len(part)}


def compared(config: Config, before: Split, now: Split, seed: int) -> dict[str, dict[str, float]]:
    """Test metrics and seconds of each model, by name."""
    trainer, seconds = trained(lambda: Trainer(config, before, seed), "before")
    former = trainer.checkpoint("", "")
    found = {"before": tested(former, now, seed) | {"seconds": seconds, "epochs": trainer.epoch}}

    placed: list[Checkpoint] = []

    def updating() -> Trainer:
        trainer = update(former, now, seed)
        placed.append(trainer.checkpoint("", ""))
        return trainer

    trainer, seconds = trained(updating, "updated")
    found["placed"] = tested(placed[0], now, seed)
    found["updated"] = tested(continued(trainer, former, ""), now, seed)
    found["updated"] |= {"seconds": seconds, "epochs": trainer.epoch, "best epoch": trainer.best.epoch}
    trainer, seconds = trained(lambda: Trainer(config, now, seed), "anew")
    found["anew"] = tested(trainer.checkpoint("", ""), now, seed) | {"seconds": seconds, "epochs": trainer.epoch}
    for name, row in found.items():
        print(f"{name:<8}", *(f"{key} {value:.4f}" for key, value in row.items() if key in SHOWN))
    return found


def trained(make: Callable[[], Trainer], name: str) -> tuple[Trainer, float]:
    """A trained model, and the seconds that it took from the interactions to the end."""
    started = time.perf_counter()
    trainer = make()
    for _ in tqdm(trainer.iter_epochs(), total=trainer.epochs, desc=name, unit="epoch", leave=False, disable=None):
        pass
    return trainer, time.perf_counter() - started


def tested(checkpoint: Checkpoint, now: Split, seed: int) -> dict[str, float]:
    """Test metrics of a model. Items that it does not know come last."""
    model, noise = Recommender(checkpoint), generator(seed)
    split, n = now.among(model.items.union(now.items)), len(model.items)

    def score(x: Histories) -> Tensor:
        scores = model.scores(x.where(x.items < n), model.config, noise)
        return pad(scores, (0, len(split.items) - n), value=scores.min().item() - 1)

    return evaluate(score, split, "test", model.device)


if __name__ == "__main__":
    main()
