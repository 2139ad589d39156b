"""The softmax over some of the items: unbiased, and equal to that over all if it draws all."""

from __future__ import annotations

import math

import pytest
import torch

from sdiff.base.errors import SDiffError
from sdiff.config import Config
from sdiff.method.candidates import ALL, Candidates
from sdiff.method.crossfit import cross_fit
from sdiff.method.graph import ItemGraph
from sdiff.method.histories import Histories
from sdiff.method.losses import ranking_loss
from sdiff.method.model import Model
from sdiff.method.spectrum import CPU

SETTINGS = Config(K=12, loss="softmax", normalise=True, sampled=0.5, hidden=16, graph_entries=150, graph_log=True)


def generator():
    return torch.Generator().manual_seed(0)


def test_the_hidden_items_are_candidates_and_the_others_stand_for_the_rest():
    hidden = Histories.from_lists([[3, 7], [7, 50], []], CPU)
    drawn = Candidates.draw(hidden, 1000, 40, generator())
    items, weights = drawn.items.tolist(), drawn.log_weights.exp()
    assert items == sorted({*items}) and {3, 7, 50} < {*items} and 20 < len(items) <= 43
    assert [items[i] for i in (weights == 1).nonzero()[:, 0]] == [3, 7, 50]
    assert weights.sum().item() == pytest.approx(1000, rel=1e-5), "every item is represented"
    assert drawn.positions(hidden).items.tolist() == [items.index(item) for item in hidden.items.tolist()]
    seen = Histories.from_lists([[3, 999 - 3], [50], [0]], CPU)
    kept = drawn.positions(seen)
    assert [items[position] for position in kept.items] == [item for item in seen.items.tolist() if item in items]
    assert Candidates.draw(Histories.from_lists([[3, 7, 42]], CPU), 43, 40, generator()) is ALL
    nearly_all = Candidates.draw(Histories.from_lists([[*range(995)]], CPU), 1000, 4, generator())
    assert 995 < len(nearly_all.items) < 1000 and nearly_all.items[-1] < 1000
    assert nearly_all.log_weights.exp().sum().item() == pytest.approx(1000, rel=1e-5)


def test_the_sum_of_a_softmax_over_candidates_is_unbiased():
    hidden, scores = Histories.from_lists([[3, 7]], CPU), torch.randn(1, 300, generator=generator())
    shown, draws = Histories.from_lists([[5, 9]], CPU), torch.Generator().manual_seed(1)
    sums = []
    for _ in range(4000):
        drawn = Candidates.draw(hidden, 300, 20, draws)
        sums.append(drawn.logits(scores[:, drawn.items], shown, -math.inf).exp().sum().item())
    exact = ALL.logits(scores.clone(), shown, -math.inf).exp().sum().item()
    error = torch.tensor(sums).std().item() / math.sqrt(len(sums))
    assert sum(sums) / len(sums) == pytest.approx(exact, abs=4 * error)


@pytest.mark.parametrize("kind", ["fixed", "tied", "directional"])
@pytest.mark.parametrize("fitted", [False, True])
def test_the_loss_with_some_candidates_estimates_that_with_all(basis, tastes, kind, fitted):
    config = SETTINGS.override({"basis": kind})
    counts = torch.from_numpy(tastes.item_counts)
    torch.manual_seed(0)
    whole = Model(config, basis, counts)
    whole.graph.build(tastes)
    fold = cross_fit(tastes, basis, 4, 150)[0] if fitted else None
    x = Histories.from_interactions(tastes, CPU).take(torch.tensor([0, 3]))  # of one taste: 20 items are not hidden

    def loss(negatives, seed=0):
        own = config.override({"negatives": negatives})
        model = Model(own, basis, counts)
        model.load_state_dict(whole.state_dict())
        with model.on(fold):
            found = ranking_loss(model, x, own, torch.Generator().manual_seed(seed)).mean()
        found.backward()
        return found.item(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    exact, gradient = loss(0)
    every, same = loss(10**6)
    assert every == pytest.approx(exact, rel=1e-5)
    torch.testing.assert_close(same, gradient, atol=1e-5, rtol=1e-3)
    means = [sum(loss(negatives, seed)[0] for seed in range(100)) / 100 for negatives in (10, 0)]
    assert means[0] == pytest.approx(means[1], rel=0.05)


def test_the_neighbourhood_scores_of_some_items_are_those_among_all(tastes):
    x, items = Histories.from_interactions(tastes, CPU), torch.tensor([2, 3, 11])
    for entries in (150, 10**6):
        graph = ItemGraph(len(tastes.items), entries)
        graph.build(tastes)
        torch.testing.assert_close(graph.dot(x, items), graph.dot(x)[:, items])


def test_negatives_need_a_softmax():
    with pytest.raises(SDiffError, match="negatives needs loss=softmax"):
        Config(negatives=100)
