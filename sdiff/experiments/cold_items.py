"""Can items that nobody has had be recommended by their titles and genres?

    python -m sdiff.experiments.cold_items --dataset ml-latest-small --save

A tenth of the items, at random, is hidden from the training part. A ridge regression predicts their rows of U from the
words of their titles, genres and decades. They are then ranked for each user with held-out
interactions with them, by the low-pass U (1 - lam) U'x of the item graph, and by:

- predicted popularity: the same regression, on the logarithm of the number of users;
- true popularity: the hidden number of users, which nobody knows when an item is new;
- chance: the expected recall of a random order.

The strength of the regressions is chosen on the validation part, with another tenth hidden. The last line is JSON;
--save writes it to benchmarks/results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from sdiff.base.device import best_device, device_name
from sdiff.data.datasets import Dataset, load_dataset
from sdiff.data.interactions import Split
from sdiff.data.items import Items
from sdiff.data.search import plain
from sdiff.evaluation.baselines import Scorer
from sdiff.evaluation.evaluate import Part, evaluate
from sdiff.experiments.record import report, run_script, script_parser, versions
from sdiff.method.spectrum import SpectralBasis, spectral_basis

HIDDEN, K = 0.1, 64
RARE = 2  # a word or genre of fewer items says nothing about others
STRENGTHS = (0.1, 1.0, 3.0, 10.0, 30.0, 100.0)
CPU = torch.device("cpu")


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--seeds", type=int, default=5, help="number of draws of the hidden items")
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.dataset)
    runs = [measured(dataset, seed) for seed in range(arguments.seeds)]
    means = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
    for name, value in means.items():
        print(f"{name:<22} {value:.4f}")
    result: dict[str, Any] = {
        "dataset": arguments.dataset,
        "data_fingerprint": dataset.split.fingerprint,
        "command": f"python -m sdiff.experiments.cold_items --dataset {arguments.dataset} --seeds {arguments.seeds}",
        "metric": "test recall@20 among the hidden items",
        "versions": versions("torch"),
        "device": device_name(best_device()),
        "mean": means,
        "runs": runs,
    }
    report(result, f"cold-items-{arguments.dataset}", arguments.save)


class Hidden:
    """A data set without a random part of its items in train, and with nothing else in valid and test.

    Args:
        seed: one number, or several.
    """

    def __init__(self, dataset: Dataset, seed: int | list[int]) -> None:
        split = dataset.split
        self.items = np.random.default_rng(seed).random(len(split.items)) < HIDDEN
        held_out = (part.where(self.items[part.indices]) for part in (split.valid, split.test))
        self.split = Split(split.train.where(~self.items[split.train.indices]), *held_out)
        self.basis, self.F = spectral_basis(self.split.train, K), features(dataset.items)
        counts = self.split.train.item_counts
        self.known, self.log_counts = counts > 0, torch.from_numpy(np.log1p(counts)).float()[:, None]

    def recall(self, score: Scorer, part: Part) -> float:
        """Recall@20 among the hidden items."""
        return evaluate(among(score, torch.from_numpy(self.items)), self.split, part, CPU)["recall@20"]

    def places(self, strength: float) -> Scorer:
        """The low-pass with rows of U that are predicted by titles and genres."""
        return low_pass(SpectralBasis(ridge(self.F, self.known, self.basis.U, strength), self.basis.lam))

    def popularity(self, strength: float) -> Scorer:
        """The popularity that is predicted by titles and genres."""
        return constant(ridge(self.F, self.known, self.log_counts, strength)[:, 0])


def measured(dataset: Dataset, seed: int) -> dict[str, float]:
    """Test recall@20 among hidden items, by kind of scores. Strengths are chosen with other items hidden."""
    tested, other = Hidden(dataset, seed), Hidden(dataset, [seed, 1])

    def chosen(make: Callable[[Hidden, float], Scorer]) -> float:
        """Test recall with the strength that is best on validation."""
        best = max(STRENGTHS, key=lambda strength: other.recall(make(other, strength), "valid"))
        return tested.recall(make(tested, best), "test")

    truth = torch.from_numpy(dataset.split.train.item_counts).float()
    return {
        "titles and genres": chosen(Hidden.places),
        "predicted popularity": chosen(Hidden.popularity),
        "true popularity": tested.recall(constant(truth), "test"),
        "chance": min(20 / int(tested.items.sum()), 1.0),
    }


def features(items: Items) -> sp.csr_array:
    """(n_items, n_features): genres, words of titles and decades, weighted by their rarity; rows have length 1 or 0.

    The weight of a feature is log(n_items / number of items with it), as in tf-idf (Spärck Jones 1972).
    """
    rows = [
        {
            *(f"genre {genre}" for genre in genres.split("|") if genre),
            *(f"word {word}" for word in plain(title).split()),
            *([f"decade {year // 10}"] if year else []),
        }
        for title, year, genres in zip(items.title, items.year, items.genres, strict=True)
    ]
    counts = Counter(name for row in rows for name in row)
    index = {name: n for n, name in enumerate(sorted(name for name, count in counts.items() if count >= RARE))}
    columns = [[index[name] for name in row if name in index] for row in rows]
    weight = np.log(len(rows) / np.array([counts[name] for name in index])) if index else np.empty(0)
    indices = np.array([n for row in columns for n in row], dtype=np.int64)
    indptr = np.cumsum([0, *map(len, columns)])
    F = sp.csr_array((weight[indices], indices, indptr), shape=(len(rows), len(index)))
    length = np.sqrt((F**2).sum(1))
    return sp.csr_array(sp.diags_array(np.divide(1, length, out=np.zeros_like(length), where=length > 0)) @ F)


def ridge(F: sp.csr_array, known: np.ndarray, U: Tensor, strength: float) -> Tensor:
    """(n_items, K): the rows U of the known items, and for others those that a ridge regression predicts.

    B = (F_k'F_k + strength I)^-1 F_k'U_k, U_other = F_other B.

    Args:
        F: (n_items, n_features), as by `features`.
        known: (n_items,) bool.
        U: (n_items, K), of which only the rows of known items are read.
        strength: larger values predict rows that are closer to zero.
    """
    A, rows = F[known], U.double().cpu().numpy()
    gram = (A.T @ A).toarray()
    gram[np.diag_indices_from(gram)] += strength
    predicted = F @ np.linalg.solve(gram, A.T @ rows[known])
    return torch.from_numpy(np.where(known[:, None], rows, predicted)).to(U)


def among(score: Scorer, candidates: Tensor) -> Scorer:
    """The scores, with all but the candidates below them."""
    return lambda x: (s := score(x)).where(candidates, s.min() - 1)


def low_pass(basis: SpectralBasis) -> Scorer:
    """U (1 - lam) U'x."""
    return lambda x: basis.igft((1 - basis.lam) * basis.gft(x))


def constant(scores: Tensor) -> Scorer:
    """The same scores (n_items,) for all users."""
    return lambda x: scores.expand(len(x), -1).clone()


if __name__ == "__main__":
    run_script(main)
