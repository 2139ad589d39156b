"""Data sets: a registry of known ones, and anybody's own by its path. A set is read into a `Dataset`."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from sdiff.errors import SDiffError
from sdiff.formats import Format, last_fm, lists, movielens, movielens_100k, steam
from sdiff.hub import hub_table
from sdiff.interactions import Split, Vocabulary
from sdiff.items import Items, read_items, untitled
from sdiff.readers import Reading, Report, read_interactions, split_of
from sdiff.spectrum import cache_dir

ASSETS = Path(__file__).parent.parent / "assets"
RESEARCH = "research use, no redistribution without permission, no commercial use (GroupLens)"
SHARED = "research use, redistribution under the same terms, no commercial use (GroupLens)"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory: its split, its items' metadata, where it came from, and what became of its rows."""

    key: str
    title: str
    terms: str
    split: Split
    items: Items
    report: Report | None = None

    def served_by(self, items: Vocabulary) -> Dataset:
        """This set over a model's items: the raw set, say, in the order of a published split of it.

        Raises:
            SDiffError: the model does not know some of the items.
        """
        if items.fingerprint == self.split.items.fingerprint:
            return self
        if unknown := [id for id in self.split.items.ids if id not in items]:
            raise SDiffError(
                f"The model does not know {len(unknown):,} of the {len(self.split.items):,} items of {self.key}, such "
                f"as {unknown[0]}: it was trained on another set. Train one on {self.key}."
            )
        return replace(self, split=self.split.among(items), items=self.items.among(self.split.items, items))


@dataclass(frozen=True)
class Source:
    """A registered data set: what it is, under which terms, where it lies and how it is read.

    Attributes:
        files: what has to be in the folder; "a or b" where either will do.
        counts: users, items and pairs as it is read, where they were measured here or are published.
        same_items_as: key of another split of the same data, whose models serve this one as well.
    """

    key: str
    title: str
    terms: str
    origin: str
    files: tuple[str, ...]
    read: Format
    folder: str = ""
    counts: tuple[int, int, int] | None = None
    same_items_as: str = ""

    @property
    def path(self) -> Path:
        """The folder that holds (or should hold) the files."""
        return ASSETS / "demo" if self.key == "demo" else data_dir() / (self.folder or self.key)

    @property
    def missing(self) -> list[str]:
        return [file for file in self.files if not any((self.path / name).is_file() for name in file.split(" or "))]


def data_dir() -> Path:
    """Where data sets are looked for: `$SDIFF_DATA_DIR`, else `data` in the cache folder."""
    return Path(os.environ.get("SDIFF_DATA_DIR") or cache_dir() / "data")


def load_dataset(key: str) -> Dataset:
    """A registered data set by its key, or anybody's own by the path of a table file, or of a folder with a table
    `interactions` and perhaps one `items`, or `hf:` and its name on the Hugging Face Hub. A path may be followed by
    options: `ratings.csv?min_rating=4&core=5`.

    Raises:
        SDiffError: unknown key, files that are missing or cannot be read, columns or values that are not right.
    """
    if key in REGISTRY:
        source = REGISTRY[key]
        if source.missing:
            raise SDiffError(
                f"{key} is not here: put {', '.join(source.missing)} (from {source.origin}) into {source.path}, "
                f"or set SDIFF_DATA_DIR to the folder that contains {source.path.name}."
            )
        split, items = source.read(source.path)
        return Dataset(key, source.title, source.terms, split, items)
    name, _, query = key.partition("?")
    if name in REGISTRY:
        raise SDiffError(f"{name} brings its own options: leave out ?{query}.")
    reading = Reading.parse(query)
    if name.startswith("hf:"):
        table = hub_table(name.removeprefix("hf:"), data_dir() / "hub")
        return _own(key, name.removeprefix("hf:"), table, reading, "as its page on the Hugging Face Hub says")
    path = Path(name)
    if path.is_dir():
        tables = {role: sorted(path.glob(f"{role}.*")) for role in ("interactions", "items")}
        if not tables["interactions"]:
            raise SDiffError(f"{path} holds no table of interactions, such as interactions.csv.")
        described = reading.items or next(map(str, tables["items"]), "")
        return _own(key, path.name, tables["interactions"][0], replace(reading, items=described))
    if path.is_file():
        return _own(key, path.name, path, reading)
    if path.suffix or len(path.parts) > 1:
        raise SDiffError(f"There is no file {path}, and no folder of that name.")
    raise SDiffError(
        f"Unknown data set {name!r}: choose one of {', '.join(REGISTRY)}, "
        "or give the path of a table (CSV, TSV, JSON lines, Parquet) with the columns user and item."
    )


def _own(key: str, title: str, path: Path, reading: Reading, terms: str = "your own data") -> Dataset:
    interactions, report = read_interactions(path, reading)
    beside = path.with_suffix(".item")  # RecBole's
    described = reading.items or (str(beside) if path.suffix == ".inter" and beside.is_file() else "")
    items = read_items(Path(described), interactions.items) if described else untitled(interactions.items)
    return Dataset(key, title, terms, split_of(interactions, reading), items, report)


def _demo(folder: Path) -> tuple[Split, Items]:
    whole = _own("demo", "", folder / "interactions.csv", Reading(items=str(folder / "items.csv")))
    return whole.split, whole.items


REGISTRY = {
    source.key: source
    for source in (
        Source(
            "demo",
            "Demo: synthetic films",
            "synthetic, Apache-2.0",
            "this repository",
            ("interactions.csv", "items.csv"),
            _demo,
            counts=(900, 1185, 37374),
        ),
        Source(
            "ml-100k",
            "MovieLens 100K",
            RESEARCH,
            "https://grouplens.org/datasets/movielens/100k/",
            ("u.data", "u.item"),
            movielens_100k,
        ),
        Source(
            "ml-latest-small",
            "MovieLens latest small (2018)",
            SHARED,
            "https://grouplens.org/datasets/movielens/latest/",
            ("ratings.csv", "movies.csv"),
            movielens(core=5),  # 10 would leave too little of it
        ),
        Source(
            "ml-1m",
            "MovieLens 1M",
            RESEARCH,
            "https://grouplens.org/datasets/movielens/1m/",
            ("ratings.dat", "movies.dat"),
            movielens(core=10, suffix=".dat", encoding="latin-1"),
            counts=(5949, 2810, 571531),
            same_items_as="ml-1m-diffrec",
        ),
        Source(
            "ml-10m",
            "MovieLens 10M",
            RESEARCH,
            "https://grouplens.org/datasets/movielens/10m/",
            ("ratings.dat", "movies.dat"),
            movielens(core=10, suffix=".dat"),
        ),
        *(
            Source(
                f"ml-{n}m",
                f"MovieLens {n}M",
                RESEARCH,
                f"https://grouplens.org/datasets/movielens/{n}m/",
                ("ratings.csv", "movies.csv"),
                movielens(core=10),
            )
            for n in (20, 25, 32)
        ),
        Source(
            "ml-1m-diffrec",
            "MovieLens 1M, DiffRec's split (the paper's)",
            RESEARCH,
            "https://github.com/YiyanXu/DiffRec",
            ("train_list.npy", "valid_list.npy", "test_list.npy"),
            lists,
            folder="ml-1m_clean",
            counts=(5949, 2810, 571531),
        ),
        *(
            Source(
                f"{name}-diffrec",
                f"{title}, DiffRec's split (the paper's)",
                "none stated; those of the data's owner apply",
                "https://github.com/YiyanXu/DiffRec",
                ("train_list.npy", "valid_list.npy", "test_list.npy"),
                lists,
                folder=f"{name}_clean",
                counts=counts,
            )
            for name, title, counts in (
                ("yelp", "Yelp", (54574, 34395, 1402736)),
                ("amazon-book", "Amazon-Book", (108822, 94949, 3146256)),
            )
        ),
        *(
            Source(
                name,
                f"{title}, LightGCN's split",
                "none stated; those of the data's owner apply",
                "https://github.com/gusye1234/LightGCN-PyTorch",
                ("train.txt or train_list.npy", "test.txt or test_list.npy"),
                lists,
                counts=counts,
            )
            for name, title, counts in (
                ("gowalla", "Gowalla", (29858, 40981, 1027370)),
                ("yelp2018", "Yelp 2018", (31668, 38048, 1561406)),
                ("amazon-book", "Amazon-Book", (52643, 91599, 2984108)),
            )
        ),
        Source(
            "lastfm",
            "Last.fm, HetRec 2011: artists",
            "research and other non-commercial use (Last.fm, GroupLens)",
            "https://grouplens.org/datasets/hetrec-2011/",
            ("user_artists.dat", "artists.dat"),
            last_fm,
        ),
        Source(
            "steam",
            "Steam: purchases of games",
            "CC0, by its page",
            "https://www.kaggle.com/datasets/tamber/steam-video-games",
            ("steam-200k.csv",),
            steam,
        ),
    )
}
