"""`sdiff recommend`: prints one list, or writes the lists of all users."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from functools import partial
from typing import Any

from tqdm import tqdm

from sdiff.base.errors import SDiffError
from sdiff.cli.common import dataset_of, hidden, shown, with_titles
from sdiff.config import parse_assignments
from sdiff.serving import export
from sdiff.serving.recommender import Recommender
from sdiff.serving.shards import write_shards


def run(arguments: argparse.Namespace) -> list[dict[str, Any]] | dict[str, Any]:
    """Prints recommendations for a user or a history, or writes those of all users to --out."""
    if arguments.all:
        return recommend_all(arguments)
    if arguments.out or arguments.titles:
        raise SDiffError("--out and --titles need --all: a single list is printed, with titles.")
    if arguments.user is None and arguments.parts:
        raise SDiffError("--parts is for --user and --all: leave it out with --history.")
    model = Recommender.load(arguments.checkpoint)
    dataset = with_titles(model, arguments, required=arguments.user is not None)
    if arguments.user is not None:
        assert dataset is not None
        user = int(dataset.split.users.encode([arguments.user], "user")[0])
        history = [dataset.split.items.ids[i] for i in dataset.split.known(arguments.parts or "all").history(user)]
    else:
        try:
            history = [id.strip() for id in next(csv.reader([arguments.history], skipinitialspace=True), [])]
        except csv.Error as error:
            raise SDiffError(f"Cannot read --history ({error}): separate ids with commas, in one line.") from None
        if "" in history:
            raise SDiffError("--history has an empty id: separate ids with one comma, or give '' for an empty history.")
    settings = parse_assignments(arguments.set)
    config = model.config.at_inference(settings)  # check now: "seed" would be taken for a parameter below
    if model.by_popularity(model.encode(history), config):
        why = "nothing connects the history with other items" if history else "the history is empty"
        print(f"sdiff: {why}: these are the most popular items.", file=sys.stderr)
    recommendations = model.recommend(history, arguments.k, seed=arguments.seed, **settings)
    return shown(recommendations, dataset)


def recommend_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Writes the recommendations of all users to one file, or to shards in a folder."""
    if arguments.out is None:
        raise SDiffError("--all needs a file or a folder for the lists: give one with --out.")
    out, ranks = arguments.out, arguments.ranks
    in_shards = out.is_dir() or not out.suffix
    if ranks.size > 1 and not in_shards:
        raise SDiffError(f"{ranks.size} processes cannot write one file: give --out a folder, a name without a suffix.")
    model = Recommender.load(arguments.checkpoint)
    _, dataset = dataset_of(model, arguments)
    config = model.config.at_inference(parse_assignments(arguments.set))
    started = time.perf_counter()
    bar = partial(tqdm, unit="batch", leave=False, disable=hidden(ranks))
    k, seed, titles = arguments.k, arguments.seed, arguments.titles
    if in_shards:
        rows, users = write_shards(out, model, dataset, k, config, seed, titles, ranks, bar, arguments.parts or "all")
    else:
        histories = dataset.split.known(arguments.parts or "all")
        lists = export.ranked(model, histories, k, config, seed, progress=bar)
        rows, users = export.write(out, lists, dataset, titles)
    seconds = round(time.perf_counter() - started, 3)
    print(f"{out}: {rows:,} rows for {users:,} users, {seconds} s")
    return {"users": users, "rows": rows, "seconds": seconds, "file": str(out)}
