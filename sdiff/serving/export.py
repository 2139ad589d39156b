"""Exports the recommendations of all users to one file, in batches and with bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import torch

from sdiff.base.checks import generator
from sdiff.base.errors import SDiffError
from sdiff.base.files import replacing
from sdiff.config import Config
from sdiff.data.catalog import create_items
from sdiff.data.datasets import Dataset
from sdiff.data.interactions import Interactions
from sdiff.data.tables import connect
from sdiff.method.histories import Histories
from sdiff.serving.recommender import Recommender

FORMATS: dict[str, dict[str, Any]] = {
    ".parquet": {"compression": "zstd"},
    ".csv": {"header": True},
    ".csv.gz": {"header": True, "compression": "gzip"},
}
FORMULA = r"^[=+@\t\r-]"  # regular expression for texts that a spreadsheet would evaluate; escaped by an apostrophe
MEMORY = "512MB"  # memory limit of DuckDB, beyond which it spills to disk


@dataclass(frozen=True, eq=False)
class Rows:
    """Recommendations of some users, one item per row.

    Attributes:
        user: (n,) user indices.
        rank: (n,) ranks, from 1.
        item: (n,) item indices.
        score: (n,) scores, as in `Recommendations`.
    """

    user: np.ndarray
    rank: np.ndarray
    item: np.ndarray
    score: np.ndarray


def ranked(
    model: Recommender,
    train: Interactions,
    k: int,
    config: Config,
    seed: int,
    batch_size: int = 1000,
    progress: Callable[[Sequence[int]], Iterable[int]] = lambda numbers: numbers,
    only: Sequence[int] | None = None,
) -> Iterator[Rows]:
    """Yields the recommendations of all users with a history in `train`, in batches, in vocabulary order.

    A user has fewer than k rows if fewer unseen items are left. Each batch has its own seed for the sampling noise, so
    its result does not depend on the other batches. The noise does depend on the batch size.

    Args:
        k: maximum number of items per user.
        config: the model's configuration, with the settings of this call.
        batch_size: users per batch.
        progress: wraps the batch numbers, for a progress bar.
        only: numbers of the batches to compute; all by default.
    """
    histories = Histories.from_interactions(train, model.device)
    users = torch.from_numpy(np.flatnonzero(train.lengths)).to(model.device)
    batches = users.split(batch_size)
    seeds = torch.randint(2**63 - 1, (len(batches),), generator=generator(seed)).tolist()
    for number in progress(range(len(batches)) if only is None else only):
        batch, noise = batches[number], torch.Generator().manual_seed(seeds[number])
        scores, items = model.top(histories.take(batch), k, config, noise)
        row, rank = (scores > -torch.inf).nonzero(as_tuple=True)  # (n,), rank from 0
        columns = (batch[row], rank + 1, items[row, rank], scores[row, rank])
        yield Rows(*(column.cpu().numpy() for column in columns))


def write(out: Path, batches: Iterable[Rows], dataset: Dataset, titles: bool = False) -> tuple[int, int]:
    """Writes user, rank, item and score to a file, sorted by user and rank, with the ids of `dataset`.

    Args:
        out: file that ends in .parquet, .csv or .csv.gz. An older file is replaced atomically.
        batches: as yielded by `ranked`.
        titles: whether to add the columns title, year and genres.

    Returns:
        The number of rows, and the number of users with at least one row.

    Raises:
        SDiffError: an unknown suffix, or `out` cannot be written.
    """
    suffix = next((suffix for suffix in FORMATS if out.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise SDiffError(f"Cannot write {out}: its name must end in {', '.join(FORMATS)}.")
    if out.is_dir():
        raise SDiffError(f"Cannot write {out}: it is a folder.")
    try:
        with (
            replacing(out) as temporary,
            connect(":memory:", MEMORY, f"{temporary}.spilled") as con,
        ):
            con.execute("CREATE TABLE lists (user INTEGER, rank INTEGER, item INTEGER, score FLOAT)")
            for rows in batches:
                con.register("batch", vars(rows))
                con.execute("INSERT INTO lists BY NAME SELECT * FROM batch")
            create_items(con, dataset)
            [(first, n)] = con.sql("SELECT min(user), max(user) - min(user) + 1 FROM lists").fetchall()
            first, n = first or 0, n or 0  # there may be no rows
            ids = np.array(dataset.split.users.ids[first : first + n], dtype=object)  # only those of these rows
            con.register("users", {"i": np.arange(first, first + n), "id": ids})
            table = con.sql(_query(titles, escaped=suffix != ".parquet"))
            (table.to_parquet if suffix == ".parquet" else table.to_csv)(str(temporary), **FORMATS[suffix])
            [(n_rows, n_users)] = con.sql("SELECT count(*), count(DISTINCT user) FROM lists").fetchall()
    except OSError as error:
        raise SDiffError(f"Cannot write {out}: {error.strerror}.") from error
    except duckdb.Error as error:
        raise SDiffError(f"Cannot write {out}: {str(error).splitlines()[0]}") from error
    except RuntimeError as error:
        if str(error) == "Query interrupted":  # DuckDB turns Ctrl-C into this error
            raise KeyboardInterrupt from error
        raise
    return n_rows, n_users


def _query(titles: bool, escaped: bool) -> str:
    def text(column: str) -> str:
        return rf"regexp_replace({column}, '{FORMULA}', '''\0') AS {column}" if escaped else column

    metadata = f", {text('title')}, year, {text('genres')}" if titles else ""
    return f"""
        SELECT users.id AS user, rank, items.id AS item, score{metadata} FROM lists
        JOIN users ON users.i = lists.user JOIN items ON items.i = lists.item ORDER BY lists.user, rank"""
