"""Failures of training runs: out of memory, and overflow. The last good weights are kept."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from threading import Event

import pytest
import torch

from sdiff import Recommender, SDiffError
from sdiff.app import state
from sdiff.app.handlers import ranking, training
from sdiff.app.query import Query
from sdiff.cli.main import main
from sdiff.evaluation.evaluate import top_n
from sdiff.method.losses import LOSSES, denoising_loss
from sdiff.training.trainer import Trainer
from tests.conftest import CPU, SMALL, same
from tests.faults import TINY, trained


def memory_runs_out(*arguments):
    torch.empty(2**56)


def cuda_memory_runs_out(*arguments):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def becomes(number):
    """Training in which a weight becomes a number, as after a step too far: in the last of three batches."""
    calls = count(1)

    def loss(model, *arguments):
        found = denoising_loss(model, *arguments)
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
def test_a_training_failure_is_reported_and_the_last_good_weights_are_kept(name, epoch, split, monkeypatch):
    loss, message = FAILURES[name]
    good = trained(split, epochs=10 if epoch == 7 else epoch)
    trainer = Trainer(replace(SMALL, epochs=10), split, 0, CPU)
    with pytest.raises(SDiffError, match=message):
        for progress in trainer.iter_epochs():
            if progress.epoch == epoch:
                trainer.loss = lambda *arguments: loss(trainer.model, *arguments)
    checkpoint = trainer.checkpoint("tastes", "paper")
    assert trainer.epoch == epoch and checkpoint.provenance.epoch == trainer.best.epoch == {3: 3, 7: 5}[epoch]
    if epoch == 3:
        assert same(checkpoint.weights, good.model.state_dict())
    assert len(Recommender(checkpoint, CPU).recommend([], 5).ids) == 5


@pytest.mark.parametrize("name", ["memory", "NaN"])
def test_the_app_offers_the_best_weights_of_a_run_that_failed(name, in_this_process, monkeypatch):
    loss, message = FAILURES[name]
    calls = []

    def fails_in_the_second_epoch(model, *arguments):
        calls.append(1)
        return (loss if len(calls) > 15 else denoising_loss)(model, *arguments)

    monkeypatch.setitem(LOSSES, "mse", fails_in_the_second_epoch)
    *_, last = training.train("demo", "paper", 9, 0, TINY, f"fails-by-{name}", Event())
    assert last.saved_as == f"fails-by-{name}" and "Ended after 1 epoch" in last.status and message in last.status
    assert len(ranking.recommend(Query("demo", last.saved_as, "1", k=5)).recommendations) == 5
    with pytest.raises(SDiffError, match=message):  # nothing to keep
        list(training.train("demo", "paper", 9, 0, TINY, f"fails-at-once-by-{name}", Event()))
    assert f"fails-at-once-by-{name}" not in state.checkpoints()


def test_the_command_keeps_the_last_good_weights(monkeypatch, capsys, tmp_path):
    calls = []

    def fails_in_the_second_epoch(model, *arguments):
        calls.append(1)
        return (FAILURES["NaN"][0] if len(calls) > 15 else denoising_loss)(model, *arguments)

    monkeypatch.setitem(LOSSES, "mse", fails_in_the_second_epoch)
    words = ["train", "--dataset", "demo", "--set", *TINY.split(), "epochs=2", "--out", str(tmp_path / "model")]
    assert main(words) == 2 and "lower the learning rate" in capsys.readouterr().err
    assert Recommender.load(tmp_path / "model", CPU).checkpoint.provenance.epoch == 1
    monkeypatch.setitem(LOSSES, "mse", denoising_loss)
    assert main([*words, "--resume"]) == 0, "every checkpoint has a run to resume"


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_non_finite_weights_and_scores_are_refused(number, split, tmp_path):
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
            top_n(scores, 5)
    large = {name: tensor * 1e30 for name, tensor in checkpoint.weights.items()}
    model = Recommender(replace(checkpoint, weights=large), CPU)
    with pytest.raises(SDiffError, match="lower guidance or T"):
        model.recommend(["i1", "i2"])
