"""What several commands share: opening their data set, reporting how it was read, and printing lists."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sdiff.base.distributed import Ranks
from sdiff.base.errors import SDiffError
from sdiff.base.paths import data_dir
from sdiff.data.catalog import Catalog
from sdiff.data.datasets import Dataset, load_dataset
from sdiff.data.summary import summarize
from sdiff.serving.recommender import Recommendations, Recommender


def hidden(ranks: Ranks) -> bool | None:
    """Value of tqdm's `disable`: only rank 0 shows a progress bar, and only on a terminal."""
    return None if ranks.first else True


def dataset_of(model: Recommender, arguments: argparse.Namespace) -> tuple[str, Dataset]:
    """Key and data set of --dataset, by default that of the training, with the model's item vocabulary."""
    key = arguments.dataset or model.checkpoint.provenance.dataset
    try:
        return key, load_dataset(key).served_by(model.items)
    except SDiffError as error:
        path = key.partition("?")[0]
        if arguments.dataset or not os.path.isabs(path) or os.path.exists(path):
            raise
        hint = f"If the data of this model were moved, name them with --dataset, or put them into {data_dir()}."
        raise SDiffError(f"{error} {hint}") from error


def with_titles(model: Recommender, arguments: argparse.Namespace, required: bool = False) -> Dataset | None:
    """The data set of --dataset. Without it, None and a note on stderr, or an SDiffError if it is required."""
    try:
        return dataset_of(model, arguments)[1]
    except SDiffError as error:
        if required:
            raise
        print(f"sdiff: no titles: {error}", file=sys.stderr)
        return None


def announce(dataset: Dataset) -> None:
    """Says on stderr how a table was understood, and what was left out of it."""
    if dataset.report is None:
        return
    summary = summarize(dataset)
    left_out = (f"{n:,} {reason}" for reason, n in summary.left_out.items() if n)
    for note in summary.notes:
        print(f"sdiff: {dataset.title}: {note}", file=sys.stderr)
    if facts := "; ".join(filter(None, (summary.columns, summary.titles, ", ".join(left_out)))):
        print(f"sdiff: {dataset.title}: {facts}", file=sys.stderr)


def shown(
    listed: Recommendations, dataset: Dataset | None, more: Mapping[str, Sequence[int]] = {}
) -> list[dict[str, Any]]:
    """Prints a list, with titles if there is a data set, and returns its rows. `more` are further columns by name."""
    if dataset is not None:
        rows = [asdict(row) for row in Catalog(dataset).rows(listed.indices, listed.scores)]
        rows = [{key: row[key] for key in ("rank", "id", "title", "year", "genres", "score")} for row in rows]
    else:
        pairs = zip(listed.ids, listed.scores, strict=True)
        rows = [{"rank": n, "id": id, "title": None, "score": score} for n, (id, score) in enumerate(pairs, 1)]
    rows = [row | {name: values[n] for name, values in more.items()} for n, row in enumerate(rows)]
    print(f"{'rank':>4}  {'item':>8}  {'score':>8}", *(f"{name:>8}" for name in more), "title", sep="  ")
    for row in rows:
        title = f"{row['title']} ({row['year']})" if row.get("year") else row["title"] or ""
        columns = (f"{row[name]:>8}" for name in more)
        print(f"{row['rank']:>4}  {row['id']:>8}  {row['score']:>8.4f}", *columns, title, sep="  ")
    return rows
