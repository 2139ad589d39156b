"""The item catalog in DuckDB: titles, years, genres and popularity, joined to recommended items by their index."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from sdiff.datasets import Dataset

# A reader can neither reach files or the network nor change any of this again.
LOCKED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "lock_configuration": "true",
}


@dataclass(frozen=True)
class Row:
    """An item in a list. year: None where unknown; popularity: interactions in train; held_out: a hit."""

    rank: int
    id: str
    title: str
    year: int | None
    genres: str
    score: float
    popularity: int
    held_out: bool


def create_items(con: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
    """The table items: index i, id, title, year (NULL where unknown), genres, popularity."""
    items, split = dataset.items, dataset.split
    con.execute(
        """
        CREATE TABLE items AS SELECT unnest(?::BIGINT[]) AS i, unnest(?::VARCHAR[]) AS id,
            unnest(?::VARCHAR[]) AS title, nullif(unnest(?::INTEGER[]), 0) AS year,
            replace(unnest(?::VARCHAR[]), '|', ', ') AS genres, unnest(?::BIGINT[]) AS popularity""",
        [
            list(range(len(split.items))),
            list(split.items.ids),
            items.title,
            items.year,
            items.genres,
            split.train.item_counts.tolist(),
        ],
    )


class Catalog:
    """Read-only once built, and safe to share between threads: each call has a cursor of its own."""

    def __init__(self, dataset: Dataset) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sdiff-catalog-")
        path = str(Path(self._folder.name) / "catalog.duckdb")
        with duckdb.connect(path) as con:
            create_items(con, dataset)
        self._connection = duckdb.connect(path, read_only=True, config={**LOCKED})

    def rows(
        self, indices: Sequence[int], scores: Sequence[float] | None = None, held_out: Sequence[int] = ()
    ) -> list[Row]:
        """The items at `indices` in that order, with their scores (0 where none are given)."""
        found = self._connection.cursor().execute(
            """
            SELECT rank, id, title, year, genres, score, popularity, list_contains(?::BIGINT[], items.i)
            FROM (SELECT unnest(?::BIGINT[]) AS i, unnest(?::DOUBLE[]) AS score, unnest(?::BIGINT[]) AS rank) AS ranked
            JOIN items USING (i) ORDER BY rank""",
            [
                [int(i) for i in held_out],
                [int(i) for i in indices],
                [float(s) for s in (scores if scores is not None else [0.0] * len(indices))],
                list(range(1, len(indices) + 1)),
            ],
        )
        return [Row(*row) for row in found.fetchall()]
