"""Carries the spectrum of an item graph over to a graph that has changed, by the Nyström extension."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

LOST = 1e-6  # eigenvalue up to which nothing of a former eigenvector is left in the new graph


def extension(root: sp.csr_array, U: Tensor) -> Tensor:
    """A [U; 0] a^-1 (n_items, K): the eigenvectors U (n_known, K) of a graph, seen from the items of another one.

    In blocks of known (o) and new (n) items, an eigenvector u of A = X~'X~ with the eigenvalue a solves

        A_no u_o + A_nn u_n = a u_n.

    The ties among new items, A_nn, are left out. With a = u_o'A_oo u_o, the eigenvalue in the new graph, this gives

        U_n = A_no U_o a^-1 = X~_n'(X~_o U_o) a^-1,    a_k = (X~_o u_k)'(X~_o u_k).

    Known items get A_oo U_o a^-1, a step of subspace iteration, which is U_o if their ties are the same as before. A
    new item with the users of a known one gets its row; one that shares no user with known ones gets zero (Bengio et
    al. 2004, "Out-of-sample extensions for LLE, Isomap, MDS, Eigenmaps, and spectral clustering", NeurIPS).

    Args:
        root: X~ (n_users, n_items) of the new graph, as by `normalised_adjacency_root`; known items first.
        U: (n_known, K) orthonormal eigenvectors of the former graph.
    """
    v = root[:, : len(U)] @ U.double().cpu().numpy()  # X~_o U_o (n_users, K)
    a = (v**2).sum(0)  # (K,)
    rows = (root.T @ v) * np.divide(1, a, out=np.zeros_like(a), where=a > LOST)
    return torch.from_numpy(rows).to(U)


def carried(root: sp.csr_array, U: Tensor) -> Tensor:
    """The orthonormal matrix (n_items, K) that is closest to the `extension`: its polar factor P Q', of P S Q'."""
    P, _, Qh = torch.linalg.svd(extension(root, U), full_matrices=False)
    return P @ Qh


def neighbours_mean(root: sp.csr_array, values: Tensor) -> Tensor:
    """(n_new, ...): the mean of `values` (n_known, ...) over the neighbours of each new item, weighted by A_no.

    Zero for an item without neighbours. `root` is that of `extension`.
    """
    flat = values.double().cpu().numpy().reshape(len(values), -1)
    old, new = root[:, : len(flat)], root[:, len(flat) :]
    total = new.T @ old.sum(1)  # (n_new,)
    mean = (new.T @ (old @ flat)) / np.where(total > 0, total, 1)[:, None]
    return torch.from_numpy(mean.reshape(-1, *values.shape[1:])).to(values)
