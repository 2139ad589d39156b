"""Explanations add up to the score, and match single-item scores in a linear model."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sdiff.base.errors import SDiffError
from sdiff.config import preset
from sdiff.data.datasets import load_dataset
from sdiff.method.histories import Histories
from sdiff.serving.explain import STEPS, explain
from sdiff.serving.recommender import Recommender
from sdiff.training.trainer import Trainer

SMALL = {"epochs": 3, "K": 16, "user_power": 0.5, "hidden": 32}  # at a power of 1/4, all of these have no noise


@pytest.fixture(scope="module")
def split():
    return load_dataset("demo").split


@pytest.fixture(scope="module")
def models(split):
    """A model per preset: the shipped one, one with a fusion head over the graph, and the linear one."""
    steps = SMALL | {"T": 4, "noise": True, "sampled": 0.5, "guidance": 0.3, "beta": 0.2}
    shipped = {name: Recommender.load(f"checkpoints/{name}") for name in ("demo", "demo-paper")}
    near = SMALL | {"epochs": 1, "graph_entries": 40 * len(split.items)}
    for name, preset_name, changes in (
        ("tuned", "tuned", SMALL),
        ("near", "tuned", near),
        ("steps", "tuned", steps),
        ("instant", "instant", {}),
        ("gfcf", "gfcf", {"beta": 0.3}),
    ):
        trainer = Trainer(preset(preset_name).override(changes), split, 0)
        trainer.fit()
        shipped[name] = Recommender(trainer.checkpoint("demo", preset_name), trainer.device)
    return shipped


@pytest.mark.parametrize("name", ["demo", "demo-paper", "tuned", "near", "steps", "instant", "gfcf"])
def test_both_explanations_add_up_to_the_score(models, split, name):
    model = models[name]
    for user in (0, 7, 99):
        history = [split.items.ids[i] for i in split.train.history(user)]
        item = model.recommend(history, 3, seed=4).ids[2]
        found = explain(model, history, item, seed=4)
        x = Histories.from_lists([split.train.history(user)], model.device)
        scores = model.scores(x, model.config, torch.Generator().manual_seed(4))
        assert found.score == pytest.approx(scores[0, split.items.index[item]].item(), abs=1e-4)
        assert len(found.by_item) == len(history) and len(found.by_frequency) == len(model.basis.lam)
        assert found.without + found.by_item.sum() + found.remainder == pytest.approx(found.score, abs=1e-5)
        assert abs(found.remainder) < 1e-3 * abs(found.score - found.without) + 1e-6, "the integral is nearly exact"
        assert found.by_frequency.sum() + found.beside == pytest.approx(found.score, abs=1e-5)
    nothing = explain(model, history, item, seed=9)
    assert (nothing.score == pytest.approx(found.score)) == (not model.config.noise), "the noise is that of the list"


class Largest(TorchDispatchMode):
    """Records the size of the largest tensor that any operation creates."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and not func.is_view:
            self.size = max(self.size, made.numel())
        return made


@pytest.mark.parametrize("name", ["tuned", "near", "instant"])
def test_explaining_one_item_does_not_score_all_items_repeatedly(models, split, name):
    model, history = models[name], [split.items.ids[i] for i in range(100)]
    with Largest() as largest:
        explain(model, history, history[0])
    assert 0 < largest.size <= len(split.items) * (STEPS + 2) < len(split.items) * len(history)
    with Largest() as largest:
        explain(model, history, history[0], T=1)
    assert 0 < largest.size < len(split.items) * STEPS, "one step needs the scores of no other item"


def test_an_explanation_of_several_steps_in_blocks_is_the_same(models, split, monkeypatch):
    history = [split.items.ids[i] for i in range(9)]
    once = explain(models["steps"], history, history[0])
    monkeypatch.setattr("sdiff.serving.explain.BLOCK", 5 * len(split.items))
    with Largest() as largest:
        found = explain(models["steps"], history, history[0])
    assert largest.size <= 5 * len(split.items)
    assert (found.score, found.without) == pytest.approx((once.score, once.without), abs=1e-5)
    np.testing.assert_allclose(found.by_item, once.by_item, atol=1e-5)
    np.testing.assert_allclose(found.by_frequency, once.by_frequency, atol=1e-5)


def test_contributions_in_a_linear_model_are_those_of_each_item_alone(models, split):
    model = models["instant"]
    assert not model.config.normalise
    history = [split.items.ids[i] for i in split.train.history(3)]
    item = model.recommend(history, 1).ids[0]
    alone = [explain(model, [one], item).score for one in history]
    found = explain(model, history, item)
    np.testing.assert_allclose(found.by_item, np.array(alone) - found.without, atol=1e-6)
    assert found.beside == pytest.approx(0, abs=1e-6), "a fixed basis adds nothing besides the frequencies"


def test_an_explanation_uses_the_settings_of_the_list_and_refuses_invalid_ones(models):
    model = models["demo-paper"]
    assert explain(model, ["1", "2"], "3", guidance=3).score != explain(model, ["1", "2"], "3").score
    assert explain(model, [], "3").by_item.shape == (0,)
    with pytest.raises(SDiffError, match="Unknown item nothing"):
        explain(model, ["1"], "nothing")
    with pytest.raises(SDiffError, match="Unknown setting"):
        explain(model, ["1"], "2", speed=3)


def test_an_empty_history_of_a_model_that_needs_one_is_explained_by_popularity(models):
    for name, model in models.items():
        found, first = explain(model, [], model.recommend([], 1).ids[0]), model.recommend([], 1)
        parts = found.without + found.by_item.sum() + found.remainder
        assert parts == pytest.approx(found.score) == found.by_frequency.sum() + found.beside
        if model.needs_history:
            assert found.score == first.scores[0] > 0, name
    assert {name for name, model in models.items() if model.needs_history} == {"instant", "gfcf"}
