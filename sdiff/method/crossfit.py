"""Cross-fitting: users are trained on a spectrum and an item graph computed from other users.

The spectrum and the graph of all users contain each user's own history. If training hides a part of that history, the
rest is still tied to it by the user's own row of X~, and the network learns to rely on ties that a new user does not
have. With folds, no user is trained on a graph that contains the user's own history (Schick 1986; Chernozhukov et al.
2018, "Double/debiased machine learning", Econom. J.).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sdiff.base.distributed import ALONE, Ranks
from sdiff.data.interactions import Interactions
from sdiff.method.graph import ItemGraph
from sdiff.method.nystroem import carried
from sdiff.method.spectrum import SpectralBasis, normalised_adjacency_root, shared_basis


@dataclass(frozen=True, eq=False)
class Fold:
    """A fold of users, and the spectrum and graph that the users of all other folds make.

    Attributes:
        users: (n,) int64 user indices.
        U: (n_items, K) eigenvectors, aligned with those of all users.
        graph: the item graph, if the model has one.
    """

    users: Tensor
    U: Tensor
    graph: ItemGraph | None

    def copy_(self, other: Fold) -> None:
        """Copies the spectrum and the graph of another fold of the same data, in place."""
        self.U.copy_(other.U)
        if self.graph is not None and other.graph is not None:
            for own, tensor in zip(self.graph.buffers(), other.graph.buffers(), strict=True):
                own.copy_(tensor)


def cross_fit(
    train: Interactions,
    spectrum: SpectralBasis,
    folds: int,
    entries: int,
    p: float = 1 / 2,
    ranks: Ranks = ALONE,
    exact: bool = True,
) -> list[Fold]:
    """Divides the users with interactions into folds at random, and computes each fold's basis and graph.

    The same data give the same folds, so that the bases can be cached.

    Args:
        folds: their number; at most one per user.
        spectrum: of all users; each fold's U is aligned with it.
        entries: as in `ItemGraph`; 0 for no graph.
        p: as in `normalised_adjacency_root`, for the spectrum.
        exact: whether each fold has the eigenvectors of its graph, or those in `spectrum` carried over to it, which
            takes a tenth of the time.

    Returns:
        The folds; none if fewer than two users have interactions.
    """
    device = spectrum.U.device
    users = np.random.default_rng(0).permutation(np.flatnonzero(train.lengths))
    if len(users) < 2:  # there is nobody else
        return []
    result = []
    for own in np.array_split(users, min(folds, len(users))):
        others = train.where(~np.isin(train.rows, own))
        if exact:
            U = procrustes(shared_basis(others, len(spectrum.lam), device, ranks, p).U, spectrum.U)
        else:
            U = carried(normalised_adjacency_root(others.matrix(), p), spectrum.U)
        graph = ItemGraph(len(train.items), entries).to(device) if entries else None
        if graph:
            graph.build(others)
        result.append(Fold(torch.from_numpy(np.sort(own)).to(device), U, graph))
    return result


def procrustes(U_f: Tensor, U: Tensor) -> Tensor:
    """U_f (n_items, K_f) rotated to U (n_items, K), so that a coordinate means the same in both.

    The rotation R = P Q' minimises || U_f R - U || (orthogonal Procrustes, Schönemann 1966), with P S Q' = U_f'U.
    """
    P, _, Qh = torch.linalg.svd(U_f.T @ U, full_matrices=False)
    return U_f @ (P @ Qh)
