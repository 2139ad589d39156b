"""`sdiff datasets`: lists the known data sets, describes one, or downloads one."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from sdiff.base.errors import SDiffError
from sdiff.data.datasets import download, load_dataset
from sdiff.data.registry import REGISTRY
from sdiff.data.summary import summarize


def run(arguments: argparse.Namespace) -> list[dict[str, Any]] | dict[str, Any]:
    """Lists the registered data sets, or describes or downloads one."""
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
        summary = asdict(summarize(load_dataset(arguments.words[0])))
        for name, value in summary.items():
            print(f"{name:<14} {value:.4g}" if isinstance(value, float) else f"{name:<14} {value}")
        return summary
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
