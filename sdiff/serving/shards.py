"""The lists of all users as a folder of Parquet files, each made once by one of several ranks and read as one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sdiff.base.distributed import Ranks
from sdiff.base.errors import SDiffError
from sdiff.base.files import regular, sweep, write_atomically
from sdiff.config import Config
from sdiff.data.datasets import Dataset
from sdiff.data.tables import connect
from sdiff.serving.export import MEMORY, ranked, write
from sdiff.serving.recommender import Recommender

BATCH, BATCHES = 1000, 10  # users that are scored together, and how many such batches make a shard


def write_shards(
    folder: Path,
    model: Recommender,
    dataset: Dataset,
    k: int,
    config: Config,
    seed: int,
    titles: bool,
    ranks: Ranks,
    progress: Callable[[Sequence[int]], Iterable[int]] = lambda numbers: numbers,
) -> tuple[int, int]:
    """Writes `part-00000.parquet` and so on, each with the lists of 10,000 users: together what `batch.write` gives.

    Shards are dealt to the ranks in turn. One that is there is whole and is not made again, so that a run goes on
    where it was killed, with as many ranks as there are now. `lists.json` beside them says what they are of.

    Returns:
        The numbers of rows and of users who have any, of all ranks.

    Raises:
        SDiffError: the folder holds other lists or cannot be written to.
    """
    train = dataset.split.train
    n_batches = -(-int((train.lengths > 0).sum()) // BATCH)
    shards = {
        folder / f"part-{i:05d}.parquet": range(start, min(start + BATCHES, n_batches))
        for i, start in enumerate(range(0, max(n_batches, 1), BATCHES))  # where nobody has a list, an empty one
    }
    if ranks.first:
        of = {
            "checkpoint": model.checkpoint.fingerprint,
            "dataset": dataset.key,
            "data_fingerprint": dataset.split.fingerprint,
            "k": k,
            "settings": config.to_dict(),
            "seed": seed,
            "titles": titles,
            "users_in_a_shard": BATCH * BATCHES,
        }
        _open(folder, of)
    ranks.wait()
    missing = [path for path in list(shards)[ranks.rank :: ranks.size] if not path.exists()]
    lists = ranked(model, train, k, config, seed, BATCH, progress, [n for path in missing for n in shards[path]])
    for path in missing:
        write(path, islice(lists, len(shards[path])), dataset, titles)
    ranks.wait()
    if not ranks.first:
        return 0, 0
    with connect(":memory:", MEMORY, folder / ".spilled") as con:
        counts = "SELECT count(*), count(*) FILTER (rank = 1) FROM read_parquet(?)"
        [(n_rows, n_users)] = con.execute(counts, [[str(regular(path)) for path in shards]]).fetchall()
    return n_rows, n_users


def _open(folder: Path, of: dict[str, Any]) -> None:
    """Makes the folder, or sees that it holds lists of the same and removes what a killed rank left half done."""
    told = folder / "lists.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not told.exists():
            if next(folder.glob("*.parquet"), None):
                raise SDiffError(f"{folder} holds Parquet files of something else: choose another --out.")
            write_atomically(told, (json.dumps(of, indent=2) + "\n").encode())
        elif json.loads(regular(told).read_text(encoding="utf-8")) != of:
            raise SDiffError(
                f"{folder} holds lists of another checkpoint, data set, k, seed or settings: choose another --out, or "
                f"delete it."
            )
        sweep(folder)
    except OSError as error:
        raise SDiffError(f"Cannot write to {folder}: {error.strerror}.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SDiffError(f"{told} is damaged: choose another --out, or delete {folder}.") from error
