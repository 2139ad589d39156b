"""The item catalog: looks up metadata by item index, filters and searches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np

from sdiff.base.errors import SDiffError, brief
from sdiff.data.database import LOCKED, temporary
from sdiff.data.datasets import Dataset
from sdiff.data.search import Search


@dataclass(frozen=True)
class Row:
    """An item in a list, with its metadata.

    Attributes:
        year: None if unknown.
        popularity: number of interactions in train.
        held_out: whether the item is a hit, that is, a held-out item of the user.
        extra: further metadata by column name.
    """

    rank: int
    id: str
    title: str
    year: int | None
    genres: str
    score: float
    popularity: int
    held_out: bool
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Filter:
    """Selects items that have any of `genres` and a year in the given range. Empty fields select all items."""

    genres: tuple[str, ...] = ()
    first_year: int | None = None
    last_year: int | None = None


ALL = Filter()
# The query scans no table, so DuckDB keeps no memory for it (see `Catalog`).
TYPOS = """
    SELECT word, w FROM (SELECT unnest(?) AS word, unnest(?) AS candidate, unnest(?) AS w, unnest(?) AS most)
    WHERE damerau_levenshtein(candidate, word) <= most"""


def create_items(con: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
    """Creates the table `items`: index i, id, title, year (NULL if unknown), genres, popularity and extra (a map)."""
    items, split = dataset.items, dataset.split
    columns = {f"extra_{n}": column for n, column in enumerate(items.extra.values())}
    texts = {"id": split.items.ids, "title": items.title, "genres": items.genres, **columns}
    numbers = {"i": np.arange(len(split.items)), "year": np.array(items.year), "popularity": split.train.item_counts}
    con.register("source", numbers | {name: np.array(column, dtype=object) for name, column in texts.items()})
    con.execute(
        f"""
        CREATE TABLE items AS
        SELECT i, id, title, nullif(year, 0)::INTEGER AS year, replace(genres, '|', ', ') AS genres,
            string_split(nullif(genres, ''), '|') AS genre_list, popularity::BIGINT AS popularity,
            map(?::VARCHAR[], [{", ".join(columns)}]::VARCHAR[]) AS extra FROM source""",
        [list(items.extra)],
    )
    con.unregister("source")


class Catalog:
    """Item metadata for lists, filters and search. Read-only, and safe to share between threads.

    Reads the columns from DuckDB once. DuckDB 2.0 keeps up to 3 KB of memory for each query that scans a table until
    the connection is closed, and an app never closes it.
    """

    def __init__(self, dataset: Dataset) -> None:
        split = dataset.split
        items, counts = dataset.items, split.train.item_counts
        others = [f"{genres} {year or ''}" for genres, year in zip(items.genres, items.year, strict=True)]
        self._search = Search(split.items.ids, items.title, counts, others)
        self._lengths = np.array([len(word) for word in self._search.words])  # (n_words,)
        self._letters = letters(self._search.words)
        with temporary() as folder:  # the file can be deleted once it is open
            path = str(folder / "catalog.duckdb")
            with duckdb.connect(path) as con:
                create_items(con, dataset)
            self._connection = duckdb.connect(path, read_only=True, config={**LOCKED})
        columns = self._ask("SELECT id, title, year, genres, popularity, extra FROM items ORDER BY i")
        self._items = [(*row, {name: text for name, text in extra.items() if text}) for *row, extra in columns]
        self._year = np.array([np.nan if year is None else year for _, _, year, *_ in columns])  # (n_items,)
        each = "SELECT i, unnest(genre_list) AS genre FROM items"
        items_by_genre = self._ask(f"SELECT genre, list(i) FROM ({each}) GROUP BY genre ORDER BY count(*) DESC, genre")
        self._items_by_genre = {genre: np.array(items) for genre, items in items_by_genre}

    def rows(
        self, indices: Sequence[int], scores: Sequence[float] | None = None, held_out: Sequence[int] = ()
    ) -> list[Row]:
        """The items at `indices` in that order, with `scores` or 0. Items in `held_out` are marked as hits."""
        scores = [0.0] * len(indices) if scores is None else scores
        hits = {*held_out}
        rows = []
        for rank, (i, score) in enumerate(zip(indices, scores, strict=True), 1):
            id, title, year, genres, popularity, extra = self._items[i]
            rows.append(Row(rank, id, title, year, genres, float(score), popularity, i in hits, extra))
        return rows

    def search(self, query: str, limit: int = 20) -> list[int]:
        """Indices of the items whose title, genres and year, or id match a query. Empty: the most popular items.

        Best match first; those in titles before others. Ignores case, accents, punctuation and word order; words may be
        prefixes. If too few items match, each word may have one or two typos.
        """
        return self._search.find(query, limit, self._typos)

    def allowed(self, wanted: Filter) -> np.ndarray:
        """Mask (n_items,) of the items that pass a filter. Items of unknown year pass no year limits.

        Raises:
            SDiffError: no item has one of the genres.
        """
        passes = np.ones(len(self._items), dtype=bool)
        if wanted.genres:
            passes[:] = False
            for genre in wanted.genres:
                if genre not in self._items_by_genre:
                    raise SDiffError(f"No item has the genre {brief(genre)}: choose other genres.")
                passes[self._items_by_genre[genre]] = True
        if wanted.first_year is not None:
            passes &= self._year >= wanted.first_year
        if wanted.last_year is not None:
            passes &= self._year <= wanted.last_year
        return passes

    def genres(self) -> list[str]:
        """All genres, the one with the most items first."""
        return [*self._items_by_genre]

    def years(self) -> tuple[int, int] | None:
        """The first and last year, or None if all years are unknown."""
        known = self._year[~np.isnan(self._year)]
        return (int(known.min()), int(known.max())) if len(known) else None

    def _typos(self, words: list[str]) -> list[tuple[str, int]]:
        """Pairs (word, index of a catalog word that differs by typos): one from 4 letters on, two from 8.

        A typo changes at most two bits of the letter sets, so that few candidates need the full comparison.
        """
        pairs: list[tuple[str, str, int, int]] = []
        for word, letter_set in zip(words, letters(words), strict=True):
            most = min(len(word) // 4, 2)
            near = np.abs(self._lengths - len(word)) <= most
            near &= differences(self._letters, letter_set) <= 2 * most
            pairs += [(word, self._search.words[w], w, most) for w in np.flatnonzero(near).tolist()]
        return self._ask(TYPOS, [list(column) for column in zip(*pairs, strict=True)]) if pairs else []

    def _ask(self, query: str, values: object = None) -> list[Any]:
        return self._connection.cursor().execute(query, values).fetchall()  # one cursor per thread


def letters(words: list[str]) -> np.ndarray:
    """(n,) the set of letters of each word, as bits. Different letters rarely share a bit."""
    return np.array([sum({1 << ord(letter) % 62 for letter in word}) for word in words], dtype=np.int64)


def differences(letters: np.ndarray, others: int) -> np.ndarray:
    """(n,) number of bits in which each of `letters` (n,) differs from `others`. NumPy < 2 has no bitwise_count."""
    return BITS[(letters ^ others).view(np.uint16).reshape(-1, 4)].sum(1)


BITS = np.array([n.bit_count() for n in range(1 << 16)], dtype=np.uint8)
