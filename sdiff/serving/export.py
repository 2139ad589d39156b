"""Ranks the items for many users, in batches, and exports lists and metrics to one file, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import torch

from sdiff.base.device import generator
from sdiff.base.errors import SDiffError
from sdiff.base.files import replacing
from sdiff.config import Config
from sdiff.data.catalog import create_items
from sdiff.data.database import connect
from sdiff.data.datasets import Dataset
from sdiff.data.interactions import Interactions
from sdiff.evaluation.report import Evaluation
from sdiff.method.diffusion import block_of
from sdiff.method.histories import Histories

if TYPE_CHECKING:
    from sdiff.serving.recommender import Recommender

FORMATS: dict[str, dict[str, Any]] = {
    ".parquet": {"compression": "zstd"},
    ".csv": {"header": True},
    ".csv.gz": {"header": True, "compression": "gzip"},
}
FORMULA = r"^[=+@\t\r-]"  # regular expression for texts that a spreadsheet would evaluate; escaped by an apostrophe
Save = Callable[[duckdb.DuckDBPyRelation], None]
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
    interactions: Interactions,
    k: int,
    config: Config,
    seed: int,
    batch_size: int = 1000,
    progress: Callable[[Sequence[int]], Iterable[int]] = lambda numbers: numbers,
    only: Sequence[int] | None = None,
    users: np.ndarray | None = None,
    exclude_seen: bool = True,
    allowed: np.ndarray | None = None,
) -> Iterator[Rows]:
    """Yields the recommendations of users of `interactions`, in batches.

    A user has fewer than k rows if fewer unseen items are left. Their list does not depend on the other users.

    Args:
        k: maximum number of items per user.
        config: the model's configuration, with the settings of this call.
        batch_size: users per batch.
        progress: wraps the batch numbers, for a progress bar.
        only: numbers of the batches to compute; all by default.
        users: (U,) user indices; by default all with a history, in vocabulary order.
        exclude_seen: whether to exclude the items of each history.
        allowed: (n_items,) bool, the items that may be recommended; all by default.
    """
    histories = Histories.from_interactions(interactions, model.device)
    users = np.flatnonzero(interactions.lengths) if users is None else users
    batches = torch.from_numpy(users).to(model.device).split(batch_size)
    for number in progress(range(len(batches)) if only is None else only):
        batch = batches[number]
        blocks = batch.split(block_of(len(model.items))) if batch.device.type == "cpu" else [batch]
        lists = [
            model.top(histories.take(block), k, config, generator(seed), exclude_seen, allowed) for block in blocks
        ]
        scores, items = map(torch.cat, zip(*lists, strict=True))
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
    with writing(out) as (con, save):
        con.execute("CREATE TABLE lists (user INTEGER, rank INTEGER, item INTEGER, score FLOAT)")
        for rows in batches:
            con.register("batch", vars(rows))
            con.execute("INSERT INTO lists BY NAME SELECT * FROM batch")
        create_items(con, dataset)
        [(first, n)] = con.sql("SELECT min(user), max(user) - min(user) + 1 FROM lists").fetchall()
        first, n = first or 0, n or 0  # there may be no rows
        ids = np.array(dataset.split.users.ids[first : first + n], dtype=object)  # only those of these rows
        con.register("users", {"i": np.arange(first, first + n), "id": ids})
        save(con.sql(_query(titles, escaped=_suffix(out) != ".parquet")))
        [(n_rows, n_users)] = con.sql("SELECT count(*), count(DISTINCT user) FROM lists").fetchall()
    return n_rows, n_users


def write_users(evaluation: Evaluation, con: duckdb.DuckDBPyConnection, save: Save) -> None:
    """Writes one row for each user of an evaluation: user, number of held-out items, and each metric.

    Args:
        con, save: as yielded by `writing`.
    """
    columns = {"user": np.array(evaluation.users, dtype=object), "held_out": evaluation.held_out} | evaluation.values
    con.register("per_user", {f"c{n}": column for n, column in enumerate(columns.values())})
    save(con.sql(f"""SELECT {", ".join(f'c{n} AS "{name}"' for n, name in enumerate(columns))} FROM per_user"""))


@contextmanager
def writing(out: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, Save]]:
    """Replaces the file `out` at the end of the block, atomically.

    Yields a database, which spills what is larger than its memory, and a function that writes one of its relations.

    Args:
        out: file that ends in .parquet, .csv or .csv.gz.

    Raises:
        SDiffError: an unknown suffix, or `out` cannot be written.
    """
    suffix = _suffix(out)
    if out.is_dir():
        raise SDiffError(f"Cannot write {out}: it is a folder.")
    try:
        with (
            replacing(out) as temporary,
            connect(":memory:", MEMORY, f"{temporary}.spilled") as con,
        ):

            def save(table: duckdb.DuckDBPyRelation) -> None:
                (table.to_parquet if suffix == ".parquet" else table.to_csv)(str(temporary), **FORMATS[suffix])

            yield con, save
    except OSError as error:
        raise SDiffError(f"Cannot write {out}: {error.strerror}.") from error
    except duckdb.Error as error:
        raise SDiffError(f"Cannot write {out}: {str(error).splitlines()[0]}") from error
    except RuntimeError as error:
        if str(error) == "Query interrupted":  # DuckDB turns Ctrl-C into this error
            raise KeyboardInterrupt from error
        raise


def _suffix(out: Path) -> str:
    """The key of `FORMATS` that a name ends in. Raises SDiffError for another one."""
    suffix = next((suffix for suffix in FORMATS if out.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise SDiffError(f"Cannot write {out}: its name must end in {', '.join(FORMATS)}.")
    return suffix


def _query(titles: bool, escaped: bool) -> str:
    def text(column: str) -> str:
        return rf"regexp_replace({column}, '{FORMULA}', '''\0') AS {column}" if escaped else column

    metadata = f", {text('title')}, year, {text('genres')}" if titles else ""
    return f"""
        SELECT users.id AS user, rank, items.id AS item, score{metadata} FROM lists
        JOIN users ON users.i = lists.user JOIN items ON items.i = lists.item ORDER BY lists.user, rank"""
