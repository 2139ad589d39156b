"""`sdiff datasets`: lists the known data sets, describes one, or downloads one."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from itertools import zip_longest
from typing import Any

from tqdm import tqdm

from sdiff.base.errors import SDiffError
from sdiff.base.paths import expanded
from sdiff.data.datasets import download, key_parts, load_dataset
from sdiff.data.preview import preview
from sdiff.data.reading import Reading
from sdiff.data.registry import REGISTRY
from sdiff.data.summary import summarize

CELL = 40  # characters of a cell that are printed


def run(arguments: argparse.Namespace) -> list[dict[str, Any]] | dict[str, Any]:
    """Lists the registered data sets, or describes or downloads one."""
    if arguments.words == ["fetch"]:
        raise SDiffError("Name the data set to download, as in sdiff datasets fetch ml-latest-small.")
    if arguments.words[:1] == ["fetch"] and len(arguments.words) == 2:
        with tqdm(unit="B", unit_scale=True, disable=None) as bar:

            def progress(done: int, total: int | None) -> None:
                bar.total = total
                bar.update(done - bar.n)

            source = download(arguments.words[1], progress)
        print(f"{source.title} is in {source.path} ({source.terms}).")
        return {"key": source.key, "path": str(source.path), "terms": source.terms}
    if len(arguments.words) > 1:
        raise SDiffError("Give one data set, or use `sdiff datasets fetch KEY`.")
    if arguments.words:
        start = previewed(arguments.words[0])  # first, because it shows why the table may not be readable
        summary = asdict(summarize(load_dataset(arguments.words[0])))
        for name, value in summary.items():
            for line in value if name == "notes" else [_in_words(value)]:
                print(f"{name.replace('_', ' '):<14} {line}")
        return summary | start
    rows = [
        {
            "key": source.key,
            "title": source.title,
            "users, items, interactions": source.counts,
            "terms": source.terms,
            "origin": source.origin,
            "available": not source.missing,
            "path": str(source.path),
        }
        for source in REGISTRY.values()
    ]
    for row in rows:
        print(f"{row['key']:<16} {'available' if row['available'] else 'missing':<9} {row['title']}")
        if size := row["users, items, interactions"]:
            print(f"{'':<16} {size[0]:,} users, {size[1]:,} items, {size[2]:,} interactions")
        print(f"{'':<16} {row['terms']}; from {row['origin']}; in {row['path']}")
    return rows


def previewed(key: str) -> dict[str, Any]:
    """Prints the first rows of a table file and how it is understood, and returns both. Nothing for other data sets."""
    name, query = key_parts(key)
    if key in REGISTRY or not expanded(name).is_file():
        return {}
    start = preview(expanded(name), Reading.parse(query))
    how = [start.format, start.encoding, f"columns separated by {start.delimiter!r}" * bool(start.delimiter)]
    print(f"{'format':<14} {', '.join(filter(None, how))}")
    role = {column: role for role, column in start.roles.items()}
    for column, *cells in zip_longest(start.columns, *start.rows, fillvalue=""):
        start_of_each = " | ".join(_printable(cell) for cell in cells)
        print(f"{role.get(column, ''):<14} {column:<20} {start_of_each}")
    return {"preview": asdict(start)}


def _in_words(value: Any) -> str:
    """A value of a summary: counts by reason without zeros, or a histogram whose bins are 1, 2-3, 4-7, ..."""
    if isinstance(value, list):
        value = {str(2**n) if n == 0 else f"{2**n}-{2 ** (n + 1) - 1}": count for n, count in enumerate(value)}
    if isinstance(value, dict):
        return ", ".join(f"{name}: {count:,}" for name, count in value.items() if count) or "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else value or "none"


def _printable(cell: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in cell).split())[:CELL]
