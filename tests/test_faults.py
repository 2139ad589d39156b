"""Nothing is lost: not where a process is killed, the disk is full, memory does not suffice or numbers overflow."""

from __future__ import annotations

import resource
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from threading import Event

import gradio as gr
import numpy as np
import pytest
import torch

from benchmarks.faults import measured
from benchmarks.killed import KINDS, contents
from sdiff import Recommender, SDiffError
from sdiff.__main__ import main
from sdiff.atomic import replacing, scratch, sweep, write_atomically
from sdiff.batch import ranked, write
from sdiff.catalog import Catalog
from sdiff.datasets import load_dataset
from sdiff.diffusion import training_loss
from sdiff.evaluation import top_n
from sdiff.fetch import Archive, fetch
from sdiff.run_state import save_state
from sdiff.spectrum import cached_basis, spectral_basis
from sdiff.training import Trainer
from sdiff.ui import handlers, opening, state, train_tab, training_handlers
from sdiff.ui.query import Query
from sdiff.ui.words import told
from tests.conftest import CPU, SMALL, same
from tests.test_fetch import DATA, server  # noqa: F401 (a fixture)

TINY = "K=8 hidden=16 eval_every=2"


def trained(split, config=SMALL, epochs=6, seed=0):
    trainer = Trainer(replace(config, epochs=epochs), split, seed, CPU)
    list(trainer.fit())
    return trainer


@contextmanager
def full_disk(left: int):
    """Every write beyond so many bytes of a file fails, by the system's own hand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_a_killed_process_leaves_is_whole_and_the_next_one_goes_on_to_the_same_end():
    assert measured(len(KINDS), 0, "quick")["broken"] == []


def test_a_scratch_folder_is_swept_when_its_process_is_dead_and_not_before(tmp_path):
    with scratch(tmp_path) as mine:
        (mine / "half").write_text("half")
        (tmp_path / ".sdiff-dead").mkdir()
        (tmp_path / ".sdiff-dead" / "half").write_text("half")
        write_atomically(tmp_path / "file", b"whole")
        assert (mine / "half").exists() and {path.name for path in tmp_path.iterdir()} == {mine.name, "file"}
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "file") as path:
        path.write_text("half" * (1 // 0))
    assert contents(tmp_path).keys() == {"file"} and (tmp_path / "file").read_bytes() == b"whole"


def test_a_folder_swept_before_it_was_locked_is_made_anew(tmp_path, monkeypatch):
    make, made = tempfile.mkdtemp, []

    def swept(**where):
        made.append(make(**where))
        if len(made) == 1:
            sweep(tmp_path)
        return made[-1]

    monkeypatch.setattr("sdiff.atomic.tempfile.mkdtemp", swept)
    write_atomically(tmp_path / "file", b"whole")
    assert len(made) == 2 and (tmp_path / "file").read_bytes() == b"whole"


def writers(split, folder):
    """What writes files, by its name: the first time, and again with something else."""
    models = [trained(split, seed=seed).checkpoint("demo", "paper") for seed in (0, 1)]
    trainer, demo = Trainer(SMALL, split, 0, CPU), load_dataset("demo")
    lists = [list(ranked(Recommender(models[0], CPU), split.train, k, SMALL, 0)) for k in (5, 6)]
    world = replace(
        demo,
        split=split,
        items=replace(
            demo.items, **{name: list(getattr(demo.items, name))[:30] for name in ("title", "year", "genres")}, extra={}
        ),
    )
    return {
        "checkpoint": [lambda m=m: m.save(folder / "model") for m in models],
        "state": [lambda: save_state(trainer, folder / "state"), lambda: save_state(trainer, folder / "state")],
        "csv": [lambda rows=rows: write(folder / "a.csv", rows, world) for rows in lists],
        "parquet": [lambda rows=rows: write(folder / "a.parquet", rows, world, titles=True) for rows in lists],
    }


@pytest.mark.parametrize("kind", ["checkpoint", "state", "csv", "parquet"])
def test_a_full_disk_leaves_the_old_file_and_is_said_wherever_it_fills_up(kind, split, tmp_path):
    first, again = writers(split, tmp_path)[kind]
    first()
    old, failed, left = contents(tmp_path), 0, 0
    while True:
        try:
            with full_disk(left):
                again()
            break
        except SDiffError as error:
            assert str(error).startswith("Cannot write")
            failed += 1
        assert old.items() <= contents(tmp_path).items() and not list(tmp_path.rglob(".sdiff-*"))
        if kind == "checkpoint":
            assert Recommender.load(tmp_path / "model").checkpoint.provenance.seed == 0
        left = left * 4 + 100
    assert failed >= 2


def test_a_full_disk_costs_the_spectrum_its_cache_and_not_its_result(random_interactions, tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_CACHE_DIR", str(tmp_path))
    with full_disk(100):
        basis = cached_basis(random_interactions, 8)
    assert torch.equal(basis.U, spectral_basis(random_interactions, 8).U) and contents(tmp_path) == {}


def test_a_full_disk_is_said_where_data_is_opened_and_room_is_all_it_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    demo = load_dataset("demo")
    for work in (lambda: load_dataset("demo"), lambda: Catalog(demo)):
        for left in (0, 10_000, 100_000):
            with full_disk(left), pytest.raises(SDiffError, match="no room for temporary files") as caught:
                work()
            assert str(tmp_path) not in str(caught.value) and not list(tmp_path.iterdir())
        work()


def test_a_full_disk_ends_a_download_that_goes_on_when_there_is_room(server, tmp_path):  # noqa: F811
    archive = Archive(server.url(), len(DATA), "x")
    for left in (0, 1000, len(DATA) - 1):
        with full_disk(left), pytest.raises(SDiffError, match="make room"):
            fetch(archive, tmp_path / "set")
        assert not (tmp_path / "set").exists()
    fetch(archive, tmp_path / "set")
    assert (tmp_path / "set" / "x").read_bytes() == DATA


def test_a_folder_that_cannot_be_written_to_is_said_before_training(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").touch()
    for step in ("command", "app"):
        monkeypatch.setattr(Trainer, "fit", lambda self: pytest.fail("trained first"))
        if step == "command":
            words = ["train", "--dataset", "demo", "--set", *TINY.split(), "--out", str(tmp_path / "file" / "model")]
            assert main(words) == 2 and "Not a directory" in capsys.readouterr().err
        else:
            monkeypatch.setenv("SDIFF_RUNS_DIR", str(tmp_path / "file" / "runs"))
            with pytest.raises(SDiffError, match="cannot keep a model") as caught:
                next(training_handlers.train("demo", "paper", 4, 0, TINY, "nowhere", Event()))
            assert str(tmp_path) not in str(caught.value)


def test_a_disk_that_fills_up_while_the_app_trains_is_said_without_a_path():
    run = training_handlers.train("demo", "paper", 4, 0, TINY, "too-large", Event())
    next(run)
    with pytest.raises(SDiffError) as caught, full_disk(1000):
        list(run)
    assert told(caught.value).startswith("Cannot write the checkpoint to too-large:")
    assert "too-large" not in state.checkpoints()


def test_a_gpu_that_is_not_there_is_said(split, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    checkpoint = trained(split).checkpoint("tastes", "paper")
    for ask in (lambda gpu: Trainer(SMALL, split, 0, gpu), lambda gpu: Recommender(checkpoint, gpu)):
        with pytest.raises(SDiffError, match="CUDA finds no GPU"):
            ask(torch.device("cuda"))
    assert Recommender(checkpoint).device == CPU


def memory_runs_out(*arguments):
    torch.empty(2**56)


def cuda_memory_runs_out(*arguments):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def becomes(number):
    """Training in which a weight becomes a number, as after a step too far: in the last of three batches."""
    calls = count(1)

    def loss(model, *arguments):
        found = training_loss(model, *arguments)
        if next(calls) % 3 == 0:
            with torch.no_grad():
                next(model.denoiser.parameters())[0] = number
        return found

    return loss


FAILURES = {
    "memory": (memory_runs_out, "lower batch_size"),
    "CUDA's memory": (cuda_memory_runs_out, "lower batch_size"),
    "NaN": (becomes(torch.nan), "lower the learning rate"),
    "infinity": (becomes(torch.inf), "lower the learning rate"),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("epoch", [3, 7], ids=["before validation", "after validation"])
def test_what_ends_training_is_said_and_the_last_good_weights_are_kept(name, epoch, split, monkeypatch):
    loss, message = FAILURES[name]
    good = trained(split, epochs=10 if epoch == 7 else epoch)
    trainer = Trainer(replace(SMALL, epochs=10), split, 0, CPU)
    with pytest.raises(SDiffError, match=message):
        for progress in trainer.fit():
            if progress.epoch == epoch:
                trainer.loss = lambda *arguments: loss(trainer.model, *arguments)
    checkpoint = trainer.checkpoint("tastes", "paper")
    assert trainer.epoch == epoch and checkpoint.provenance.epoch == trainer.best.epoch == {3: 3, 7: 5}[epoch]
    if epoch == 3:
        assert same(checkpoint.weights, good.model.state_dict())
    assert len(Recommender(checkpoint, CPU).recommend([], 5).ids) == 5


@pytest.mark.parametrize("name", ["memory", "NaN"])
def test_the_app_offers_the_best_weights_of_a_run_that_failed(name, monkeypatch):
    loss, message = FAILURES[name]
    calls = []

    def fails_in_the_second_epoch(model, *arguments):
        calls.append(1)
        return (loss if len(calls) > 15 else training_loss)(model, *arguments)

    monkeypatch.setattr("sdiff.training.training_loss", fails_in_the_second_epoch)
    *_, last = training_handlers.train("demo", "paper", 9, 0, TINY, f"fails-by-{name}", Event())
    assert (
        last.saved_as == f"fails-by-{name}" and last.status.startswith("Ended after 1 epoch") and message in last.status
    )
    assert len(handlers.recommend(Query("demo", last.saved_as, "1", k=5)).recommendations) == 5
    with pytest.raises(SDiffError, match=message):  # nothing to keep
        list(training_handlers.train("demo", "paper", 9, 0, TINY, f"fails-at-once-by-{name}", Event()))
    assert f"fails-at-once-by-{name}" not in state.checkpoints()


def test_the_command_keeps_the_last_good_weights_too(monkeypatch, capsys, tmp_path):
    calls = []

    def fails_in_the_second_epoch(model, *arguments):
        calls.append(1)
        return (FAILURES["NaN"][0] if len(calls) > 15 else training_loss)(model, *arguments)

    monkeypatch.setattr("sdiff.training.training_loss", fails_in_the_second_epoch)
    words = ["train", "--dataset", "demo", "--set", *TINY.split(), "--out", str(tmp_path / "model")]
    assert main(words) == 2 and "lower the learning rate" in capsys.readouterr().err
    assert Recommender.load(tmp_path / "model", CPU).checkpoint.provenance.epoch == 1


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_weights_that_are_no_numbers_are_refused_and_such_scores_never_become_a_list(number, split, tmp_path):
    checkpoint = trained(split).checkpoint("tastes", "paper")
    weights = {name: tensor.clone() for name, tensor in checkpoint.weights.items()}
    next(iter(weights.values())).view(-1)[3] = number
    replace(checkpoint, weights=weights).save(tmp_path)
    with pytest.raises(SDiffError, match="not all finite"):
        Recommender.load(tmp_path, CPU)
    for n_items in (10, 3000):
        scores = torch.randn(2, n_items, generator=torch.Generator().manual_seed(0))
        scores[1, 7] = number
        with pytest.raises(SDiffError, match="not finite"):
            top_n(scores, None, 5)
    large = {name: tensor * 1e30 for name, tensor in checkpoint.weights.items()}
    model = Recommender(replace(checkpoint, weights=large), CPU)
    with pytest.raises(SDiffError, match="lower guidance or T"):
        model.recommend(["i1", "i2"])


@pytest.fixture
def warned(monkeypatch):
    said = []
    monkeypatch.setattr(gr, "Warning", lambda text, **_: said.append(text))
    return said


def test_a_checkpoint_that_is_deleted_or_replaced_while_the_app_uses_it(split, warned):
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
    opened, picker, *_ = opening.open_checkpoint("demo", "in-use", ("demo", "demo"))
    assert opened == ("demo", "demo") == ("demo", picker.value)
    weights.write_bytes(whole)
    assert opening.open_checkpoint("demo", "in-use", ("demo", "demo"))[0] == ("demo", "in-use")
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(SDiffError, match="no checkpoint 'in-use' any more"):
        handlers.recommend(Query("demo", "in-use", "1"))
    assert opening.open_checkpoint("demo", "in-use", ("demo", "in-use"))[0] == ("demo", "instant")
    assert len(warned) == 2 and "damaged" in warned[0] and "any more" in warned[1]
    assert not any(str(folder.parent) in text for text in warned), "no path of this machine"


def test_clocks_that_jump_neither_shorten_a_duration_nor_let_names_collide(monkeypatch, split):
    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 1, 1, tzinfo=UTC)

    times = iter(np.linspace(4e9, -4e9, 10_000).tolist())
    monkeypatch.setattr("time.time", lambda: next(times))
    monkeypatch.setattr(train_tab, "datetime", Frozen)
    names = []
    for _ in range(2):
        names.append(train_tab._name())
        *_, last = training_handlers.train("demo", "paper", 2, 0, TINY, names[-1], Event())
        assert last.saved_as == names[-1] and " in 0 s" in last.status.replace(" in 1 s", " in 0 s")
    assert len(set(names)) == 2


def test_a_catalog_leaves_no_file_and_goes_on_without_it(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    catalog = Catalog(load_dataset("demo"))
    assert not list(tmp_path.iterdir()) and catalog.search("the") and catalog.rows([3, 1])
