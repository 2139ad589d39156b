"""Who interacted with what, in which order: vocabularies, interactions and their split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import scipy.sparse as sp

from sdiff.base.errors import SDiffError, brief

Unknown = Literal["error", "ignore"]


@dataclass(frozen=True)
class Vocabulary:
    """External ids (text) in the order of their indices."""

    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} ids)"

    def __contains__(self, id: object) -> bool:
        return id in self.index

    @cached_property
    def index(self) -> dict[str, int]:
        return {id: i for i, id in enumerate(self.ids)}

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.ids).encode()).hexdigest()[:16]

    def encode(self, ids: Iterable[str | int], what: str = "item", unknown: Unknown = "error") -> np.ndarray:
        """Indices (n,) of `ids`.

        Args:
            unknown: what becomes of ids that are not known: an error that names the first ones, or "ignore" skips them.

        Raises:
            SDiffError: an unknown id, or `ids` is a single text.
        """
        if unknown not in get_args(Unknown):
            raise SDiffError(f"unknown must be one of {', '.join(get_args(Unknown))}, not {brief(unknown)}.")
        if isinstance(ids, str | bytes):
            raise SDiffError(f"Give {what} ids as a list, such as [{brief(ids)}], not as one text.")
        texts = [str(id) for id in ids]
        absent = [text for text in texts if text not in self.index]
        if absent and unknown == "error":
            raise SDiffError(
                f"Unknown {what} {', '.join(text or brief(text) for text in absent[:5])}"
                f"{' ...' if len(absent) > 5 else ''}: "
                f"the {len(self):,} known ids run like {', '.join(self.ids[:3])} ... {self.ids[-1]}."
            )
        return np.array([self.index[text] for text in texts if text in self.index], dtype=np.int64)

    def subset(self, keep: np.ndarray) -> Vocabulary:
        """The ids at the indices `keep` (n,), in that order."""
        return Vocabulary(tuple(self.ids[i] for i in keep))


@dataclass(frozen=True, eq=False)
class Interactions:
    """X in {0, 1}^(n_users x n_items) as rows of item indices, each row in the user's chronological order.

    indptr (n_users + 1,), indices (nnz,); `timestamps` (nnz,) in seconds where they are known. `ordered` is false
    where nothing tells which came first: no timestamps, and no order in the file either.
    """

    users: Vocabulary
    items: Vocabulary
    indptr: np.ndarray
    indices: np.ndarray
    timestamps: np.ndarray | None = None
    ordered: bool = False

    @classmethod
    def from_pairs(
        cls,
        users: Vocabulary,
        items: Vocabulary,
        user: np.ndarray,
        item: np.ndarray,
        timestamps: np.ndarray | None = None,
        ordered: bool = False,
    ) -> Interactions:
        """From parallel arrays (n,) of indices, `ordered` if they come in each user's order or with timestamps.

        Ties in time keep their order; of a repeated pair the first stays.
        """
        user, item = (np.asarray(indices, dtype=np.int64) for indices in (user, item))  # NumPy takes [] for floats
        order = np.lexsort((user,) if timestamps is None else (timestamps, user))  # stable
        user, item = user[order], item[order]
        _, first = np.unique(user * len(items) + item, return_index=True)
        first.sort()
        user, item = user[first], item[first]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=len(users)))])
        return cls(
            users,
            items,
            indptr.astype(np.int64),
            item,
            None if timestamps is None else timestamps[order][first],
            ordered or timestamps is not None,
        )

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        order = "with timestamps" if self.timestamps is not None else "in order" if self.ordered else "without an order"
        return f"Interactions({_size(self)}, {len(self):,} pairs, {order})"

    @property
    def positions(self) -> np.ndarray:
        """How many of its user's interactions come before each (nnz,)."""
        return np.arange(len(self)) - np.repeat(self.indptr[:-1], self.lengths)

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.indptr)

    @property
    def rows(self) -> np.ndarray:
        """User index (nnz,) of each interaction."""
        return np.repeat(np.arange(len(self.users)), self.lengths)

    @cached_property
    def item_counts(self) -> np.ndarray:
        """Number of interactions (n_items,) of each item."""
        return np.bincount(self.indices, minlength=len(self.items))

    def history(self, user: int) -> np.ndarray:
        """Item indices of one user, oldest first."""
        return self.indices[self.indptr[user] : self.indptr[user + 1]]

    def matrix(self) -> sp.csr_array:
        """X (n_users, n_items) as float64; a copy, so that scipy may sort it."""
        shape = (len(self.users), len(self.items))
        return sp.csr_array((np.ones(len(self)), self.indices.copy(), self.indptr.copy()), shape=shape)

    def where(self, keep: np.ndarray) -> Interactions:
        """The interactions at which `keep` (nnz,) is true, vocabularies unchanged."""
        indptr = np.concatenate([[0], np.cumsum(np.bincount(self.rows[keep], minlength=len(self.users)))])
        times = None if self.timestamps is None else self.timestamps[keep]
        return Interactions(self.users, self.items, indptr, self.indices[keep], times, self.ordered)

    def among(self, items: Vocabulary) -> Interactions:
        """The same interactions with the indices of another vocabulary. Raises SDiffError where it lacks an item."""
        return replace(self, items=items, indices=items.encode(self.items.ids)[self.indices])

    def compact(self) -> Interactions:
        """The same interactions with vocabularies of those users and items alone that have any."""
        users, items = np.flatnonzero(self.lengths), np.flatnonzero(self.item_counts)
        index = np.cumsum(self.item_counts > 0) - 1
        indptr = np.append(self.indptr[users], len(self))
        left = self.users.subset(users), self.items.subset(items)
        return Interactions(*left, indptr, index[self.indices], self.timestamps, self.ordered)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the ids and of every pair in order."""
        digest = hashlib.sha256((self.users.fingerprint + self.items.fingerprint).encode())
        digest.update(self.indptr.astype("<i8").tobytes())
        digest.update(self.indices.astype("<i8").tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Split:
    """Three disjoint parts over the same vocabularies."""

    train: Interactions
    valid: Interactions
    test: Interactions

    def __repr__(self) -> str:
        pairs = f"{len(self.train):,} train + {len(self.valid):,} valid + {len(self.test):,} test pairs"
        return f"Split({_size(self.train)}, {pairs})"

    @property
    def users(self) -> Vocabulary:
        return self.train.users

    @property
    def items(self) -> Vocabulary:
        return self.train.items

    def merged(self) -> Split:
        """Train and valid as one train part, nothing to validate on: for a last training, its epochs once chosen."""
        parts = (self.train, self.valid)
        user, item = (np.concatenate(ids) for ids in zip(*((part.rows, part.indices) for part in parts), strict=True))
        times = [part.timestamps for part in parts if part.timestamps is not None]
        train = Interactions.from_pairs(
            self.users, self.items, user, item, np.concatenate(times) if len(times) == 2 else None, self.train.ordered
        )
        return Split(train, self.valid.where(np.zeros(len(self.valid), dtype=bool)), self.test)

    def among(self, items: Vocabulary) -> Split:
        """The same split over another vocabulary of items, which must hold all of them."""
        return Split(*(part.among(items) for part in (self.train, self.valid, self.test)))

    @cached_property
    def fingerprint(self) -> str:
        parts = "".join(part.fingerprint for part in (self.train, self.valid, self.test))
        return hashlib.sha256(parts.encode()).hexdigest()[:16]


def _size(interactions: Interactions) -> str:
    return f"{len(interactions.users):,} users x {len(interactions.items):,} items"


def chronological_split(interactions: Interactions) -> Split:
    """Each user's first 70 % to train, the next 10 % to valid, the last 20 % to test (Section 4.1)."""
    return _split_at(interactions, interactions.positions)


def random_split(interactions: Interactions, seed: int) -> Split:
    """7 : 1 : 2 at random per user; within each part the order of the list stays."""
    return _split_at(interactions, _shuffled_position(interactions, seed))


def hold_out(interactions: Interactions, share: float, seed: int) -> tuple[Interactions, Interactions]:
    """(rest, held out): a share of each user's interactions, rounded down, drawn at random."""
    position = _shuffled_position(interactions, seed)
    held_out = position < np.floor(share * np.repeat(interactions.lengths, interactions.lengths))
    return interactions.where(~held_out), interactions.where(held_out)


def _shuffled_position(interactions: Interactions, seed: int) -> np.ndarray:
    """Rank (nnz,) of each interaction in a random order of its user's."""
    shuffled = np.lexsort((np.random.default_rng(seed).random(len(interactions)), interactions.rows))
    position = np.empty(len(interactions), dtype=np.int64)
    position[shuffled] = interactions.positions
    return position


def _split_at(interactions: Interactions, position: np.ndarray) -> Split:
    # Whole numbers, since 0.8 * n falls below the whole for some n; whoever is there at all has a history.
    n = np.repeat(interactions.lengths, interactions.lengths)
    train = position < np.maximum(n * 7 // 10, 1)
    valid = ~train & (position < n * 8 // 10)
    return Split(interactions.where(train), interactions.where(valid), interactions.where(~train & ~valid))


def k_core(user: np.ndarray, item: np.ndarray, k: int) -> np.ndarray:
    """Mask (n,) of the pairs left when users and items with fewer than k pairs are removed until none is."""
    keep = np.ones(len(user), dtype=bool)
    while keep.any():
        few_users = np.bincount(user[keep], minlength=user.max() + 1) < k
        few_items = np.bincount(item[keep], minlength=item.max() + 1) < k
        fewer = keep & ~few_users[user] & ~few_items[item]
        if fewer.sum() == keep.sum():
            break
        keep = fewer
    return keep
