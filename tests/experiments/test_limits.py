"""Limits of a preset: learning curves, and the mean of several models."""

import torch

from sdiff.config import PRESETS
from sdiff.evaluation.evaluate import evaluate
from sdiff.experiments.accuracy import fitted
from sdiff.experiments.limits import EVERY, curve, mean_of_models
from sdiff.serving.recommender import Recommender
from sdiff.training.trainer import Trainer
from tests.conftest import CPU

TINY = PRESETS["tuned"].override({"K": 12, "hidden": 16, "epochs": 2 * EVERY})


def test_the_curve_has_both_parts_at_every_third_epoch(split):
    losses = [progress.loss for progress in Trainer(TINY, split, seed=0).iter_epochs()]
    rows = curve(TINY, split)
    assert [(row["epoch"], row["loss"]) for row in rows] == [(n, losses[n - 1]) for n in (EVERY, 2 * EVERY)]
    assert rows[0]["valid"] != rows[0]["test"]


def test_the_mean_of_one_model_is_that_model_and_two_models_differ_from_it(split):
    one, two = mean_of_models(TINY, split, 2)
    noise = torch.Generator().manual_seed(0)
    model = Recommender(fitted(TINY, split, 0).checkpoint("tastes", ""), CPU)
    alone = evaluate(lambda x: model.scores(x, TINY, noise), split, "valid", CPU)
    assert one == {"models": 1, "valid": alone, "test": one["test"]}
    assert two["models"] == 2 and two["valid"] != one["valid"]
