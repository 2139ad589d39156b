from itertools import pairwise

import pytest
import torch

from sdiff.method.histories import Histories
from tests.conftest import CPU

ROWS = [[3, 1, 4, 0, 5], [2], [], [6, 7]]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(x):
    """Each row as {item: weight}."""
    bounds = x.offsets.tolist()
    return [dict(zip(x.items[a:b].tolist(), x.weights[a:b].tolist(), strict=True)) for a, b in pairwise(bounds)]


X = Histories.from_lists(ROWS, CPU)


def test_masking_hides_the_given_share_and_keeps_the_expected_size():
    x = Histories.from_lists([list(range(5000))], CPU)
    c, hidden = x.mask(0.3, generator())
    assert len(hidden.items) == pytest.approx(1500, abs=100)
    assert sorted([*c.items.tolist(), *hidden.items.tolist()]) == list(range(5000))
    assert c.size.item() == pytest.approx(5000, rel=0.03)
    assert torch.equal(X.mask(0.0, generator())[0].weights, X.weights)


def test_a_cut_gives_a_past_and_a_decaying_future():
    points = set()
    for seed in range(60):
        past, future = X.cut(2.0, generator(seed))
        first = len(rows(past)[0])
        points.add(first)
        assert list(rows(past)[0]) == ROWS[0][:first] and set(rows(past)[0].values()) == {1.0}
        assert rows(future)[0] == pytest.approx({item: 2 ** (-n / 2) for n, item in enumerate(ROWS[0][first:])})
        assert list(rows(past)[1]) == [2] and not rows(future)[1], "a single entry is all past"
        assert not rows(past)[2] and not rows(future)[2]
    assert points == {1, 2, 3, 4}, "every cut has entries on both sides"


def test_recency_halves_weights_by_age_and_keeps_the_size():
    recent = X.recent(1.0)
    assert rows(recent)[3] == pytest.approx({6: 2 / 3, 7: 4 / 3})
    torch.testing.assert_close(recent.size, X.size)
    torch.testing.assert_close(X.recent(1e6).weights, X.weights, atol=1e-4, rtol=0)
    assert X.recent(1e-3).weights.isfinite().all(), "even with a short half-life"


def test_normalised_rows_sum_to_one_and_empty_rows_stay_empty():
    assert X.normalised().size.tolist() == pytest.approx([1, 1, 0, 1])


def test_taking_rows_keeps_their_entries():
    assert rows(X.take(torch.tensor([3, 2, 0]))) == [rows(X)[3], {}, rows(X)[0]]
