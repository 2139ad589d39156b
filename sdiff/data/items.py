"""What is known of the items: titles, years, genres, and whatever else a table says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sdiff.base.errors import SDiffError
from sdiff.data.interactions import Vocabulary
from sdiff.data.readers import PAIR
from sdiff.data.tables import Layout, Table, database, readable_errors

# Columns by their role, the likeliest name first.
METADATA = {
    "item": PAIR["item"],
    "title": ("title", "name", "movie_title", "item_name"),
    "year": ("year", "release_year"),
    "genres": ("genres", "genre", "class", "categories", "category"),
}
# MovieLens writes "Matrix, The (1999)".
YEAR, NO_YEAR = r"\(([0-9]{4})\)$", r"\s*\([0-9]{4}\)$"
ARTICLE = r"^(.*), (The|A|An|Le|La|Les|L''|Il|El|Der|Die|Das)$"


@dataclass(frozen=True)
class Items:
    """What is known of each item, in vocabulary order. year 0: not known; genres are separated by |."""

    title: list[str]
    year: list[int]
    genres: list[str]
    extra: dict[str, list[str]] = field(default_factory=dict)

    def among(self, own: Vocabulary, other: Vocabulary) -> Items:
        """The same metadata in the order of another vocabulary, which may hold items that are not known here."""
        place = np.full(len(other), -1)
        place[other.encode(own.ids)] = np.arange(len(own))

        def moved(column: list, missing: list) -> list:
            return [column[i] if i >= 0 else missing[n] for n, i in enumerate(place.tolist())]

        plain = untitled(other)
        return Items(
            moved(self.title, plain.title),
            moved(self.year, plain.year),
            moved(self.genres, plain.genres),
            {name: moved(column, plain.genres) for name, column in self.extra.items()},
        )


def read_items(path: Path, items: Vocabulary, layout: Layout | None = None, known: Mapping[str, str] = {}) -> Items:
    """Titles, years and genres of `items`, and the table's other columns as `extra`.

    Where there is no column year, a year at the end of a title, "Heat (1995)", is taken from there.

    Args:
        known: columns (or SQL, not from users) by their role, where they are known: then these are all.

    Raises:
        SDiffError: the table cannot be read, or has no column item.
    """
    with database(path) as con:
        table = Table(con, path, layout or Layout())
        found = {role: table.columns.get(sql, sql) for role, sql in known.items()} or table.guessed(METADATA)
        if "item" not in found:
            raise SDiffError(f"{path} has no column item: its columns are {table.listed}.")
        extra = {} if known else {name: sql for name, sql in table.columns.items() if sql not in found.values()}
        title, genres = (f"coalesce(trim({found.get(role, 'NULL')}), '')" for role in ("title", "genres"))
        if "year" in found:
            year = f"regexp_extract({found['year']}, '[0-9]{{4}}')"
        else:
            year = f"regexp_extract({title}, '{YEAR}', 1)"
            title = rf"regexp_replace(regexp_replace({title}, '{NO_YEAR}', ''), '{ARTICLE}', '\2 \1')"
        others = "".join(f", {sql} AS extra_{n}" for n, sql in enumerate(extra.values()))
        with readable_errors(path):
            con.execute(f"""
                CREATE TABLE found AS
                SELECT trim({found["item"]}) AS id, {title} AS title, {year} AS year, {genres} AS genres{others}
                FROM {table.scan} QUALIFY row_number() OVER (PARTITION BY id) = 1""")
        ids = [list(items.ids), len(items)]
        con.execute("CREATE TABLE ids AS SELECT unnest(?::VARCHAR[]) AS id, unnest(range(?)) AS i", ids)
        others = "".join(f", coalesce(extra_{n}, '')" for n in range(len(extra)))
        rows = con.execute(f"""
            SELECT coalesce(nullif(title, ''), 'Item ' || id), coalesce(TRY_CAST(year AS INTEGER), 0),
                coalesce(nullif(genres, '(no genres listed)'), ''){others}
            FROM ids LEFT JOIN found USING (id) ORDER BY i""").fetchall()
    title, year, genres, *columns = map(list, zip(*rows, strict=True))
    return Items(title, year, genres, dict(zip(extra, columns, strict=True)))


def untitled(items: Vocabulary) -> Items:
    return Items([f"Item {id}" for id in items.ids], [0] * len(items), [""] * len(items))
