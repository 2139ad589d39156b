import csv

import numpy as np
import pytest

from benchmarks.synthetic import GENRES, MIN_ITEMS, synthesize, write
from tests.conftest import ROOT

DEMO = ROOT / "assets" / "demo"
FILES = ("items.csv", "interactions.csv")


@pytest.fixture(scope="module")
def world():
    return synthesize()


def read(folder):
    return [(folder / name).read_bytes() for name in FILES]


def test_the_committed_demo_files_are_generated_with_seed_0(world, tmp_path):
    write(world, tmp_path)
    assert read(tmp_path) == read(DEMO)
    assert sum(map(len, read(DEMO))) < 800_000


def test_the_seed_determines_the_generated_files(tmp_path):
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        write(synthesize(60, 80, seed), tmp_path / folder)
    assert read(tmp_path / "a") == read(tmp_path / "b")
    assert all(a != c for a, c in zip(read(tmp_path / "a"), read(tmp_path / "c"), strict=True))


def test_the_catalog_survives_csv(world):
    with open(DEMO / "items.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["title"] for row in rows] == list(world.title)
    assert [int(row["item"]) for row in rows] == list(range(1, len(rows) + 1))
    for rarity in (",", '"', "ñ", "É"):
        assert any(rarity in title for title in world.title)


def test_films_have_a_title_a_year_and_genres(world):
    assert all(world.title) and len(set(world.title)) == len(world.title)
    assert world.year.min() >= 1950 and world.year.max() <= 2024
    genres = [names.split("|") for names in world.genres]
    assert {len(names) for names in genres} == {1, 2, 3}
    assert all(len(set(names)) == len(names) for names in genres)
    assert {name for names in genres for name in names} == set(GENRES)


def test_a_tenth_of_the_films_gets_a_third_of_the_interactions(world):
    counts = np.sort(np.bincount(world.item, minlength=len(world.title) + 1))[::-1]
    assert counts[: len(world.title) // 10].sum() > len(world.item) / 3


@pytest.mark.parametrize(("n_users", "n_items", "seed"), [(900, 1200, 0), (60, 80, 0), (60, 80, 1), (5, MIN_ITEMS, 2)])
def test_generated_histories_are_valid(n_users, n_items, seed):
    world = synthesize(n_users, n_items, seed)
    assert len(world.title) == len(world.year) == len(world.genres) == n_items
    assert len(world.user) == len(world.item) == len(world.timestamp)
    assert np.array_equal(np.unique(world.user), np.arange(1, n_users + 1))
    assert np.bincount(world.user)[1:].min() >= 20
    assert world.item.min() >= 1 and world.item.max() <= n_items
    assert len(set(zip(world.user.tolist(), world.item.tolist(), strict=True))) == len(world.user)
    assert np.array_equal(np.lexsort((world.timestamp, world.user)), np.arange(len(world.user)))


def test_nobody_watches_before_the_release_or_out_of_range(world):
    viewed = world.timestamp.astype("datetime64[s]").astype("datetime64[Y]").astype(int) + 1970
    assert viewed.min() >= 2019 and viewed.max() <= 2024
    assert (world.year[world.item - 1] <= viewed).all()


def test_series_are_watched_in_order(world):
    place = {pair: i for i, pair in enumerate(zip(world.user.tolist(), world.item.tolist(), strict=True))}
    sequels = {i for i, title in enumerate(world.title, start=1) if title.endswith((" II", " III", " IV"))}
    viewings = [(user, item) for user, item in place if item in sequels]
    assert len(viewings) > 500
    assert all(place[user, item - 1] < place[user, item] for user, item in viewings)


def test_too_small_a_data_set_is_refused():
    with pytest.raises(ValueError, match="at least"):
        synthesize(10, MIN_ITEMS - 1)
