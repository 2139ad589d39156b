"""Exports the recommendations of all users to a folder of Parquet files, on one or several ranks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sdiff.base.checks import whole
from sdiff.base.distributed import Ranks
from sdiff.base.errors import SDiffError
from sdiff.base.files import regular, sweep, write_atomically
from sdiff.config import Config
from sdiff.data.database import connect
from sdiff.data.datasets import Dataset
from sdiff.data.interactions import Known
from sdiff.serving.export import MEMORY, ranked, write
from sdiff.serving.recommender import Recommender

BATCH, BATCHES = 1000, 10  # users per batch, and batches per shard


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
    parts: Known = "all",
) -> tuple[int, int]:
    """Writes `part-00000.parquet` and so on, each with the recommendations of 10,000 users, as by `export.write`.

    Shards are assigned to the ranks in turn. Existing shards are complete and are skipped, so an interrupted export can
    be resumed, with any number of ranks. `lists.json` in the same folder describes their contents.

    Args:
        k: maximum number of items per user.
        config: the model's configuration, with the settings of this call.
        titles: whether to add the columns title, year and genres.
        ranks: as yielded by `torchrun`.
        progress: wraps the batch numbers, for a progress bar.
        parts: those of the data set that are the histories, and left out of the lists.

    Returns:
        The number of rows, and the number of users with at least one row, over all ranks; (0, 0) on other ranks than
        the first.

    Raises:
        SDiffError: k or the seed is invalid, or the folder contains other recommendations or cannot be written to.
    """
    histories = dataset.split.known(parts)
    n_batches = -(-int((histories.lengths > 0).sum()) // BATCH)
    shards = {
        folder / f"part-{i:05d}.parquet": range(start, min(start + BATCHES, n_batches))
        for i, start in enumerate(range(0, max(n_batches, 1), BATCHES))  # at least one, which may be empty
    }
    k = whole("k", k, 1)
    if ranks.first:
        description = {
            "checkpoint": model.checkpoint.fingerprint,
            "dataset": dataset.key,
            "data_fingerprint": dataset.split.fingerprint,
            "parts": parts,
            "k": k,
            "settings": config.to_dict(),
            "seed": whole("seed", seed, 0),
            "titles": titles,
            "users_in_a_shard": BATCH * BATCHES,
        }
        _open(folder, description)
    ranks.wait()
    missing = [path for path in list(shards)[ranks.rank :: ranks.size] if not path.exists()]
    lists = ranked(model, histories, k, config, seed, BATCH, progress, [n for path in missing for n in shards[path]])
    for path in missing:
        write(path, islice(lists, len(shards[path])), dataset, titles)
    ranks.wait()
    if not ranks.first:
        return 0, 0
    with connect(":memory:", MEMORY, folder / ".spilled") as con:
        counts = "SELECT count(*), count(*) FILTER (rank = 1) FROM read_parquet(?)"
        [(n_rows, n_users)] = con.execute(counts, [[str(regular(path)) for path in shards]]).fetchall()
    return n_rows, n_users


def _open(folder: Path, description: dict[str, Any]) -> None:
    """Creates the folder, or checks that its contents match `description` and removes incomplete files."""
    card = folder / "lists.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "config.json").exists():
            raise SDiffError(f"{folder} contains a checkpoint: choose another --out.")
        if not card.exists():
            if next(folder.glob("*.parquet"), None):
                raise SDiffError(f"{folder} contains other Parquet files: choose another --out.")
            write_atomically(card, (json.dumps(description, indent=2) + "\n").encode())
        elif json.loads(regular(card).read_text(encoding="utf-8")) != description:
            raise SDiffError(
                f"{folder} contains recommendations of another checkpoint, data set, parts, k, seed or settings: "
                f"choose another --out, or delete the folder."
            )
        sweep(folder)
    except OSError as error:
        raise SDiffError(f"Cannot write to {folder}: {error.strerror}.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SDiffError(f"{card} is damaged: choose another --out, or delete {folder}.") from error
