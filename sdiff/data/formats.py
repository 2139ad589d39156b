"""Readers of the registered data sets: from a folder of files to a split and item metadata."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sdiff.base.errors import SDiffError
from sdiff.base.files import regular
from sdiff.base.paths import expanded
from sdiff.data.interactions import Interactions, Split, Vocabulary
from sdiff.data.items import Items, read_items, untitled
from sdiff.data.readers import Reading, Report, read_interactions, split_of
from sdiff.data.splits import hold_out
from sdiff.data.tables import Layout, database, readable_errors

Format = Callable[[Path], tuple[Split, Items]]
GENRES = (
    "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
RATINGS = ("user", "item", "rating", "timestamp")


def own_table(path: Path, reading: Reading) -> tuple[Split, Items, Report]:
    """Reads any table of interactions, and item metadata from `reading.items` or a RecBole `.item` file next to it."""
    interactions, report = read_interactions(path, reading)
    sibling = path.with_suffix(".item")
    metadata = reading.items or (str(sibling) if path.suffix == ".inter" and sibling.exists() else "")
    items = read_items(expanded(metadata), interactions.items) if metadata else untitled(interactions.items)
    return split_of(interactions, reading), items, report


def movielens(core: int, suffix: str = ".csv", encoding: str = "") -> Format:
    """MovieLens: ratings of 4 or more (Section 4.1), k-core. `.dat` files are delimited by :: and have no header."""
    dat = suffix == ".dat"
    reading = Reading(
        min_rating=4.0, core=core, encoding=encoding, **({"names": RATINGS, "delimiter": "::"} if dat else {})
    )
    layout = Layout(("item", "title", "genres"), "::", encoding) if dat else Layout()

    def read(folder: Path) -> tuple[Split, Items]:
        interactions, _ = read_interactions(folder / f"ratings{suffix}", reading)
        return split_of(interactions), read_items(folder / f"movies{suffix}", interactions.items, layout)

    return read


def movielens_100k(folder: Path) -> tuple[Split, Items]:
    """MovieLens 100K: u.data, and u.item with one 0/1 column per genre."""
    reading = Reading(names=RATINGS, delimiter="\t", min_rating=4.0, core=5)
    interactions, _ = read_interactions(folder / "u.data", reading)
    flags = ", ".join(f"""CASE "{genre}" WHEN '1' THEN '{genre.replace("'", "''")}' END""" for genre in GENRES)
    layout = Layout(("item", "title", "released", "video", "imdb", "unknown", *GENRES), "|", "latin-1")
    known = {"item": "item", "title": "title", "genres": f"concat_ws('|', {flags})"}
    return split_of(interactions), read_items(folder / "u.item", interactions.items, layout, known)


def last_fm(folder: Path) -> tuple[Split, Items]:
    """Last.fm (HetRec 2011): users and the artists they listened to, without timestamps."""
    reading = Reading(user="userID", item="artistID", delimiter="\t", core=5)
    interactions, _ = read_interactions(folder / "user_artists.dat", reading)
    known = {"item": "id", "title": "name"}
    return split_of(interactions), read_items(folder / "artists.dat", interactions.items, Layout(delimiter="\t"), known)


def steam(folder: Path) -> tuple[Split, Items]:
    """Steam: purchases from a log of purchases and play. A game's id is its title."""
    reading = Reading(names=("user", "item", "behavior", "hours", "zero"), delimiter=",", core=5)
    interactions, _ = read_interactions(folder / "steam-200k.csv", reading, where="behavior = 'purchase'")
    items = interactions.items
    return split_of(interactions), Items(list(items.ids), [0] * len(items), [""] * len(items))


def lists(folder: Path) -> tuple[Split, Items]:
    """Published splits: {train,valid,test}_list.npy with index pairs (DiffRec), or {train,test}.txt with one line
    "user item item ..." per user (LightGCN).

    Optional files item_map.csv and user_map.csv hold original ids and titles. The pairs are taken to be in
    chronological order, unless the items of every user ascend, because then the file is sorted by item. Without a
    valid part, a tenth of each user's train part is held out with a fixed seed.
    """
    names = {part: (folder / f"{part}_list.npy", folder / f"{part}.txt") for part in ("train", "valid", "test")}
    pairs = {
        part: _array(array) if array.exists() else _lines(text)
        for part, (array, text) in names.items()
        if array.exists() or text.exists()
    }
    n_users, n_items = np.max([array.max(0) + 1 for array in pairs.values() if len(array)], axis=0)
    users = Vocabulary(_ids(folder / "user_map.csv", "user", "user_id", n_users))
    items = Vocabulary(_ids(folder / "item_map.csv", "item", "movie_id", n_items))
    ordered = not _ascending(pairs["train"])
    parts = {
        part: Interactions.from_pairs(users, items, array[:, 0], array[:, 1], ordered=ordered)
        for part, array in pairs.items()
    }
    if "valid" not in parts:
        parts["train"], parts["valid"] = hold_out(parts["train"], 0.1, seed=0)
    split = Split(parts["train"], parts["valid"], parts["test"])
    titles = folder / "item_map.csv"
    if not titles.exists():
        return split, untitled(items)
    return split, read_items(titles, items, known={"item": "movie_id", "title": "title", "genres": "genres"})


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
        with regular(path).open(encoding="ascii") as file:
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
        query = f'SELECT CAST("{index}" AS BIGINT), "{id}" FROM read_csv(?, header = true, all_varchar = true)'
        rows = dict(con.execute(query, [str(path)]).fetchall())
    if set(rows) != set(range(n)):
        raise SDiffError(f"{path} must list each index from 0 to {n - 1} exactly once.")
    return tuple(rows[i] for i in range(n))
