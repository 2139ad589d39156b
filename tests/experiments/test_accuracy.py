"""Accuracy over seeds: trainings that were interrupted."""

import pytest

from sdiff.config import PRESETS
from sdiff.data.datasets import Dataset
from sdiff.data.items import Items
from sdiff.experiments.accuracy import fitted, run

SHORT = PRESETS["tuned"].override({"K": 12, "hidden": 16, "folds": 2, "epochs": 3})


@pytest.mark.parametrize("refit", [False, True])
def test_a_training_that_was_interrupted_continues_and_ends_alike(split, tmp_path, refit):
    dataset = Dataset("tastes", "", "", split, Items([], [], []))
    whole = run(SHORT, dataset, seed=1, refit=refit)
    fitted(SHORT.override({"epochs": 1}), split, 1, tmp_path / "seed-1-train.safetensors")
    first, again = (run(SHORT, dataset, seed=1, refit=refit, runs=tmp_path) for _ in range(2))
    for result in (first, again):
        assert {key: result[key] for key in ("valid", "test", "epoch")} == {
            key: whole[key] for key in ("valid", "test", "epoch")
        }
    assert len([*tmp_path.iterdir()]) == 1 + refit
