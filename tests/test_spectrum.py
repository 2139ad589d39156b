import numpy as np
import pytest
import torch

from sdiff.histories import Histories
from sdiff.interactions import Interactions, Vocabulary
from sdiff.spectrum import cached_basis, normalised_adjacency_root, spectral_basis
from tests.conftest import CPU


def laplacian(interactions):
    root = normalised_adjacency_root(interactions.matrix()).toarray()
    return np.eye(root.shape[1]) - root.T @ root


@pytest.mark.parametrize("K", [5, 30, 45], ids=["Lanczos", "dense", "near full"])
def test_the_basis_is_orthonormal_and_diagonalises_the_laplacian(random_interactions, K):
    basis = spectral_basis(random_interactions, K)
    U, lam = basis.U.double().numpy(), basis.lam.double().numpy()
    assert U.shape == (50, K)
    np.testing.assert_allclose(U.T @ U, np.eye(K), atol=1e-5)
    np.testing.assert_allclose(laplacian(random_interactions) @ U, U * lam, atol=1e-5)
    assert (np.diff(lam) >= -1e-6).all() and lam.min() >= 0 and lam.max() <= 1


def test_the_lowest_frequencies_are_the_ones_kept(random_interactions):
    every = np.sort(np.linalg.eigvalsh(laplacian(random_interactions)))
    np.testing.assert_allclose(spectral_basis(random_interactions, 10).lam, every[:10], atol=1e-5)
    assert every[0] == pytest.approx(0, abs=1e-12), "the paper says [0, 2]; this L is within [0, 1] and starts at 0"
    assert every[-1] <= 1 + 1e-12


def test_the_first_eigenvector_is_the_root_of_the_degrees(tastes):
    # Three tastes that share nothing: three components, so lam = 0 three times over.
    basis = spectral_basis(tastes, 12)
    assert (basis.lam[:3] < 1e-6).all() and basis.lam[3] > 0.01


def test_more_frequencies_than_the_rank_give_the_rank():
    users, items = Vocabulary(("a", "b")), Vocabulary(tuple("12345"))
    x = Interactions.from_pairs(users, items, np.array([0, 0, 1, 1]), np.array([0, 1, 2, 3]))
    basis = spectral_basis(x, 200)
    assert basis.K == 2
    assert basis.U.isfinite().all() and (basis.U[4] == 0).all(), "an item of degree zero has no part in any frequency"


def test_equal_data_gives_equal_vectors_and_signs(random_interactions):
    first, second = (spectral_basis(random_interactions, 8) for _ in range(2))
    assert torch.equal(first.U, second.U)
    assert (first.U.gather(0, first.U.abs().argmax(0, keepdim=True)) > 0).all()


def test_relabelled_items_give_the_same_spectrum_and_permuted_rows(random_interactions):
    order = np.random.default_rng(0).permutation(50)
    items = Vocabulary(tuple(random_interactions.items.ids[i] for i in np.argsort(order)))
    moved = Interactions.from_pairs(
        random_interactions.users, items, random_interactions.rows, order[random_interactions.indices]
    )
    here, there = spectral_basis(random_interactions, 8), spectral_basis(moved, 8)
    torch.testing.assert_close(here.lam, there.lam, atol=1e-5, rtol=0)
    torch.testing.assert_close(here.U, there.U[order], atol=1e-3, rtol=0)


def test_the_transform_of_sparse_rows_is_the_dense_one(random_interactions):
    basis = spectral_basis(random_interactions, 10)
    x = Histories.from_interactions(random_interactions, CPU)
    dense = torch.from_numpy(random_interactions.matrix().toarray()).float()
    torch.testing.assert_close(basis.gft(x), dense @ basis.U, atol=1e-5, rtol=0)
    users = torch.tensor([5, 79, 5, 0])
    torch.testing.assert_close(basis.gft(x.take(users)), (dense @ basis.U)[users], atol=1e-5, rtol=0)


def test_there_and_back_is_a_projector_and_at_full_rank_the_identity(random_interactions):
    x = Histories.from_interactions(random_interactions, CPU)
    dense = torch.from_numpy(random_interactions.matrix().toarray()).float()
    basis = spectral_basis(random_interactions, 10)
    once = basis.igft(basis.gft(x))
    torch.testing.assert_close(once @ basis.U @ basis.U.T, once, atol=1e-4, rtol=0)
    full = spectral_basis(random_interactions, 50)
    torch.testing.assert_close(full.igft(full.gft(x)), dense, atol=1e-4, rtol=0)


def test_the_cache_gives_what_was_computed_and_knows_other_data(random_interactions, tastes, tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_CACHE_DIR", str(tmp_path))
    first = cached_basis(random_interactions, 8)
    files = list(tmp_path.rglob("*.safetensors"))
    assert len(files) == 1
    stored = cached_basis(random_interactions, 8)
    assert torch.equal(stored.U, first.U)
    assert stored.U.stride() == first.U.stride(), "another order in memory would be another last digit of every sum"
    assert cached_basis(random_interactions, 9).K == 9 and cached_basis(tastes, 8).U.shape == (30, 8)
    files[0].write_bytes(b"not a tensor")
    assert torch.equal(cached_basis(random_interactions, 8).U, first.U), "a damaged file is made anew"
