"""Ways to divide interactions into a training, a validation and a test part."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sdiff.base.errors import SDiffError
from sdiff.data.interactions import Interactions, Split


def chronological_split(interactions: Interactions) -> Split:
    """Splits each user's interactions into the first 70 %, the next 10 % and the last 20 % (Section 4.1)."""
    return _split_at(interactions, interactions.positions)


def global_split(interactions: Interactions) -> Split:
    """Splits all users at the same two times, before which 70 % and 80 % of the interactions lie.

    No model is then trained on what happened after the interactions that it is tested on. Held-out interactions of
    users without a training part are dropped.

    Raises:
        SDiffError: there are no timestamps, or so few distinct ones that a part would be empty.
    """
    times = interactions.timestamps
    if times is None:
        raise SDiffError("A global split needs timestamps: use split=random.")
    in_order = np.sort(times)
    first, second = (in_order[len(times) * part // 10] if len(times) else 0 for part in (7, 8))
    if len(times) and not in_order[0] < first < second:
        raise SDiffError("The timestamps are too coarse for a global split: use split=chronological.")
    train = times < first
    known = (np.bincount(interactions.rows[train], minlength=len(interactions.users)) > 0)[interactions.rows]
    valid, test = ~train & known & (times < second), ~train & known & (times >= second)
    return Split(*map(interactions.where, (train, valid, test)))


def leave_last_out(interactions: Interactions) -> Split:
    """Holds out each user's last interaction for the test and the last but one for validation.

    Users with fewer than three interactions are in the training part only.
    """
    n = np.repeat(interactions.lengths, interactions.lengths)
    from_end = n - interactions.positions  # 1 for the last
    valid, test = ((n >= 3) & (from_end == k) for k in (2, 1))
    return Split(*map(interactions.where, (~valid & ~test, valid, test)))


def random_split(interactions: Interactions, seed: int) -> Split:
    """Splits each user's interactions 7 : 1 : 2 at random. Each part keeps their order."""
    return _split_at(interactions, _shuffled_position(interactions, seed))


def hold_out(interactions: Interactions, share: float, seed: int) -> tuple[Interactions, Interactions]:
    """(rest, held out): holds out a random share of each user's interactions, rounded down."""
    position = _shuffled_position(interactions, seed)
    held_out = position < np.floor(share * np.repeat(interactions.lengths, interactions.lengths))
    return interactions.where(~held_out), interactions.where(held_out)


def given_split(parts: Mapping[str, Interactions]) -> tuple[Split, int]:
    """A split of given parts, and the number of held-out pairs that were dropped because an earlier part has them.

    Args:
        parts: train, test and optionally valid, over the same vocabularies. Without valid, a tenth of each user's
            train part is held out: the last one if the order is known, otherwise a random one.
    """
    train, test = parts["train"], parts["test"]
    valid = parts["valid"].without(train) if "valid" in parts else None
    left = test.without(train)
    left = left.without(valid) if valid else left
    dropped = sum(map(len, parts.values())) - len(train) - len(left) - (len(valid) if valid else 0)
    if valid is None:
        train, valid = _last_tenth(train) if train.ordered else hold_out(train, 0.1, seed=0)
    return Split(train, valid, left), dropped


def _last_tenth(interactions: Interactions) -> tuple[Interactions, Interactions]:
    """(rest, held out): holds out the last tenth of each user's interactions, rounded down."""
    n = np.repeat(interactions.lengths, interactions.lengths)
    last = interactions.positions >= n - n // 10
    return interactions.where(~last), interactions.where(last)


def _shuffled_position(interactions: Interactions, seed: int) -> np.ndarray:
    """Position (nnz,) of each interaction in a random permutation of its user's history."""
    shuffled = np.lexsort((np.random.default_rng(seed).random(len(interactions)), interactions.rows))
    position = np.empty(len(interactions), dtype=np.int64)
    position[shuffled] = interactions.positions
    return position


def _split_at(interactions: Interactions, position: np.ndarray) -> Split:
    # Integer arithmetic, because 0.8 * n is slightly too small for some n. Every user keeps at least one train item.
    n = np.repeat(interactions.lengths, interactions.lengths)
    train = position < np.maximum(n * 7 // 10, 1)
    valid = ~train & (position < n * 8 // 10)
    return Split(interactions.where(train), interactions.where(valid), interactions.where(~train & ~valid))
