"""Time and memory to read a table of interactions from a file and split it.

    python -m benchmarks.reading --rows 10000000

The table is synthetic: users and items with skewed popularity, timestamps, and ratings from 0.5 to 5. Compared, each in
a separate process: DuckDB, which only scans the text (the floor); pandas, which computes user and item indices without
checks, sorting or deduplication; Polars likewise, if it is installed; and ours. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import duckdb
import pandas as pd
import torch

from sdiff.base.device import peak_memory_mb
from sdiff.data.readers import read_interactions, split_of
from sdiff.data.reading import Reading


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.csv"
        write(path, arguments.rows)
        megabytes = path.stat().st_size / 1e6
        print(f"{arguments.rows:,} rows, {megabytes:.0f} MB, {torch.get_num_threads()} threads of torch")
        results = {}
        for run in (scan, with_pandas, *([with_polars] if find_spec("polars") else []), ours):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                results[run.__name__] = pool.submit(measured, run, path).result()
            print(f"{run.__name__:<12} {results[run.__name__]}")
    print(json.dumps({"rows": arguments.rows, "megabytes": round(megabytes), "duckdb": duckdb.__version__} | results))


def write(path: Path, rows: int) -> None:
    """Writes a table with about 140 rows per user and 1,000 per item. Equal `rows` give the same table."""
    con = duckdb.connect(config={"threads": 1})
    con.execute("SELECT setseed(0.5)")
    con.execute(f"""
        COPY (SELECT CAST(floor({rows / 140} * power(random(), 1.5)) AS BIGINT) + 1 AS user_id,
            CAST(floor({rows / 1000} * power(random(), 3)) AS BIGINT) + 1 AS item_id,
            ceil(random() * 10) / 2 AS rating, 1000000000 + CAST(random() * 5e8 AS BIGINT) AS timestamp
            FROM range({rows})) TO '{path}' (HEADER)""")


def measured(run: Callable[[Path], str], path: Path) -> dict[str, object]:
    started = time.perf_counter()
    result = run(path)
    return {"seconds": round(time.perf_counter() - started, 1), "peak memory MB": peak_memory_mb(), "result": result}


def scan(path: Path) -> str:
    query = (
        "SELECT count(user_id), count(item_id), count(rating), count(timestamp) FROM read_csv(?, all_varchar = true)"
    )
    return f"{duckdb.connect().execute(query, [str(path)]).fetchall()[0][0]:,} rows"


def with_pandas(path: Path) -> str:
    table = pd.read_csv(path)
    table = table[table.rating >= 4]
    user, item = (pd.factorize(table[name])[1] for name in ("user_id", "item_id"))
    return f"{len(user):,} users, {len(item):,} items"


def with_polars(path: Path) -> str:
    polars = import_module("polars")
    table = polars.scan_csv(path).filter(polars.col("rating") >= 4).collect()
    user, item = (
        table[name].cast(polars.String).cast(polars.Categorical).n_unique() for name in ("user_id", "item_id")
    )
    return f"{user:,} users, {item:,} items"


def ours(path: Path) -> str:
    interactions, report = read_interactions(path, Reading(min_rating=4, core=5))
    split = split_of(interactions)
    return f"{len(split.users):,} users, {len(split.items):,} items, {len(interactions):,} of {report.rows:,} rows"


if __name__ == "__main__":
    main()
