import duckdb
import numpy as np
import pytest

from sdiff.datasets import REGISTRY, load_dataset
from sdiff.errors import SDiffError
from sdiff.readers import read_interactions
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


def test_a_csv_is_read_in_order_of_time_with_its_ids_as_text(tmp_path):
    path = write(tmp_path / "x.csv", "user,item,timestamp\n10,ä,3\n9,b,1\n10,b,1\n10,c,2\n")
    x = read_interactions(path)
    assert x.users.ids == ("9", "10") and x.items.ids == ("b", "c", "ä")
    assert [x.items.ids[i] for i in x.history(1)] == ["b", "c", "ä"]


def test_dates_are_times_too_and_column_names_may_be_the_usual_ones(tmp_path):
    path = write(tmp_path / "x.csv", "userId,movieId,date\n1,5,2024-02-01\n1,6,2024-01-01 10:00:00\n")
    x = read_interactions(path)
    assert [x.items.ids[i] for i in x.history(0)] == ["6", "5"]


def test_ratings_below_the_threshold_do_not_count(tmp_path):
    path = write(tmp_path / "x.csv", "user,item,rating\n1,a,5\n1,b,2\n2,a,4\n")
    assert len(read_interactions(path)) == 3
    assert read_interactions(path, min_rating=4).items.ids == ("a",)


def test_parquet_reads_like_csv(tmp_path):
    csv = write(tmp_path / "x.csv", "user,item,timestamp\n2,a,1\n1,b,2\n2,c,0\n")
    parquet = tmp_path / "x.parquet"
    duckdb.sql(f"COPY (SELECT * FROM read_csv('{csv}')) TO '{parquet}' (FORMAT parquet)")
    assert read_interactions(parquet).fingerprint == read_interactions(csv).fingerprint


def test_a_file_without_times_is_split_at_random_with_a_fixed_seed_and_one_with_times_by_time(tmp_path):
    rows = [(user, item) for user in range(5) for item in range(20)]
    plain = write(tmp_path / "plain.csv", "user,item\n" + "".join(f"{u},{i}\n" for u, i in rows))
    timed = write(tmp_path / "timed.csv", "user,item,ts\n" + "".join(f"{u},{i},{i}\n" for u, i in rows))
    assert load_dataset(str(plain)).split.fingerprint == load_dataset(str(plain)).split.fingerprint
    assert load_dataset(str(plain)).split.test.history(0).tolist() != list(range(16, 20))
    assert load_dataset(str(timed)).split.test.history(0).tolist() == list(range(16, 20))


def test_a_folder_like_the_demo_s_brings_its_titles(tmp_path):
    write(tmp_path / "interactions.csv", "user,item\n1,a\n1,b\n2,a\n")
    write(tmp_path / "items.csv", 'item,title,year,genres\na,"Heat, II",1995,Crime|Drama\n')
    items = load_dataset(str(tmp_path)).items
    assert items.title == ["Heat, II", "Item b"] and items.year == [1995, 0] and items.genres == ["Crime|Drama", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,thing\n1,2\n", "has no column item: its columns are user, thing"),
        ("a,b\n1,2\n", "no column user and no column item"),
        ("user,item\n", "has no rows"),
        ("user,item,rating\n1,a,5\n2,b,good\n", "row 2: rating is 'good', not a number"),
        ("user,item,timestamp\n1,a,yesterday\n", "row 1: timestamp is 'yesterday'"),
        ("user,item,rating\n1,a,nan\n", "row 1: rating is 'nan'"),
        ("user,item\n1,a\n,b\n", "row 2: user is 'empty', not an id"),
    ],
)
def test_a_faulty_file_is_answered_with_what_is_wrong_and_where(tmp_path, text, message):
    with pytest.raises(SDiffError, match=message):
        load_dataset(str(write(tmp_path / "x.csv", text)))


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02\xff" * 100])
@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_an_empty_or_binary_file_is_no_traceback(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SDiffError, match="x"):
        load_dataset(str(tmp_path / name))


def test_a_file_in_another_encoding_is_told_from_a_broken_one(tmp_path):
    (tmp_path / "x.csv").write_bytes("user,item\nJosé,1\n".encode("latin-1"))
    with pytest.raises(SDiffError, match="not utf-8 encoded"):
        load_dataset(str(tmp_path / "x.csv"))


def test_an_unknown_key_lists_the_known_ones():
    with pytest.raises(SDiffError, match="choose one of demo, ml-latest-small, ml-1m-diffrec"):
        load_dataset("ml-2m")


def test_a_set_that_is_not_here_says_which_files_go_where(tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_DATA_DIR", str(tmp_path))
    with pytest.raises(SDiffError, match=rf"put train_list.npy.*into {tmp_path}"):
        load_dataset("ml-1m-diffrec")
    assert not REGISTRY["ml-1m-diffrec"].available and REGISTRY["demo"].available


@pytest.mark.parametrize(
    "array",
    [np.zeros((3, 3), np.int32), np.zeros((3, 2)), np.full((2, 2), -1), np.array([["a", "b"]])],
    ids=["three columns", "floats", "negative", "text"],
)
def test_lists_that_are_no_pairs_of_indices_are_refused(tmp_path, monkeypatch, array):
    folder = tmp_path / "ml-1m_clean"
    folder.mkdir()
    for part in ("train", "valid", "test"):
        np.save(folder / f"{part}_list.npy", array)
    monkeypatch.setenv("SDIFF_DATA_DIR", str(tmp_path))
    with pytest.raises(SDiffError, match=r"train_list.npy must hold pairs"):
        load_dataset("ml-1m-diffrec")


def lightgcn_split(folder, items):
    """A folder of two lists: 30 users with the ten train items `items(user)` each, and one test item."""
    folder.mkdir()
    np.save(folder / "train_list.npy", np.array([[u, i] for u in range(30) for i in items(u)]))
    np.save(folder / "test_list.npy", np.array([[u, 29] for u in range(30)]))


def test_without_a_validation_list_a_tenth_of_train_is_held_out_the_same_every_time(tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_DATA_DIR", str(tmp_path))
    lightgcn_split(tmp_path / "yelp2018", lambda u: sorted((u + np.arange(10)) % 29))
    split = load_dataset("yelp2018").split
    assert split.train.lengths.tolist() == [9] * 30 and split.valid.lengths.tolist() == [1] * 30
    assert not set(split.train.history(4)) & set(split.valid.history(4))
    assert len(set(split.valid.indices)) > 10, "not the same place in every history"
    assert load_dataset("yelp2018").split.fingerprint == split.fingerprint
    assert not split.train.ordered, "a sorted list tells no order"


def test_a_list_that_is_not_sorted_is_in_the_users_order(tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_DATA_DIR", str(tmp_path))
    lightgcn_split(tmp_path / "yelp2018", lambda u: (u + np.arange(10)) % 29)
    assert load_dataset("yelp2018").split.train.ordered


def test_ml_1m_is_the_paper_s_with_original_ids_and_order():
    folder = real_data("ml-1m_clean")
    dataset = load_dataset("ml-1m-diffrec")
    split = dataset.split
    assert (len(split.users), len(split.items)) == (5949, 2810)  # Table 2
    assert len(split.train) + len(split.valid) + len(split.test) == 571_531
    titanic = split.items.index["1721"]
    assert (dataset.items.title[titanic], dataset.items.year[titanic]) == ("Titanic", 1997)
    listed = np.load(folder / "train_list.npy")
    assert split.train.history(3).tolist() == listed[listed[:, 0] == 3, 1].tolist()


def test_ml_latest_small_keeps_ratings_of_four_or_better_by_time():
    real_data("ml-latest-small")
    dataset = load_dataset("ml-latest-small")
    for part in (dataset.split.train, dataset.split.valid, dataset.split.test):
        assert part.timestamps is not None
    assert dataset.items.title[dataset.split.items.index["1"]] == "Toy Story"
    assert len(dataset.split.train) > 20_000
