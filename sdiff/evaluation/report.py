"""A full evaluation: accuracy per user with confidence intervals, and measures beyond accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sdiff.base.checks import whole
from sdiff.base.device import Device, best_device
from sdiff.base.distributed import ALONE, Ranks
from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import Scorer
from sdiff.evaluation.beyond_accuracy import measures
from sdiff.evaluation.evaluate import CUTOFFS, Part, evaluate_users, list_lengths
from sdiff.evaluation.protocols import Protocol

RESAMPLES, LEVEL = 1000, 0.95


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Accuracy of the lists of U users, and measures beyond accuracy.

    Attributes:
        users: (U,) user ids.
        held_out: (U,) number of held-out items of each user.
        values: (U,) accuracy of each user by metric and cut-off, such as "recall@10".
        beyond: measures of all lists together, such as "coverage@10"; see `measures`.
    """

    users: list[str]
    held_out: np.ndarray
    values: dict[str, np.ndarray]
    beyond: dict[str, float]

    def __repr__(self) -> str:
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in self.means.items())
        return f"Evaluation({len(self.users):,} users, {metrics})"

    @property
    def means(self) -> dict[str, float]:
        """The accuracy averaged over the users, then the measures beyond it, by name."""
        return {name: float(values.mean()) for name, values in self.values.items()} | self.beyond

    def intervals(self, seed: int = 0) -> dict[str, tuple[float, float]]:
        """95 % confidence intervals of the means in `values`, from 1,000 bootstrap samples of the users.

        They are percentiles of the resampled means (Efron & Tibshirani 1993, "An introduction to the bootstrap"), and
        show how much a mean depends on the sample of users, not on the seed of the training.

        Args:
            seed: of the samples.

        Raises:
            SDiffError: an invalid seed.
        """
        random, n = np.random.default_rng(whole("seed", seed, 0)), len(self.users)
        values = np.column_stack([*self.values.values()])  # (U, metrics)
        counts = (np.bincount(random.integers(n, size=n), minlength=n) for _ in range(RESAMPLES))
        means = np.stack([count @ values / n for count in counts])  # (RESAMPLES, metrics)
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        return {name: (float(a), float(b)) for name, a, b in zip(self.values, low, high, strict=True)}


def assess(
    score: Scorer,
    split: Split,
    part: Part,
    device: Device,
    k: int | Sequence[int] = CUTOFFS,
    progress: Callable[[Iterable[Tensor]], Iterable[Tensor]] = lambda batches: batches,
    ranks: Ranks = ALONE,
    protocol: Protocol = "train",
) -> Evaluation:
    """All metrics of `evaluate_users` and all `measures` at each cut-off, of the users with held-out items in `part`.

    Arguments and errors are those of `evaluate_users`. All ranks return the result for all users.
    """
    own = evaluate_users(score, split, part, device, progress, ranks, protocol, k)
    lists = own.gathered(ranks, best_device(device))
    at = {n: measures(lists.first(n), split, protocol) for n in list_lengths(k)}
    beyond = {f"{name}@{n}": value for n, found in at.items() for name, value in found.items()}
    ids = [split.users.ids[u] for u in lists.users]
    return Evaluation(ids, getattr(split, part).lengths[lists.users], lists.values, beyond)
