"""What is compared with an update."""

import numpy as np

from sdiff.data.interactions import Interactions
from sdiff.experiments.update import compared, slices
from tests.conftest import SMALL, vocabulary


def test_a_former_model_knows_nothing_of_what_came_later(split):
    rng = np.random.default_rng(0)
    user, item = (rng.integers(n, size=2000) for n in (40, 30))
    times = rng.permutation(2000).astype(float)
    timed = Interactions.from_pairs(vocabulary("u", 40), vocabulary("i", 30), user, item, times)
    empty = timed.where(timed.rows < 0)
    before, now = slices(type(split)(timed, empty, empty))
    latest = before.train.timestamps.max()
    assert latest < before.valid.timestamps.min() and before.valid.timestamps.max() < now.valid.timestamps.min()
    assert now.valid.timestamps.max() < now.test.timestamps.min() and len(before.train) < len(now.train)
    assert (before.train.item_counts > 0).all() and (before.train.lengths > 0).all()


def test_without_times_the_slices_are_those_of_each_history_and_some_items_are_new(walks):
    before, now = slices(walks)
    assert now is walks and 0 < len(now.items) - len(before.items) < 10
    assert before.train.lengths.max() <= 7 and len(before.valid) and not len(before.test)


def test_the_four_models_are_measured_on_the_same_users(walks):
    before, now = slices(walks)
    found = compared(SMALL.override({"epochs": 4, "patience": 4, "eval_every": 2}), before, now, 0)
    assert [*found] == ["before", "placed", "updated", "anew"]
    assert len({row["users"] for row in found.values()}) == 1
    assert found["updated"]["epochs"] == 1 and all(found[name]["seconds"] > 0 for name in ("updated", "anew"))
