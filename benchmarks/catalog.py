"""Speed of the catalog search by type of query: `python -m benchmarks.catalog`.

Titles are synthetic: one to six invented words, drawn from a Zipf distribution with seed 0. For each type, 100 queries
run after a warm-up; times are the median and the 95th percentile in milliseconds. The floor is one unordered ILIKE over
all titles on the same connection. The last line is JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import duckdb
import numpy as np

from sdiff.data.catalog import Catalog
from sdiff.data.datasets import Dataset
from sdiff.data.interactions import Interactions, Vocabulary
from sdiff.data.items import Items
from sdiff.data.splits import random_split

SIZES = (1_000, 10_000, 100_000)
QUERIES = 100


def main() -> None:
    results = {f"{size:,} items": measured(size) for size in SIZES}
    for size, row in results.items():
        print(size, *(f"{kind} {value}" for kind, value in row.items()), sep="  ")
    print(json.dumps({"duckdb": duckdb.__version__} | results))


def measured(size: int) -> dict[str, object]:
    """Seconds to build the catalog, and [median, 95th percentile] in milliseconds of each type of query."""
    rng = np.random.default_rng(0)
    titles = made_up(size, rng)
    started = time.perf_counter()
    catalog = Catalog(dataset(titles, rng))
    row: dict[str, object] = {"build seconds": round(time.perf_counter() - started, 2)}
    targets = [titles[i] for i in rng.integers(size, size=QUERIES)]
    kinds: dict[str, Callable[[str], str]] = {
        "whole title": lambda title: title,
        "beginning": lambda title: title[: len(title) // 2],
        "words turned round": lambda title: " ".join(title.split()[::-1]),
        "a slip": lambda title: title[:2] + title[3:],
        "nothing like it": lambda title: "qx" + title[::-1],
    }
    for kind, query in kinds.items():
        row[kind] = percentiles(lambda title, query=query: catalog.search(query(title)), targets)
    scan = "SELECT count(*) FROM items WHERE title ILIKE '%' || ? || '%'"
    row["floor"] = percentiles(lambda title: catalog._connection.cursor().execute(scan, [title]).fetchall(), targets)
    return row


def percentiles(search: Callable[[str], object], titles: list[str]) -> list[float]:
    times = []
    for title in [titles[0], *titles]:
        started = time.perf_counter()
        search(title)
        times.append(1000 * (time.perf_counter() - started))
    return [round(float(np.percentile(times[1:], q)), 1) for q in (50, 95)]


def made_up(size: int, rng: np.random.Generator) -> list[str]:
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "is")]
    words = ["".join(rng.choice(syllables, rng.integers(2, 5))).capitalize() for _ in range(max(size // 5, 500))]
    ranks = np.minimum(rng.zipf(1.3, size=6 * size), len(words)) - 1
    lengths = rng.integers(1, 7, size)
    return [" ".join(words[i] for i in ranks[6 * n : 6 * n + lengths[n]]) for n in range(size)]


def dataset(titles: list[str], rng: np.random.Generator) -> Dataset:
    items, users = Vocabulary(tuple(str(i) for i in range(len(titles)))), Vocabulary(("1",))
    seen = rng.permutation(len(titles))[: len(titles) // 2]
    interactions = Interactions.from_pairs(users, items, np.zeros(len(seen), dtype=np.int64), seen)
    metadata = Items(titles, rng.integers(1950, 2025, len(titles)).tolist(), ["Drama|Comedy"] * len(titles))
    return Dataset("made up", "", "", random_split(interactions, 0), metadata)


if __name__ == "__main__":
    main()
