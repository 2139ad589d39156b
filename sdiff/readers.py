"""How files become interactions and item metadata. Each reader answers faulty input with one sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

from sdiff.errors import SDiffError
from sdiff.interactions import Interactions, Split, Vocabulary, chronological_split, hold_out, k_core, random_split


@dataclass(frozen=True)
class Items:
    """What is known of each item, in vocabulary order. year 0: not known; genres are separated by |."""

    title: list[str]
    year: list[int]
    genres: list[str]


COLUMNS = {
    "user": ("user", "user_id", "userid", "uid"),
    "item": ("item", "item_id", "itemid", "iid", "movie_id", "movieid"),
    "rating": ("rating", "score"),
    "timestamp": ("timestamp", "time", "ts", "date"),
}


def read_interactions(path: Path, min_rating: float | None = None, core: int = 1) -> Interactions:
    """Reads columns user, item and optional rating, timestamp (seconds, or a date) from a CSV or Parquet file.

    Keeps rows rated `min_rating` or better, then users and items with at least `core` pairs among themselves.

    Raises:
        SDiffError: unreadable or empty file, missing columns, empty ids, ratings or times that are no numbers.
    """
    if not path.stat().st_size:
        raise SDiffError(f"{path} is empty.")
    con = duckdb.connect()
    reader = "read_parquet(?)" if path.suffix == ".parquet" else "read_csv(?, header = true, all_varchar = true)"
    try:
        con.execute(f"CREATE TEMP TABLE file AS SELECT * FROM {reader}", [str(path)])
    except duckdb.Error as error:
        reason = " ".join(str(error).split("\n\n")[0].split())  # what and where, without the reader's own settings
        raise SDiffError(
            f"Cannot read {path} as {'Parquet' if path.suffix == '.parquet' else 'CSV'}: {reason}"
        ) from error
    present = {row[0].strip().lower(): row[0] for row in con.execute("DESCRIBE file").fetchall()}
    found = {role: present[name] for role, names in COLUMNS.items() for name in names[::-1] if name in present}
    if lacking := [role for role in ("user", "item") if role not in found]:
        raise SDiffError(
            f"{path} has no column {' and no column '.join(lacking)}: its columns are {', '.join(present.values())}. "
            "Name them user, item and, where there are, rating and timestamp."
        )

    def column(role: str) -> str:
        return f'''nullif(trim(CAST("{found[role].replace('"', '""')}" AS VARCHAR)), '')''' if role in found else "NULL"

    con.execute(f"""
        CREATE TEMP TABLE pairs AS SELECT *, TRY_CAST(rating_text AS DOUBLE) AS rating,
            coalesce(TRY_CAST(time_text AS DOUBLE), epoch(TRY_CAST(time_text AS TIMESTAMP))) AS time
        FROM (SELECT row_number() OVER () AS row, {column("user")} AS user, {column("item")} AS item,
            {column("rating")} AS rating_text, {column("timestamp")} AS time_text FROM file)""")
    if not con.execute("SELECT count(*) FROM pairs").fetchall()[0][0]:
        raise SDiffError(f"{path} has no rows.")
    faults = {
        "user": ("user IS NULL", "''"),
        "item": ("item IS NULL", "''"),
        "rating": ("rating IS NULL OR NOT isfinite(rating)", "rating_text"),
        "timestamp": ("time IS NULL OR NOT isfinite(time)", "time_text"),
    }
    for role in found:
        fault, text = faults[role]
        bad = con.execute(f"SELECT row, {text} FROM pairs WHERE {fault} ORDER BY row LIMIT 1").fetchall()
        if bad:
            kind = {"rating": "a number", "timestamp": "a number of seconds or a date"}.get(role, "an id")
            raise SDiffError(f"{path}, row {bad[0][0]}: {role} is {bad[0][1] or 'empty'!r}, not {kind}.")
    if "rating" in found and min_rating is not None:
        con.execute("DELETE FROM pairs WHERE rating < ?", [min_rating])

    def vocabulary(role: str) -> Vocabulary:
        """Whole numbers in numeric order, other ids after them as text."""
        con.execute(f"""
            CREATE TEMP TABLE {role}s AS SELECT id, row_number() OVER (ORDER BY TRY_CAST(id AS HUGEINT), id) - 1 AS i
            FROM (SELECT DISTINCT {role} AS id FROM pairs)""")
        return Vocabulary(tuple(id for (id,) in con.execute(f"SELECT id FROM {role}s ORDER BY i").fetchall()))

    users, items = vocabulary("user"), vocabulary("item")
    columns = con.execute("""
        SELECT users.i AS user, items.i AS item, time FROM pairs
        JOIN users ON users.id = pairs.user JOIN items ON items.id = pairs.item ORDER BY row""").fetchnumpy()
    con.close()
    user, item = columns["user"].astype(np.int64), columns["item"].astype(np.int64)
    times = columns["time"].astype(np.float64) if "timestamp" in found else None
    return _core(Interactions.from_pairs(users, items, user, item, times), core, path)


def _core(interactions: Interactions, core: int, path: Path) -> Interactions:
    """The k-core, with vocabularies of those who are left."""
    keep = k_core(interactions.rows, interactions.indices, core)
    left = interactions.where(keep)
    if not len(left):
        raise SDiffError(f"{path} has no interactions left after its rating and {core}-core filters.")
    users, user = np.unique(left.rows, return_inverse=True)
    items, item = np.unique(left.indices, return_inverse=True)
    return Interactions.from_pairs(left.users.subset(users), left.items.subset(items), user, item, left.timestamps)


def _split(interactions: Interactions) -> Split:
    """Chronological where there are timestamps, else at random with a fixed seed."""
    return chronological_split(interactions) if interactions.timestamps is not None else random_split(interactions, 0)


def read_file(path: Path, min_rating: float | None = None) -> tuple[Split, Items]:
    """One file as `read_interactions` takes it: nothing is known of the items but their ids."""
    interactions = read_interactions(path, min_rating)
    return _split(interactions), _untitled(interactions.items)


def read_folder(path: Path, min_rating: float | None = None) -> tuple[Split, Items]:
    """interactions.csv with the columns of `read_interactions`; optional items.csv: item, title, year, genres."""
    interactions = read_interactions(path / "interactions.csv", min_rating)
    items = _untitled(interactions.items)
    if (path / "items.csv").is_file():
        items = _titles(path / "items.csv", "item", interactions.items)
    return _split(interactions), items


def read_ml_latest_small(path: Path) -> tuple[Split, Items]:
    """Ratings of 4 or better and the 5-core: 10, as the paper has it for ML-1M, would leave too little of it."""
    interactions = read_interactions(path / "ratings.csv", min_rating=4.0, core=5)
    return chronological_split(interactions), _titles(path / "movies.csv", "movieId", interactions.items)


def read_lists(path: Path) -> tuple[Split, Items]:
    """{train,valid,test}_list.npy of index pairs; item_map.csv and user_map.csv give the original ids and titles.

    The pairs stand in each user's order, unless every user's items ascend: then the file is sorted and tells none.
    Without a valid_list.npy, as in LightGCN's splits, a tenth of each user's train part is held out by a fixed seed.
    """
    pairs = {part: _read_pairs(path / f"{part}_list.npy") for part in ("train", "test")}
    if (path / "valid_list.npy").is_file():
        pairs["valid"] = _read_pairs(path / "valid_list.npy")
    n_users, n_items = np.max([array.max(0) + 1 for array in pairs.values() if len(array)], axis=0)
    users = Vocabulary(_ids(path / "user_map.csv", "user", "user_id", n_users))
    items = Vocabulary(_ids(path / "item_map.csv", "item", "movie_id", n_items))
    ordered = not _ascending(pairs["train"])
    parts = {
        part: Interactions.from_pairs(users, items, array[:, 0], array[:, 1], ordered=ordered)
        for part, array in pairs.items()
    }
    if "valid" not in parts:
        parts["train"], parts["valid"] = hold_out(parts["train"], 0.1, seed=0)
    split = Split(parts["train"], parts["valid"], parts["test"])
    titles = path / "item_map.csv"
    return split, _titles(titles, "movie_id", items) if titles.is_file() else _untitled(items)


def _ascending(pairs: np.ndarray) -> bool:
    same_user = pairs[1:, 0] == pairs[:-1, 0]
    return bool((pairs[1:, 1] >= pairs[:-1, 1])[same_user].all())


def _read_pairs(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SDiffError(f"{path} is not a readable .npy file of numbers.") from error
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu" or (array.size and array.min() < 0):
        raise SDiffError(
            f"{path} must hold pairs of whole numbers [user, item], not {array.dtype} of shape {array.shape}."
        )
    return array.astype(np.int64)


def _ids(path: Path, index: str, id: str, n: int) -> tuple[str, ...]:
    """Original ids by index from a map file, or the indices themselves where there is none."""
    if not path.is_file():
        return tuple(map(str, range(n)))
    rows = {int(row[0]): row[1] for row in _csv(path, [index, id])}
    if set(rows) != set(range(n)):
        raise SDiffError(f"{path} does not name each index 0 ... {n - 1} once.")
    return tuple(rows[i] for i in range(n))


def _csv(path: Path, columns: list[str]) -> list[tuple[str, ...]]:
    """The columns of a CSV file as text, empty text where a value is missing."""
    names = ", ".join(f'''coalesce("{name}", '')''' for name in columns)
    try:
        query = f"SELECT {names} FROM read_csv(?, header = true, all_varchar = true)"
        return duckdb.connect().execute(query, [str(path)]).fetchall()
    except duckdb.Error as error:
        raise SDiffError(f"Cannot read {', '.join(columns)} from {path}: {str(error).splitlines()[0]}") from error


def _titles(path: Path, id: str, items: Vocabulary) -> Items:
    """Titles, years and genres; a year at the end of a title, "Heat (1995)", is taken from there."""
    own_year = id == "item"
    rows = {row[0]: row for row in _csv(path, [id, "title", "genres", *(["year"] if own_year else [])])}
    title, year, genres = [], [], []
    for item in items.ids:
        _, text, genre, *years = rows.get(item, ("", "", ""))
        match = re.fullmatch(r"(.*?)\s*\((\d{4})\)\s*", text)
        plain, year_text = (text, "".join(years)) if own_year or not match else match.groups()
        if not own_year:  # MovieLens sorts by the noun: "Matrix, The"
            plain = re.sub(r"^(.*), (The|A|An|Le|La|Les|L'|Il|El|Der|Die|Das)$", r"\2 \1", plain)
        title.append(plain or f"Item {item}")
        year.append(int(year_text) if year_text.isdigit() else 0)
        genres.append("" if genre == "(no genres listed)" else genre)
    return Items(title, year, genres)


def _untitled(items: Vocabulary) -> Items:
    return Items([f"Item {id}" for id in items.ids], [0] * len(items), [""] * len(items))
