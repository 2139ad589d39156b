"""Vocabularies of users and items, their interactions, and splits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import scipy.sparse as sp

from sdiff.base.errors import SDiffError, brief

Unknown = Literal["error", "ignore"]
Known = Literal["train", "train+valid", "all"]


@dataclass(frozen=True)
class Vocabulary:
    """External ids (text); the position of an id is its index.

    Attributes:
        ids: the ids, all different.
    """

    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} ids)"

    def __contains__(self, id: object) -> bool:
        return id in self.index

    @cached_property
    def index(self) -> dict[str, int]:
        """Index by id."""
        return {id: i for i, id in enumerate(self.ids)}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the ids in order."""
        return hashlib.sha256(json.dumps(self.ids).encode()).hexdigest()[:16]

    def encode(self, ids: Iterable[str | int], what: str = "item", unknown: Unknown = "error") -> np.ndarray:
        """Indices (n,) of `ids`.

        Args:
            ids: as text or numbers.
            what: "item" or "user", for messages.
            unknown: "error" raises an error for unknown ids, "ignore" skips them.

        Raises:
            SDiffError: an id is unknown, or `ids` is a single text.
        """
        if unknown not in get_args(Unknown):
            raise SDiffError(f"unknown must be one of {', '.join(get_args(Unknown))}, not {brief(unknown)}.")
        if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
            raise SDiffError(f"Give {what} ids as a list, such as [{brief(ids)}], not as a single value.")
        texts = [self._text(id) for id in ids]
        absent = [text for text in texts if text not in self.index]
        if absent and unknown == "error":
            listed = ", ".join(text or brief(text) for text in absent[:5]) + " ..." * (len(absent) > 5)
            if not self.ids:
                raise SDiffError(f"Unknown {what} {listed}: no {what} is known.")
            known = f"{', '.join(self.ids[:3])} ... {self.ids[-1]}"
            raise SDiffError(f"Unknown {what} {listed}: the {len(self):,} known ids are {known}.")
        return np.array([self.index[text] for text in texts if text in self.index], dtype=np.int64)

    def _text(self, id: Any) -> str:
        """An id as text. A column of numbers with gaps holds whole numbers as floats: 7.0 is 7, unless 7.0 is an id."""
        text = str(id)
        whole = isinstance(id, float | np.floating) and text not in self.index and float(id).is_integer()
        return str(int(id)) if whole else text

    def union(self, other: Vocabulary) -> Vocabulary:
        """These ids, at the same indices, and then the new ids of another vocabulary."""
        new = tuple(id for id in other.ids if id not in self.index)
        return Vocabulary(self.ids + new) if new else self

    def subset(self, keep: np.ndarray) -> Vocabulary:
        """The ids at the indices `keep` (n,), in that order."""
        return Vocabulary(tuple(self.ids[i] for i in keep))


@dataclass(frozen=True, eq=False)
class Interactions:
    """Who interacted with what: X in {0, 1}^(n_users x n_items) in CSR form (Section 2.1).

    Attributes:
        users: ids of the rows.
        items: ids of the columns.
        indptr: (n_users + 1,) start of each user's row in `indices`.
        indices: (nnz,) item indices.
        timestamps: (nnz,) in seconds, None if unknown.
        ordered: whether rows are in chronological order. False if there are neither timestamps nor a known order.
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
        """Builds interactions from parallel arrays (n,) of user and item indices.

        Sorts each user's pairs by time; ties keep their order. Of repeated pairs, the first is kept.

        Args:
            user: (n,) user index of each pair.
            item: (n,) item index of each pair.
            timestamps: (n,) time of each pair in seconds, None if unknown.
            ordered: whether each user's pairs are in chronological order. Implied by `timestamps`.

        Raises:
            SDiffError: an index is outside of its vocabulary.
        """
        user, item = (np.asarray(indices, dtype=np.int64) for indices in (user, item))  # an empty list would be float
        for role, indices, known in (("user", user, users), ("item", item, items)):
            if len(indices) and not 0 <= indices.min() <= indices.max() < len(known):
                raise SDiffError(
                    f"The {role} indices must be between 0 and {len(known) - 1}, but they go from {indices.min()} to "
                    f"{indices.max()}."
                )
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
        order = "with timestamps" if self.timestamps is not None else "ordered" if self.ordered else "unordered"
        return f"Interactions({_size(self)}, {len(self):,} pairs, {order})"

    @property
    def positions(self) -> np.ndarray:
        """Position (nnz,) of each interaction in its user's history, from 0."""
        return np.arange(len(self)) - np.repeat(self.indptr[:-1], self.lengths)

    @property
    def lengths(self) -> np.ndarray:
        """Number of interactions (n_users,) of each user."""
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

    def co_occurrence(self, item: int) -> np.ndarray:
        """(n_items,) number of users who have both `item` (an index) and each item. At `item`: all of its users."""
        has = np.zeros(len(self.users), dtype=bool)
        has[self.rows[self.indices == item]] = True
        return np.bincount(self.indices[np.repeat(has, self.lengths)], minlength=len(self.items))

    def matrix(self) -> sp.csr_array:
        """X (n_users, n_items) as float64. A copy, because scipy may sort it in place."""
        shape = (len(self.users), len(self.items))
        return sp.csr_array((np.ones(len(self)), self.indices.copy(), self.indptr.copy()), shape=shape)

    @property
    def empty(self) -> Interactions:
        """No interactions, with the same vocabularies."""
        return self.where(np.zeros(len(self), dtype=bool))

    def where(self, keep: np.ndarray) -> Interactions:
        """The interactions where `keep` (nnz,) is true, with the same vocabularies."""
        indptr = np.concatenate([[0], np.cumsum(np.bincount(self.rows[keep], minlength=len(self.users)))])
        times = None if self.timestamps is None else self.timestamps[keep]
        return Interactions(self.users, self.items, indptr, self.indices[keep], times, self.ordered)

    def among(self, items: Vocabulary, users: Vocabulary | None = None) -> Interactions:
        """The same interactions, re-indexed by other vocabularies. Raises SDiffError if an id is not in them."""
        indices = items.encode(self.items.ids)[self.indices]
        if users is None:
            return replace(self, items=items, indices=indices)
        rows = users.encode(self.users.ids, "user")[self.rows]
        return Interactions.from_pairs(users, items, rows, indices, self.timestamps, self.ordered)

    def joined(self, later: Interactions) -> Interactions:
        """The interactions of both, over the union of their vocabularies.

        They are in chronological order if both have timestamps. Otherwise, each user's later ones follow these.
        """
        users, items = self.users.union(later.users), self.items.union(later.items)
        parts = [
            part if (part.users, part.items) == (users, items) else part.among(items, users)
            for part in (self, later)
            if len(part) or part is self
        ]
        user, item = (np.concatenate(ids) for ids in zip(*((part.rows, part.indices) for part in parts), strict=True))
        times = [part.timestamps for part in parts if part.timestamps is not None]
        timestamps = np.concatenate(times) if len(times) == len(parts) else None
        return Interactions.from_pairs(users, items, user, item, timestamps, all(part.ordered for part in parts))

    def without(self, others: Interactions) -> Interactions:
        """The interactions that are not among others over the same vocabularies."""
        pairs, known = (each.rows * len(each.items) + each.indices for each in (self, others))
        return self.where(~np.isin(pairs, known))

    def compact(self) -> Interactions:
        """The same interactions without users and items that have none."""
        users, items = np.flatnonzero(self.lengths), np.flatnonzero(self.item_counts)
        index = np.cumsum(self.item_counts > 0) - 1
        indptr = np.append(self.indptr[users], len(self))
        vocabularies = self.users.subset(users), self.items.subset(items)
        return Interactions(*vocabularies, indptr, index[self.indices], self.timestamps, self.ordered)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the ids and of all pairs in order."""
        digest = hashlib.sha256((self.users.fingerprint + self.items.fingerprint).encode())
        digest.update(self.indptr.astype("<i8").tobytes())
        digest.update(self.indices.astype("<i8").tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Split:
    """Three disjoint parts over the same vocabularies.

    Attributes:
        train: what models are trained on.
        valid: what epochs and settings are chosen on; may be empty.
        test: what results are reported on.
    """

    train: Interactions
    valid: Interactions
    test: Interactions

    def __post_init__(self) -> None:
        """Raises SDiffError if the parts have different vocabularies, so that equal indices are different items."""
        for role in ("users", "items"):
            first, *others = (getattr(part, role) for part in (self.train, self.valid, self.test))
            if any(other is not first and other != first for other in others):
                raise SDiffError(f"The parts of a split must have the same {role} in the same order: use `among`.")

    def __repr__(self) -> str:
        pairs = f"{len(self.train):,} train + {len(self.valid):,} valid + {len(self.test):,} test pairs"
        return f"Split({_size(self.train)}, {pairs})"

    @property
    def users(self) -> Vocabulary:
        """Ids of the users of all parts."""
        return self.train.users

    @property
    def items(self) -> Vocabulary:
        """Ids of the items of all parts."""
        return self.train.items

    def merged(self) -> Split:
        """Merges valid into train, to retrain once the number of epochs is chosen. The valid part becomes empty.

        Without timestamps, each user's valid part follows the train part.
        """
        return Split(self.train.joined(self.valid), self.valid.empty, self.test)

    def known(self, parts: Known = "all") -> Interactions:
        """The histories that these parts make together; without timestamps, one part follows the other."""
        if parts == "train":
            return self.train
        merged = self.merged().train
        return merged if parts == "train+valid" else merged.joined(self.test)

    def among(self, items: Vocabulary) -> Split:
        """The same split with another item vocabulary. Raises SDiffError if it lacks an item."""
        return Split(*(part.among(items) for part in (self.train, self.valid, self.test)))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the three parts. Equal splits of equal data have the same."""
        parts = "".join(part.fingerprint for part in (self.train, self.valid, self.test))
        return hashlib.sha256(parts.encode()).hexdigest()[:16]


def _size(interactions: Interactions) -> str:
    return f"{len(interactions.users):,} users x {len(interactions.items):,} items"


def k_core(user: np.ndarray, item: np.ndarray, k: int) -> np.ndarray:
    """Mask (n,) bool of the pairs that remain after users and items with fewer than k pairs are removed repeatedly.

    Args:
        user: (n,) user index of each pair.
        item: (n,) item index of each pair.
    """
    keep = np.ones(len(user), dtype=bool)
    while keep.any():
        few_users = np.bincount(user[keep], minlength=user.max() + 1) < k
        few_items = np.bincount(item[keep], minlength=item.max() + 1) < k
        remaining = keep & ~few_users[user] & ~few_items[item]
        if remaining.sum() == keep.sum():
            break
        keep = remaining
    return keep
