"""The item catalog in DuckDB: what is known of the items, joined to lists by their index, filtered and searched."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np

from sdiff.datasets import Dataset

# A reader can neither reach files or the network nor change any of this again.
LOCKED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "lock_configuration": "true",
}
LONGEST = 100  # characters of a question that are looked at


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
# Letters without accents and case, digits, and single spaces for the rest: what titles and questions are compared by.
PLAIN = r"trim(regexp_replace(strip_accents(lower({})), '[^\p{{L}}\p{{N}}]+', ' ', 'g'))"
WANTED = """(len($genres) = 0 OR list_has_any(genre_list, $genres))
    AND coalesce(year >= $first_year, $first_year IS NULL) AND coalesce(year <= $last_year, $last_year IS NULL)"""
QUESTION = f"""
    asked AS (SELECT {PLAIN.format("$asked")} AS q, list_distinct(string_split(q, ' ')) AS words),
    each AS (SELECT unnest(words) AS word FROM asked)"""
# Items that have, for every word of the question, one of those it is taken for.
HAVING_ALL = """SELECT i FROM meant JOIN words USING (w) GROUP BY i
        HAVING count(DISTINCT meant.word) = (SELECT len(words) FROM asked)"""
# Every word begins one of the title's; first the whole title or the id, then what the title begins with.
EXACT = f"""
    WITH {QUESTION},
    meant AS (SELECT each.word, w FROM each JOIN vocabulary ON starts_with(vocabulary.word, each.word)),
    found AS ({HAVING_ALL} UNION SELECT i FROM items WHERE id = $asked)
    SELECT i FROM found JOIN items USING (i), asked WHERE {WANTED}
    ORDER BY CASE WHEN plain = q OR id = $asked THEN 0 WHEN starts_with(plain, q) THEN 1 ELSE 2 END, popularity DESC, i
    LIMIT $n"""
# Spaces are left out ("spiderman"); or every word is one of the title's but for a slip, two in a long one: nearly as
# many letters, and the first or the last one right.
LOOSE = f"""
    WITH {QUESTION},
    meant AS (
        SELECT each.word, w FROM each JOIN vocabulary ON starts_with(vocabulary.word, each.word)
        OR (abs(len(each.word) - len(vocabulary.word)) <= 2
            AND (each.word[1] = vocabulary.word[1] OR each.word[-1] = vocabulary.word[-1])
            AND damerau_levenshtein(each.word, vocabulary.word) <= least(len(each.word) // 4, 2))),
    together AS (SELECT i FROM items, asked WHERE contains(joined, replace(q, ' ', ''))),
    found AS (SELECT i, 0 AS fit FROM together UNION ALL SELECT i, 1 FROM ({HAVING_ALL}))
    SELECT i FROM found JOIN items USING (i) WHERE {WANTED}
    GROUP BY i, popularity ORDER BY min(fit), popularity DESC, i LIMIT $n"""


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
        self._folder = tempfile.TemporaryDirectory(prefix="sdiff-catalog-")
        path = str(Path(self._folder.name) / "catalog.duckdb")
        with duckdb.connect(path) as con:
            create_items(con, dataset)
            con.execute(f"ALTER TABLE items ADD COLUMN plain VARCHAR; UPDATE items SET plain = {PLAIN.format('title')}")
            con.execute(
                "ALTER TABLE items ADD COLUMN joined VARCHAR; UPDATE items SET joined = replace(plain, ' ', '')"
            )
            con.execute("CREATE TABLE pairs AS SELECT DISTINCT unnest(string_split(plain, ' ')) AS word, i FROM items")
            con.execute("CREATE TABLE vocabulary AS SELECT word, row_number() OVER () AS w FROM pairs GROUP BY word")
            con.execute("CREATE TABLE words AS SELECT w, i FROM pairs JOIN vocabulary USING (word); DROP TABLE pairs")
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
        parameters = {"asked": question.strip()[:LONGEST], "n": limit, **_bound(wanted)}
        if not any(letter.isalnum() for letter in question):
            del parameters["asked"]
            return self._ask(f"SELECT i FROM items WHERE {WANTED} ORDER BY popularity DESC, i LIMIT $n", parameters)
        found = self._ask(EXACT, parameters)
        if len(found) < limit:
            found = list(dict.fromkeys([*found, *self._ask(LOOSE, parameters)]))[:limit]
        return found

    def allowed(self, wanted: Filter) -> np.ndarray:
        """Indices (n,) of the items that a filter lets through, ascending."""
        return np.array(self._ask(f"SELECT i FROM items WHERE {WANTED} ORDER BY i", _bound(wanted)), dtype=np.int64)

    def genres(self) -> list[str]:
        """All genres, that of the most items first."""
        each = "SELECT unnest(genre_list) AS genre FROM items"
        return self._ask(f"SELECT genre FROM ({each}) GROUP BY genre ORDER BY count(*) DESC, genre")

    def years(self) -> tuple[int, int] | None:
        """The first and the last year, None where no year is known."""
        [[first, last]] = self._connection.cursor().execute("SELECT min(year), max(year) FROM items").fetchall()
        return None if first is None else (first, last)

    def _ask(self, query: str, parameters: dict[str, object] | None = None) -> list:
        return [row[0] for row in self._connection.cursor().execute(query, parameters).fetchall()]


def _bound(wanted: Filter) -> dict[str, object]:
    return {"genres": list(wanted.genres), "first_year": wanted.first_year, "last_year": wanted.last_year}
