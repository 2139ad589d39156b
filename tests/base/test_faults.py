"""The app survives faults and says what to do: a full disk, an unwritable folder, no GPU, clock jumps."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event, Thread

import gradio as gr
import numpy as np
import pytest
import torch

from benchmarks.killed import contents
from sdiff import Recommender, SDiffError
from sdiff.app import state
from sdiff.app.handlers import ranking, training
from sdiff.app.query import Query
from sdiff.app.server.public import public_message
from sdiff.app.tabs import train as train_tab
from sdiff.base import files
from sdiff.base.files import write_atomically
from sdiff.cli.main import main
from sdiff.data.catalog import Catalog
from sdiff.data.datasets import load_dataset
from sdiff.data.download import Archive, fetch
from sdiff.method.spectrum import cached_basis, spectral_basis
from sdiff.training import trainer
from sdiff.training.trainer import Trainer
from tests.conftest import CPU, SMALL
from tests.data.test_download import DATA, server  # noqa: F401 (a fixture)
from tests.faults import TINY, full_disk, trained


def test_a_full_disk_loses_the_cache_of_the_spectrum_but_not_its_result(random_interactions, tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_CACHE_DIR", str(tmp_path))
    with full_disk(100):
        basis = cached_basis(random_interactions, 8)
    assert torch.equal(basis.U, spectral_basis(random_interactions, 8).U) and contents(tmp_path) == {}


def test_a_full_disk_is_reported_when_opening_data_and_freeing_space_is_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    demo = load_dataset("demo")
    for work in (lambda: load_dataset("demo"), lambda: Catalog(demo)):
        for left in (0, 10_000, 100_000):
            with full_disk(left), pytest.raises(SDiffError, match="no room for temporary files") as caught:
                work()
            assert str(tmp_path) not in str(caught.value) and not list(tmp_path.iterdir())
        work()


def test_a_download_stopped_by_a_full_disk_resumes_once_there_is_space(server, tmp_path):  # noqa: F811
    archive = Archive(server.url(), len(DATA), "x")
    for left in (0, 1000, len(DATA) - 1):
        with full_disk(left), pytest.raises(SDiffError, match="free up space"):
            fetch(archive, tmp_path / "set")
        assert not (tmp_path / "set").exists()
    fetch(archive, tmp_path / "set")
    assert (tmp_path / "set" / "x").read_bytes() == DATA


@pytest.mark.parametrize(("folder", "said"), [("file/model", "Not a directory"), ("model", "Permission denied")])
def test_an_unwritable_folder_is_reported_before_training(folder, said, monkeypatch, capsys, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(Trainer, "fit", lambda self: pytest.fail("trained first"))
    locked = files._locked

    def closed(path):  # simulated, because root can write anywhere
        if folder == "model" and path.is_relative_to(tmp_path):
            raise PermissionError(13, "Permission denied")
        return locked(path)

    monkeypatch.setattr(files, "_locked", closed)
    words = ["train", "--dataset", "demo", "--set", *TINY.split(), "--out", str(tmp_path / folder)]
    assert main(words) == 2 and said in capsys.readouterr().err
    monkeypatch.setenv("SDIFF_RUNS_DIR", str(tmp_path / folder))
    with pytest.raises(SDiffError, match="Cannot save models") as caught:
        next(training.train("demo", "paper", 4, 0, TINY, "nowhere", Event()))
    assert str(tmp_path) not in str(caught.value)


def test_a_disk_that_fills_during_training_in_the_app_is_reported_without_a_path(in_this_process):
    run = training.train("demo", "paper", 4, 0, TINY, "too-large", Event())
    next(run)
    with pytest.raises(SDiffError) as caught, full_disk(1000):
        list(run)
    assert public_message(caught.value).startswith("Cannot write the checkpoint to too-large:")
    assert "too-large" not in state.checkpoints()


def test_a_model_that_exceeds_memory_is_reported(split, monkeypatch):
    def no_room(*_):
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 64000000000 bytes.")

    monkeypatch.setattr(trainer, "Model", no_room)
    with pytest.raises(SDiffError, match="not enough memory: lower hidden"):
        Trainer(SMALL, split, 0, CPU)


def test_random_draws_of_other_threads_do_not_affect_a_run(split):
    config, stop = replace(SMALL, dropout=0.5), Event()
    alone = trained(split, config).best.weights
    other = Thread(target=lambda: [Trainer(SMALL, split, 1, CPU) for _ in iter(stop.is_set, True)])
    other.start()
    try:
        beside = trained(split, config).best.weights
    finally:
        stop.set()
        other.join()
    assert all(torch.equal(alone[name], beside[name]) for name in alone)


def test_a_missing_gpu_is_reported(split, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    checkpoint = trained(split).checkpoint("tastes", "paper")
    for ask in (lambda gpu: Trainer(SMALL, split, 0, gpu), lambda gpu: Recommender(checkpoint, gpu)):
        with pytest.raises(SDiffError, match="CUDA finds no GPU"):
            ask(torch.device("cuda"))
    assert Recommender(checkpoint).device == CPU


@pytest.fixture
def warned(monkeypatch):
    said = []
    monkeypatch.setattr(gr, "Warning", lambda text, **_: said.append(text))
    return said


def test_the_app_survives_a_checkpoint_being_deleted_or_replaced(split, warned, opening):
    demo = state.open_dataset("demo").dataset.split
    folder = state.new_run("in-use")
    settings = SMALL.override({"eval_every": 1})
    for seed in (0, 1):
        trained(demo, settings, epochs=1, seed=seed).checkpoint("demo", "paper").save(folder)
        assert state.open_model("in-use", "demo").checkpoint.provenance.seed == seed, "replaced: read again"
    weights = next(folder.glob("*.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(b"half")
    card = folder / "config.json"
    write_atomically(card, card.read_bytes())
    parts, page = opening.open_checkpoint(["demo", "demo"], "in-use"), opening.page
    assert parts[page.opened] == ["demo", "demo"] == ["demo", parts[page.checkpoint].value]
    weights.write_bytes(whole)
    assert opening.open_checkpoint(["demo", "demo"], "in-use")[page.opened] == ["demo", "in-use"]
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(SDiffError, match="no checkpoint 'in-use'"):
        ranking.recommend(Query("demo", "in-use", "1"))
    assert opening.open_checkpoint(["demo", "in-use"], "in-use")[page.opened] == ["demo", "instant"]
    assert len(warned) == 2 and "damaged" in warned[0] and "no checkpoint" in warned[1]
    assert not any(str(folder.parent) in text for text in warned), "no path of the machine"


def test_clock_jumps_do_not_affect_durations_or_names(in_this_process, monkeypatch):
    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 1, 1, tzinfo=UTC)

    times = iter(np.linspace(4e9, -4e9, 10_000).tolist())
    monkeypatch.setattr("time.time", lambda: next(times))
    monkeypatch.setattr(train_tab, "datetime", Frozen)
    names = []
    for _ in range(2):
        names.append(train_tab.named(""))
        *_, last = training.train("demo", "paper", 2, 0, TINY, names[-1], Event())
        assert last.saved_as == names[-1] and re.search(r" in \d\d? s\.", last.status)
    assert len(set(names)) == 2
