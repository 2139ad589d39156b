import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sdiff.method import graph
from sdiff.method.graph import FusionHead, ItemGraph
from sdiff.method.histories import Histories
from tests.conftest import CPU


def built(interactions, N: int) -> ItemGraph:
    found = ItemGraph(len(interactions.items), N * len(interactions.items))
    found.build(interactions)
    return found


def affinity(interactions) -> np.ndarray:
    """A (n_items, n_items) from its definition, without the diagonal, entry by entry."""
    X = interactions.matrix().toarray()
    with np.errstate(divide="ignore"):
        users, items = (np.where(X.sum(a) > 0, X.sum(a) ** -0.5, 0.0) for a in (1, 0))
    A = items[:, None] * (X.T @ (users[:, None] * X)) * items
    np.fill_diagonal(A, 0)
    return A


def test_sparse_graph_scores_equal_the_matrix_product(random_interactions):
    x = Histories.from_interactions(random_interactions, CPU).normalised()
    A = affinity(random_interactions)
    expected = random_interactions.matrix().toarray()
    expected = expected / np.maximum(expected.sum(1, keepdims=True), 1) @ A * 50 / A.sum(1).mean()
    for N in (50, 49):  # the whole matrix, and all but the smallest of each row, which is the diagonal or another zero
        found = built(random_interactions, N).dot(x)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert not found[:, 49].any() and not found[79].any(), "an item and a user without interactions"


def test_scores_need_memory_for_a_block_of_neighbours_and_not_for_all(random_interactions, monkeypatch):
    class Largest(TorchDispatchMode):
        n = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            self.n = max(self.n, result.numel() if isinstance(result, torch.Tensor) else 0)
            return result

    x = Histories.from_interactions(random_interactions, CPU).normalised()
    whole = built(random_interactions, 49)
    expected, n_scores = whole.dot(x), len(x) * 50
    monkeypatch.setattr(graph, "CELLS", 49 * 10)  # ten items at once
    with Largest() as largest:
        found = whole.dot(x)
    assert torch.equal(found, expected) and largest.n == n_scores < 49 * len(x.items)


def test_the_gradient_of_the_product_reaches_the_items(random_interactions):
    items = torch.tensor([3, 0, 49, 17])
    x = Histories(items, torch.arange(5), torch.ones(4))  # one row per item
    g = torch.randn(50, generator=torch.Generator().manual_seed(0))
    for entries in (50, 49, 7):
        graph = built(random_interactions, entries)
        torch.testing.assert_close(graph.pull(items, g), graph.dot(x) @ g)


def test_only_the_nearest_neighbours_are_kept_and_no_item_is_its_own(random_interactions, monkeypatch):
    A = affinity(random_interactions)
    few = built(random_interactions, 7)
    assert few.neighbours is not None
    for i in range(50):
        kept = A[i, few.neighbours[i].numpy()]
        assert (kept > 0).sum() == min(7, (A[i] > 0).sum())
        np.testing.assert_allclose(np.sort(kept), np.sort(A[i])[-7:], atol=1e-6)
        assert i not in few.neighbours[i][few.weights[i] > 0]
    assert few.weights.sum(1).mean().item() == pytest.approx(50)
    monkeypatch.setattr(graph, "BLOCK", 150)  # three rows at a time
    assert torch.equal(built(random_interactions, 7).weights, few.weights)


def test_the_fusion_head_is_shared_by_all_items():
    head = FusionHead()
    s, a = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(head(s, a)[:, [4, 0]], head(s[:, [4, 0]], a[:, [4, 0]]))
    torch.testing.assert_close(head(s, a), s + 0.1 * torch.nn.functional.silu(0.5 * a))


def test_the_logarithm_of_the_graph_scores_is_a_term_of_its_own():
    head = FusionHead(log=True)
    s, a = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(head(s, a), FusionHead()(s, a))
    head.log.data.fill_(0.7)
    torch.testing.assert_close(head(s, a), FusionHead()(s, a) + 0.7 * (1 + a).log())
