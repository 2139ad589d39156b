"""How fast is the catalog's search, by kind of question? `python -m benchmarks.catalog`

Titles are synthetic: one to six made-up words, drawn by Zipf's law, seed 0. Each kind of question is asked for 100 of
them, once warm: the median and the 95th percentile in milliseconds. The floor is one ILIKE over all titles without an
order, by the same connection. The last line is JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import duckdb
import numpy as np

from sdiff.data.catalog import Catalog
from sdiff.data.datasets import Dataset
from sdiff.data.interactions import Interactions, Vocabulary, random_split
from sdiff.data.items import Items

SIZES = (1_000, 10_000, 100_000)
QUESTIONS = 100


def main() -> None:
    found = {f"{size:,} items": measured(size) for size in SIZES}
    for size, row in found.items():
        print(size, *(f"{kind} {value}" for kind, value in row.items()), sep="  ")
    print(json.dumps({"duckdb": duckdb.__version__} | found))


def measured(size: int) -> dict[str, object]:
    """Seconds to build, then [median, 95th percentile] in milliseconds of each kind of question."""
    rng = np.random.default_rng(0)
    titles = made_up(size, rng)
    started = time.perf_counter()
    catalog = Catalog(dataset(titles, rng))
    row: dict[str, object] = {"build seconds": round(time.perf_counter() - started, 2)}
    asked = [titles[i] for i in rng.integers(size, size=QUESTIONS)]
    kinds: dict[str, Callable[[str], str]] = {
        "whole title": lambda title: title,
        "beginning": lambda title: title[: len(title) // 2],
        "words turned round": lambda title: " ".join(title.split()[::-1]),
        "a slip": lambda title: title[:2] + title[3:],
        "nothing like it": lambda title: "qx" + title[::-1],
    }
    for kind, question in kinds.items():
        row[kind] = percentiles(lambda title, question=question: catalog.search(question(title)), asked)
    scan = "SELECT count(*) FROM items WHERE title ILIKE '%' || ? || '%'"
    row["floor"] = percentiles(lambda title: catalog._connection.cursor().execute(scan, [title]).fetchall(), asked)
    return row


def percentiles(ask: Callable[[str], object], asked: list[str]) -> list[float]:
    times = []
    for title in [asked[0], *asked]:
        started = time.perf_counter()
        ask(title)
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
