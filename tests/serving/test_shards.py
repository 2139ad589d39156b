"""Shards equal a single file, whichever process writes them and when."""

import json
from dataclasses import replace

import duckdb
import pytest

from sdiff import Recommender, SDiffError
from sdiff.base.distributed import ALONE, Ranks
from sdiff.data.datasets import Dataset
from sdiff.data.interactions import Split
from sdiff.data.items import Items
from sdiff.serving import shards
from sdiff.serving.export import ranked, write
from sdiff.training.trainer import Trainer
from tests.conftest import CPU, SMALL


@pytest.fixture(scope="module")
def model(split):
    trainer = Trainer(replace(SMALL, epochs=5), split, 0, CPU)
    trainer.fit()
    return Recommender(trainer.checkpoint("tastes", "paper"), CPU)


@pytest.fixture(scope="module")
def dataset(split):
    return Dataset("tastes", "tastes", "own", split, Items([f"film {i}" for i in range(30)], [0] * 30, [""] * 30))


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "BATCH", 7)
    monkeypatch.setattr(shards, "BATCHES", 2)


@pytest.fixture
def make(model, dataset, tmp_path):
    def made(ranks=ALONE, folder="lists", k=5, dataset=dataset, seed=3):
        return shards.write_shards(tmp_path / folder, model, dataset, k, model.config, seed, True, ranks)

    return made


def rows(path):
    return duckdb.connect().execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchall()


@pytest.fixture
def single(model, dataset, tmp_path):
    write(tmp_path / "one.parquet", ranked(model, dataset.split.known(), 5, model.config, 3, 7), dataset, titles=True)
    return rows(tmp_path / "one.parquet")


def test_a_folder_of_shards_equals_the_single_file_with_the_same_noise(make, single, model, tmp_path):
    assert model.config.noise
    assert make() == (300, 60)
    assert rows(tmp_path / "lists" / "*.parquet") == single
    assert [path.name for path in sorted((tmp_path / "lists").iterdir())] == [
        "lists.json",
        *(f"part-{i:05d}.parquet" for i in range(5)),
    ]


def test_each_rank_writes_its_own_shards_and_the_first_counts_all(make, single, tmp_path):
    meanwhile = [lambda: None, lambda: make(Ranks(1, 2))]
    made = []

    class First(Ranks):
        def wait(self):
            made.append(len(list((tmp_path / "lists").glob("*.parquet"))))
            meanwhile.pop(0)()

    assert make(First(0, 2)) == (300, 60)
    assert made == [0, 3], "the first, third and fifth of five shards"
    assert rows(tmp_path / "lists" / "*.parquet") == single


def test_complete_shards_are_kept_and_partial_ones_are_removed(make, single, tmp_path):
    make()
    folder = tmp_path / "lists"
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    (folder / "part-00001.parquet").unlink()
    (folder / ".sdiff-killed").mkdir()
    (folder / ".sdiff-killed" / "lists.parquet").write_text("half")
    assert make() == (300, 60) and rows(folder / "*.parquet") == single
    changed = {path.name for path in folder.glob("*.parquet") if path.stat().st_mtime_ns != times[path.name]}
    assert changed == {"part-00001.parquet"} and not list(folder.glob(".*"))


def test_a_folder_with_other_content_is_refused_and_unchanged(make, tmp_path):
    make()
    with pytest.raises(SDiffError, match="checkpoint, data set, parts, k, seed or settings: choose another --out"):
        make(k=6)
    (tmp_path / "lists" / "lists.json").write_text("half")
    with pytest.raises(SDiffError, match="damaged"):
        make()
    (tmp_path / "lists" / "lists.json").unlink()
    with pytest.raises(SDiffError, match="other Parquet files"):
        make()
    (tmp_path / "file").touch()
    with pytest.raises(SDiffError, match="Cannot write to"):
        make(folder="file")


@pytest.mark.parametrize("wrong", [{"k": 0}, {"seed": -1}], ids=str)
def test_an_invalid_number_leaves_no_folder_behind(make, tmp_path, wrong):
    with pytest.raises(SDiffError, match="must be a whole number"):
        make(**wrong)
    assert not (tmp_path / "lists").exists()


def test_the_manifest_describes_the_lists(make, model, tmp_path):
    make()
    told = json.loads((tmp_path / "lists" / "lists.json").read_text())
    assert (told["dataset"], told["k"], told["seed"], told["titles"]) == ("tastes", 5, 3, True)
    model.checkpoint.save(tmp_path / "model")
    card = json.loads((tmp_path / "model" / "config.json").read_text())
    assert told["checkpoint"] == card["weights"]["sha256"] and told["settings"] == card["config"]


def test_without_any_history_there_is_one_empty_shard(make, dataset, tmp_path):
    nothing = dataset.split.train.where(dataset.split.train.rows < 0)
    assert make(dataset=replace(dataset, split=Split(nothing, nothing, nothing))) == (0, 0)
    assert rows(tmp_path / "lists" / "*.parquet") == []
