"""Readers of the registered data sets: from a folder of files to a split and item metadata."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sdiff.base.errors import SDiffError, brief
from sdiff.base.files import regular
from sdiff.base.paths import expanded
from sdiff.data.database import database, readable_errors
from sdiff.data.ids import difference
from sdiff.data.interactions import Interactions, Split, Vocabulary
from sdiff.data.items import Items, items_in_log, read_items, untitled
from sdiff.data.readers import read_interactions, split_of
from sdiff.data.reading import DEFAULT, Reading
from sdiff.data.report import Report
from sdiff.data.splits import given_split
from sdiff.data.tables.dialect import Layout
from sdiff.data.tables.faults import Faults
from sdiff.data.tables.files import HEAD

Format = Callable[[Path], tuple[Split, Items] | tuple[Split, Items, Report]]
GENRES = (
    "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
PARTS = ("train", "valid", "test")
GAP = 1000  # maximum ratio of the largest index to the number of pairs
RATINGS = ("user", "item", "rating", "timestamp")


def own_table(path: Any, reading: Reading, titles: Any = None) -> tuple[Split, Items, Report]:
    """Reads any table of interactions, and item metadata.

    The metadata is in `reading.items`, in a RecBole `.item` file next to the table, or in columns of the table itself.

    Args:
        path: of a file, or a data frame: see `open_table`.
        titles: a data frame of items, in place of `reading.items`.
    """
    path = path.read_all() if hasattr(path, "read_all") else path  # a stream of Arrow can be read once
    interactions, report = read_interactions(path, reading)
    split = split_of(interactions, reading)
    report = replace(report, unsplit=len(interactions) - len(split.train) - len(split.valid) - len(split.test))
    return split, own_items(path, interactions.items, reading, report, titles), report


def own_items(
    path: Any, items: Vocabulary, reading: Reading, report: Report, titles: Any = None, log: Any = None
) -> Items:
    """Item metadata for a table of interactions, without a table of items from its own columns: see `own_table`."""
    if titles is None and reading.items not in ("", "-"):
        titles = expanded(reading.items)
    if titles is None and isinstance(path, Path) and path.suffix == ".inter" and reading.items != "-":
        sibling = path.with_suffix("").with_suffix(".item")
        titles = next((file for file in (path.with_suffix(".item"), sibling) if file.exists()), None)
    if titles is not None:
        return read_items(titles, items, reading.items_layout, {}, reading.items_columns, reading.skip_faulty)
    if reading.items == "-":
        return untitled(items)
    if log is not None:
        with suppress(SDiffError):  # the parts may have different columns
            return items_in_log(log, items, reading.layout, report, reading.items_columns) or untitled(items)
    return items_in_log(path, items, reading.layout, report, reading.items_columns) or untitled(items)


def own_split(paths: Mapping[str, Any], reading: Reading) -> tuple[Split, Items, Report]:
    """Reads the parts of a given split from a table for each, and item metadata like `own_table`.

    Held-out pairs that are also in an earlier part are dropped and counted. Without a valid part, a tenth of each
    user's train part is held out: the last one if the order is known, otherwise a random one.

    Args:
        paths: of the parts train, test and optionally valid; a tuple of paths for a part that has several files.

    Raises:
        SDiffError: a part cannot be read, or there are options for splitting.
    """
    if reading.split or reading.core > 1:
        raise SDiffError("The folder contains a split: leave out the options split and core, or give one table.")
    tables, reports = _parts(paths, reading)
    users, items = (
        Vocabulary(tuple(dict.fromkeys(chain.from_iterable(getattr(table, role).ids for table in tables.values()))))
        for role in ("users", "items")
    )
    split, in_train = given_split({part: table.among(items, users) for part, table in tables.items()})
    report = replace(
        reports[0],
        faults=Faults.joined([report.faults for report in reports]),
        below_rating=sum(report.below_rating for report in reports),
        repeated=sum(report.repeated for report in reports),
        in_train=in_train,
    )
    parts = [part if isinstance(part, tuple) else (part,) for part in paths.values()]
    return split, own_items(paths["train"], items, reading, report, log=tuple(chain.from_iterable(parts))), report


def _parts(paths: Mapping[str, Any], reading: Reading) -> tuple[dict[str, Interactions], list[Report]]:
    """Reads the parts of a split, held-out ones like the train part. Raises SDiffError if they do not fit together."""
    train, report = read_interactions(paths["train"], reading)
    if "%" in report.times:
        reading = replace(reading, timestamp_format=report.times)
    tables, reports = {"train": train}, [report]
    first = {part: path[0] if isinstance(path, tuple) else path for part, path in paths.items()}  # for messages
    for part, path in paths.items():
        if part == "train":
            continue
        tables[part], other = read_interactions(path, reading)
        reports.append(other)
        if report.times and other.times not in ("", report.times):
            raise SDiffError(
                f"The times in {first['train']} are read as {report.times}, those in {first[part]} as "
                f"{other.times}: write them the same way in both, or set timestamp_format."
            )
        for role in ("users", "items"):
            known, given = (getattr(table, role).ids for table in (train, tables[part]))
            new = [id for id in given if id not in getattr(train, role)]
            differing = difference(new, known, 1 / 2) if len(new) < len(given) else difference(known, given)
            if differing and len(new) < len(given):
                raise SDiffError(
                    f"{len(new):,} {role} in {first[part]}, such as {brief(new[0])}, are not in {first['train']}, and "
                    f"most differ from one there by {differing}: write the ids the same way in both."
                )
            if len(new) == len(given) and (differing or role == "users"):  # items may all be new
                cause = f", because their ids differ by {differing}" if differing else ""
                raise SDiffError(
                    f"None of the {role} in {first[part]} is in {first['train']}{cause}: write the ids the same way in "
                    "both."
                )
    return tables, reports


def movielens(core: int, suffix: str = ".csv", encoding: str = "") -> Format:
    """MovieLens: ratings of 4 or more (Section 4.1), k-core. `.dat` files are delimited by :: and have no header."""
    dat = suffix == ".dat"
    reading = Reading(
        min_rating=4.0, core=core, encoding=encoding, **({"names": RATINGS, "delimiter": "::"} if dat else {})
    )
    layout = Layout(("item", "title", "genres"), "::", encoding) if dat else Layout()

    def read(folder: Path) -> tuple[Split, Items]:
        interactions, _ = read_interactions(folder / f"ratings{suffix}", reading)
        movies = folder / f"movies{suffix}"
        return split_of(interactions), read_items(movies, interactions.items, layout, skip_faulty=True)

    return read


def movielens_100k(folder: Path) -> tuple[Split, Items]:
    """MovieLens 100K: u.data, and u.item with one 0/1 column per genre."""
    reading = Reading(names=RATINGS, delimiter="\t", min_rating=4.0, core=5)
    interactions, _ = read_interactions(folder / "u.data", reading)
    flags = ", ".join(f"""CASE "{genre}" WHEN '1' THEN '{genre.replace("'", "''")}' END""" for genre in GENRES)
    layout = Layout(("item", "title", "released", "video", "imdb", "unknown", *GENRES), "|", "latin-1")
    known = {"item": "item", "title": "title", "genres": f"concat_ws('|', {flags})"}
    return split_of(interactions), read_items(folder / "u.item", interactions.items, layout, known, skip_faulty=True)


def last_fm(folder: Path) -> tuple[Split, Items]:
    """Last.fm (HetRec 2011): users and the artists they listened to, without timestamps."""
    reading = Reading(user="userID", item="artistID", delimiter="\t", core=5)
    interactions, _ = read_interactions(folder / "user_artists.dat", reading)
    known = {"item": "id", "title": "name"}
    artists, layout = folder / "artists.dat", Layout(delimiter="\t")
    return split_of(interactions), read_items(artists, interactions.items, layout, known, skip_faulty=True)


def steam(folder: Path) -> tuple[Split, Items]:
    """Steam: purchases from a log of purchases and play. A game's id is its title."""
    reading = Reading(names=("user", "item", "behavior", "hours", "zero"), delimiter=",", core=5)
    interactions, _ = read_interactions(folder / "steam-200k.csv", reading, where="behavior = 'purchase'")
    items = interactions.items
    return split_of(interactions), Items(list(items.ids), [0] * len(items), [""] * len(items))


def published_lists(folder: Path) -> tuple[Split, Items, Report]:
    """Published splits with their usual names: {train,valid,test}_list.npy (DiffRec) or {train,test}.txt (LightGCN)."""
    files = ((part, folder / name) for part in PARTS for name in (f"{part}.txt", f"{part}_list.npy"))
    return own_lists({part: file for part, file in files if file.exists()})  # with both, the array


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
