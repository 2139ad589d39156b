"""Readers of the registered data sets: from a folder of files to a split and item metadata."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sdiff.data.interactions import Split
from sdiff.data.items import Items, read_items
from sdiff.data.lists import PARTS, own_lists
from sdiff.data.readers import read_interactions, split_of
from sdiff.data.reading import Reading
from sdiff.data.report import Report
from sdiff.data.tables.dialect import Layout

Format = Callable[[Path], tuple[Split, Items] | tuple[Split, Items, Report]]
GENRES = (
    "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
RATINGS = ("user", "item", "rating", "timestamp")


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
