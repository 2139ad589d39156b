"""Evaluation: rank each user's unseen items, compare with the held-out items, average over users."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sdiff.base.device import Device, best_device
from sdiff.base.distributed import ALONE, Ranks
from sdiff.base.errors import SDiffError
from sdiff.data.interactions import Interactions, Split
from sdiff.evaluation.metrics import ndcg, recall, recall_all
from sdiff.evaluation.protocols import PROTOCOLS, Protocol
from sdiff.method.histories import Histories

CUTOFFS = (10, 20)
GROUP = 64  # items per group in `top_n`; 32 and 128 are as fast
SCORES = 4_000_000  # maximum number of scores in a batch; much larger batches do not fit in the CPU caches
Part = Literal["valid", "test"]


def top_n(scores: Tensor, seen: Histories | None, n: int, allowed: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
    """The n items with the highest scores in each row of `scores` (B, n_items), without seen or disallowed items.

    Args:
        seen: (B, n_items) histories, whose items are excluded; none if None.
        allowed: (n_items,) bool, the items that may be ranked; all if None.

    Returns:
        (scores, items), each (B, min(n, n_items)). The score is -inf at ranks for which no item is left.

    Raises:
        SDiffError: a score is NaN or infinite.
    """
    if seen is not None or allowed is not None:
        scores = exclude_(scores.clone(), seen, allowed)
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
        scores[seen.rows, seen.items] = -torch.inf
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
        yield users, *top_n(scores, None, n)


@torch.inference_mode()
def evaluate(
    score: Callable[[Histories], Tensor],
    split: Split,
    part: Part,
    device: Device,
    progress: Callable[[Iterable[Tensor]], Iterable[Tensor]] = lambda batches: batches,
    ranks: Ranks = ALONE,
    protocol: Protocol = "train",
) -> dict[str, float]:
    """Recall and NDCG at 10 and 20 of the `unseen` items, averaged over the users with held-out items in `part`.

    Args:
        score: function from sparse histories (B, n_items) to scores (B, n_items). Items with the score -inf are not
            recommended.
        device: where `score` expects the histories.
        progress: wraps the list of user batches, for a progress bar.
        protocol: the history of test users and the items that are excluded, one of `PROTOCOLS`.
        ranks: each scores its share of the users; all return the mean over all users.

    Returns:
        `recall@10`, `recall@20`, `ndcg@10`, `ndcg@20`, `recall_all@10` and `recall_all@20`, all in [0, 1], and the
        number of `users`. See `recall` and `recall_all` for the two conventions.

    Raises:
        SDiffError: nothing is held out, or the scores have a wrong shape or type, or are NaN or infinite.
    """
    held_out: Interactions = getattr(split, part)
    users = torch.from_numpy(np.flatnonzero(held_out.lengths))
    if not len(users):
        raise SDiffError(
            f"Nothing is held out in the {part} part of this data set: evaluate on another part or data set."
        )
    device = best_device(device)
    rows = min(max(SCORES // len(split.items), 1), 1000)
    target = Histories.from_interactions(held_out, device)
    sums: dict[str, float] = {}
    batches = progress(ranks.share(users.to(device)).split(rows))
    for batch, scores, items in unseen(score, split, part, max(CUTOFFS), batches, device, protocol):
        targets = target.take(batch)
        relevant = torch.zeros(len(batch), len(split.items), dtype=torch.bool, device=device)
        relevant[targets.rows, targets.items] = True
        hits, count = relevant.gather(1, items) & (scores > -torch.inf), targets.offsets.diff()
        for k in CUTOFFS:
            for name, metric in (("recall", recall), ("ndcg", ndcg), ("recall_all", recall_all)):
                key = f"{name}@{k}"
                sums[key] = sums.get(key, 0.0) + metric(hits, count, k).double().sum().item()
    totals = ranks.sum(torch.tensor(list(sums.values()), dtype=torch.float64, device=device))
    means: dict[str, float] = dict(zip(sums, (totals / len(users)).tolist(), strict=True))
    return means | {"users": len(users)}
