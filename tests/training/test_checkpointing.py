"""Training with checkpoints: the best weights are on disk however it ends, and every run can be resumed."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import replace

import pytest

from sdiff import SDiffError
from sdiff.base.distributed import Ranks
from sdiff.config import preset
from sdiff.training.checkpoint import Checkpoint
from sdiff.training.checkpointing import checkpointed
from sdiff.training.run_state import load_state, resume, save_state
from sdiff.training.trainer import Trainer
from tests.conftest import CPU, SMALL, same

SHORT = SMALL.override({"epochs": 4, "eval_every": 10})


def ending(error):
    """Epochs that fail after the third one."""

    def epochs(trainer):
        for progress in trainer.iter_epochs():
            yield progress
            if progress.epoch == 3 and error is not None:
                raise error

    return epochs


@pytest.mark.parametrize("resumable", [True, False], ids=["with a state", "without"])
@pytest.mark.parametrize("end", ["finished", "closed", SDiffError("failed"), KeyboardInterrupt()], ids=repr)
def test_the_best_weights_are_on_disk_however_training_ends(end, resumable, split, tmp_path):
    trainer = Trainer(SHORT, split, 0, CPU)
    state = tmp_path / "state" if resumable else None
    epochs = ending(None if isinstance(end, str) else end)
    run = checkpointed(trainer, tmp_path / "model", "tastes", "paper", state, epochs)
    with suppress(SDiffError, KeyboardInterrupt), closing(run):
        for progress in run:
            if end == "closed" and progress.epoch == 3:
                break
    assert trainer.epoch == (4 if end == "finished" else 3)
    saved = Checkpoint.load(tmp_path / "model")
    assert saved.provenance.epoch == trainer.best.epoch == trainer.epoch
    assert same(saved.weights, trainer.best.weights)
    assert (tmp_path / "state").exists() == resumable


def failing(error):
    """Epochs whose first one fails."""
    raise error
    yield


def test_a_run_without_a_completed_epoch_leaves_no_checkpoint(split, tmp_path):
    trainer, error = Trainer(SHORT, split, 0, CPU), SDiffError("at once")
    with pytest.raises(SDiffError, match="at once"):
        next(checkpointed(trainer, tmp_path / "model", "", "", tmp_path / "state", lambda _: failing(error)))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["paper", "instant"])
def test_a_checkpoint_of_a_model_that_is_not_trained_warns(name, split):
    trainer = Trainer(preset(name).override({"K": 8}), split, 0, CPU)
    with pytest.warns(UserWarning, match="not trained yet"):
        trainer.checkpoint("tastes", name)


def test_the_training_state_is_saved_before_its_checkpoint(split, tmp_path, monkeypatch):
    saves, save = [], Checkpoint.save

    def watched(checkpoint, folder):
        saves.append((checkpoint.provenance.epoch, load_state(tmp_path / "state")[1]["best"][0]))
        save(checkpoint, folder)

    monkeypatch.setattr(Checkpoint, "save", watched)
    trainer = Trainer(SMALL.override({"epochs": 12}), split, 0, CPU)
    list(checkpointed(trainer, tmp_path / "model", "tastes", "paper", tmp_path / "state"))
    assert saves[0] == (1, 1) and len(saves) > 1
    assert all(checkpoint == state for checkpoint, state in saves)


def test_a_run_killed_between_state_and_checkpoint_still_saves_its_best_weights(split, tmp_path):
    first = Trainer(SHORT, split, 0, CPU)
    for progress in first.iter_epochs():
        if progress.epoch == 3:
            break
    save_state(first, tmp_path / "state")
    resumed = Trainer(SHORT, split, 0, CPU)
    resume(resumed, tmp_path / "state")
    with pytest.raises(KeyboardInterrupt):
        next(checkpointed(resumed, tmp_path / "model", "", "", epochs=lambda _: failing(KeyboardInterrupt())))
    assert same(Checkpoint.load(tmp_path / "model").weights, first.best.weights)


def test_a_resumed_run_without_improvement_keeps_the_checkpoint_and_its_metrics(split, tmp_path):
    trainer, folder = Trainer(SHORT, split, 0, CPU), tmp_path / "model"
    list(checkpointed(trainer, folder, "", "", tmp_path / "state"))
    replace(Checkpoint.load(folder), metrics={"test": {"recall@20": 0.5}}).save(folder)
    resumed = Trainer(SHORT, split, 0, CPU)
    resume(resumed, tmp_path / "state")
    with pytest.raises(KeyboardInterrupt):
        next(checkpointed(resumed, folder, "", "", epochs=lambda _: failing(KeyboardInterrupt())))
    assert Checkpoint.load(folder).metrics == {"test": {"recall@20": 0.5}}


def test_the_metrics_on_disk_describe_the_whole_run_and_not_only_the_epochs_up_to_the_best(split, tmp_path):
    trainer = Trainer(SMALL.override({"epochs": 12, "eval_every": 1, "lr": 0.0}), split, 0, CPU)
    list(checkpointed(trainer, tmp_path / "model", "tastes", "paper"))
    saved = Checkpoint.load(tmp_path / "model")
    assert saved.provenance.epoch == 1 and saved.metrics["curve"]["epoch"] == [*range(1, 13)]
    assert saved.metrics["train_seconds"] == round(trainer.seconds, 3)


def test_only_the_first_rank_writes(split, tmp_path):
    for rank in (1, 0):
        trainer = Trainer(SHORT, split, 0, CPU, Ranks(rank, 2))
        list(checkpointed(trainer, tmp_path / "model", "tastes", "paper", tmp_path / "state"))
        assert [path.name for path in sorted(tmp_path.iterdir())] == ([] if rank else ["model", "state"])
