from dataclasses import replace

import numpy as np
import pytest

from sdiff.base.errors import SDiffError
from sdiff.data.interactions import Interactions, Split, Vocabulary, k_core
from sdiff.data.splits import chronological_split, global_split, leave_last_out, random_split
from tests.conftest import vocabulary


def pairs(x):
    return set(zip(x.rows.tolist(), x.indices.tolist(), strict=True))


def test_histories_are_ordered_by_time_and_ties_by_position():
    user, item = np.array([0, 1, 0, 0]), np.array([2, 0, 1, 0])
    x = Interactions.from_pairs(vocabulary("u", 2), vocabulary("i", 3), user, item, np.array([5.0, 1.0, 3.0, 3.0]))
    assert x.history(0).tolist() == [1, 0, 2]
    assert x.history(1).tolist() == [0]


def test_without_timestamps_histories_keep_the_order_of_the_file():
    x = Interactions.from_pairs(vocabulary("u", 1), vocabulary("i", 4), np.zeros(4, int), np.array([3, 1, 2, 0]))
    assert x.history(0).tolist() == [3, 1, 2, 0]


def test_a_repeated_pair_counts_once_at_its_first_time():
    user, item, time = np.zeros(3, int), np.array([1, 0, 1]), np.array([9.0, 5.0, 1.0])
    x = Interactions.from_pairs(vocabulary("u", 1), vocabulary("i", 2), user, item, time)
    assert x.history(0).tolist() == [1, 0]
    assert x.timestamps is not None and x.timestamps.tolist() == [1.0, 5.0]


def test_joined_interactions_keep_the_indices_of_the_first_and_add_new_ids():
    def some(users, items, times):
        names = sorted({*users}), sorted({*items})
        index = ([group.index(id) for id in ids] for group, ids in zip(names, (users, items), strict=True))
        return Interactions.from_pairs(*(Vocabulary(tuple(ids)) for ids in names), *map(np.array, index), times)

    a = some("bbc", "yzz", np.array([3.0, 5.0, 4.0]))
    b = some("abb", "xxy", np.array([1.0, 2.0, 6.0]))
    both = a.joined(b)
    assert both.users.ids == ("b", "c", "a") and both.items.ids == ("y", "z", "x")
    assert [both.items.ids[i] for i in both.history(0)] == ["x", "y", "z"], "in order of time; of b and y, the first"
    assert len(both) == 5 and both.ordered and both.timestamps is not None
    assert pairs(a.joined(b.where(b.rows < 0))) == pairs(a), "an empty part changes nothing but the ids"
    untimed = a.joined(replace(b, timestamps=None))
    assert untimed.timestamps is None and [both.items.ids[i] for i in untimed.history(0)] == ["y", "z", "x"]


def test_interactions_and_their_split_are_shown_in_one_line(tastes, random_interactions):
    assert repr(tastes) == "Interactions(60 users x 30 items, 480 pairs, with timestamps)"
    assert repr(random_interactions).endswith(f"{len(random_interactions):,} pairs, unordered)")
    assert repr(replace(tastes, timestamps=None)).endswith("480 pairs, ordered)")
    split = chronological_split(tastes)
    assert repr(split) == "Split(60 users x 30 items, 300 train + 60 valid + 120 test pairs)"
    assert repr(split.items) == "Vocabulary(30 ids)"


def test_train_and_valid_merge_in_order_and_leave_valid_empty(tastes):
    split = chronological_split(tastes)
    merged = split.merged()
    for user in range(60):
        assert merged.train.history(user).tolist() == [*split.train.history(user), *split.valid.history(user)]
    assert len(merged.valid) == 0 and merged.test is split.test
    assert merged.train.ordered == tastes.ordered


def test_the_seed_determines_the_random_split(random_interactions):
    same, again, other = (random_split(random_interactions, seed) for seed in (1, 1, 2))
    assert same.fingerprint == again.fingerprint != other.fingerprint


def test_a_k_core_has_at_least_k_of_each_and_is_the_largest(random_interactions):
    user, item = random_interactions.rows, random_interactions.indices
    keep = k_core(user, item, 6)
    left_users, left_items = np.bincount(user[keep]), np.bincount(item[keep])
    assert left_users[left_users > 0].min() >= 6 and left_items[left_items > 0].min() >= 6
    assert not k_core(user, item, 1000).any()
    assert k_core(user, item, 1).all()


def test_without_known_ids_every_id_is_unknown():
    with pytest.raises(SDiffError, match="Unknown user 99: no user is known"):
        Vocabulary(()).encode(["99"], "user")


def test_an_unknown_id_is_named():
    with pytest.raises(SDiffError, match="Unknown user 99"):
        Vocabulary(("1", "2")).encode(["1", "99"], "user")
    with pytest.raises(SDiffError, match="as a list"):
        Vocabulary(("1", "2")).encode("12")


def test_whole_numbers_may_be_floats_as_in_a_column_with_gaps():
    known = Vocabulary(("1", "2", "1.5"))
    assert known.encode([2.0, np.float32(1), 1.5, 2]).tolist() == [1, 0, 2, 1]
    with pytest.raises(SDiffError, match=r"Unknown item 2\.5"):
        known.encode([2.5])


@pytest.mark.parametrize("role", ["users", "items"])
def test_parts_of_a_split_with_different_vocabularies_are_refused(tastes, role):
    other = replace(tastes, **{role: Vocabulary(tuple(reversed(getattr(tastes, role).ids)))})
    with pytest.raises(SDiffError, match=f"must have the same {role} in the same order"):
        Split(tastes, tastes.empty, other)


def test_the_fingerprint_depends_on_order_and_ids():
    def build(items, ids="ab"):
        return Interactions.from_pairs(Vocabulary(("u",)), Vocabulary(tuple(ids)), np.zeros(2, int), np.array(items))

    assert build([0, 1]).fingerprint == build([0, 1]).fingerprint
    assert len({build([0, 1]).fingerprint, build([1, 0]).fingerprint, build([0, 1], "ac").fingerprint}) == 3


def timed(user, item, times):
    users, items = (Vocabulary(tuple(f"{kind}{i}" for i in range(9))) for kind in "ui")
    return Interactions.from_pairs(users, items, np.array(user), np.array(item), np.array(times))


def test_a_global_split_uses_the_same_cutoff_times_for_all_users(random_interactions):
    rng = np.random.default_rng(0)
    times = rng.integers(0, 500, len(random_interactions))
    whole = replace(random_interactions, timestamps=times[np.lexsort((times, random_interactions.rows))])
    split = global_split(whole)
    latest, first = split.train.timestamps.max(), split.valid.timestamps.min()
    assert latest < first <= split.valid.timestamps.max() < split.test.timestamps.min()
    assert len(split.train) == pytest.approx(0.7 * len(whole), abs=5)
    for part in (split.valid, split.test):
        assert (split.train.lengths[part.lengths > 0] > 0).all(), "users without a history are not tested"


def test_interactions_at_the_same_time_are_on_the_same_side_of_the_cutoff():
    times = [1, 1, 1, 1, 1, 1, 2, 2, 3, 3]
    split = global_split(timed([0] * 5 + [1] * 5, [*range(5), *range(5)], times))
    assert [set(part.timestamps) for part in (split.train, split.valid, split.test)] == [{1}, {2}, {3}]


@pytest.mark.parametrize("times", [[1] * 10, [1] * 9 + [2], [1] * 2 + [2] * 8])
def test_timestamps_that_are_too_coarse_for_a_cut_are_refused(times):
    with pytest.raises(SDiffError, match="too coarse for a global split"):
        global_split(timed([0] * 5 + [1] * 5, [*range(5), *range(5)], times))


def test_a_global_split_needs_timestamps(random_interactions):
    with pytest.raises(SDiffError, match="needs timestamps"):
        global_split(random_interactions)


def test_the_last_interaction_is_for_test_and_the_one_before_for_validation():
    whole = timed([0, 0, 0, 0, 1, 1, 2, 2, 2], [3, 1, 2, 0, 5, 6, 8, 7, 6], [1, 2, 3, 4, 1, 2, 3, 2, 1])
    split = leave_last_out(whole)
    assert [part.history(0).tolist() for part in (split.train, split.valid, split.test)] == [[3, 1], [2], [0]]
    assert split.train.history(1).tolist() == [5, 6] and not split.test.lengths[1]
    assert [part.history(2).tolist() for part in (split.train, split.valid, split.test)] == [[6], [7], [8]]


@pytest.mark.parametrize(("users", "items"), [([0, 2], [0, 1]), ([0, 1], [0, 7]), ([-1, 0], [0, 1])])
def test_indices_outside_of_their_vocabulary_are_refused(users, items):
    with pytest.raises(SDiffError, match="indices must be between 0 and 1"):
        Interactions.from_pairs(vocabulary("u", 2), vocabulary("i", 2), users, items)
