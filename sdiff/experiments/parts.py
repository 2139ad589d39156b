"""In which order in time do the parts of a split lie? What is easier to foresee lies nearer to the train part.

    python -m sdiff.experiments.parts --dataset ml-1m-diffrec

Recall@20 (hits / |T|, T a fifth of every user's part in the order of its list) of two linear models. The last line is
JSON.
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
from sdiff.experiments.peers.ease import ease

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
            reached = [evaluate(score, f, "test", torch.device("cpu"))["recall_all@20"] for f in fifths]
            print(f"{name:<5} {part:<6}", *(f"{value:.4f}" for value in reached))
            result[f"{name}, {part}"] = reached
    print(json.dumps(result))


def fifth(split: Split, part: Part, n: int) -> Split:
    """The n-th fifth of a part as the test part of users who have at least five there; the rest of it is not ranked."""
    x = getattr(split, part)
    lengths = np.repeat(x.lengths, x.lengths)
    inside = (x.positions * FIFTHS // np.maximum(lengths, 1) == n) & (lengths >= FIFTHS)
    return Split(split.train, x.where(~inside), x.where(inside))


if __name__ == "__main__":
    main()
