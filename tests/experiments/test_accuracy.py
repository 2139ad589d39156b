"""Accuracy over seeds: trainings that were interrupted."""

import sys

import pytest

from sdiff import SDiffError
from sdiff.config import PRESETS
from sdiff.data.datasets import Dataset
from sdiff.data.items import Items
from sdiff.experiments import accuracy, record
from sdiff.experiments.accuracy import run

SHORT = PRESETS["tuned"].override({"K": 12, "hidden": 16, "folds": 2, "epochs": 3, "eval_every": 1})


@pytest.mark.parametrize("refit", [False, True])
def test_a_training_that_was_interrupted_continues_and_ends_alike(split, tmp_path, monkeypatch, refit):
    dataset = Dataset("tastes", "", "", split, Items([], [], []))
    whole = run(SHORT, dataset, seed=1, refit=refit)
    save, saved = accuracy.save_state, []

    def interrupted(trainer, state):
        save(trainer, state)
        saved.append(state)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(accuracy, "save_state", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(SHORT, dataset, seed=1, refit=refit, runs=tmp_path)
    first, again = (run(SHORT, dataset, seed=1, refit=refit, runs=tmp_path) for _ in range(2))
    for result in (first, again):
        assert {**result, "seconds": 0} == {**whole, "seconds": 0}
    assert len({*saved}) == len([*tmp_path.iterdir()]) == 1 + refit


@pytest.mark.parametrize("seeds", ["0", "-1"])
def test_at_least_one_seed_is_needed(seeds, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["accuracy", "--dataset", "demo", "--seeds", seeds])
    with pytest.raises(SDiffError, match="--seeds must be a whole number"):
        accuracy.main()


def test_a_result_is_printed_and_saved_whatever_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record, "OUTPUT", tmp_path)
    record.report({"x": 1}, "accuracy-/tmp/log.csv?core=2-tuned", save=True)
    assert capsys.readouterr().out == '{"x": 1}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["accuracy--tmp-log.csv-core-2-tuned.json"]


def test_a_training_of_other_epochs_is_another_one(split, tmp_path):
    dataset = Dataset("tastes", "", "", split, Items([], [], []))
    shorter = SHORT.override({"epochs": 1})
    alone = run(shorter, dataset, seed=0)
    run(SHORT, dataset, seed=0, runs=tmp_path)
    assert {**run(shorter, dataset, seed=0, runs=tmp_path), "seconds": 0} == {**alone, "seconds": 0}
