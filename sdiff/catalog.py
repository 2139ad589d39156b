"""The item catalog in DuckDB: what is known of the items, joined to lists by their index, filtered and searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np

from sdiff.datasets import Dataset
from sdiff.search import Search
from sdiff.tables import LOCKED, temporary


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
WANTED = """(len($genres) = 0 OR list_has_any(genre_list, $genres))
    AND coalesce(year >= $first_year, $first_year IS NULL) AND coalesce(year <= $last_year, $last_year IS NULL)"""
# A word may be a slip of another one, two slips if it is long. A slip changes at most two of the letters there are,
# which is quickly seen and leaves few to compare.
SLIPS = """
    SELECT meant, w FROM (
        SELECT unnest($words) AS meant, unnest($letters) AS given, len(meant) AS n, least(n // 4, 2) AS most
    ), vocabulary
    WHERE len(word) BETWEEN n - most AND n + most AND bit_count(xor(letters, given)) <= 2 * most
    AND damerau_levenshtein(word, meant) <= most"""


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
    """Read-only once built, and safe to share between threads: each call has a cursor of its own."""

    def __init__(self, dataset: Dataset) -> None:
        split = dataset.split
        self._search = Search(split.items.ids, dataset.items.title, split.train.item_counts)
        words = self._search.words
        with temporary() as folder:  # the file has no name any more once it is open
            path = str(folder / "catalog.duckdb")
            with duckdb.connect(path) as con:
                create_items(con, dataset)
                con.execute(
                    """
                    CREATE TABLE vocabulary AS
                    SELECT unnest(?::VARCHAR[]) AS word, unnest(?::BIGINT[]) AS letters, unnest(range(?)) AS w""",
                    [words, letters(words), len(words)],
                )
            self._connection = duckdb.connect(path, read_only=True, config={**LOCKED})

    def rows(
        self, indices: Sequence[int], scores: Sequence[float] | None = None, held_out: Sequence[int] = ()
    ) -> list[Row]:
        """The items at `indices` in that order, with their scores (0 where none are given)."""
        found = self._connection.cursor().execute(
            """
            SELECT rank, id, title, year, genres, score, popularity, list_contains(?::BIGINT[], items.i), extra
            FROM (SELECT unnest(?::BIGINT[]) AS i, unnest(?::DOUBLE[]) AS score, unnest(?::BIGINT[]) AS rank) AS ranked
            JOIN items USING (i) ORDER BY rank""",
            [
                [int(i) for i in held_out],
                [int(i) for i in indices],
                [float(s) for s in (scores if scores is not None else [0.0] * len(indices))],
                list(range(1, len(indices) + 1)),
            ],
        )
        return [
            Row(*row, extra={name: text for name, text in extra.items() if text})  # pyright: ignore[reportCallIssue]
            for *row, extra in found.fetchall()
        ]

    def search(self, question: str, limit: int = 20, wanted: Filter = ALL) -> list[int]:
        """Indices of the items that a question means, the likeliest first; of none, the most popular ones.

        Case, accents and punctuation make no difference, words come in any order and may be beginnings; where too few
        titles hold them, a slip or two in each is forgiven. Ids are found as well.
        """
        only = None if wanted == ALL else self.allowed(wanted)
        return self._search.find(question, limit, only, self._slips)

    def allowed(self, wanted: Filter) -> np.ndarray:
        """(n_items,) bool: which items a filter lets through."""
        bound = {"genres": list(wanted.genres), "first_year": wanted.first_year, "last_year": wanted.last_year}
        found = self._connection.cursor().execute(f"SELECT {WANTED} AS allowed FROM items ORDER BY i", bound)
        return np.asarray(found.fetchnumpy()["allowed"])

    def genres(self) -> list[str]:
        """All genres, that of the most items first."""
        each = "SELECT unnest(genre_list) AS genre FROM items"
        query = f"SELECT genre FROM ({each}) GROUP BY genre ORDER BY count(*) DESC, genre"
        return [genre for [genre] in self._connection.cursor().execute(query).fetchall()]

    def years(self) -> tuple[int, int] | None:
        """The first and the last year, None where no year is known."""
        [[first, last]] = self._connection.cursor().execute("SELECT min(year), max(year) FROM items").fetchall()
        return None if first is None else (first, last)

    def _slips(self, words: list[str]) -> list[tuple[str, int]]:
        return self._connection.cursor().execute(SLIPS, {"words": words, "letters": letters(words)}).fetchall()


def letters(words: list[str]) -> list[int]:
    """The letters of each word as a set of bits, in which few letters meet."""
    return [sum({1 << ord(letter) % 62 for letter in word}) for word in words]
