"""Reads splits of lists: index pairs in .npy files, or texts with a line "user item item ..." for each user."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sdiff.base.errors import SDiffError
from sdiff.base.files import regular
from sdiff.data.database import database, readable_errors
from sdiff.data.interactions import Interactions, Split, Vocabulary
from sdiff.data.items import Items, read_items, untitled
from sdiff.data.own import own_items
from sdiff.data.reading import DEFAULT, Reading
from sdiff.data.report import Report
from sdiff.data.splits import given_split
from sdiff.data.tables.faults import Faults
from sdiff.data.tables.files import HEAD

PARTS = ("train", "valid", "test")
GAP = 1000  # maximum ratio of the largest index to the number of pairs


def own_lists(paths: Mapping[str, Path], reading: Reading = DEFAULT) -> tuple[Split, Items, Report]:
    """A given split of index pairs in .npy files, or of text files with one line "user item item ..." per user.

    Optional files item_map.csv and user_map.csv beside them hold original ids and titles. The pairs are taken to be in
    chronological order, unless the items of every user ascend, because then the file is sorted by item. Without a
    valid part, a tenth of each user's train part is held out: the last one if the order is known. Held-out pairs that
    are also in an earlier part are dropped and counted.

    Args:
        paths: of the parts train, test and optionally valid.
        reading: only its options of items have an effect.

    Raises:
        SDiffError: a part cannot be read, or there are options that have no effect.
    """
    folder = paths["train"].parent
    titled = reading.items not in ("", "-")
    used = {"items", "skip_faulty", *(name for name in reading.changed if titled and name.startswith("items_"))}
    if unused := [name for name in reading.changed if name not in used]:
        raise SDiffError(
            f"{folder} contains a split of lists, without columns: leave out the options {', '.join(unused)}, or give "
            "one table."
        )
    pairs = {part: _array(path) if path.suffix == ".npy" else _lines(path) for part, path in paths.items()}
    every = np.concatenate(list(pairs.values()))
    n_users, n_items = every.max(0) + 1 if len(every) else (0, 0)
    if not len(pairs["train"]) or max(n_users, n_items) > GAP * len(every):
        reason = f"the largest index is {max(n_users, n_items) - 1:,}" if len(pairs["train"]) else "train is empty"
        raise SDiffError(f"{folder} must hold indices from 0 without large gaps, but {reason}.")
    users = Vocabulary(_ids(folder / "user_map.csv", "user", "user_id", n_users))
    items = Vocabulary(_ids(folder / "item_map.csv", "item", "movie_id", n_items))
    ordered = not _ascending(pairs["train"])
    parts = {
        part: Interactions.from_pairs(users, items, array[:, 0], array[:, 1], ordered=ordered)
        for part, array in pairs.items()
    }
    split, in_train = given_split(parts)
    repeated = len(every) - sum(map(len, parts.values()))
    report = Report(Faults(len(every)), repeated=repeated, in_train=in_train)
    if titled:
        return split, own_items(paths["train"], items, reading, report), report
    titles = folder / "item_map.csv"
    if reading.items == "-" or not titles.exists():
        return split, untitled(items), report
    known = {"item": "movie_id", "title": "title", "genres": "genres"}
    return split, read_items(titles, items, known=known, skip_faulty=True), report


def are_lists(path: Path) -> bool:
    """Whether a text file may hold lines "user item item ..." with indices.

    Lines of the same length are rows of a table, such as "user item rating", if a user has several of them.
    """
    if path.suffix != ".txt" or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(HEAD)
    if re.fullmatch(rb"[0-9\s]*", head) is None:
        return False
    lines = head.split(b"\n")[: None if len(head) < HEAD else -1]  # the last one may be cut
    rows = [row for line in lines if (row := line.split())]
    widths, users = {len(row) for row in rows}, {row[0] for row in rows}
    return len(widths) != 1 or widths <= {1, 2} or len(users) == len(rows)


def _array(path: Path) -> np.ndarray:
    """Pairs (n, 2) of user and item indices from a .npy file."""
    try:
        array = np.load(regular(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "it is not a numeric .npy file"
        raise SDiffError(f"Cannot read {path}: {reason}.") from error
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu" or (array.size and array.min() < 0):
        raise SDiffError(
            f"{path} must hold pairs of whole numbers [user, item], not {array.dtype} of shape {array.shape}."
        )
    return array.astype(np.int64)


def _lines(path: Path) -> np.ndarray:
    """Pairs (n, 2) from lines "user item item ..."."""
    pairs, row = [np.empty((0, 2), dtype=np.int64)], 0
    try:
        with regular(path).open(encoding="utf-8-sig") as file:
            for line in file:
                row += 1
                numbers = np.array(line.split(), dtype=np.int64)
                if len(numbers) and numbers.min() < 0:
                    raise ValueError("negative number")
                pairs.append(np.stack([np.full(len(numbers), numbers[:1]), numbers], axis=1)[1:])
    except (OSError, ValueError) as error:
        raise SDiffError(f"{path}, row {row}: it must hold the indices of a user and its items ({error}).") from error
    return np.concatenate(pairs)


def _ascending(pairs: np.ndarray) -> bool:
    """Whether the items of every user are in ascending order."""
    same_user = pairs[1:, 0] == pairs[:-1, 0]
    return bool((pairs[1:, 1] >= pairs[:-1, 1])[same_user].all())


def _ids(path: Path, index: str, id: str, n: int) -> tuple[str, ...]:
    """Original ids by index from a map file, or the indices as text if there is no file."""
    if not path.exists():
        return tuple(map(str, range(n)))
    with database(path) as con, readable_errors(path):
        options = "header = true, all_varchar = true, hive_partitioning = false"
        query = f'SELECT CAST("{index}" AS BIGINT), "{id}" FROM read_csv(?, {options})'
        rows = dict(con.execute(query, [str(path)]).fetchall())
    if set(rows) != set(range(n)):
        raise SDiffError(f"{path} must list each index from 0 to {n - 1} exactly once.")
    return tuple(rows[i] for i in range(n))
