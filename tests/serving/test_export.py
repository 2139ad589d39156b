import csv
import errno
import gzip
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from sdiff import Recommender, SDiffError
from sdiff.data import database
from sdiff.data.datasets import Dataset
from sdiff.data.interactions import Interactions, Split, Vocabulary
from sdiff.data.items import Items
from sdiff.method import diffusion
from sdiff.serving import export
from sdiff.serving.export import Rows, ranked, write
from sdiff.training.trainer import Trainer
from tests.conftest import CPU, SMALL, vocabulary

USERS = Vocabulary(("zoé", "007", 'a "b", c'))
ITEMS = Vocabulary(("=id", "02", "3", "4"))
TITLES = ['=HYPERLINK("x")', 'Love, "actually"\nagain', "Amélie", "+1 -1"]


@pytest.fixture(scope="module", params=["mse", "softmax"])
def model(split, request):
    trainer = Trainer(replace(SMALL, loss=request.param, epochs=10), split, 0, CPU)
    trainer.fit()
    return Recommender(trainer.checkpoint("tastes", "paper"), CPU)


@pytest.fixture(scope="module")
def world():
    none = Interactions.from_pairs(USERS, ITEMS, np.empty(0, np.int64), np.empty(0, np.int64))
    items = Items(TITLES, [0, 2003, 2001, 1999], ["@a|b", "c", "", "d"])
    return Dataset("world", "world", "own", Split(none, none, none), items)


def rows(*lists):
    """(user, items) pairs as rows; scores fall from 1."""
    users = np.concatenate([np.full(len(items), user) for user, items in lists])
    places = np.concatenate([np.arange(len(items)) for _, items in lists])
    item = np.concatenate([np.asarray(items, dtype=np.int64) for _, items in lists])
    return Rows(users, places + 1, item, (1 / (places + 1)).astype(np.float32))


def all_of(batches):
    parts = list(batches)
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}


def read(path):
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_every_list_equals_that_of_the_user_alone(model, split, noise, monkeypatch):
    monkeypatch.setattr(diffusion, "SCORES", 3 * len(split.items))  # computed in blocks of three users
    settings = {"noise": noise, "guidance": 0.5, "T": 5}
    found = all_of(ranked(model, split.train, 6, model.config.at_inference(settings), seed=4, batch_size=7))
    assert list(dict.fromkeys(found["user"])) == list(range(60))
    for user in range(60):
        history = [split.items.ids[i] for i in split.train.history(user)]
        alone = model.recommend(history, 6, seed=4, **settings)
        own = found["user"] == user
        assert found["item"][own].tolist() == alone.indices and found["rank"][own].tolist() == [1, 2, 3, 4, 5, 6]
        assert found["score"][own] == pytest.approx(alone.scores, abs=1e-5)


def test_only_unseen_items_are_listed_even_if_fewer_than_k(model):
    lengths = [30, 28, 0, 3, 30]
    user = np.repeat(np.arange(5), lengths)
    train = Interactions.from_pairs(vocabulary("v", 5), model.items, user, np.concatenate([*map(np.arange, lengths)]))
    found = all_of(ranked(model, train, 1000, model.config, seed=0, batch_size=2))
    assert found["user"].tolist() == [1] * 2 + [3] * 27  # a user without a history has no list
    for user in (1, 3):
        own = found["user"] == user
        assert sorted(found["item"][own]) == list(range(lengths[user], 30))
        assert found["rank"][own].tolist() == list(range(1, own.sum() + 1))
        assert (np.diff(found["score"][own]) <= 0).all() and np.isfinite(found["score"][own]).all()


def test_the_seed_determines_the_noise(model, split):
    def scores(seed):
        return all_of(ranked(model, split.train, 5, model.config, seed, batch_size=25))["score"].tolist()

    assert scores(1) == scores(1) != scores(2)


def test_k_must_be_at_least_one(model, split):
    with pytest.raises(SDiffError, match="k must be a whole number"):
        next(ranked(model, split.train, 0, model.config, seed=0))


@pytest.mark.parametrize("name", ["lists.parquet", "lists.csv", "lists.csv.gz", "LISTS.CSV"])
def test_a_file_has_user_and_item_ids_ordered_by_user_and_rank(name, world, tmp_path):
    path = tmp_path / name
    batches = [rows((2, [3, 0])), rows((0, [1]), (1, [])), rows((1, [2, 1, 0]))]
    assert write(path, iter(batches), world) == (6, 3)
    if path.suffix == ".parquet":
        cursor = duckdb.connect().execute("SELECT * FROM read_parquet(?)", [str(path)])
        found = [dict(zip([c[0] for c in cursor.description or ()], row, strict=True)) for row in cursor.fetchall()]
    else:
        found = [row | {"rank": int(row["rank"]), "score": float(row["score"])} for row in read(path)]
    assert list(found[0]) == ["user", "rank", "item", "score"]
    a, b, c = USERS.ids
    wanted = [(a, 1, "02"), (b, 1, "3"), (b, 2, "02"), (b, 3, "=id"), (c, 1, "4"), (c, 2, "=id")]
    assert [(row["user"], row["rank"], row["item"]) for row in found] == wanted
    assert [row["score"] for row in found] == pytest.approx([1 / rank for _, rank, _ in wanted])


def test_titles_are_exact_in_parquet_and_never_formulas_in_csv(world, tmp_path):
    for name in ("a.parquet", "a.csv"):
        assert write(tmp_path / name, [rows((0, [0, 1, 2, 3]))], world, titles=True) == (4, 1)
    exact = duckdb.connect().execute("SELECT title, year, genres FROM read_parquet(?)", [str(tmp_path / "a.parquet")])
    assert exact.fetchall() == list(zip(TITLES, [None, 2003, 2001, 1999], ["@a, b", "c", "", "d"], strict=True))
    found = read(tmp_path / "a.csv")
    assert [row["title"] for row in found] == ["'" + TITLES[0], *TITLES[1:3], "'" + TITLES[3]]
    assert [row["genres"] for row in found] == ["'@a, b", "c", "", "d"] and found[0]["year"] == ""
    assert found[0]["item"] == "=id"


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_cells_that_may_start_a_formula_get_an_apostrophe(first, world, tmp_path):
    items = Items([f"{first}1", "1=1", "a-b", ""], [0] * 4, [f"{first}1", "", "b", "c"])
    write(tmp_path / "a.csv", [rows((0, [0, 1, 2, 3]))], replace(world, items=items), titles=True)
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        found = [(row["title"], row["genres"]) for row in csv.DictReader(file)]
    assert found == [(f"'{first}1", f"'{first}1"), ("1=1", ""), ("a-b", "b"), ("", "c")]


def test_an_existing_file_is_replaced_atomically_and_an_empty_file_has_a_header(world, tmp_path):
    path = tmp_path / "lists.csv"
    write(path, [rows((0, [1, 2]))], world)
    assert write(path, [rows((0, []))], world) == (0, 0)
    assert path.read_text().strip() == "user,rank,item,score" and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    ("raised", "text", "seen"),
    [
        (KeyboardInterrupt, "", KeyboardInterrupt),
        (RuntimeError, "Query interrupted", KeyboardInterrupt),
        (RuntimeError, "scoring broke", RuntimeError),
    ],
)
def test_an_interrupted_export_leaves_only_the_old_file(raised, text, seen, world, tmp_path):
    def broken():
        yield rows((0, [1]))
        raise raised(text)

    path = tmp_path / "lists.csv"
    path.write_text("old")
    with pytest.raises(seen):
        write(path, broken(), world)
    assert path.read_text() == "old" and [*tmp_path.iterdir()] == [path]


def test_an_export_that_fails_at_the_end_leaves_only_the_old_file(world, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "lists.csv"
    path.write_text("old")
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(SDiffError, match=r"lists\.csv: No space left on device\.$"):
        write(path, [rows((0, [1]))], world)
    assert path.read_text() == "old" and [*tmp_path.iterdir()] == [path]


def test_an_unwritable_destination_is_reported_before_scoring(world, tmp_path):
    def scored():
        pytest.fail("scored first")
        yield

    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    for name, message in (
        ("lists.xlsx", "must end in .parquet, .csv, .csv.gz"),
        ("nowhere/lists.csv", "No such file or directory"),
        ("file/lists.csv", "Not a directory"),
        ("folder.csv", "is a folder"),
    ):
        with pytest.raises(SDiffError, match=message):
            write(tmp_path / name, scored(), world)


@pytest.fixture
def sixteen_cores(monkeypatch):
    """Simulates a machine on which DuckDB starts 16 threads."""
    connect = duckdb.connect

    def with_many_threads(path=":memory:", config=None):
        return connect(path, config={"threads": 16} | (config or {}))

    monkeypatch.setattr(duckdb, "connect", with_many_threads)


@pytest.mark.parametrize(("memory", "threads"), [("48MB", 1), ("512MB", 4), ("2GB", 16), ("9GB", 16)])
def test_a_database_limits_its_threads_to_its_memory(memory, threads, tmp_path, sixteen_cores):
    with database.connect(":memory:", memory, tmp_path) as con:
        assert con.execute("SELECT current_setting('threads')").fetchall() == [(threads,)]


def test_rows_beyond_the_memory_limit_are_spilled_to_disk(world, tmp_path, monkeypatch, sixteen_cores):
    monkeypatch.setattr(export, "MEMORY", "48MB")
    n, length, part = 80_000, 50, 8_000
    none = replace(world.split.train, users=vocabulary("u", n), indptr=np.zeros(n + 1, np.int64))
    many = replace(world, split=Split(none, none, none))

    def batches():
        for first in range(0, n, part):
            rank = np.tile(np.arange(1, length + 1), part)
            users = np.repeat(np.arange(first, first + part), length)
            yield Rows(users, rank, rank % 4, np.full(len(rank), 0.5, np.float32))

    assert write(tmp_path / "a.parquet", batches(), many) == (n * length, n)
    query = "SELECT count(*), count(DISTINCT user), sum(rank) FROM read_parquet(?)"
    found = duckdb.connect().execute(query, [str(tmp_path / "a.parquet")]).fetchall()
    assert found == [(n * length, n, n * length * (length + 1) // 2)]
