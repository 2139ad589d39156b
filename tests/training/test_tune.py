"""A search for settings."""

import sys

import pytest

from sdiff import SDiffError
from sdiff.cli.main import main
from sdiff.config import PRESETS, Config
from sdiff.data.interactions import Split
from sdiff.training import tune
from sdiff.training.trainer import Progress
from sdiff.training.tune import SEARCH, Space, Study, Trial
from tests.conftest import CPU, SMALL

BASE = PRESETS["instant"].override({"K": 4})


@pytest.fixture(scope="module", autouse=True)
def needs_optuna():
    pytest.importorskip("optuna")


def study(folder, split, texts=("K=2:12", "mask=0.1:0.9"), base=BASE, **options):
    return Study(folder, base, Space.parse([*texts]), split, 0, **options)


def finished(steps) -> list[Trial]:
    return [step[0] for step in steps if not isinstance(step, Progress)]


@pytest.mark.parametrize("preset", SEARCH)
def test_the_default_search_of_a_preset_contains_its_own_values(preset):
    base = PRESETS[preset]
    space = Space.parse(SEARCH[preset].split())
    assert space.nearest(base) == {name: getattr(base, name) for name in space.settings}
    assert set(SEARCH) == set(PRESETS)


def test_ranges_and_choices_are_read_with_the_type_of_the_setting():
    space = Space.parse(["K=64:512:log", "dropout=0:.5", "fusion=film,concat", "normalise=on,off", "T=5"])
    assert space.settings["K"] == (64, 512, True) and space.settings["dropout"] == (0.0, 0.5, False)
    assert space.settings["fusion"] == ["film", "concat"] and space.settings["normalise"] == [True, False]
    assert space.nearest(Config()) == {"K": 200, "dropout": 0.0, "fusion": "film", "normalise": False, "T": 5}
    assert space.nearest(Config(K=20, dropout=0.9, T=1)).items() >= {"K": 64, "dropout": 0.5}.items()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("K", "key=value"),
        ("k=1:2", "Unknown setting"),
        ("K=1.5:3", "whole number"),
        ("K=5:2", "Cannot search"),
        ("K=1:2:3", "Cannot search"),
        ("lr=0:1:log", "Cannot search"),
        ("fusion=film:concat", "Cannot search"),
        ("dropout=0:2", "between"),
        ("fusion=film,x", "one of"),
    ],
)
def test_a_search_that_cannot_be_read_is_refused(text, message):
    with pytest.raises(SDiffError, match=message):
        Space.parse([text])


def test_the_first_trial_is_the_preset_and_the_best_one_is_marked(split, tmp_path):
    tried = finished(study(tmp_path, split).iter_trials(5, device=CPU))
    assert [trial.number for trial in tried] == [0, 1, 2, 3, 4]
    assert tried[0].settings == {"K": 4, "mask": BASE.mask} and tried[0].best
    values = [trial.value for trial in tried]
    assert [trial.best for trial in tried] == [value > max(values[:n], default=-1) for n, value in enumerate(values)]


def test_a_study_is_continued_with_new_draws_and_no_other_one_is(split, tmp_path):
    first = finished(study(tmp_path, split).iter_trials(3, device=CPU))
    interrupted = study(tmp_path, split, resume=True)
    interrupted.study.ask(interrupted.space.distributions())  # as if the process was killed in this trial
    again = study(tmp_path, split, resume=True)
    assert again.finished == 4 and again.best == max(trial.value for trial in first)
    second = finished(again.iter_trials(6, device=CPU))
    assert [trial.number for trial in second] == [4, 5]
    assert not [trial for trial in second if trial.settings in [other.settings for other in first]]
    for options in ({"texts": ("K=2:13",)}, {"base": BASE.override({"beta": 0.1})}):
        with pytest.raises(SDiffError, match="belongs to another study"):
            study(tmp_path, split, resume=True, **options)
    with pytest.raises(SDiffError, match="already has a study"):
        study(tmp_path, split)
    with pytest.raises(SDiffError, match="nothing to resume"):
        study(tmp_path / "elsewhere", split, resume=True)


def test_a_trial_that_falls_behind_is_pruned(split, tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "WARM_UP", 1)
    base = SMALL.override({"K": 3, "lr": 0.01, "epochs": 12, "eval_every": 1})
    tried = finished(study(tmp_path, split, ["lr=0.01,1e-9"], base).iter_trials(6, device=CPU))
    pruned = [trial for trial in tried if trial.state == "pruned"]
    assert pruned and all(trial.settings["lr"] == 1e-9 and not trial.best for trial in pruned)


def test_a_failed_trial_is_reported_and_the_search_goes_on(split, tmp_path):
    base = SMALL.override({"epochs": 1, "eval_every": 1})
    tried = finished(study(tmp_path, split, ["basis=tied,fixed"], base).iter_trials(4, device=CPU))
    states = {trial.settings["basis"]: (trial.state, trial.reason) for trial in tried}
    assert states["fixed"] == ("complete", "") and states["tied"][0] == "fail" and "softmax" in states["tied"][1]
    with pytest.raises(SDiffError, match="No trial was completed: basis=tied needs"):
        [*study(tmp_path / "all", split, ["basis=tied,directional"], base).iter_trials(2, device=CPU)]


def test_the_search_ends_with_its_time(split, tmp_path, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(tune.time, "monotonic", lambda: 60.0 * next(clock))
    tried = finished(study(tmp_path, split).iter_trials(sys.maxsize, minutes=8, device=CPU))
    assert 1 <= len(tried) <= 8


def test_without_a_validation_part_there_is_no_search(split, tmp_path):
    nothing = split.valid.where(split.valid.rows < 0)
    with pytest.raises(SDiffError, match="no validation part"):
        study(tmp_path, Split(split.train, nothing, split.test))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("library", ["optuna", "plotly"])
def test_without_a_library_the_error_says_at_once_what_to_install(split, tmp_path, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SDiffError, match="pip install optuna plotly"):
        study(tmp_path, split)


def test_the_command_keeps_the_best_model_and_plots_what_mattered(tmp_path, capsys):
    out = tmp_path / "out"
    words = ["tune", "--dataset", "demo", "--preset", "instant", "--search", "K=4:40", "--out", str(out)]
    assert main([*words, "--trials", "2"]) == 0
    assert main([*words, "--trials", "3"]) == 2 and "--resume" in capsys.readouterr().err
    assert main([*words, "--trials", "3", "--resume"]) == 0
    printed = capsys.readouterr().out
    assert "best: --preset instant --set K=" in printed and "test recall@20" in printed
    page = (out / "study.html").read_text()
    assert "Hyperparameter Importances" in page and "Slice Plot" in page and '"K"' in page
    assert main(["recommend", "--checkpoint", str(out), "--user", "7"]) == 0
