"""The lists of all users: ranked batch by batch, gathered where memory stays bounded, written as one file."""

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
FORMULA = r"^[=+@\t\r-]"  # texts that a spreadsheet would run, a regular expression; an apostrophe keeps them text
MEMORY = "512MB"  # what the writer holds before it spills to disk


@dataclass(frozen=True, eq=False)
class Rows:
    """Lists of some users, one row an item: user and item index, rank from 1, score; each (n,)."""

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
    """What `Recommender.recommend` gives each user with a history in `train`, in the order of the vocabulary.

    A user has fewer than k rows where fewer unseen items are left. Each batch draws its noise from a seed of its own,
    so that it is the same with or without the others; another batch size is another draw.

    Args:
        progress: wraps the numbers of the user batches, for a progress bar.
        only: the numbers of those batches that are wanted, if not all of them.
    """
    histories = Histories.from_interactions(train, model.device)
    users = torch.from_numpy(np.flatnonzero(train.lengths)).to(model.device)
    batches = users.split(batch_size)
    seeds = torch.randint(2**63 - 1, (len(batches),), generator=generator(seed)).tolist()
    for number in progress(range(len(batches)) if only is None else only):
        batch, noise = batches[number], torch.Generator().manual_seed(seeds[number])
        scores, items = model.top(histories.take(batch), k, config, noise)
        row, place = (scores > -torch.inf).nonzero(as_tuple=True)  # (n,)
        columns = (batch[row], place + 1, items[row, place], scores[row, place])
        yield Rows(*(column.cpu().numpy() for column in columns))


def write(out: Path, batches: Iterable[Rows], dataset: Dataset, titles: bool = False) -> tuple[int, int]:
    """Writes user, rank, item, score (and title, year, genres) by user and rank; ids as in `dataset`.

    The suffix of `out` chooses among `FORMATS`. Only a whole file takes that name, in the place of an older one.

    Returns:
        The numbers of rows, and of users who have any.

    Raises:
        SDiffError: another suffix, or a place that cannot be written to.
    """
    suffix = next((suffix for suffix in FORMATS if out.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise SDiffError(f"Cannot write {out}: its name must end in {', '.join(FORMATS)}.")
    if out.is_dir():
        raise SDiffError(f"Cannot write {out}: it is a folder.")
    try:
        with (
            replacing(out) as whole,
            connect(":memory:", MEMORY, f"{whole}.spilled") as con,
        ):
            con.execute("CREATE TABLE lists (user INTEGER, rank INTEGER, item INTEGER, score FLOAT)")
            for rows in batches:
                con.register("batch", vars(rows))
                con.execute("INSERT INTO lists BY NAME SELECT * FROM batch")
            create_items(con, dataset)
            [(first, n)] = con.sql("SELECT min(user), max(user) - min(user) + 1 FROM lists").fetchall()
            first, n = first or 0, n or 0  # there may be no rows
            ids = np.array(dataset.split.users.ids[first : first + n], dtype=object)  # a shard needs few of them
            con.register("users", {"i": np.arange(first, first + n), "id": ids})
            found = con.sql(_query(titles, guarded=suffix != ".parquet"))
            (found.to_parquet if suffix == ".parquet" else found.to_csv)(str(whole), **FORMATS[suffix])
            [(n_rows, n_users)] = con.sql("SELECT count(*), count(DISTINCT user) FROM lists").fetchall()
    except OSError as error:
        raise SDiffError(f"Cannot write {out}: {error.strerror}.") from error
    except duckdb.Error as error:
        raise SDiffError(f"Cannot write {out}: {str(error).splitlines()[0]}") from error
    except RuntimeError as error:
        if str(error) == "Query interrupted":  # all that DuckDB leaves of a Ctrl-C
            raise KeyboardInterrupt from error
        raise
    return n_rows, n_users


def _query(titles: bool, guarded: bool) -> str:
    def text(column: str) -> str:
        return rf"regexp_replace({column}, '{FORMULA}', '''\0') AS {column}" if guarded else column

    metadata = f", {text('title')}, year, {text('genres')}" if titles else ""
    return f"""
        SELECT users.id AS user, rank, items.id AS item, score{metadata} FROM lists
        JOIN users ON users.i = lists.user JOIN items ON items.i = lists.item ORDER BY lists.user, rank"""
