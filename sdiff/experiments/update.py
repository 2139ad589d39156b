"""How much recall does an update lose against training anew, and how much time does it save?

    python -m sdiff.experiments.update --dataset ml-1m-diffrec --preset temporal --save

The training part of the data set, usually the first 70 % of each history, is divided again: the first six sevenths of
each history are the former data, without a twentieth of the users and of the items, drawn at random. A model is trained
on them and validated on the seventh that follows. Then the whole training part becomes known, with its new users and
items. Epochs are chosen on the validation part, and four models are tested on the test part:

- before: the former model, which cannot recommend new items;
- placed: the same weights, with the new items placed in its spectrum, and the item graph of the grown data;
- updated: as by `sdiff update`;
- anew: trained on the whole training part.

Seconds are CPU time, which a busy machine does not change, of everything between the interactions and the model:
spectrum, item graph, folds and epochs. Prints one line for each model. The last line is JSON; --save writes it to
benchmarks/results.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.functional import pad
from tqdm import tqdm

from sdiff.base.device import best_device, device_name, generator
from sdiff.config import Config, parse_assignments, preset
from sdiff.data.datasets import load_dataset
from sdiff.data.interactions import Interactions, Split
from sdiff.evaluation.evaluate import evaluate
from sdiff.experiments.record import report, run_script, script_parser, versions
from sdiff.method.histories import Histories
from sdiff.serving.recommender import Recommender
from sdiff.training.checkpoint import Checkpoint
from sdiff.training.trainer import CRITERION, Trainer
from sdiff.training.update import continued, update

NEW = 0.05  # share of the users and of the items that are new
SHOWN = (CRITERION, "ndcg@20", "seconds", "epochs")


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--preset", default="temporal")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, starting at 0")
    arguments = parser.parse_args()

    now = load_dataset(arguments.dataset).split
    before = slices(now)
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
            name: counts(part) for name, part in {"before": before.train, "now": now.train, "test": now.test}.items()
        },
        "mean": means,
        "runs": runs,
    }
    report(result, f"update-{arguments.dataset}-{arguments.preset}", arguments.save)


def slices(now: Split) -> Split:
    """The split of the former model, over its own users and items."""
    train, random = now.train, np.random.default_rng(0)
    new_user, new_item = (random.random(n) < NEW for n in (len(train.users), len(train.items)))
    known = ~new_user[train.rows] & ~new_item[train.indices]
    early = train.positions < np.repeat(train.lengths, train.lengths) * 6 / 7
    former = train.where(known & early).compact()
    users, items = (
        np.bincount(index[known & early], minlength=len(new)) > 0
        for index, new in ((train.rows, new_user), (train.indices, new_item))
    )
    later = train.where(~early & users[train.rows] & items[train.indices]).compact().among(former.items, former.users)
    return Split(former, later, later.where(later.rows < 0))


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
    """A trained model, and the seconds of CPU time from the interactions to the end."""
    started = time.process_time()
    trainer = make()
    for _ in tqdm(trainer.iter_epochs(), total=trainer.epochs, desc=name, unit="epoch", leave=False, disable=None):
        pass
    return trainer, time.process_time() - started


def tested(checkpoint: Checkpoint, now: Split, seed: int) -> dict[str, float]:
    """Test metrics of a model. Items that it does not know come last."""
    model, noise = Recommender(checkpoint), generator(seed)
    split, n = now.among(model.items.union(now.items)), len(model.items)

    def score(x: Histories) -> Tensor:
        scores = model.scores(x.where(x.items < n), model.config, noise)
        return pad(scores, (0, len(split.items) - n), value=scores.min().item() - 1)

    return evaluate(score, split, "test", model.device)


if __name__ == "__main__":
    run_script(main)
