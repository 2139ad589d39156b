"""Which held-out part of the training data predicts the choice that is best on the test part?

    python -m sdiff.experiments.stand_in --dataset yelp2018 --save

Ranks models without random weights (graph filters and the instant preset, each with several popularity discounts) by
their recall@20 on several validation parts, drawn from the training part:

- random: a tenth of each user's interactions;
- matched: as many, drawn so that their popularity is distributed as in the test part;
- last: the last eighth of each user's interactions, if they are in order;
- given: the validation part of the data set.

Prints Spearman's rank correlation with the test part, and the test recall of each part's choice. `matched` looks at the
popularity of test items, so that its choices are not comparable with published results. The last line is JSON; --save
writes it to benchmarks/results.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import spearmanr
from tqdm import tqdm

from sdiff.base.device import best_device, device_name
from sdiff.config import preset
from sdiff.data.datasets import load_dataset
from sdiff.data.interactions import Interactions, Split
from sdiff.data.splits import hold_out
from sdiff.evaluation.evaluate import Part, evaluate
from sdiff.experiments.choose import before_validation
from sdiff.experiments.record import report, run_script, script_parser, versions
from sdiff.serving.recommender import Recommender
from sdiff.training.trainer import Trainer

PRESETS = ("filter", "gfcf", "instant")
BETAS = (0.0, 0.1, 0.2, 0.3, 0.4)
SHARE, BINS = 0.1, 10
METRIC = "recall_all@20"


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    split = load_dataset(arguments.dataset).split
    test = recalls(split, "test", "test")
    best = max(test, key=lambda candidate: test[candidate])
    rows = []
    for name, part in stand_ins(split, arguments.seed).items():
        valid = recalls(part, "valid", name)
        choice = max(valid, key=lambda candidate: valid[candidate])
        correlation = float(spearmanr([valid[c] for c in test], [test[c] for c in test]).statistic)  # pyright: ignore[reportAttributeAccessIssue]
        rows.append({"part": name, "correlation": correlation, "choice": choice, "test": test[choice], "valid": valid})
        print(f"{name:<8} correlation {correlation:+.2f}  chooses {choice:<16} test {METRIC} {test[choice]:.4f}")
    print(f"{'test':<8} {'':<17} chooses {best:<16} test {METRIC} {test[best]:.4f}")
    result: dict[str, Any] = {
        "dataset": arguments.dataset,
        "data_fingerprint": split.fingerprint,
        "command": f"python -m sdiff.experiments.stand_in --dataset {arguments.dataset}",
        "seed": arguments.seed,
        "versions": versions("torch"),
        "device": device_name(best_device()),
        "metric": METRIC,
        "best": best,
        "test": test,
        "parts": rows,
    }
    report(result, f"stand-in-{arguments.dataset}", arguments.save)


def stand_ins(split: Split, seed: int) -> dict[str, Split]:
    """The training part, divided in each way into a training and a validation part."""
    nothing = split.test.empty
    parts = {
        "random": Split(*hold_out(split.train, SHARE, seed), nothing),
        "matched": Split(*matched(split.train, split.test, SHARE, seed), nothing),
    }
    if split.train.ordered:
        parts["last"] = before_validation(split)
    return parts | {"given": split}


def matched(train: Interactions, test: Interactions, share: float, seed: int) -> tuple[Interactions, Interactions]:
    """(rest, held out): as `hold_out`, but with the distribution of popularity that the test part has.

    Items are sorted by popularity into `BINS` bins of equal numbers of training interactions. An interaction is drawn
    with a weight proportional to its bin's share of the test part, without replacement (Efraimidis & Spirakis 2006).
    """
    counts = train.item_counts
    order = np.argsort(-counts, kind="stable")
    bins = np.empty(len(counts), dtype=np.int64)
    bins[order] = np.minimum((counts[order].cumsum() - 1) * BINS // max(len(train), 1), BINS - 1)
    in_train, in_test = (np.bincount(bins[part.indices], minlength=BINS) for part in (train, test))
    weight = ((in_test + 1) / (in_train + 1))[bins[train.indices]]
    key = np.random.default_rng(seed).random(len(train)) ** (1 / weight)
    by_user = np.lexsort((-key, train.rows))
    position = np.empty(len(train), dtype=np.int64)
    position[by_user] = train.positions
    held_out = position < np.floor(share * np.repeat(train.lengths, train.lengths))
    return train.where(~held_out), train.where(held_out)


def recalls(split: Split, part: Part, name: str) -> dict[str, float]:
    """Recall of every candidate on a part."""
    found = {}
    for candidate in tqdm(PRESETS, desc=name, leave=False, disable=None):
        trainer = Trainer(preset(candidate), Split(split.train, split.valid.empty, split.test), 0)
        model = Recommender(trainer.fit().checkpoint("", candidate), trainer.device)
        for beta in BETAS:
            values = evaluate(model.scorer(beta=beta), split, part, trainer.device)
            found[f"{candidate} beta={beta:g}"] = values[METRIC]
    return found


if __name__ == "__main__":
    run_script(main)
