"""The Nyström extension: where new items are placed in the spectrum of an item graph that does not contain them."""

import numpy as np
import scipy.sparse as sp
import torch

from sdiff.method.nystroem import carried, extension, neighbours_mean
from sdiff.method.spectrum import normalised_adjacency_root, spectral_basis


def grown(interactions, *columns):
    """X with further columns (n_users,)."""
    return sp.csr_array(sp.hstack([interactions.matrix(), *(sp.csr_array(c[:, None].astype(float)) for c in columns)]))


def test_an_item_with_the_users_of_a_known_one_gets_its_row(random_interactions):
    same = random_interactions.matrix().toarray()[:, 3]
    root = normalised_adjacency_root(grown(random_interactions, same), 0)  # p = 0: other items are not affected
    U = spectral_basis(random_interactions, 12, p=0).U
    found = extension(root, U)
    torch.testing.assert_close(found[:50], U, atol=1e-5, rtol=1e-4)  # known items keep their rows
    torch.testing.assert_close(found[50], U[3], atol=1e-5, rtol=1e-4)


def test_a_spectrum_is_carried_over_to_the_same_graph_as_it_is_and_stays_orthonormal(
    random_interactions,
):
    U = spectral_basis(random_interactions, 12, p=1 / 4).U
    root = normalised_adjacency_root(random_interactions.matrix(), 1 / 4)
    torch.testing.assert_close(carried(root, U), U, atol=1e-5, rtol=0)
    fewer = random_interactions.where(random_interactions.rows % 3 > 0)
    other = carried(normalised_adjacency_root(fewer.matrix(), 1 / 4), U)
    torch.testing.assert_close(other.T @ other, torch.eye(12), atol=1e-5, rtol=0)
    exact = spectral_basis(fewer, 12, p=1 / 4).U
    assert (exact.T @ other).norm() > (exact.T @ U).norm(), "it is closer to the new spectrum than the former one is"


def test_an_item_that_shares_no_user_with_known_ones_has_no_place(random_interactions):
    alone = np.arange(80) == 79  # user 79 has no other item
    root = normalised_adjacency_root(grown(random_interactions, alone), 1 / 4)
    U = spectral_basis(random_interactions, 12, p=1 / 4).U
    assert not extension(root, U)[50].any() and not neighbours_mean(root, U)[0].any()


def test_a_new_item_is_placed_next_to_the_items_of_its_taste(tastes):
    known = tastes.where(tastes.indices < 29)
    U = spectral_basis(known, 3, p=1 / 4).U[:29]
    place = extension(normalised_adjacency_root(tastes.matrix(), 1 / 4), U)[29]
    cosines = torch.cosine_similarity(U, place[None])
    assert cosines[20:].min() > 0.99 and cosines[:20].max() < 0.01


def test_the_extension_approximates_the_row_that_the_item_has_in_the_grown_graph(random_interactions):
    known = random_interactions.where(random_interactions.indices != 7)
    order = [*(i for i in range(50) if i != 7), 7]
    root = normalised_adjacency_root(sp.csr_array(random_interactions.matrix()[:, order]), 1 / 2)
    placed = extension(root, spectral_basis(known, 3).U[order[:-1]])[-1]
    exact = spectral_basis(random_interactions, 3).U
    # Of the first eigenvector, whose sign is fixed. The extension leaves out the item's tie to itself, a seventh here.
    assert 0.8 * exact[7, 0] < placed[0] < exact[7, 0]


def test_the_mean_of_the_neighbours_of_a_constant_is_that_constant(random_interactions):
    root = normalised_adjacency_root(grown(random_interactions, np.arange(80) < 9, np.arange(80) == 79), 1 / 4)
    found = neighbours_mean(root, torch.full((50,), 3.0))
    torch.testing.assert_close(found, torch.tensor([3.0, 0.0]))
    values = torch.arange(50.0)
    assert 0 < neighbours_mean(root, values)[0] < 49 and neighbours_mean(root, values[:, None]).shape == (2, 1)
