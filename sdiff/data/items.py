"""Item metadata: titles, years, genres and further columns of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sdiff.base.errors import SDiffError
from sdiff.data.interactions import Vocabulary
from sdiff.data.readers import PAIR
from sdiff.data.tables import Layout, Table, database, readable_errors, verify

# Column names of each role, in order of preference.
METADATA = {
    "item": PAIR["item"],
    "title": ("title", "name", "movie_title", "item_name"),
    "year": ("year", "release_year"),
    "genres": ("genres", "genre", "class", "categories", "category"),
}
# For titles such as MovieLens's "Matrix, The (1999)".
YEAR, NO_YEAR = r"\(([0-9]{4})\)$", r"\s*\([0-9]{4}\)$"
ARTICLE = r"^(.*), (The|A|An|Le|La|Les|L''|Il|El|Der|Die|Das)$"


@dataclass(frozen=True)
class Items:
    """Metadata of items, in vocabulary order.

    Attributes:
        title: (n_items,) such as "Heat".
        year: (n_items,) 0 if unknown.
        genres: (n_items,) separated by `|`, empty if unknown.
        extra: (n_items,) texts by column name: the other columns of the table.
    """

    title: list[str]
    year: list[int]
    genres: list[str]
    extra: dict[str, list[str]] = field(default_factory=dict)

    def among(self, own: Vocabulary, other: Vocabulary) -> Items:
        """The metadata reordered from the vocabulary `own` to `other`. Items missing in `own` are untitled."""
        row = np.full(len(other), -1)
        row[other.encode(own.ids)] = np.arange(len(own))

        def reordered(column: list, default: list) -> list:
            return [column[i] if i >= 0 else default[n] for n, i in enumerate(row.tolist())]

        defaults = untitled(other)
        return Items(
            reordered(self.title, defaults.title),
            reordered(self.year, defaults.year),
            reordered(self.genres, defaults.genres),
            {name: reordered(column, defaults.genres) for name, column in self.extra.items()},
        )


def read_items(path: Path, items: Vocabulary, layout: Layout | None = None, known: Mapping[str, str] = {}) -> Items:
    """Reads titles, years and genres of `items`, and the table's other columns as `extra`.

    Without a year column, the year is taken from the end of the title, such as "Heat (1995)".

    Args:
        known: column names, or trusted SQL, by role. If given, columns are not guessed and `extra` is empty.

    Raises:
        SDiffError: the table cannot be read or has no item column.
    """
    with database(path) as con:
        table = Table(con, path, layout or Layout())
        verify(path)
        columns = {role: table.columns.get(sql, sql) for role, sql in known.items()} or table.guessed(METADATA)
        if "item" not in columns:
            raise SDiffError(f"{path} has no column item: its columns are {table.listed}.")
        extra = {} if known else {name: sql for name, sql in table.columns.items() if sql not in columns.values()}
        title, genres = (f"coalesce(trim({columns.get(role, 'NULL')}), '')" for role in ("title", "genres"))
        if "year" in columns:
            year = f"regexp_extract({columns['year']}, '[0-9]{{4}}')"
        else:
            year = f"regexp_extract({title}, '{YEAR}', 1)"
            title = rf"regexp_replace(regexp_replace({title}, '{NO_YEAR}', ''), '{ARTICLE}', '\2 \1')"
        others = "".join(f", {sql} AS extra_{n}" for n, sql in enumerate(extra.values()))
        with readable_errors(path):
            con.execute(f"""
                CREATE TABLE metadata AS
                SELECT trim({columns["item"]}) AS id, {title} AS title, {year} AS year, {genres} AS genres{others}
                FROM {table.scan} QUALIFY row_number() OVER (PARTITION BY id) = 1""")
        ids = [list(items.ids), len(items)]
        con.execute("CREATE TABLE ids AS SELECT unnest(?::VARCHAR[]) AS id, unnest(range(?)) AS i", ids)
        others = "".join(f", coalesce(extra_{n}, '')" for n in range(len(extra)))
        rows = con.execute(f"""
            SELECT coalesce(nullif(title, ''), 'Item ' || id), coalesce(TRY_CAST(year AS INTEGER), 0),
                coalesce(nullif(genres, '(no genres listed)'), ''){others}
            FROM ids LEFT JOIN metadata USING (id) ORDER BY i""").fetchall()
    title, year, genres, *others = map(list, zip(*rows, strict=True))
    return Items(title, year, genres, dict(zip(extra, others, strict=True)))


def untitled(items: Vocabulary) -> Items:
    """Metadata for items without a table: titles such as "Item 7", no years and no genres."""
    return Items([f"Item {id}" for id in items.ids], [0] * len(items), [""] * len(items))
