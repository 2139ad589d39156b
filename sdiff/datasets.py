"""Data sets: a registry of known ones, and any CSV or Parquet file by its path. A set is read into a `Dataset`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sdiff.errors import SDiffError
from sdiff.interactions import Split
from sdiff.readers import Items, read_file, read_folder, read_lists, read_ml_latest_small
from sdiff.spectrum import cache_dir

ASSETS = Path(__file__).parent.parent / "assets"
MOVIELENS_TERMS = "research use, no redistribution without permission, no commercial use (GroupLens)"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory: its split, its items' metadata, and where it came from."""

    key: str
    title: str
    terms: str
    split: Split
    items: Items


@dataclass(frozen=True)
class Source:
    """A registered data set: what it is, under which terms, where it lies and how it is read."""

    key: str
    title: str
    terms: str
    origin: str
    files: tuple[str, ...]
    folder: str
    read: Callable[[Path], tuple[Split, Items]]

    @property
    def path(self) -> Path:
        """The folder that holds (or should hold) the files."""
        return ASSETS / "demo" if self.key == "demo" else data_dir() / self.folder

    @property
    def available(self) -> bool:
        return all((self.path / name).is_file() for name in self.files)


def data_dir() -> Path:
    """Where data sets are looked for: `$SDIFF_DATA_DIR`, else `data` in the cache folder."""
    return Path(os.environ.get("SDIFF_DATA_DIR") or cache_dir() / "data")


def load_dataset(key: str, min_rating: float | None = None) -> Dataset:
    """A registered data set by its key, or a CSV or Parquet file, or a folder with `interactions.csv`, by its path.

    Args:
        min_rating: for files by path with a rating column, the least rating that counts as an interaction;
            without it every row counts. Registered sets bring their own.

    Raises:
        SDiffError: unknown key, files that are missing or cannot be read, columns or values that are not right.
    """
    if key in REGISTRY:
        source = REGISTRY[key]
        if not source.available:
            missing = [name for name in source.files if not (source.path / name).is_file()]
            raise SDiffError(
                f"{key} is not here: put {', '.join(missing)} (from {source.origin}) into {source.path}, "
                f"or set SDIFF_DATA_DIR to the folder that contains {source.path.name}."
            )
        if min_rating is not None:
            raise SDiffError(f"{key} brings its own rating threshold: leave out --min-rating.")
        split, items = source.read(source.path)
        return Dataset(key, source.title, source.terms, split, items)
    path = Path(key)
    if path.is_dir() and (path / "interactions.csv").is_file():
        split, items = read_folder(path, min_rating)
    elif path.is_file():
        split, items = read_file(path, min_rating)
    elif path.suffix or len(path.parts) > 1:
        raise SDiffError(f"There is no file {path}, and no folder of that name with an interactions.csv.")
    else:
        raise SDiffError(
            f"Unknown data set {key!r}: choose one of {', '.join(REGISTRY)}, "
            "or give the path of a CSV or Parquet file with the columns user and item."
        )
    return Dataset(key, path.name, "your own data", split, items)


REGISTRY = {
    source.key: source
    for source in (
        Source(
            "demo",
            "Demo: synthetic films",
            "synthetic, Apache-2.0",
            "this repository",
            ("interactions.csv", "items.csv"),
            "",
            read_folder,
        ),
        Source(
            "ml-latest-small",
            "MovieLens latest small (2018)",
            MOVIELENS_TERMS.replace("no redistribution without permission", "redistribution under the same terms"),
            "https://grouplens.org/datasets/movielens/latest/",
            ("ratings.csv", "movies.csv"),
            "ml-latest-small",
            read_ml_latest_small,
        ),
        Source(
            "ml-1m-diffrec",
            "MovieLens 1M, DiffRec's split (the paper's)",
            MOVIELENS_TERMS,
            "https://github.com/YiyanXu/DiffRec",
            ("train_list.npy", "valid_list.npy", "test_list.npy"),
            "ml-1m_clean",
            read_lists,
        ),
        Source(
            "yelp2018",
            "Yelp 2018, LightGCN's split",
            "Yelp's dataset terms: academic, non-commercial use",
            "https://github.com/gusye1234/LightGCN-PyTorch",
            ("train_list.npy", "test_list.npy"),
            "yelp2018",
            read_lists,
        ),
    )
}
