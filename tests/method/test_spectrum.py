import json
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from sdiff.data.interactions import Interactions, Vocabulary
from sdiff.method import eigen
from sdiff.method.eigen import filtered, largest
from sdiff.method.spectrum import cached_basis, normalised_adjacency_root, spectral_basis
from tests.conftest import CPU


def laplacian(interactions):
    root = normalised_adjacency_root(interactions.matrix()).toarray()
    return np.eye(root.shape[1]) - root.T @ root


def test_the_lowest_frequencies_are_kept(random_interactions):
    every = np.sort(np.linalg.eigvalsh(laplacian(random_interactions)))
    np.testing.assert_allclose(spectral_basis(random_interactions, 10).lam, every[:10], atol=1e-5)
    assert every[0] == pytest.approx(0, abs=1e-12), "the paper says [0, 2]; this L is within [0, 1] and starts at 0"
    assert every[-1] <= 1 + 1e-12


def test_a_quarter_power_of_the_users_degrees_spreads_the_eigenvalues(random_interactions):
    X = random_interactions.matrix().toarray()
    users, items = X.sum(1).clip(1), X.sum(0).clip(1)
    A = (X / users[:, None] ** 0.5 / items**0.5).T @ (X / items**0.5)  # D_I^-1/2 X' D_U^-1/2 X D_I^-1/2
    a, vectors = np.linalg.eigh(A)
    basis = spectral_basis(random_interactions, 10, p=1 / 4)
    assert a[-1] > 1, "L = I - A is negative there"
    np.testing.assert_allclose(basis.lam, (1 - a[::-1][:10]).clip(0), atol=1e-5)
    np.testing.assert_allclose(np.abs(basis.U.numpy().T @ vectors[:, ::-1][:, :10]), np.eye(10), atol=1e-3)


def test_a_graph_without_edges_has_no_frequencies():
    ids = Vocabulary(("1", "2", "3"))
    basis = spectral_basis(Interactions.from_pairs(ids, ids, np.array([]), np.array([])), 2)
    assert basis.K == 0 and basis.U.shape == (3, 0)


def test_the_first_eigenvector_is_the_square_root_of_the_degrees(tastes):
    # Three disjoint tastes are three components, so lam = 0 three times.
    basis = spectral_basis(tastes, 12)
    assert (basis.lam[:3] < 1e-6).all() and basis.lam[3] > 0.01


@pytest.mark.parametrize("p", [1 / 2, 1 / 4])
@pytest.mark.parametrize("components", [1, 3])
def test_blocks_and_single_vectors_find_the_same_frequencies(components, p, monkeypatch):
    blocks = [sp.random(200, 120, 0.05, random_state=seed) for seed in range(components)]
    X = sp.csr_array(sp.block_diag(blocks)) > 0
    root = normalised_adjacency_root(X.astype(np.float64), p)
    a, U = largest(root, 20, CPU)
    monkeypatch.setattr("sdiff.method.eigen._lanczos", lambda *_: pytest.fail("the filter did not converge"))
    b, V = filtered(root, 20, CPU)
    np.testing.assert_allclose(np.sort(a), np.sort(b), atol=1e-12)
    np.testing.assert_allclose(U @ U.T, V @ V.T, atol=1e-5)  # eigenvectors of equal eigenvalues may be rotated
    assert np.linalg.norm(root.T @ (root @ V) - V * b, axis=0).max() < 1e-7 * max(a.max(), 1)


@pytest.mark.parametrize("p", [1 / 2, 1 / 4])
def test_the_bound_of_the_filter_is_above_the_largest_eigenvalue_and_close(random_interactions, p):
    root = normalised_adjacency_root(random_interactions.matrix(), p)
    top = np.linalg.eigvalsh((root.T @ root).toarray())[-1]
    bound = eigen._bound(*(eigen.to_torch(each, torch.float64) for each in (root, sp.csr_array(root.T))))
    assert top * (1 - 1e-12) <= bound < 1.5 * top


def test_lanczos_is_used_if_the_filter_does_not_separate_the_frequencies(random_interactions, monkeypatch):
    root = normalised_adjacency_root(random_interactions.matrix())
    monkeypatch.setattr("sdiff.method.eigen.SWEEPS", 1)
    (a, U), (b, V) = largest(root, 10, CPU), filtered(root, 10, CPU)
    assert np.array_equal(a, b) and np.array_equal(U, V)


@pytest.mark.parametrize("K", [21, 40, 60])
@pytest.mark.parametrize("users_are_fewer", [True, False])
def test_with_one_small_side_all_frequencies_are_found_within_the_memory_of_the_result(users_are_fewer, K):
    X = (np.random.default_rng(0).random((40, 20_000)) < 0.01).astype(np.float64)
    X[1:3] = X[0]  # three equal users or items, so that the rank is 38
    root = normalised_adjacency_root(sp.csr_array(X if users_are_fewer else X.T))
    tracemalloc.start()
    a, U = largest(root, K, CPU)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    bound = 3.2 * 8 * 20_000 * min(K, 38) if users_are_fewer else 8 * 8 * root.nnz  # the QR factorisation holds three
    assert peak < bound, "no dense matrix of users and items"
    exact = np.linalg.svd(root.toarray(), compute_uv=False)[: min(K, 40)] ** 2
    rank = min(K, 38)
    np.testing.assert_allclose(np.sort(a)[::-1], exact[:rank], atol=1e-12)
    np.testing.assert_allclose(U.T @ U, np.eye(rank), atol=1e-12)
    assert np.abs(root.T @ (root @ U) - U * a).max() < 1e-12
    assert np.abs(U[root.sum(0) == 0]).max(initial=0) < 1e-12, "an item without interactions is zero in every frequency"


def test_eigenvectors_are_orthonormal_however_small_their_eigenvalue():
    rng = np.random.default_rng(0)
    W, V = np.linalg.qr(rng.normal(size=(6, 6)))[0], np.linalg.qr(rng.normal(size=(50, 6)))[0]
    s = np.array([1, 0.5, 0.1, 1e-3, 1e-5, 3e-6])
    a, U = largest(sp.csr_array(W * s @ V.T), 6, CPU)
    np.testing.assert_allclose(np.sort(a), np.sort(s**2), atol=1e-14)
    np.testing.assert_allclose(U.T @ U, np.eye(6), atol=1e-12)


def test_relabelling_items_keeps_the_spectrum_and_permutes_the_rows(random_interactions):
    order = np.random.default_rng(0).permutation(50)
    items = Vocabulary(tuple(random_interactions.items.ids[i] for i in np.argsort(order)))
    moved = Interactions.from_pairs(
        random_interactions.users, items, random_interactions.rows, order[random_interactions.indices]
    )
    here, there = spectral_basis(random_interactions, 8), spectral_basis(moved, 8)
    torch.testing.assert_close(here.lam, there.lam, atol=1e-5, rtol=0)
    torch.testing.assert_close(here.U, there.U[order], atol=1e-3, rtol=0)


def test_the_cache_returns_what_was_computed_and_distinguishes_data(random_interactions, tastes, tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_CACHE_DIR", str(tmp_path))
    first = cached_basis(random_interactions, 8)
    files = list(tmp_path.rglob("*.safetensors"))
    assert len(files) == 1
    left = files[0].with_name(".sdiff-left")  # by a process that was killed after its file was in place
    left.mkdir()
    stored = cached_basis(random_interactions, 8)
    assert not left.exists()
    assert torch.equal(stored.U, first.U)
    assert stored.U.stride() == first.U.stride(), "another memory layout would change the last digit of sums"
    assert not torch.equal(cached_basis(random_interactions, 8, p=1 / 4).lam, first.lam)
    assert cached_basis(random_interactions, 9).K == 9 and cached_basis(tastes, 8).U.shape == (30, 8)
    header = json.dumps({"U": {"dtype": "F32", "shape": [1 << 63, 0], "data_offsets": [0, 0]}}).encode()
    for damaged in (b"not a tensor", len(header).to_bytes(8, "little") + header):
        files[0].write_bytes(damaged)
        assert torch.equal(cached_basis(random_interactions, 8).U, first.U), "a damaged file is recomputed"
