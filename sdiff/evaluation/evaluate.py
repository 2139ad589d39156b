"""Evaluation: rank each user's unseen items, compare with the held-out items, average over users."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from sdiff.base.checks import whole
from sdiff.base.device import Device, best_device
from sdiff.base.distributed import ALONE, Ranks
from sdiff.base.errors import SDiffError, brief
from sdiff.data.interactions import Interactions, Split
from sdiff.evaluation.metrics import METRICS
from sdiff.evaluation.protocols import PROTOCOLS, Protocol
from sdiff.method.diffusion import SCORES
from sdiff.method.histories import Histories

CUTOFFS = (10, 20)
MAIN = ("recall", "ndcg", "recall_all")  # of METRICS: what training and the tables of results show
GROUP = 64  # items per group in `top_n`; 32 and 128 are as fast
ON_GPU = 10  # so many times more than SCORES in a batch on a GPU, for fewer launches
Part = Literal["valid", "test"]


def top_n(scores: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The n items with the highest scores in each row of `scores` (B, n_items). `exclude_` leaves items out before.

    Returns:
        (scores, items), each (B, min(n, n_items)). The score is -inf at ranks for which no item is left.

    Raises:
        SDiffError: a score is NaN or infinite.
    """
    n_items, n_groups = scores.shape[1], scores.shape[1] // GROUP
    if n >= n_groups:
        return _finite(*scores.topk(min(n, n_items), dim=1))
    # The n best items are in the n groups with the largest maxima, or in the remainder after the last full group. This
    # is exact and needs one pass over the scores instead of a partial sort.
    maxima = scores[:, : n_groups * GROUP].view(len(scores), n_groups, GROUP).amax(2)
    within, rest = (torch.arange(a, b, device=scores.device) for a, b in ((0, GROUP), (n_groups * GROUP, n_items)))
    inside = (maxima.topk(n, dim=1).indices[:, :, None] * GROUP + within).flatten(1)  # (B, n GROUP)
    candidates = torch.cat([inside, rest.expand(len(scores), -1)], dim=1)
    values, index = scores.gather(1, candidates).topk(n, dim=1)
    return _finite(values, candidates.gather(1, index))


def exclude_(scores: Tensor, seen: Histories | None, allowed: np.ndarray | None = None) -> Tensor:
    """Sets the scores (B, n_items) of seen items, and of items not `allowed` (n_items,) bool, to -inf, in place."""
    if allowed is not None:
        scores[:, torch.from_numpy(~allowed).to(scores.device)] = -torch.inf
    if seen is not None:
        seen.fill_(scores, -torch.inf)
    return scores


def _finite(values: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    if not (values[:, :1] < torch.inf).all():  # topk sorts NaN first, before infinity
        raise SDiffError("The scores are not finite numbers: lower guidance or T, or train the model again.")
    return values, items


def unseen(
    score: Callable[[Histories], Tensor],
    split: Split,
    part: Part,
    n: int,
    batches: Iterable[Tensor],
    device: torch.device,
    protocol: Protocol = "train",
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yields (users, scores, items) for each batch of users: their `top_n` items, given their history.

    For "valid", the history is the training part, and its items are excluded from the ranking. For "test", `protocol`
    says which parts are the history, and which are excluded: see `PROTOCOLS`.

    Raises:
        SDiffError: the scores have a wrong shape or type, or the protocol is unknown or not for this part.
    """
    if protocol not in PROTOCOLS:
        raise SDiffError(f"Unknown protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}.")
    if part == "valid" and protocol != "train":
        raise SDiffError(f"The protocol {protocol} is for the test part only: evaluate the test part, or use train.")
    train = Histories.from_interactions(split.train, device)
    histories = train if protocol == "train" else Histories.from_interactions(split.merged().train, device)
    excluded = [train]
    if part == "test" and protocol != "paper":
        excluded.append(Histories.from_interactions(split.valid, device))
    for users in batches:
        scores = score(histories.take(users))
        if scores.shape != (len(users), len(split.items)) or not scores.is_floating_point():
            raise SDiffError(
                f"Scores must be floating-point numbers of shape ({len(users)}, {len(split.items)}), not "
                f"{tuple(scores.shape)} of {scores.dtype}."
            )
        scores = scores.clone()  # the scorer may still use its tensor
        for seen in excluded:
            exclude_(scores, seen.take(users))
        yield users, *top_n(scores, n)


@dataclass(frozen=True, eq=False)
class TopNLists:
    """Recommendations of U users.

    Attributes:
        users: (U,) user indices.
        items: (U, n) item indices, best first; -1 at ranks for which no item was left.
    """

    users: np.ndarray
    items: np.ndarray

    def matrix(self, n_items: int) -> sp.csr_array:
        """Matrix (U, n_items) with 1 where an item is in a user's list."""
        row, rank = (self.items >= 0).nonzero()
        return sp.csr_array((np.ones(len(row)), (row, self.items[row, rank])), shape=(len(self.users), n_items))

    def first(self, n: int) -> TopNLists:
        """The first n items of each list."""
        return TopNLists(self.users, self.items[:, :n])


@dataclass(frozen=True, eq=False)
class MeasuredLists(TopNLists):
    """Recommendations of U users, and the accuracy of each list.

    Attributes:
        values: (U,) metrics by name and cut-off, such as "recall@10".
    """

    values: dict[str, np.ndarray]

    def gathered(self, ranks: Ranks, device: torch.device) -> MeasuredLists:
        """The lists of all ranks, on each of them."""
        if ranks.size == 1:
            return self
        own = torch.from_numpy(np.column_stack([self.users, self.items, *self.values.values()])).to(device)
        sizes = torch.zeros(ranks.size, dtype=torch.int64, device=device)
        sizes[ranks.rank] = len(own)
        sizes = ranks.sum(sizes).tolist()
        rows = own.new_zeros(sum(sizes), own.shape[1])  # float64, which is exact for indices, too
        rows.split(sizes)[ranks.rank].copy_(own)
        users, items, values = np.split(ranks.sum(rows).cpu().numpy(), [1, 1 + self.items.shape[1]], axis=1)
        by_name = dict(zip(self.values, values.T, strict=True))
        return MeasuredLists(users[:, 0].astype(np.int64), items.astype(np.int64), by_name)


def list_lengths(k: int | Sequence[int]) -> list[int]:
    """One or more cut-offs as different whole numbers. Raises SDiffError if there is none, or for another value."""
    values = k if isinstance(k, Iterable) and not isinstance(k, str) else [k]
    lengths = [*dict.fromkeys(whole("k", value, 1) for value in values)]
    if not lengths:
        raise SDiffError("k is empty: give at least one list length.")
    return lengths


@torch.inference_mode()
def evaluate_users(
    score: Callable[[Histories], Tensor],
    split: Split,
    part: Part,
    device: Device,
    progress: Callable[[Iterable[Tensor]], Iterable[Tensor]] = lambda batches: batches,
    ranks: Ranks = ALONE,
    protocol: Protocol = "train",
    k: int | Sequence[int] = CUTOFFS,
    metrics: Sequence[str] = tuple(METRICS),
    users: np.ndarray | None = None,
) -> MeasuredLists:
    """The `unseen` items and the metrics of each user with held-out items in `part`. Each rank returns its share.

    Args:
        score: function from sparse histories (B, n_items) to scores (B, n_items). Items with the score -inf are not
            recommended.
        device: where `score` expects the histories.
        progress: wraps the list of user batches, for a progress bar.
        ranks: each scores its share of the users.
        protocol: the history of test users and the items that are excluded, one of `PROTOCOLS`.
        k: lengths of the lists that are measured.
        metrics: names from `METRICS`.
        users: (U,) indices of those of the users who are measured; all by default.

    Raises:
        SDiffError: as `evaluate`, or k is not one or more whole numbers of at least 1.
    """
    cutoffs = list_lengths(k)
    if part not in get_args(Part):
        raise SDiffError(f"Unknown part {brief(part)}: evaluate valid or test.")
    held_out: Interactions = getattr(split, part)
    measured = torch.from_numpy(np.flatnonzero(held_out.lengths) if users is None else users)
    if not len(measured):
        raise SDiffError(
            f"Nothing is held out in the {part} part of this data set: evaluate on another part or data set."
        )
    device = best_device(device)
    larger = ON_GPU if device.type == "cuda" else 1
    rows = min(max(larger * SCORES // len(split.items), 1), larger * 1000)
    target = Histories.from_interactions(held_out, device)
    own = ranks.share(measured.to(device))
    lists: list[Tensor] = []
    values: dict[str, list[Tensor]] = {f"{name}@{n}": [] for n in cutoffs for name in metrics}
    for batch, scores, items in unseen(score, split, part, max(cutoffs), progress(own.split(rows)), device, protocol):
        targets = target.take(batch)
        relevant = torch.zeros(len(batch), len(split.items), dtype=torch.bool, device=device)
        relevant[targets.rows, targets.items] = True
        hits, count = relevant.gather(1, items) & (scores > -torch.inf), targets.offsets.diff()
        lists.append(items.where(scores > -torch.inf, -1))
        for key, column in values.items():
            name, _, n = key.partition("@")
            column.append(METRICS[name](hits, count, int(n)).double())
    columns = {key: torch.cat(column).cpu().numpy() for key, column in values.items()}
    return MeasuredLists(own.cpu().numpy(), torch.cat(lists).cpu().numpy(), columns)


def evaluate(
    score: Callable[[Histories], Tensor],
    split: Split,
    part: Part,
    device: Device,
    progress: Callable[[Iterable[Tensor]], Iterable[Tensor]] = lambda batches: batches,
    ranks: Ranks = ALONE,
    protocol: Protocol = "train",
    k: int | Sequence[int] = CUTOFFS,
    metrics: Sequence[str] = MAIN,
) -> dict[str, float]:
    """Mean of `evaluate_users` over the users with held-out items in `part`, by default recall and NDCG at 10 and 20.

    Arguments are those of `evaluate_users`. All ranks return the mean over all users.

    Returns:
        `recall@10`, `ndcg@10`, `recall_all@10` and so on, all in [0, 1], and the number of `users`. See `recall` and
        `recall_all` for the two conventions.

    Raises:
        SDiffError: nothing is held out, or the scores have a wrong shape or type, or are NaN or infinite.
    """
    own = evaluate_users(score, split, part, device, progress, ranks, protocol, k, metrics)
    sums = torch.tensor([len(own.users), *(column.sum() for column in own.values.values())], dtype=torch.float64)
    n, *totals = ranks.sum(sums.to(best_device(device))).tolist()
    means: dict[str, float] = {key: total / n for key, total in zip(own.values, totals, strict=True)}
    return means | {"users": int(n)}
