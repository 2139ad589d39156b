"""In which chronological order are the parts of a split? Parts closer to the training part are easier to predict.

    python -m sdiff.experiments.parts --dataset ml-1m-diffrec

Divides each user's validation and test items, in the order of the file, into fifths. Prints the recall@20 (hits / |T|)
of two linear models on each fifth. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from sdiff.data.datasets import load_dataset
from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import linear_filter
from sdiff.evaluation.evaluate import Part, evaluate
from sdiff.experiments.baselines.ease import ease
from sdiff.experiments.record import run_script

FIFTHS = 5
PARTS: tuple[Part, ...] = ("valid", "test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    split = load_dataset(parser.parse_args().dataset).split
    result = {}
    for name, score in (("A x", linear_filter(split)), ("EASE", ease(split))):
        for part in PARTS:
            fifths = [fifth(split, part, n) for n in range(FIFTHS)]
            recalls = [evaluate(score, f, "test", torch.device("cpu"))["recall_all@20"] for f in fifths]
            print(f"{name:<5} {part:<6}", *(f"{recall:.4f}" for recall in recalls))
            result[f"{name}, {part}"] = recalls
    print(json.dumps(result))


def fifth(split: Split, part: Part, n: int) -> Split:
    """A split whose test part is the n-th fifth of `part`, for users with at least five items in it.

    The other fifths form the validation part, so they are excluded from the ranking.
    """
    x = getattr(split, part)
    lengths = np.repeat(x.lengths, x.lengths)
    inside = (x.positions * FIFTHS // np.maximum(lengths, 1) == n) & (lengths >= FIFTHS)
    return Split(split.train, x.where(~inside), x.where(inside))


if __name__ == "__main__":
    run_script(main)
