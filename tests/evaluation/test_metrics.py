import math

import numpy as np
import pytest
import torch

from sdiff.base.errors import SDiffError
from sdiff.data.interactions import Split
from sdiff.evaluation import metrics
from sdiff.evaluation.baselines import linear_filter, popularity
from sdiff.evaluation.evaluate import evaluate, evaluate_users, exclude_, top_n
from sdiff.evaluation.metrics import ndcg, recall, recall_all
from sdiff.method.histories import Histories
from sdiff.method.spectrum import normalised_adjacency_root
from tests.conftest import CPU

METRICS = [recall, recall_all, ndcg]


def hits(*rows):
    return torch.tensor(rows, dtype=torch.bool)


def test_ndcg_matches_a_hand_computed_value():
    value = ndcg(hits([0, 1, 1, 0]), torch.tensor([2]), 4).item()
    assert value == pytest.approx((1 / math.log2(3) + 1 / math.log2(4)) / (1 + 1 / math.log2(3)))


def test_the_two_recalls_differ_only_with_more_relevant_items_than_k():
    row, relevant = hits([1, 0, 1, 1, 1, 1]), torch.tensor([10])
    assert recall(row, relevant, 4).item() == pytest.approx(3 / 4)
    assert recall_all(row, relevant, 4).item() == pytest.approx(3 / 10)


def test_ndcg_prefers_early_hits():
    relevant = torch.tensor([1])
    values = [ndcg(hits([int(i == rank) for i in range(5)]), relevant, 5).item() for rank in range(5)]
    assert values == sorted(values, reverse=True) and len(set(values)) == 5


def test_top_n_excludes_seen_items_and_allows_n_above_the_number_of_items():
    scores = torch.tensor([[0.9, 0.8, 0.7], [0.1, 0.2, 0.3]])
    seen = Histories.from_lists([[0], []], CPU)
    values, items = top_n(exclude_(scores.clone(), seen), 10)
    assert items[0, :2].tolist() == [1, 2] and values[0, 2] == -torch.inf
    assert items[1].tolist() == [2, 1, 0]
    values, items = top_n(exclude_(scores.clone(), seen, np.array([True, False, True])), 2)
    assert items[0, 0] == 2 and values[0, 1] == -torch.inf and items[1].tolist() == [2, 0]


@pytest.mark.parametrize("n_items", [640, 1283, 5000])
def test_top_n_of_many_items_equals_a_full_sort(n_items):
    scores = torch.randn(7, n_items, generator=torch.Generator().manual_seed(n_items))
    scores[0] = -torch.inf
    scores[0, 5] = 1.0  # fewer than n items are left
    scores[1, -3:] = 9.0  # in the incomplete last group
    for n in (1, 9, 20):
        values, items = top_n(scores.clone(), n)
        expected = scores.sort(dim=1, descending=True).values[:, :n]
        assert torch.equal(values, expected) and torch.equal(scores.gather(1, items), values)
        assert all(len(set(row)) == n for row in items.tolist())


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "expanded"])
def test_scores_are_not_modified(layout, split):
    kept = torch.randn(60, 30, generator=torch.Generator().manual_seed(0))
    if layout == "transposed":
        kept = kept.T.contiguous().T
    if layout == "expanded":
        kept = kept[:1].expand(60, 30)
    before = kept.clone()
    top_n(kept, 5)
    values = [evaluate(lambda x: kept, split, part, CPU) for part in ("test", "valid", "test", "valid")]
    evaluate_users(lambda x: kept, split, "test", CPU, k=5)
    assert torch.equal(kept, before)
    assert values[:2] == values[2:] == [evaluate(lambda x: before.clone(), split, p, CPU) for p in ("test", "valid")]


@pytest.mark.parametrize("part", ["valid", "test"])
def test_an_oracle_scores_one_and_its_opposite_zero(part, random_interactions):
    from sdiff.data.splits import chronological_split

    split = chronological_split(random_interactions)
    truth = torch.from_numpy(getattr(split, part).matrix().toarray()).float()
    best = evaluate(lambda x: truth[x.users].clone(), split, part, CPU)
    assert all(value == pytest.approx(1) for key, value in best.items() if key != "users")
    assert best["users"] == (getattr(split, part).lengths > 0).sum()


@pytest.mark.parametrize(
    "scores",
    [
        lambda x: torch.ones(len(x), 30, dtype=torch.int64),
        lambda x: torch.ones(len(x), 30, dtype=torch.bool),
        lambda x: torch.ones(len(x), 29),
        lambda x: torch.ones(30, len(x)),
        lambda x: torch.ones(30),
    ],
    ids=["whole numbers", "bool", "an item short", "transposed", "one row"],
)
def test_scores_of_the_wrong_type_or_shape_are_refused(scores, split):
    with pytest.raises(SDiffError, match=r"floating-point numbers of shape \(60, 30\)"):
        evaluate(scores, split, "test", CPU)


def test_items_with_a_score_of_minus_infinity_are_not_recommended(split):
    values = evaluate(lambda x: torch.full((len(x), 30), -torch.inf), split, "test", CPU)
    assert values.pop("users") == 60 and set(values.values()) == {0.0}


def test_training_items_and_for_test_also_validation_items_are_never_ranked(split):
    seen = torch.from_numpy((split.train.matrix() + split.valid.matrix()).toarray()).float()
    truth = torch.from_numpy(split.test.matrix().toarray()).float()
    # If seen items were ranked, they would push hits down and NDCG below 1.
    assert evaluate(lambda x: 10 * seen + truth, split, "test", CPU)["ndcg@10"] == pytest.approx(1)


def test_metrics_do_not_depend_on_the_batch_size(split, monkeypatch):
    sizes = []

    def score(x):
        sizes.append(len(x))
        return popularity(split)(x)

    one = evaluate(score, split, "test", CPU)
    monkeypatch.setattr("sdiff.evaluation.evaluate.SCORES", 7 * len(split.items))
    many = evaluate(score, split, "test", CPU)
    assert one == pytest.approx(many) and sizes[0] == sum(sizes[1:]) and max(sizes[1:]) == 7


def test_an_empty_held_out_part_is_refused(split):
    empty = split.train.empty
    with pytest.raises(SDiffError, match="Nothing is held out in the valid part"):
        evaluate(popularity(split), Split(split.train, empty, split.test), "valid", CPU)


def test_the_linear_filter_equals_the_dense_product(split):
    root = normalised_adjacency_root(split.train.matrix()).toarray()
    dense = split.train.matrix().toarray() @ root.T @ root
    scores = linear_filter(split)(Histories.from_interactions(split.train, CPU))
    np.testing.assert_allclose(scores, dense, atol=1e-6)


@pytest.mark.parametrize(
    ("protocol", "history", "excluded"),
    [
        ("train", "train", "train+valid"),
        ("train+valid", "train+valid", "train+valid"),
        ("paper", "train+valid", "train"),
    ],
)
def test_a_protocol_determines_the_history_and_the_exclusions(protocol, history, excluded, split):
    both = split.merged().train
    parts = {"train": split.train.matrix().toarray(), "train+valid": both.matrix().toarray()}
    given = []

    def score(x):
        given.append(x.dense(30).numpy())
        return torch.rand(len(x), 30, generator=torch.Generator().manual_seed(0))

    lists = evaluate_users(score, split, "test", CPU, protocol=protocol, k=30)
    assert (np.concatenate(given) == parts[history]).all()
    assert ((lists.matrix(30).toarray() + parts[excluded]) == 1).all(), "every item is either excluded or ranked"
    truth = torch.from_numpy(split.test.matrix().toarray()).float()
    assert evaluate(lambda x: truth.clone(), split, "test", CPU, protocol=protocol)["recall@20"] == 1


@pytest.mark.parametrize(
    ("part", "protocol", "message"),
    [("test", "trian", "Unknown protocol 'trian'"), ("valid", "paper", "for the test part only")],
)
def test_a_protocol_that_is_unknown_or_has_no_effect_is_refused(part, protocol, message, split):
    with pytest.raises(SDiffError, match=message):
        evaluate(popularity(split), split, part, CPU, protocol=protocol)


def test_an_unknown_part_is_refused(split):
    with pytest.raises(SDiffError, match="Unknown part 'Test': evaluate valid or test"):
        evaluate(lambda x: torch.zeros(len(x), len(split.items)), split, "Test", CPU)  # pyright: ignore


@pytest.mark.parametrize("name", metrics.METRICS)
def test_a_batch_may_be_empty(name):
    hits, relevant = torch.zeros(0, 5, dtype=torch.bool), torch.zeros(0, dtype=torch.int64)
    assert metrics.METRICS[name](hits, relevant, 5).shape == (0,)
