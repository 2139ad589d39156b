"""Metrics of lists on hand-counted cases."""

import numpy as np
import pytest

from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import linear_filter
from sdiff.evaluation.beyond_accuracy import measures
from sdiff.evaluation.evaluate import TopNLists, evaluate, evaluate_users
from sdiff.experiments.groups import N, described, fifths
from tests.conftest import CPU


def test_lists_exclude_seen_items_and_agree_with_evaluation(split):
    score = linear_filter(split)
    shown = evaluate_users(score, split, "test", CPU, k=N)
    seen = (split.train.matrix() + split.valid.matrix())[shown.users]
    assert shown.matrix(30).multiply(seen).sum() == 0 and shown.matrix(30).sum(1).max() <= N
    expected = evaluate(score, split, "test", CPU)
    whole, *groups = described("A x", score, split)
    assert whole["recall@20"] == pytest.approx(expected["recall@20"])
    assert shown.values["ndcg@20"].mean() == pytest.approx(expected["ndcg@20"])
    by_history = [row["recall@20"] for row in groups if row["group"].startswith("history")]
    assert np.mean(by_history) == pytest.approx(whole["recall@20"], abs=1e-6)  # 60 users, five groups of 12


def test_identical_lists_have_known_coverage_diversity_and_novelty(split):
    found = measures(TopNLists(np.arange(60), np.tile([0, 1], (60, 1))), split)
    X = split.train.matrix().toarray()
    a, b = X[:, 0], X[:, 1]
    assert found["coverage"] == pytest.approx(2 / 30)
    assert found["diversity"] == pytest.approx(1 - a @ b / np.sqrt(a.sum() * b.sum()))
    assert found["novelty"] == pytest.approx(-np.log2(np.array([a.sum(), b.sum()]) / 60).mean())


def test_items_without_users_are_unlike_all_others(split):
    counts = split.train.item_counts.copy()
    user = int(np.flatnonzero(split.train.lengths)[0])
    lonely = split.train.where(~np.isin(split.train.indices, [0]))  # nobody has item 0
    unseen_and_seen = TopNLists(np.array([user]), np.array([[0, int(counts.argmax())]]))
    found = measures(unseen_and_seen, Split(lonely, split.valid, split.test))
    assert found["diversity"] == pytest.approx(1)


def test_lists_of_one_item_have_no_diversity(split):
    assert "diversity" not in measures(TopNLists(np.arange(60), np.zeros((60, 1), dtype=int)), split)


def test_popularity_lift_is_zero_for_lists_like_the_histories_and_one_for_twice_the_popularity(split):
    counts = split.train.item_counts
    histories = [split.train.history(u) for u in range(60)]
    padded = np.array([np.pad(history, (0, 8 - len(history)), constant_values=-1) for history in histories])
    assert measures(TopNLists(np.arange(60), padded), split)["popularity lift"] == pytest.approx(0)
    usual = np.mean([counts[history].mean() for history in histories])
    found = measures(TopNLists(np.arange(60), np.full((60, 1), counts.argmax())), split)
    assert found["popularity lift"] == pytest.approx(counts.max() / usual - 1)


def test_popularity_lift_is_relative_to_the_histories_of_the_protocol(split):
    counts = split.train.item_counts
    lists = TopNLists(np.arange(60), np.full((60, 1), counts.argmax()))
    past = split.merged().train
    usual = np.mean([counts[past.history(u)].mean() for u in range(60)])
    for protocol in ("train+valid", "paper"):
        found = measures(lists, split, protocol)["popularity lift"]
        assert found == pytest.approx(counts.max() / usual - 1) != measures(lists, split)["popularity lift"]


def test_quintiles_have_equal_size_and_are_named_by_their_range():
    groups = dict(fifths(np.arange(10, 0, -1)))
    assert list(groups) == ["1-2", "3-4", "5-6", "7-8", "9-10"]
    assert [len(members) for members in groups.values()] == [2] * 5
