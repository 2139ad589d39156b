"""Metrics against hand-computed values and other libraries, confidence intervals, and the files of results."""

import math

import duckdb
import numpy as np
import pytest
import torch

from sdiff.base.distributed import Ranks
from sdiff.base.errors import SDiffError
from sdiff.evaluation.baselines import linear_filter, popularity
from sdiff.evaluation.beyond_accuracy import measures
from sdiff.evaluation.evaluate import MAIN, MeasuredLists, evaluate, evaluate_users
from sdiff.evaluation.metrics import METRICS
from sdiff.evaluation.report import Evaluation, assess
from sdiff.serving.export import write_users, writing
from tests.conftest import CPU

HITS = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
RELEVANT = torch.tensor([3, 1, 2, 9])
LOG3 = math.log2(3)
BY_HAND = {
    ("recall", 2): [1 / 2, 1, 0, 1],
    ("recall", 4): [2 / 3, 1, 0, 1],
    ("recall_all", 2): [1 / 3, 1, 0, 2 / 9],
    ("recall_all", 4): [2 / 3, 1, 0, 4 / 9],
    ("precision", 2): [1 / 2, 1 / 2, 0, 1],
    ("precision", 4): [1 / 2, 1 / 4, 0, 1],
    ("ndcg", 2): [(1 / LOG3) / (1 + 1 / LOG3), 1, 0, 1],
    ("ndcg", 4): [(1 / LOG3 + 1 / 2) / (1 + 1 / LOG3 + 1 / 2), 1, 0, 1],
    ("mrr", 1): [0, 1, 0, 1],
    ("mrr", 4): [1 / 2, 1, 0, 1],
    ("map", 2): [(1 / 2) / 3, 1, 0, 2 / 9],
    ("map", 4): [(1 / 2 + 2 / 3) / 3, 1, 0, 4 / 9],
    ("hit_rate", 1): [0, 1, 0, 1],
    ("hit_rate", 2): [1, 1, 0, 1],
}


@pytest.mark.parametrize(("name", "k"), BY_HAND, ids=str)
def test_a_metric_equals_its_value_by_hand(name, k):
    np.testing.assert_allclose(METRICS[name](HITS, RELEVANT, k), BY_HAND[name, k], rtol=1e-6)


def test_every_metric_has_values_by_hand():
    assert {name for name, _ in BY_HAND} == {*METRICS}


@pytest.mark.parametrize("name", METRICS)
def test_a_list_that_is_shorter_than_k_has_no_hits_at_the_missing_ranks(name):
    padded = torch.cat([HITS, torch.zeros(4, 6, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(METRICS[name](HITS, RELEVANT, 10), METRICS[name](padded, RELEVANT, 10))


@pytest.fixture(scope="module")
def found(split):
    return assess(linear_filter(split), split, "test", CPU, [1, 5, 20])


def qrels_and_run(split, n):
    """Relevant items and scored lists of n items, as nested dictionaries of ids."""
    lists = evaluate_users(linear_filter(split), split, "test", CPU, k=n)
    ids = split.items.ids
    qrels = {split.users.ids[u]: {ids[i]: 1 for i in split.test.history(u)} for u in lists.users}
    run = {
        split.users.ids[u]: {ids[i]: 1 / rank for rank, i in enumerate(items, 1)}
        for u, items in zip(lists.users, lists.items, strict=True)
    }
    return qrels, run


@pytest.mark.parametrize("k", [1, 5, 20])
def test_metrics_equal_those_of_ranx(k, found, split):
    ranx = pytest.importorskip("ranx")
    qrels, run = qrels_and_run(split, 20)
    names = {
        "precision": "precision",
        "recall_all": "recall",
        "ndcg": "ndcg",
        "mrr": "mrr",
        "map": "map",
        "hit_rate": "hit_rate",
    }
    theirs = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), [f"{other}@{k}" for other in names.values()])
    for name, other in names.items():
        assert found.means[f"{name}@{k}"] == pytest.approx(theirs[f"{other}@{k}"], abs=1e-6), name


@pytest.mark.parametrize("k", [1, 5, 20])
def test_metrics_equal_those_of_lenskit(k, found, split):
    metrics = pytest.importorskip("lenskit.metrics")
    ranking = pytest.importorskip("lenskit.metrics.ranking")
    data = pytest.importorskip("lenskit.data")
    qrels, run = qrels_and_run(split, 20)
    kinds = {
        "precision": metrics.Precision(n=k),
        "recall": metrics.Recall(n=k),
        "ndcg": metrics.NDCG(n=k, weight=ranking.LogRankWeight(offset=1)),  # its default does not discount rank 2
        "mrr": metrics.RecipRank(n=k),
        "map": ranking.AveragePrecision(n=k),  # divided by min(k, |T|)
        "hit_rate": metrics.Hit(n=k),
    }
    lists = [(data.ItemList([*run[user]], ordered=True), data.ItemList([*qrels[user]])) for user in found.users]
    for name, metric in kinds.items():
        theirs = [metric.measure_list(*pair) for pair in lists]
        ours = found.values[f"{name}@{k}"]
        if name == "map":
            ours = ours * found.held_out / np.minimum(found.held_out, k)
        np.testing.assert_allclose(ours, theirs, atol=1e-6, err_msg=name)


def test_any_cut_off_may_be_measured_and_the_default_ones_are_unchanged(split):
    score = popularity(split)
    usual = evaluate(score, split, "test", CPU)
    assert list(usual) == [*(f"{name}@{k}" for k in (10, 20) for name in MAIN), "users"]
    other = evaluate(score, split, "test", CPU, k=[1, 10, 100], metrics=["recall", "mrr"])
    assert list(other) == ["recall@1", "mrr@1", "recall@10", "mrr@10", "recall@100", "mrr@100", "users"]
    assert other["recall@10"] == usual["recall@10"] and other["recall@100"] == 1, "every unseen item is ranked"
    assert list(evaluate(score, split, "test", CPU, k=3, metrics=["map"])) == ["map@3", "users"]
    for wrong in (0, [], [10, -1], [2.5], ["10"], None):
        with pytest.raises(SDiffError, match="k "):
            evaluate(score, split, "test", CPU, k=wrong)


def test_means_are_those_of_the_users_and_of_the_lists(found, split):
    assert found.users == list(split.users.ids) and found.held_out.tolist() == split.test.lengths.tolist()
    lists = evaluate_users(linear_filter(split), split, "test", CPU, k=20)
    for k in (1, 5, 20):
        expected = evaluate(linear_filter(split), split, "test", CPU, k=k)
        assert found.means[f"ndcg@{k}"] == pytest.approx(expected[f"ndcg@{k}"])
        for name, value in measures(lists.first(k), split).items():
            assert found.means[f"{name}@{k}"] == pytest.approx(value)
    assert repr(found).startswith("Evaluation(60 users, recall@1 ")


def evaluation(values):
    return Evaluation([f"u{i}" for i in range(len(values))], np.ones(len(values), int), {"recall@1": values}, {})


def test_an_interval_covers_the_true_mean_about_19_times_in_20():
    random = np.random.default_rng(0)
    intervals = [evaluation(random.random(50)).intervals(seed=n)["recall@1"] for n in range(50)]
    assert 42 <= sum(low <= 0.5 <= high for low, high in intervals) <= 50
    widths = [high - low for low, high in intervals]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * math.sqrt(1 / 12 / 50), rel=0.1)


def test_an_interval_is_determined_by_its_seed_and_is_a_point_without_variation():
    values = np.random.default_rng(1).random(30)
    assert evaluation(values).intervals(1) == evaluation(values).intervals(1) != evaluation(values).intervals(2)
    assert evaluation(np.full(30, 0.25)).intervals()["recall@1"] == (0.25, 0.25)
    with pytest.raises(SDiffError, match="seed must be a whole number"):
        evaluation(values).intervals(-1)


def test_the_lists_of_all_ranks_are_gathered_in_order(split, monkeypatch):
    score = popularity(split)
    whole = evaluate_users(score, split, "test", CPU)
    parts = [evaluate_users(score, split, "test", CPU, ranks=Ranks(rank, 3)) for rank in range(3)]
    assert [len(part.users) for part in parts] == [20, 20, 20]
    sent: list[list[torch.Tensor]] = [[], []]  # what each rank adds to the two sums: sizes, then rows

    def add(ranks, x, call):
        sent[call].append(x)
        return x if call else torch.tensor([20, 20, 20])

    for rank, part in enumerate(parts):
        calls = iter((0, 1))
        monkeypatch.setattr(Ranks, "sum", lambda ranks, x, calls=calls: add(ranks, x, next(calls)))
        part.gathered(Ranks(rank, 3), CPU)
    calls = iter((0, 1))
    monkeypatch.setattr(Ranks, "sum", lambda ranks, x: torch.tensor([20, 20, 20]) if next(calls) == 0 else sum(sent[1]))
    everyone = parts[0].gathered(Ranks(0, 3), CPU)
    assert isinstance(everyone, MeasuredLists) and (everyone.items == whole.items).all()
    assert everyone.users.tolist() == whole.users.tolist()
    for name, column in whole.values.items():
        assert everyone.values[name].tolist() == column.tolist()


@pytest.mark.parametrize("name", ["users.parquet", "users.csv", "users.csv.gz"])
def test_the_metrics_of_each_user_are_written_to_a_file(name, found, tmp_path):
    path = tmp_path / name
    with writing(path) as file:
        write_users(found, *file)
    table = duckdb.connect().execute(f"SELECT * FROM '{path}'")
    assert [column[0] for column in table.description or ()] == ["user", "held_out", *found.values]
    rows = table.fetchall()
    assert [row[0] for row in rows] == found.users and [row[1] for row in rows] == found.held_out.tolist()
    np.testing.assert_allclose([row[2:] for row in rows], np.column_stack([*found.values.values()]))
