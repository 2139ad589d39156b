"""Choices of settings: the parts of the data that they are made on, and the rows of the ablation."""

import numpy as np
import pytest

from sdiff.config import PRESETS, parse_assignments
from sdiff.data.interactions import Interactions, Split
from sdiff.experiments import ablation, choose, stand_in
from tests.conftest import vocabulary


@pytest.fixture
def skewed():
    """40 users; items 0 to 4 in every history, and 4 of the items 5 to 44. The test part has only the latter."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(40), 9)
    items = np.concatenate([[*range(5), *rng.choice(40, 4, replace=False) + 5] for _ in range(40)])
    train = Interactions.from_pairs(vocabulary("u", 40), vocabulary("i", 45), users, items)
    return train, train.where(train.indices >= 5)


def test_the_matched_part_has_the_popularity_of_the_test_part(skewed):
    train, test = skewed
    rest, held_out = stand_in.matched(train, test, 0.25, seed=0)
    assert (held_out.lengths == 2).all() and (rest.lengths == 7).all()
    pairs = {*zip(rest.rows.tolist(), rest.indices.tolist(), strict=True)}
    assert not pairs & {*zip(held_out.rows.tolist(), held_out.indices.tolist(), strict=True)}
    assert (held_out.indices >= 5).mean() > 0.9 > 0.5 > (train.indices >= 5).mean()
    as_train = stand_in.matched(train, train, 0.25, seed=0)[1]
    assert abs((as_train.indices >= 5).mean() - (train.indices >= 5).mean()) < 0.1


def test_settings_are_chosen_on_the_last_eighth_of_every_training_history(split):
    inside = choose.before_validation(split)
    assert not len(inside.test)
    for user in range(len(split.users)):
        items = split.train.indices[split.train.rows == user]
        cut = min(len(items) * 7 // 8, len(items) - 1)
        assert inside.train.indices[inside.train.rows == user].tolist() == items[:cut].tolist()
        assert inside.valid.indices[inside.valid.rows == user].tolist() == items[cut:].tolist()


def test_each_way_of_sampling_is_measured_without_training_again(split, monkeypatch, capsys):
    small = PRESETS["tuned"].override({"K": 12, "hidden": 16, "epochs": 2, "graph_entries": 900})
    monkeypatch.setitem(PRESETS, "tuned", small)
    seen = choose.before_validation(split)
    plain, popular, again = choose.trained("tuned", ["mask=0.5"], [["beta=-2"], ["beta=0"]], seen, 0)
    assert plain["sampling"] == [] and popular["sampling"] == ["beta=-2"] and plain["settings"] == ["mask=0.5"]
    assert plain["ndcg@20"] == again["ndcg@20"] != popular["ndcg@20"]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[1].endswith("mask=0.5 beta=-2")


def test_the_parts_that_stand_in_for_the_test_part_leave_it_out(split):
    parts = stand_in.stand_ins(split, 0)
    assert [*parts] == ["random", "matched", "last", "given"]
    whole = {*zip(split.train.rows.tolist(), split.train.indices.tolist(), strict=True)}
    for name in ("random", "matched", "last"):
        part = parts[name]
        both = [*zip(part.train.rows.tolist(), part.train.indices.tolist(), strict=True)]
        both += [*zip(part.valid.rows.tolist(), part.valid.indices.tolist(), strict=True)]
        assert {*both} == whole and len(both) == len(whole) and not len(part.test)
    assert parts["given"] is split and isinstance(split, Split)


def test_every_row_of_the_ablation_changes_its_preset():
    for name, rows in ablation.OFF.items():
        configs = [PRESETS[name].override(parse_assignments(settings.split())) for settings in rows.values()]
        assert configs[0] == PRESETS[name] and all(config != PRESETS[name] for config in configs[1:])
