"""The item catalog in DuckDB: metadata of the items, joined to lists by index, filtered and searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np

from sdiff.base.errors import SDiffError, brief
from sdiff.data.datasets import Dataset
from sdiff.data.search import Search
from sdiff.data.tables import LOCKED, temporary


@dataclass(frozen=True)
class Row:
    """An item in a list. year: None where unknown; popularity: interactions in train; held_out: a hit.

    extra: what else the metadata says of it, by the names of its columns.
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
    """Which items are wanted: of any of these genres, from one year to another, where these are given."""

    genres: tuple[str, ...] = ()
    first_year: int | None = None
    last_year: int | None = None


ALL = Filter()
# A query that scans no table, after which DuckDB keeps no memory.
SLIPS = """
    SELECT meant, w FROM (SELECT unnest(?) AS meant, unnest(?) AS near, unnest(?) AS w, unnest(?) AS most)
    WHERE damerau_levenshtein(near, meant) <= most"""


def create_items(con: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
    """The table items: index i, id, title, year (NULL where unknown), genres, popularity, extra (a map)."""
    items, split = dataset.items, dataset.split
    columns = {f"extra_{n}": column for n, column in enumerate(items.extra.values())}
    texts = {"id": split.items.ids, "title": items.title, "genres": items.genres, **columns}
    numbers = {"i": np.arange(len(split.items)), "year": np.array(items.year), "popularity": split.train.item_counts}
    con.register("given", numbers | {name: np.array(column, dtype=object) for name, column in texts.items()})
    con.execute(
        f"""
        CREATE TABLE items AS
        SELECT i, id, title, nullif(year, 0)::INTEGER AS year, replace(genres, '|', ', ') AS genres,
            string_split(nullif(genres, ''), '|') AS genre_list, popularity::BIGINT AS popularity,
            map(?::VARCHAR[], [{", ".join(columns)}]::VARCHAR[]) AS extra FROM given""",
        [list(items.extra)],
    )
    con.unregister("given")


class Catalog:
    """Read-only once built, and safe to share between threads.

    The columns that lists and filters need are read from DuckDB once. DuckDB 2.0 keeps up to 3 KB of memory for each
    query that scans a table, until its connection is closed, and an app never closes it.
    """

    def __init__(self, dataset: Dataset) -> None:
        split = dataset.split
        self._search = Search(split.items.ids, dataset.items.title, split.train.item_counts)
        self._lengths = np.array([len(word) for word in self._search.words])  # (n_words,)
        self._letters = letters(self._search.words)
        with temporary() as folder:  # the file has no name any more once it is open
            path = str(folder / "catalog.duckdb")
            with duckdb.connect(path) as con:
                create_items(con, dataset)
            self._connection = duckdb.connect(path, read_only=True, config={**LOCKED})
        columns = self._ask("SELECT id, title, year, genres, popularity, extra FROM items ORDER BY i")
        self._items = [(*row, {name: text for name, text in extra.items() if text}) for *row, extra in columns]
        self._year = np.array([np.nan if year is None else year for _, _, year, *_ in columns])  # (n_items,)
        each = "SELECT i, unnest(genre_list) AS genre FROM items"
        holding = self._ask(f"SELECT genre, list(i) FROM ({each}) GROUP BY genre ORDER BY count(*) DESC, genre")
        self._holding = {genre: np.array(items) for genre, items in holding}

    def rows(
        self, indices: Sequence[int], scores: Sequence[float] | None = None, held_out: Sequence[int] = ()
    ) -> list[Row]:
        """The items at `indices` in that order, with their scores (0 where none are given)."""
        scores = [0.0] * len(indices) if scores is None else scores
        hits = {*held_out}
        rows = []
        for rank, (i, score) in enumerate(zip(indices, scores, strict=True), 1):
            id, title, year, genres, popularity, extra = self._items[i]
            rows.append(Row(rank, id, title, year, genres, float(score), popularity, i in hits, extra))
        return rows

    def search(self, question: str, limit: int = 20, wanted: Filter = ALL) -> list[int]:
        """Indices of the items that a question means, the likeliest first; of none, the most popular ones.

        Case, accents and punctuation make no difference, words come in any order and may be beginnings; where too few
        titles hold them, a slip or two in each is forgiven. Ids are found as well.
        """
        only = None if wanted == ALL else self.allowed(wanted)
        return self._search.find(question, limit, only, self._slips)

    def allowed(self, wanted: Filter) -> np.ndarray:
        """(n_items,) bool: which items pass a filter; an item of unknown year passes no limit of years.

        Raises:
            SDiffError: a genre that no item has.
        """
        passes = np.ones(len(self._items), dtype=bool)
        if wanted.genres:
            passes[:] = False
            for genre in wanted.genres:
                if genre not in self._holding:
                    raise SDiffError(f"No item has the genre {brief(genre)}: choose other genres.")
                passes[self._holding[genre]] = True
        if wanted.first_year is not None:
            passes &= self._year >= wanted.first_year
        if wanted.last_year is not None:
            passes &= self._year <= wanted.last_year
        return passes

    def genres(self) -> list[str]:
        """All genres, that of the most items first."""
        return [*self._holding]

    def years(self) -> tuple[int, int] | None:
        """The first and the last year, None where no year is known."""
        known = self._year[~np.isnan(self._year)]
        return (int(known.min()), int(known.max())) if len(known) else None

    def _slips(self, words: list[str]) -> list[tuple[str, int]]:
        """Pairs of a word and the index of one that it may mean: with one slip, or two if it is long.

        A slip changes at most two of the letters that a word has, so few words are left to be compared in full.
        """
        pairs: list[tuple[str, str, int, int]] = []
        for word, its_letters in zip(words, letters(words), strict=True):
            most = min(len(word) // 4, 2)
            near = np.abs(self._lengths - len(word)) <= most
            near &= differences(self._letters, its_letters) <= 2 * most
            pairs += [(word, self._search.words[w], w, most) for w in np.flatnonzero(near).tolist()]
        return self._ask(SLIPS, [list(column) for column in zip(*pairs, strict=True)]) if pairs else []

    def _ask(self, query: str, values: object = None) -> list[Any]:
        return self._connection.cursor().execute(query, values).fetchall()  # a cursor of its own for each thread


def letters(words: list[str]) -> np.ndarray:
    """(n,) the letters of each word as a set of bits, in which few letters meet."""
    return np.array([sum({1 << ord(letter) % 62 for letter in word}) for word in words], dtype=np.int64)


def differences(letters: np.ndarray, others: int) -> np.ndarray:
    """(n,) in how many bits each of `letters` (n,) differs from `others`. NumPy counts them itself only from 2.0 on."""
    return BITS[(letters ^ others).view(np.uint16).reshape(-1, 4)].sum(1)


BITS = np.array([n.bit_count() for n in range(1 << 16)], dtype=np.uint8)
