"""Folders with the parts of a split, as tables or as lists, and folders with the pieces of one table."""

import gzip
import os

import duckdb
import numpy as np
import pytest

from sdiff.base.errors import SDiffError
from sdiff.data.datasets import load_dataset
from tests.data.test_files import write
from tests.data.test_readers import pairs


def held_out(split):
    return {user: items for user, items in pairs(split.test).items() if items}


@pytest.mark.parametrize("rows", ["1 7 5\n1 15 4\n2 3 5\n", "1\t7\t5\t100\n2\t15\t4\t101\n1\t3\t5\t102\n"])
def test_ratings_without_a_header_are_not_lists(tmp_path, rows):
    write(tmp_path / "train.txt", rows)
    write(tmp_path / "test.txt", rows.splitlines()[0].replace("7", "9") + "\n")
    with pytest.raises(SDiffError, match=r"seems to have no header.*names=user,item,rating"):
        load_dataset(str(tmp_path))
    names = "user,item,rating,timestamp"[: None if "\t" in rows else 16]
    split = load_dataset(f"{tmp_path}?names={names}").split
    assert set(split.items.ids) == {"7", "15", "3", "9"} and held_out(split) == {"1": ["9"]}


@pytest.mark.parametrize("train", ["0 3 1\n1 0 2\n", "0 3\n0 1\n1 0\n1 2\n", "0 3\n1 0 2\n0 1\n"])
def test_lists_of_equal_length_and_pairs_are_lists(tmp_path, train):
    write(tmp_path / "train.txt", train)
    write(tmp_path / "test.txt", "0 2\n1 3\n")
    split = load_dataset(str(tmp_path)).split
    assert held_out(split) == {"0": ["2"], "1": ["3"]} and len(split.train) + len(split.valid) == 4


@pytest.mark.parametrize(
    "names",
    [
        ("train.txt", "val.txt", "test.txt"),
        ("ml.train.txt", "ml.dev.txt", "ml.test.txt"),
        ("x.train.txt", "", "test.txt"),
    ],
)
@pytest.mark.parametrize("suffix", [".txt", ".npy"])
def test_lists_may_have_any_names_of_the_parts_of_a_split(tmp_path, names, suffix):
    for name, row in zip(names, [[0, 1, 2, 3], [0, 4], [0, 5]], strict=True):
        path = tmp_path / name.replace(".txt", suffix)
        if name and suffix == ".npy":
            np.save(path, np.array([[row[0], item] for item in row[1:]]))
        elif name:
            write(path, " ".join(map(str, row)) + "\n")
    split = load_dataset(str(tmp_path)).split
    assert held_out(split) == {"0": ["5"]}
    if names[1]:
        assert pairs(split.valid) == {"0": ["4"]}


@pytest.fixture
def lists(tmp_path):
    write(tmp_path / "train.txt", "0 1 2 3\n1 2 3 0\n")
    write(tmp_path / "test.txt", "0 0\n1 1\n")
    return tmp_path


@pytest.mark.parametrize("option", ["core=5", "min_rating=4", "split=random", "user=x", "timestamp=-", "items_id=x"])
def test_options_without_effect_on_lists_are_refused(lists, option):
    with pytest.raises(SDiffError, match=f"a split of lists, without columns: leave out the options {option[:4]}"):
        load_dataset(f"{lists}?{option}")
    assert load_dataset(f"{lists}?skip_faulty=true&items=-").split.items.ids == ("0", "1", "2", "3")


def test_lists_have_the_titles_of_a_table_of_items(lists):
    write(lists / "items.csv", "item,title\n0,Heat\n3,Up\n")
    assert load_dataset(str(lists)).items.title == ["Heat", "Item 1", "Item 2", "Up"]
    assert load_dataset(f"{lists}?items=-").items.titles is None
    other = write(lists / "films.csv", "number,label\n1,Alien\n")
    options = f"items={other}&items_id=number&items_title=label"
    assert load_dataset(f"{lists}?{options}").items.title[1] == "Alien"


@pytest.mark.parametrize("empty", [b"", b"\n", gzip.compress(b"")], ids=["empty", "a line", "packed"])
@pytest.mark.parametrize("place", [0, 1])
def test_empty_pieces_of_a_table_are_skipped(tmp_path, empty, place):
    suffix = ".csv.gz" if len(empty) > 1 else ".csv"
    text = b"user,item\n1,a\n2,b\n"
    write(tmp_path / f"part-0000{place}{suffix}", empty)
    write(tmp_path / f"part-0000{1 - place}{suffix}", gzip.compress(text) if suffix == ".csv.gz" else text)
    assert load_dataset(str(tmp_path)).report.rows == 2
    write(tmp_path / f"part-0000{1 - place}{suffix}", empty)
    with pytest.raises(SDiffError, match="is empty"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_the_name_of_a_folder_is_no_column(tmp_path, suffix):
    path = tmp_path / "user=me" / f"log{suffix}"
    path.parent.mkdir()
    form = {".parquet": "parquet", ".csv": "csv, HEADER", ".jsonl": "json"}[suffix]
    duckdb.sql(f"COPY (SELECT unnest([1, 2]) AS user, unnest(['a', 'b']) AS item) TO '{path}' (FORMAT {form})")
    assert pairs(load_dataset(str(path)).split.merged().train) == {"1": ["a"], "2": ["b"]}


def test_a_pipe_among_the_parts_of_a_table_is_refused(tmp_path):
    (tmp_path / "part-0.csv").write_text("user,item\n1,a\n")
    os.mkfifo(tmp_path / "part-1.csv")
    with pytest.raises(SDiffError, match=r"part-1\.csv: it is a pipe"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize("parts", [("train",), ("interactions",), ("train", "test"), ("train", "validation", "test")])
def test_shards_of_a_table_or_of_the_parts_of_a_split_are_read_as_one(tmp_path, parts):
    rows = [(f"u{u}", f"i{(u + n) % 12}") for u in range(20) for n in range(len(parts) * 4)]
    for part, name in enumerate(parts):
        own = [row for n, row in enumerate(rows) if n // 4 % len(parts) == part]
        for shard in range(3):
            lines = "".join(f"{user},{item}\n" for user, item in own[shard::3])
            (tmp_path / f"{name}-0000{shard}-of-00003.csv").write_text("user,item\n" + lines)
    split = load_dataset(str(tmp_path) if len(parts) > 1 else f"{tmp_path}?core=1").split
    assert {*split.known().rows * 12 + split.known().indices} == {
        split.users.index[user] * 12 + split.items.index[item] for user, item in rows
    }
    if len(parts) > 1:
        assert len(split.test) == 80
    (tmp_path / f"{parts[-1]}-00001-of-00003.csv").unlink()
    with pytest.raises(SDiffError, match=f"must have exactly 3 shards of {parts[-1]}.csv, but has 2"):
        load_dataset(str(tmp_path))


RATINGS, TAGS = "userId,movieId,rating,timestamp\n1,7,4,10\n1,8,3,11\n2,7,5,12\n", "userId,movieId,tag\n1,7,fun\n"
MOVIES = "movieId,title,genres\n7,Heat (1995),Crime\n8,Alien (1979),Horror\n"


def test_tables_of_a_folder_are_recognised_by_their_columns(tmp_path):
    files = {"ratings.csv": RATINGS, "tags.csv": TAGS, "movies.csv": MOVIES, "links.csv": "movieId,imdbId\n7,1\n"}
    for name, text in (files | {"README.txt": "About the data.\n\nuser: a person\n"}).items():
        write(tmp_path / name, text)
    dataset = load_dataset(str(tmp_path))
    assert pairs(dataset.split.known())["1"] == ["7", "8"] and dataset.items.title == ["Heat", "Alien"]
    assert dataset.report
    assert dataset.report.notes == (
        "Read from ratings.csv, with titles from movies.csv; not used: README.txt, links.csv, tags.csv.",
    )
    untitled = load_dataset(f"{tmp_path}?items=-")
    assert untitled.items.title == ["Item 7", "Item 8"] and "titles" not in untitled.report.notes[0]


def test_recbole_folders_are_read(tmp_path):
    write(tmp_path / "ml.inter", "user_id:token\titem_id:token\ttimestamp:float\n1\t7\t10\n2\t8\t11\n2\t7\t12\n")
    write(tmp_path / "ml.item", "item_id:token\tmovie_title:token_seq\n7\tHeat\n8\tAlien\n")
    write(tmp_path / "ml.user", "user_id:token\tage:token\n1\t20\n")
    assert load_dataset(str(tmp_path)).items.title == ["Heat", "Alien"]


USERS = "id,name\n7,Alice\n8,Bob\n"


@pytest.mark.parametrize(
    ("files", "titles", "note"),
    [
        ({"ratings.csv": RATINGS, "users.csv": USERS}, ["Item 7", "Item 8"], "; not used: users.csv."),
        (
            {"ratings.csv": RATINGS, "users.csv": USERS, "movies.csv": "id,title\n7,Heat\n8,Alien\n"},
            ["Heat", "Alien"],
            ", with titles from movies.csv; not used: users.csv.",
        ),
        (
            {"ratings.csv": RATINGS, "users.csv": "user_id,name,points\n1,Alice,3\n2,Bob,4\n"},
            ["Item 7", "Item 8"],
            "; not used: users.csv.",
        ),
        (
            {"ratings-0-of-2.csv": RATINGS, "ratings-1-of-2.csv": RATINGS, "tags.csv": TAGS},
            ["Item 7", "Item 8"],
            "; not used: tags.csv.",
        ),
        (
            {"ratings.csv": RATINGS, "tags-0-of-2.csv": TAGS, "tags-1-of-2.csv": TAGS},
            ["Item 7", "Item 8"],
            "; not used: tags.csv.",
        ),
        (
            {"ratings.csv": RATINGS, "movies-0-of-2.csv": MOVIES, "movies-1-of-2.csv": MOVIES},
            ["Heat", "Alien"],
            ", with titles from movies.csv.",
        ),
        (
            {"ratings.csv": RATINGS, "items.csv": MOVIES, "odd.csv": "a,a\n1,2\n"},
            ["Heat", "Alien"],
            ", with titles from items.csv; not used: odd.csv (",
        ),
        ({"ratings.csv": RATINGS, "ratings.csv.bak": RATINGS}, ["Item 7", "Item 8"], ""),
    ],
)
def test_tables_of_users_and_shards_are_not_mistaken(tmp_path, files, titles, note):
    for name, text in files.items():
        write(tmp_path / name, text)
    dataset = load_dataset(str(tmp_path))
    assert dataset.items.title == titles and dataset.report
    assert not note or dataset.report.notes[0].startswith(f"Read from ratings.csv{note}")


@pytest.mark.parametrize(
    ("files", "query", "reason"),
    [
        (
            {"a.csv": "user,item\n1,2\n", "b.csv": "user,item\n1,3\n"},
            "",
            r"several tables of interactions, a\.csv, b\.csv: give one",
        ),
        ({"movies.csv": MOVIES, "README": "x"}, "", r"with README, movies\.csv, contains no table of users and items"),
        ({"movies.csv": MOVIES}, "", r"movies\.csv has no column user"),
        (
            {"u.data": "1\t7\t5\t874965758\n2\t8\t3\t874965759\n", "README": "x"},
            "",
            r"u\.data\?names=user,item,rating,timestamp",
        ),
        (
            {"ratings.csv": "user,item,item\n1,2,3\n", "tags.csv": TAGS},
            "",
            "more than one column 'item'.*give it alone",
        ),
        ({"a.csv": "user,item\n1,2\n", "b.csv": "user,item\n1,3\n"}, "?names=user,item", "has several tables"),
        ({"a.csv": "user,item\n1,2\n", "b.csv": "user,item\n1,3\n"}, "?user=who", "contains no table of users and"),
        ({f"{n}.csv": "user,item\n1,2\n" for n in range(40)}, "", "has 40 files"),
    ],
)
def test_a_folder_without_one_table_of_interactions_says_what_is_there(tmp_path, files, query, reason):
    for name, text in files.items():
        write(tmp_path / name, text)
    with pytest.raises(SDiffError, match=reason):
        load_dataset(f"{tmp_path}{query}")


def test_an_option_names_the_table_of_a_folder(tmp_path):
    write(tmp_path / "a.csv", "who;item\n1;2\n")
    write(tmp_path / "b.csv", "user;item\n1;3\n")
    assert pairs(load_dataset(f"{tmp_path}?user=who&delimiter=;").split.known()) == {"1": ["2"]}


def test_backups_of_pieces_and_shards_are_left_out(tmp_path):
    for name in ("part-0.csv", "part-0.csv.bak"):
        write(tmp_path / name, "user,item\n1,2\n" if name == "part-0.csv" else "user,item\n9,9\n")
    assert pairs(load_dataset(str(tmp_path)).split.known()) == {"1": ["2"]}


def test_shards_may_be_json_arrays(tmp_path):
    for n, (user, item) in enumerate([("a", "x"), ("b", "y")]):
        write(tmp_path / f"log-{n:05}-of-00002.json", f'[{{"user": "{user}", "item": "{item}"}}]')
    assert pairs(load_dataset(str(tmp_path)).split.known()) == {"a": ["x"], "b": ["y"]}


@pytest.mark.parametrize(
    ("files", "titles", "note"),
    [
        ({"ratings.csv": RATINGS, "config.json": '{"user_id": "str", "item_id": "str", "rating": "f"}'}, "Item 7", ""),
        ({"ratings.csv": RATINGS, "genres.csv": "id,name\n7,Comedy\n8,Drama\n"}, "Item 7", "not used: genres.csv"),
        ({"ratings.csv": RATINGS, "mapping.csv": "id,name\n7,a\n8,b\n"}, "Item 7", "not used: mapping.csv"),
        (
            {"ratings.csv": RATINGS, "series_info.csv": "id,title\n7,Heat\n8,Up\n"},
            "Heat",
            "titles from series_info.csv",
        ),
        ({"ratings.csv": RATINGS, "reviews.csv": "item_id,title\n7,wow\n8,bad\n"}, "Item 7", "not used: reviews.csv"),
        ({"ratings.csv": RATINGS, "films.csv": "key,label\n7,Heat\n8,Alien\n"}, "Heat", "with titles from films.csv"),
        (
            {"ratings.csv": RATINGS, "movies.csv": MOVIES, "about.csv": "movieId,description\n7,long\n8,longer\n"},
            "Heat",
            "with titles from movies.csv",
        ),
        (
            {
                "ratings.csv": RATINGS,
                "movies.csv": "id,title\n7,Up\n8,Her\n",
                "links.csv": "movieId,tmdbId\n7,8\n8,9\n",
            },
            "Up",
            "links.csv seems to translate between their ids",
        ),
        ({"interactions.csv": RATINGS, "products.csv": MOVIES}, "Item 7", "Not used: products.csv."),
    ],
)
def test_titles_are_those_of_items_or_it_is_noted(tmp_path, files, titles, note):
    for name, text in files.items():
        write(tmp_path / name, text)
    query = "?items_id=key&items_title=label" if "films.csv" in files else ""
    dataset = load_dataset(f"{tmp_path}{query}")
    assert len(dataset.split.known()) == 3 and dataset.items.title[0] == titles and dataset.report
    assert note in " ".join(dataset.report.notes)
