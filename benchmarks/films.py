"""Makes the compact form of MovieLens latest small that ships with the app.

    python -m benchmarks.films --source DIR --out assets/ml-latest-small

DIR holds `ratings.csv`, `movies.csv` and `links.csv` of GroupLens's archive. The output has the same file names. It
keeps the ratings that the reader keeps (4 or more, 5-core) and the films in them, so that both give the same data set,
and adds the films' ids at IMDb and TMDB. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import duckdb

from sdiff.data.registry import REGISTRY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder of the archive")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()
    make(arguments.source, arguments.out)


def make(source: Path, out: Path) -> None:
    """Writes `ratings.csv` and `movies.csv` into `out`.."""
    split, *_ = REGISTRY["ml-latest-small"].read(source)
    out.mkdir(parents=True, exist_ok=True)
    ratings, movies, links = (str(source / f"{name}.csv") for name in ("ratings", "movies", "links"))
    with duckdb.connect() as con:
        for name, ids in (("users", split.users.ids), ("items", split.items.ids)):
            con.execute(f"CREATE TABLE {name} AS SELECT unnest(?::VARCHAR[]) AS id", [list(ids)])
        for file, query in {
            "ratings.csv": f"""SELECT userId, movieId, rating::DOUBLE::DECIMAL(2, 1) AS rating, timestamp
                FROM read_csv('{ratings}', all_varchar = true)
                WHERE rating::DOUBLE >= 4 AND userId IN (FROM users) AND movieId IN (FROM items)""",
            "movies.csv": f"""SELECT movieId, title, genres, imdbId, tmdbId
                FROM read_csv('{movies}', all_varchar = true) AS m JOIN read_csv('{links}', all_varchar = true) AS l
                USING (movieId) WHERE movieId IN (FROM items) ORDER BY movieId::INTEGER""",
        }.items():
            con.execute(f"COPY ({query}) TO '{out / file}' (HEADER)")


if __name__ == "__main__":
    main()
