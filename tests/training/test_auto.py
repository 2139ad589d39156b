"""Automatic choice of a preset on validation."""

import itertools
from dataclasses import replace

import pytest

from sdiff.base.errors import SDiffError
from sdiff.config import PRESETS
from sdiff.data.interactions import Split
from sdiff.training import auto
from sdiff.training.trainer import CRITERION, Trainer
from tests.conftest import CPU, vocabulary

TINY = {"K": 12, "hidden": 32, "epochs": 2}


@pytest.fixture
def tiny(monkeypatch):
    small = {
        name: config.override(TINY | {"graph_entries": min(config.graph_entries, 900)})
        for name, config in PRESETS.items()
    }
    monkeypatch.setattr(auto, "PRESETS", small)


def compared(split, keep=lambda trainer, preset: None, **named):
    steps = auto.compare(split, 0, 5, keep, CPU, **named)
    return [step for step in steps if not isinstance(step, auto.Step)]


def test_presets_that_need_an_order_are_tried_only_on_ordered_data(split):
    unordered = Split(*(replace(part, ordered=False) for part in (split.train, split.valid, split.test)))
    assert split.train.ordered and "temporal" in auto.candidates(split)
    assert set(auto.candidates(split)) - set(auto.candidates(unordered)) == {"temporal"}


@pytest.mark.parametrize(("percent", "tried"), [(0.51, "tuned"), (0.49, "sparse")])
def test_sparse_data_have_a_preset_of_their_own(split, percent, tried):
    items = round(len(split.train) / 60 / percent * 100)
    wide = Split(*(replace(part, items=vocabulary("i", items)) for part in (split.train, split.valid, split.test)))
    assert {"tuned", "sparse"} & {*auto.candidates(wide)} == {tried}


def test_each_candidate_has_the_half_life_and_the_popularity_discount_that_are_best_on_validation(tiny, split):
    kept = {}
    found = compared(split, lambda trainer, preset: kept.update({preset: trainer.checkpoint("tastes", preset)}))
    assert [candidate.preset for candidate in found] == auto.candidates(split)
    for candidate in found:
        assert candidate.valid[CRITERION] == max(candidate.valid_by["beta"].values())
        assert candidate.valid_by["beta"][0.0] == max(candidate.valid_by["half_life"].values())
    recalls = [candidate.valid[CRITERION] for candidate in found]
    assert [*kept] == [c.preset for n, c in enumerate(found) if recalls[n] > max([0.0, *recalls[:n]])]
    for candidate in found:
        if candidate.preset in kept:
            config = kept[candidate.preset].config
            assert {name: getattr(config, name) for name in auto.CHOICES} == candidate.chosen
    assert any(candidate.chosen["half_life"] for candidate in found if candidate.preset != "temporal")


def test_no_half_life_is_chosen_where_histories_have_no_order(tiny, split):
    unordered = Split(*(replace(part, ordered=False) for part in (split.train, split.valid, split.test)))
    assert {*compared(unordered)[0].chosen} == {"beta"}


def test_no_candidate_is_started_when_the_time_is_over(tiny, split, monkeypatch):
    clock = itertools.count(0, 70)  # so many seconds pass between two looks at the clock
    monkeypatch.setattr(auto.time, "monotonic", lambda: next(clock))
    assert len(compared(split)) < len(auto.candidates(split))


def test_a_comparison_that_is_stopped_keeps_the_preset_that_it_was_at(tiny, split):
    kept, steps = [], []

    def stopped():
        return any(step.preset == "tuned" for step in steps if isinstance(step, auto.Step))

    for step in auto.compare(split, 0, 5, lambda trainer, preset: kept.append(preset), CPU, stopped=stopped):
        steps.append(step)
    assert isinstance(steps[-1], auto.Candidate) and (steps[-1].preset, steps[-1].epoch) == ("tuned", 1)
    assert kept


def test_without_any_preset_there_is_an_error(tiny, split):
    def failing(self):
        raise SDiffError("Memory is too small.")

    with pytest.raises(SDiffError, match="No preset could be trained"):
        compared(split, epochs=failing)


def test_a_candidate_that_fails_does_not_end_the_comparison(tiny, split):
    def failing(self):
        if self.config.loss == "softmax":
            raise SDiffError("Memory is too small.")
        yield from self.iter_epochs()

    found = compared(split, epochs=failing)
    failed = [each.preset for each in found if isinstance(each, auto.Failure)]
    assert failed == ["tuned", "temporal"] and len(found) == 5


def test_auto_refuses_data_without_a_validation_part(split):
    nothing = split.valid.empty
    with pytest.raises(SDiffError, match="no validation part"):
        compared(Split(split.train, nothing, split.test))


def test_a_filter_is_trained_saved_and_resumed_like_any_preset(split, tmp_path):
    from sdiff.serving.recommender import Recommender

    for name in ("filter", "gfcf"):
        trainer = Trainer(PRESETS[name].override({"K": 12}), split, 0, CPU).fit()
        assert trainer.epoch == 1
        trainer.checkpoint("tastes", name).save(tmp_path / name)
        assert Recommender.load(tmp_path / name, CPU).recommend(["i1", "i2"], 3).ids[0] in {f"i{j}" for j in range(10)}
