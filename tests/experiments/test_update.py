"""What is compared with an update."""

from sdiff.experiments.update import compared, slices
from tests.conftest import SMALL


def test_a_former_model_knows_only_the_beginning_of_each_history_and_not_all_users_and_items(walks):
    before = slices(walks)
    for known, all_ids in ((before.train.users.ids, walks.users.ids), (before.train.items.ids, walks.items.ids)):
        assert 0 < len({*all_ids} - {*known}) < len(all_ids) / 4
    assert (before.train.item_counts > 0).all() and (before.train.lengths > 0).all() and len(before.valid)
    for user, id in enumerate(before.train.users.ids):
        whole = [walks.items.ids[i] for i in walks.train.history(walks.users.index[id])]
        first, last = ([before.items.ids[i] for i in p.history(user)] for p in (before.train, before.valid))
        kept = [item for item in whole if item in before.items]
        assert kept[: len(first)] == first and kept[len(first) :] == last and set(first) <= set(whole[:7])


def test_the_four_models_are_measured_on_the_same_users(walks):
    found = compared(SMALL.override({"epochs": 4, "patience": 4, "eval_every": 2}), slices(walks), walks, 0)
    assert [*found] == ["before", "placed", "updated", "anew"]
    assert len({row["users"] for row in found.values()}) == 1
    assert found["updated"]["epochs"] == 1 and all(found[name]["seconds"] > 0 for name in ("updated", "anew"))
