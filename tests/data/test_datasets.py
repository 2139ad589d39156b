import sys
from types import ModuleType

import duckdb
import numpy as np
import pytest

from benchmarks import films
from sdiff.base.errors import SDiffError
from sdiff.base.paths import ASSETS
from sdiff.cli.main import main
from sdiff.data import datasets
from sdiff.data.datasets import load_dataset
from sdiff.data.interactions import Vocabulary
from sdiff.data.registry import REGISTRY
from sdiff.data.summary import summarize
from tests.conftest import real_data


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_the_demo_is_embedded_and_has_titles_years_and_genres():
    demo = load_dataset("demo")
    assert len(demo.split.users) == 900
    assert len(demo.items.title) == len(demo.items.year) == len(demo.items.genres) == len(demo.split.items)
    assert all(demo.items.title) and min(demo.items.year) >= 1950
    assert "synthetic" in demo.terms and "synthetic" in demo.title


def test_a_folder_like_the_demo_has_its_titles(tmp_path):
    write(tmp_path / "interactions.csv", "user,item\n1,a\n1,b\n2,a\n")
    write(tmp_path / "items.csv", 'item,title,year,genres\na,"Heat, II",1995,Crime|Drama\n')
    items = load_dataset(str(tmp_path)).items
    assert items.title == ["Heat, II", "Item b"] and items.year == [1995, 0] and items.genres == ["Crime|Drama", ""]


def test_the_options_of_a_file_are_part_of_its_key(tmp_path):
    path = write(tmp_path / "x.csv", "who,what,rating\n1,a,5\n1,b,2\n2,a,4\n")
    dataset = load_dataset(f"{path}?user=who&item=what&min_rating=4")
    assert dataset.split.items.ids == ("a",) and "?" in dataset.key
    assert dataset.report is not None and dataset.report.below_rating == 1


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("x.csv?colour=red", "there is no colour; the options are user, item"),
        ("x.csv?core=many", "core must be a number, not 'many'"),
        ("x.csv?split=weekly", "split must be one of chronological, leave-last-out, global, random"),
        ("x.csv?split=chronological", "needs a timestamp column"),
        ("x.csv?min_rating=4", "no column rating for min_rating"),
        ("demo?core=2", "has fixed options"),
        ("nowhere/x.csv", "There is no file or folder nowhere"),
    ],
)
def test_invalid_options_are_refused(tmp_path, monkeypatch, key, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.csv", "user,item\n1,a\n1,b\n2,a\n")
    with pytest.raises(SDiffError, match=message):
        load_dataset(key)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "x.csv", "user,item\n1,a\n1,b\n2,a\n")
    write(tmp_path / "titles.csv", "item,title\na,Heat\n")
    dataset = load_dataset("~/x.csv?items=~/titles.csv")
    assert dataset.items.title == ["Heat", "Item b"] and dataset.title == "x.csv"
    with pytest.raises(SDiffError, match="no home folder for '~nobody-has-this-name"):
        load_dataset("~nobody-has-this-name/x.csv")


def test_a_model_serves_a_data_set_with_its_items_in_another_order(split):
    demo = load_dataset("demo")
    other = Vocabulary(("new", *demo.split.items.ids[::-1]))
    moved = demo.served_by(other)
    assert moved.split.items is other and moved.items.title[0] == "Item new"
    assert moved.items.title[1:] == demo.items.title[::-1] and moved.items.extra.keys() == demo.items.extra.keys()
    for user in (0, 50):
        ids = [[s.items.ids[i] for i in s.test.history(user)] for s in (demo.split, moved.split)]
        assert ids[0] == ids[1]
    assert demo.served_by(demo.split.items) is demo
    with pytest.raises(SDiffError, match="does not know 1,185 of the 1,185 items"):
        demo.served_by(split.items)


def test_every_source_has_a_description_and_an_origin():
    for source in REGISTRY.values():
        assert source.title and source.terms and source.files
        assert source.origin.startswith("https://") or source.key == "demo"


def test_downloads_contain_the_files_that_are_read():
    for source in REGISTRY.values():
        had = {name for archive in source.archives for name in archive.names}
        assert not had or all(had & set(file.split(" or ")) for file in source.files), source.key
        assert all(archive.url.startswith("https://") for archive in source.archives)


def test_missing_files_are_downloaded_or_reported(tmp_path, monkeypatch):
    asked = []

    def fetched(archive, folder, progress):
        asked.append((archive.url, folder))
        folder.mkdir(exist_ok=True)
        (folder / archive.members).write_text("")

    monkeypatch.setenv("SDIFF_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(datasets, "fetch", fetched)
    with pytest.raises(SDiffError, match=r"sdiff datasets fetch gowalla, or put train.txt or train_list.npy"):
        load_dataset("gowalla")
    for _ in range(2):
        assert main(["datasets", "fetch", "gowalla"]) == 0
    assert [(url.rpartition("/")[2], folder.name) for url, folder in asked] == [
        ("train.txt", "gowalla"),
        ("test.txt", "gowalla"),
    ]
    with pytest.raises(
        SDiffError, match=r"cannot be downloaded automatically: get steam-200k.csv from https://www.kaggle"
    ):
        datasets.download("steam")
    with pytest.raises(SDiffError, match="Unknown data set 'ml-3m'"):
        datasets.download("ml-3m")


@pytest.mark.parametrize("key", ["demo", "ml-1m-diffrec", "yelp2018"])
def test_the_stated_counts_match_the_files(key):
    if key != "demo":
        real_data(REGISTRY[key].folder or key)
    split = load_dataset(key).split
    pairs = len(split.train) + len(split.valid) + len(split.test)
    assert REGISTRY[key].counts == (len(split.users), len(split.items), pairs)


def test_an_unknown_data_set_is_refused_with_the_known_keys():
    with pytest.raises(SDiffError, match="choose one of ml-latest-small, demo, ml-100k"):
        load_dataset("ml-2m")


def test_a_missing_data_set_says_which_files_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_DATA_DIR", str(tmp_path))
    with pytest.raises(SDiffError, match=rf"put train_list.npy.*into {tmp_path}"):
        load_dataset("ml-1m-diffrec")
    assert REGISTRY["ml-1m-diffrec"].missing and not REGISTRY["demo"].missing


@pytest.mark.parametrize(
    "array",
    [np.zeros((3, 3), np.int32), np.zeros((3, 2)), np.full((2, 2), -1), np.array([["a", "b"]])],
    ids=["three columns", "floats", "negative", "text"],
)
def test_lists_without_pairs_of_indices_are_refused(tmp_path, monkeypatch, array):
    folder = tmp_path / "ml-1m_clean"
    folder.mkdir()
    for part in ("train", "valid", "test"):
        np.save(folder / f"{part}_list.npy", array)
    monkeypatch.setenv("SDIFF_DATA_DIR", str(tmp_path))
    with pytest.raises(SDiffError, match=r"train_list.npy must hold pairs"):
        load_dataset("ml-1m-diffrec")


def lightgcn_split(folder, items):
    """A folder with two lists: 30 users with ten training items `items(user)` and one test item each."""
    folder.mkdir()
    np.save(folder / "train_list.npy", np.array([[u, i] for u in range(30) for i in items(u)]))
    np.save(folder / "test_list.npy", np.array([[u, 29] for u in range(30)]))


def test_without_a_validation_list_the_same_tenth_of_train_is_held_out(tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_DATA_DIR", str(tmp_path))
    lightgcn_split(tmp_path / "yelp2018", lambda u: sorted((u + np.arange(10)) % 29))
    split = load_dataset("yelp2018").split
    assert split.train.lengths.tolist() == [9] * 30 and split.valid.lengths.tolist() == [1] * 30
    assert not set(split.train.history(4)) & set(split.valid.history(4))
    assert len(set(split.valid.indices)) > 10, "not the same position in every history"
    assert load_dataset("yelp2018").split.fingerprint == split.fingerprint
    assert not split.train.ordered, "a sorted list has no order"


def test_an_unsorted_list_is_in_the_order_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_DATA_DIR", str(tmp_path))
    lightgcn_split(tmp_path / "yelp2018", lambda u: (u + np.arange(10)) % 29)
    assert load_dataset("yelp2018").split.train.ordered


def test_ml_1m_matches_the_paper_with_original_ids_and_order():
    folder = real_data("ml-1m_clean")
    dataset = load_dataset("ml-1m-diffrec")
    split = dataset.split
    assert (len(split.users), len(split.items)) == (5949, 2810)  # Table 2
    assert len(split.train) + len(split.valid) + len(split.test) == 571_531
    titanic = split.items.index["1721"]
    assert (dataset.items.title[titanic], dataset.items.year[titanic]) == ("Titanic", 1997)
    listed = np.load(folder / "train_list.npy")
    assert split.train.history(3).tolist() == listed[listed[:, 0] == 3, 1].tolist()


def test_ml_latest_small_keeps_ratings_of_at_least_four_by_time():
    real_data("ml-latest-small")
    dataset = load_dataset("ml-latest-small")
    for part in (dataset.split.train, dataset.split.valid, dataset.split.test):
        assert part.timestamps is not None
    assert dataset.items.title[dataset.split.items.index["1"]] == "Toy Story"
    assert len(dataset.split.train) > 20_000


def test_a_hub_data_set_is_loaded_once(tmp_path, monkeypatch):
    class Table:
        def to_parquet(self, path):
            duckdb.sql(f"COPY (SELECT 1 AS user, unnest(range(9)) AS item) TO '{path}' (FORMAT parquet)")

    asked = []
    hub = ModuleType("datasets")
    hub.load_dataset = lambda name, split: asked.append((name, split)) or Table()
    monkeypatch.setitem(sys.modules, "datasets", hub)
    monkeypatch.setenv("SDIFF_DATA_DIR", str(tmp_path))
    for _ in range(2):
        assert len(load_dataset("hf:somebody/plays?core=1").split.items) == 9
    assert asked == [("somebody/plays", "train")]
    monkeypatch.setattr(hub, "load_dataset", lambda name, split: 1 / 0)
    with pytest.raises(SDiffError, match="Cannot load nobody/plays from the Hub: division by zero"):
        load_dataset("hf:nobody/plays")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SDiffError, match="run pip install datasets"):
        load_dataset("hf:nobody/plays")


def test_a_summary_has_the_counts_of_the_data(tmp_path):
    rows = [(u, i, 86_400 * (u + i)) for u in range(4) for i in range(5) if i == 0 or u >= i]
    text = "user,item,timestamp\n" + "".join(f"{u},{i},{t}\n" for u, i, t in [*rows, rows[0]])
    summary = summarize(load_dataset(str(write(tmp_path / "x.csv", text))))
    assert (summary.users, summary.items, summary.interactions) == (4, 4, 10)
    assert summary.density == 10 / 16 and summary.median_history == 2.5
    assert summary.head_share == 0.4  # one of four items has four of ten
    assert summary.user_degrees == [1, 2, 1] and summary.item_degrees == [1, 2, 1]
    assert (summary.from_day, summary.to_day) == ("1970-01-01", "1970-01-07")
    assert list(summary.left_out.values()) == [0, 0, 1, 0] and summary.left_out["repeated"] == 1
    assert summarize(load_dataset("demo")).interactions == REGISTRY["demo"].counts[2]


def test_the_films_that_ship_are_those_of_the_full_files_and_carry_their_terms():
    folder = ASSETS / "ml-latest-small"
    small = load_dataset("ml-latest-small")
    assert (len(small.split.users), len(small.split.items)) == REGISTRY["ml-latest-small"].counts[:2]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2 << 20
    terms = " ".join((folder / "README.md").read_text(encoding="utf-8").replace(">", " ").split())
    assert (
        "may redistribute the data set, including transformations, so long as it is distributed under these same"
        in terms
    )
    full, items = REGISTRY["ml-latest-small"].read(real_data("ml-latest-small"))
    assert full.fingerprint == small.split.fingerprint and items.title == small.items.title


def test_the_same_bytes_are_made_again(tmp_path):
    films.make(real_data("ml-latest-small"), tmp_path)
    for name in ("ratings.csv", "movies.csv"):
        assert (tmp_path / name).read_bytes() == (ASSETS / "ml-latest-small" / name).read_bytes()


def test_a_data_set_is_a_name_or_a_path_and_nothing_else(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item\n1,a\n2,b\n")
    assert load_dataset(path).split.fingerprint == load_dataset(str(path)).split.fingerprint
    for wrong, message in ((None, "not None"), (5, "not 5"), ("", "is empty"), ("frame", "trained on a data frame")):
        with pytest.raises(SDiffError, match=message):
            load_dataset(wrong)
