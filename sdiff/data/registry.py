"""Registry of known data sets, by key: titles, terms, sources and readers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sdiff.base.errors import SDiffError, brief
from sdiff.base.paths import ASSETS, data_dir
from sdiff.data.download import Archive
from sdiff.data.interactions import Split
from sdiff.data.items import Items
from sdiff.data.own import own_table
from sdiff.data.published import Format, last_fm, movielens, movielens_100k, published_lists, steam
from sdiff.data.reading import Reading

LIGHTGCN = "https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/master/data"
RESEARCH = "research use, no redistribution without permission, no commercial use (GroupLens)"
SHARED = "research use, redistribution under the same terms, no commercial use (GroupLens)"


@dataclass(frozen=True)
class Source:
    """A registered data set.

    Attributes:
        key: its name for `load_dataset`.
        title: name for display.
        terms: license or terms of use.
        origin: web page of the data set.
        files: required files in the folder; "a or b" if either is enough.
        read: reads the files in the folder.
        folder: name of the folder in `data_dir()`, by default the key.
        counts: numbers of users, items and pairs after reading, if known.
        archives: downloads, if the data set can be downloaded without asking for permission.
        same_items_as: key of another split of the same data whose models also work for this one.
        license: identifier of the license on the Hugging Face Hub; empty for terms of their own.
        terms_at: web page of the terms, by default `origin`.
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
    archives: tuple[Archive, ...] = ()
    license: str = ""
    terms_at: str = ""

    @property
    def path(self) -> Path:
        """The folder of the files, which may not exist yet."""
        return ASSETS / self.key if self.embedded else data_dir() / (self.folder or self.key)

    @property
    def embedded(self) -> bool:
        """Whether the files are included. Those of the synthetic set always are."""
        return self.key == "demo" or (ASSETS / self.key).is_dir()

    @property
    def missing(self) -> list[str]:
        """Required files that are not in the folder."""
        return [file for file in self.files if not any((self.path / name).is_file() for name in file.split(" or "))]


def _grouplens(name: str, files: dict[str, str], megabytes: int, checksum: str = "") -> tuple[Archive, ...]:
    """A GroupLens archive. `files` maps paths in it to file names; `megabytes` limits the download."""
    return (Archive(f"https://files.grouplens.org/datasets/{name}.zip", megabytes * 10**6, files, checksum),)


def _movielens_archive(
    name: str, folder: str, names: tuple[str, ...], megabytes: int, md5: str = ""
) -> tuple[Archive, ...]:
    files = {f"{folder}/{file}": file for file in names}
    return _grouplens(f"movielens/{name}", files, megabytes, md5 and f"md5:{md5}")


def _demo(folder: Path) -> tuple[Split, Items]:
    split, items, _ = own_table(folder / "interactions.csv", Reading(items=str(folder / "items.csv")))
    return split, items


REGISTRY = {
    source.key: source
    for source in (
        Source(
            "ml-latest-small",
            "MovieLens latest small (2018)",
            SHARED,
            "https://grouplens.org/datasets/movielens/latest/",
            ("ratings.csv", "movies.csv"),
            movielens(core=5),  # a 10-core would be too small
            counts=(601, 1955, 41227),
            archives=_movielens_archive("ml-latest-small", "ml-latest-small", ("ratings.csv", "movies.csv"), 5),
        ),
        Source(
            "demo",
            "Demo: synthetic films",
            "synthetic, Apache-2.0",
            "this repository",
            ("interactions.csv", "items.csv"),
            _demo,
            counts=(900, 1185, 37374),
            license="apache-2.0",
        ),
        Source(
            "ml-100k",
            "MovieLens 100K",
            RESEARCH,
            "https://grouplens.org/datasets/movielens/100k/",
            ("u.data", "u.item"),
            movielens_100k,
            archives=_movielens_archive(
                "ml-100k", "ml-100k", ("u.data", "u.item"), 10, "0e33842e24a9c977be4e0107933c0723"
            ),
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
            archives=_movielens_archive(
                "ml-1m", "ml-1m", ("ratings.dat", "movies.dat"), 20, "c4d9eecfca2ab87c1945afe126590906"
            ),
        ),
        Source(
            "ml-10m",
            "MovieLens 10M",
            RESEARCH,
            "https://grouplens.org/datasets/movielens/10m/",
            ("ratings.dat", "movies.dat"),
            movielens(core=10, suffix=".dat"),
            archives=_movielens_archive(
                "ml-10m", "ml-10M100K", ("ratings.dat", "movies.dat"), 100, "ce571fd55effeba0271552578f2648bd"
            ),
        ),
        *(
            Source(
                f"ml-{n}m",
                f"MovieLens {n}M",
                RESEARCH,
                f"https://grouplens.org/datasets/movielens/{n}m/",
                ("ratings.csv", "movies.csv"),
                movielens(core=10),
                archives=_movielens_archive(f"ml-{n}m", f"ml-{n}m", ("ratings.csv", "movies.csv"), 400, md5),
            )
            for n, md5 in (
                (20, "cd245b17a1ae2cc31bb14903e1204af3"),
                (25, "6b51fb2759a8657d3bfcbfc42b592ada"),
                (32, "d472be332d4daa821edc399621853b57"),
            )
        ),
        Source(
            "ml-1m-diffrec",
            "MovieLens 1M, DiffRec's split (the paper's)",
            RESEARCH,
            "https://github.com/YiyanXu/DiffRec",
            ("train_list.npy", "valid_list.npy", "test_list.npy"),
            published_lists,
            folder="ml-1m_clean",
            counts=(5949, 2810, 571531),
            terms_at="https://grouplens.org/datasets/movielens/1m/",
        ),
        *(
            Source(
                f"{name}-diffrec",
                f"{title}, DiffRec's split (the paper's)",
                "none stated; those of the data's owner apply",
                "https://github.com/YiyanXu/DiffRec",
                ("train_list.npy", "valid_list.npy", "test_list.npy"),
                published_lists,
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
                published_lists,
                counts=counts,
                archives=tuple(
                    Archive(f"{LIGHTGCN}/{name}/{file}", 50 * 10**6, file) for file in ("train.txt", "test.txt")
                ),
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
            archives=_grouplens(
                "hetrec2011/hetrec2011-lastfm-2k", {n: n for n in ("user_artists.dat", "artists.dat")}, 10
            ),
        ),
        Source(
            "steam",
            "Steam: purchases of games",
            "CC0, according to its page",
            "https://www.kaggle.com/datasets/tamber/steam-video-games",
            ("steam-200k.csv",),
            steam,
            license="cc0-1.0",
        ),
    )
}
EMBEDDED = tuple(key for key, source in REGISTRY.items() if source.embedded)


def default_key() -> str:
    """The data set that the app opens: `$SDIFF_DATASET`, by default the first of those that are included.

    Raises:
        SDiffError: there is no such data set.
    """
    key = os.environ.get("SDIFF_DATASET") or EMBEDDED[0]
    if key not in REGISTRY:
        raise SDiffError(f"SDIFF_DATASET must be one of {', '.join(REGISTRY)}, not {brief(key)}.")
    return key
