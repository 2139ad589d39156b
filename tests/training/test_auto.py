"""Automatic choice of a preset on validation."""

import itertools

import pytest

from sdiff.base.errors import SDiffError
from sdiff.config import PRESETS
from sdiff.data.interactions import Split
from sdiff.training import auto
from sdiff.training.trainer import CRITERION, Trainer
from tests.conftest import CPU

TINY = {"K": 12, "hidden": 32, "epochs": 2}


@pytest.fixture
def tiny(monkeypatch):
    small = {
        name: config.override(TINY | {"graph_entries": min(config.graph_entries, 900)})
        for name, config in PRESETS.items()
    }
    monkeypatch.setattr(auto, "PRESETS", small)


def test_presets_that_need_an_order_are_tried_only_on_ordered_data(split):
    from dataclasses import replace

    unordered = Split(*(replace(part, ordered=False) for part in (split.train, split.valid, split.test)))
    assert split.train.ordered and "temporal" in auto.candidates(split)
    assert set(auto.candidates(split)) - set(auto.candidates(unordered)) == {"temporal"}


def test_each_candidate_has_the_popularity_penalty_that_is_best_on_validation(tiny, split):
    found = [*auto.compare(split, 0, 5, CPU)]
    assert [candidate.preset for candidate in found] == auto.candidates(split)
    for candidate in found:
        assert candidate.valid[CRITERION] == max(candidate.valid_by_beta.values())
        assert candidate.trainer.config.beta == candidate.beta
        assert candidate.trainer.checkpoint("tastes", candidate.preset).config.beta == candidate.beta


def test_no_candidate_is_started_when_the_time_is_over(tiny, split, monkeypatch):
    clock = itertools.count(0, 70)  # every reading of the clock advances it
    monkeypatch.setattr(auto.time, "monotonic", lambda: next(clock))
    assert len([*auto.compare(split, 0, 5, CPU)]) < len(auto.candidates(split))


def test_auto_refuses_data_without_a_validation_part(split):
    nothing = split.valid.where(split.valid.rows < 0)
    with pytest.raises(SDiffError, match="no validation part"):
        next(auto.compare(Split(split.train, nothing, split.test), 0, 1, CPU))


def test_a_filter_is_trained_saved_and_resumed_like_any_preset(split, tmp_path):
    from sdiff.serving.recommender import Recommender

    for name in ("filter", "gfcf"):
        trainer = Trainer(PRESETS[name].override({"K": 12}), split, 0, CPU).fit()
        assert trainer.epoch == 1
        trainer.checkpoint("tastes", name).save(tmp_path / name)
        assert Recommender.load(tmp_path / name, CPU).recommend(["i1", "i2"], 3).ids[0] in {f"i{j}" for j in range(10)}
