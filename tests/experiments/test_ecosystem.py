"""S-Diff beside other libraries: their log, how their lists are measured, and a run of what is installed."""

import json

import numpy as np
import pandas as pd
import pytest

from sdiff.evaluation.baselines import BASELINES
from sdiff.evaluation.evaluate import evaluate, evaluate_users
from sdiff.experiments import ecosystem
from tests.conftest import CPU


def test_lists_are_measured_as_by_evaluate(split):
    score = BASELINES["A x"](split)
    found = evaluate_users(score, split, "test", CPU, k=ecosystem.K)
    users, items = (np.array(vocabulary.ids) for vocabulary in (split.users, split.items))
    lists = pd.DataFrame({"user_id": np.repeat(users[found.users], ecosystem.K), "item_id": items[found.items.ravel()]})
    measured = ecosystem.accuracy(lists, split.test)
    expected = evaluate(score, split, "test", CPU)
    assert measured == {name: pytest.approx(expected[name], abs=1e-9) for name in measured}
    assert measured["recall@20"] > 0


def test_a_user_without_a_list_has_no_hits(split):
    none = pd.DataFrame({"user_id": [], "item_id": []})
    assert set(ecosystem.accuracy(none, split.test).values()) == {0.0}


def test_the_log_has_every_interaction_in_order(split):
    log = ecosystem.frame(split.train)
    assert len(log) == len(split.train)
    user = split.users.ids[7]
    own = log[log["user_id"] == user].sort_values("timestamp")
    assert split.items.encode(own["item_id"]).tolist() == split.train.history(7).tolist()


def test_the_grid_has_every_combination_of_settings():
    model = ecosystem.Model("sdiff", ecosystem.s_diff, {"a": (1, 2), "b": (3,)})
    assert model.settings() == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]


@pytest.mark.slow
def test_a_model_is_measured_and_others_that_are_not_installed_are_left_out(monkeypatch, capsys):
    monkeypatch.setitem(
        ecosystem.MODELS, "absent", ecosystem.Model("no_such_library", ecosystem.s_diff, {"preset": ("filter",)})
    )
    monkeypatch.setattr("sys.argv", ["ecosystem", "--dataset", "demo", "--models", "absent", "S-Diff filter"])
    ecosystem.main()
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == "not installed, and left out: no_such_library"
    (row,) = json.loads(last)["rows"]
    assert row["model"] == "S-Diff filter" and row["test"]["recall@20"] > 0.1 and row["lines"] == 3
