"""Items by themselves: the page of one, with items like it, and shelves of well-known ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from sdiff.app.query import Query
from sdiff.app.state import open_dataset, serve
from sdiff.app.views.links import link
from sdiff.base.errors import SDiffError
from sdiff.data.catalog import Row
from sdiff.data.interactions import Interactions

ALIKE = 8  # similar items on an item's page
KNOWN, SHELVES, SHELF = 500, 10, 8  # most popular items, and shelves of them by genre, to choose a history from


@dataclass(frozen=True)
class ItemFacts:
    """An item's page.

    Attributes:
        row: its metadata.
        seen: how many people have it.
        links: (name, URL) of its pages elsewhere.
        extra: other metadata.
        together: items that the same people have.
        near: items with similar entries in the graph's eigenvectors.
    """

    row: Row
    seen: str
    links: list[tuple[str, str]]
    extra: list[tuple[str, str]]
    together: list[Row]
    near: list[Row]


def item_facts(query: Query, item: str) -> ItemFacts:
    """The page of an item. Raises SDiffError like `recommend`, and for an unknown item."""
    opened, model = serve(query.dataset, query.model)
    split, catalog = opened.dataset.split, opened.catalog
    i = int(split.items.encode([item])[0])
    row = catalog.rows([i])[0]
    together, _, _ = co_occurring(split.train, i, ALIKE)
    try:
        near = model.similar_items(item, ALIKE).indices
    except SDiffError:  # it has too few users for a place in the spectrum
        near = []
    seen = f"{row.popularity:,} of {len(split.users):,} people ({row.popularity / len(split.users):.0%})"
    links = [found for column in row.extra.items() if (found := link(*column))]
    extra = [column for column in row.extra.items() if not link(*column)]
    return ItemFacts(row, seen, links, extra, catalog.rows(together.tolist()), catalog.rows(near))


def co_occurring(train: Interactions, item: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The n items whose users are most like those of an item.

    The similarity of two items is the cosine of their columns: the number of users who have both, divided by the
    geometric mean of their numbers of users. Items without common users are left out.

    Args:
        item: index of the item.

    Returns:
        Indices (m,), similarities (m,) in [0, 1], and numbers of common users (m,), most similar first; m <= n.
    """
    counts, common = train.item_counts, train.co_occurrence(item)
    similarity = common / np.sqrt(np.maximum(counts, 1) * max(counts[item], 1))
    similarity[item] = 0.0
    first = np.argsort(-similarity, kind="stable")[:n]
    first = first[similarity[first] > 0]
    return first, similarity[first], common[first]


def shelves(dataset: str) -> list[tuple[str, list[Row]]]:
    """Well-known items to choose a history from: those of some personas, then others by genre, each on one shelf.

    Data without genres has one shelf of the most popular items.
    """
    catalog = open_dataset(dataset).catalog
    rows = catalog.rows(catalog.search("", KNOWN))
    by_genre = _by_genre(rows, catalog.genres()[:SHELVES])
    return [*_personas(rows), *by_genre] if by_genre else [("Most seen", rows[:SHELF])]


def _personas(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    """A person who goes with the crowd, and two with a taste for the mixtures of two genres that are most frequent."""
    genres = [{*row.genres.split(", ")} for row in rows]
    counts = Counter(pair for each in genres for pair in combinations(sorted(each), 2))
    pairs = [pair for pair, _ in counts.most_common()]
    mixtures = pairs[:1] + [pair for pair in pairs if {*pair}.isdisjoint(pairs[0])][:1]
    found = [("Goes with the crowd", rows[:SHELF])]
    for pair in mixtures:
        members = [row for row, each in zip(rows, genres, strict=True) if each.issuperset(pair)]
        found.append((f"Loves {pair[0]} with {pair[1]}", members[:SHELF]))
    return found


def _by_genre(rows: list[Row], genres: list[str]) -> list[tuple[str, list[Row]]]:
    """Items by genre, each on one shelf."""
    shelves: list[tuple[str, list[Row]]] = []
    placed: set[str] = set()
    for genre in reversed(genres):  # the rarest genre takes its items first
        members = [row for row in rows if genre in row.genres.split(", ") and row.id not in placed][:SHELF]
        placed.update(row.id for row in members)
        shelves.append((genre, members))
    return [shelf for shelf in reversed(shelves) if shelf[1]]
