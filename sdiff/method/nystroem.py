"""Places new items in the spectrum of an item graph that does not contain them, by the Nyström extension."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

LOST = 1e-6  # eigenvalue up to which nothing of a former eigenvector is left in the grown graph


def extension(root: sp.csr_array, U: Tensor) -> Tensor:
    """(n_items, K): the rows U (n_known, K) of the known items, then rows for the new items.

    In blocks of known (o) and new (n) items, an eigenvector u of A = X~'X~ with the eigenvalue a solves

        A_no u_o + A_nn u_n = a u_n.

    The ties among new items, A_nn, are left out. With a = u_o'A_oo u_o, the eigenvalue in the grown graph, this gives

        U_n = A_no U_o a^-1 = X~_n'(X~_o U_o) a^-1,    a_k = |X~_o u_k|^2.

    An item that has the same users as a known one gets its row, and an item that shares no user with known ones gets
    zero (Bengio et al. 2004, "Out-of-sample extensions for LLE, Isomap, MDS, Eigenmaps, and spectral clustering").

    Args:
        root: X~ (n_users, n_items) of the grown graph, as by `normalised_adjacency_root`; known items first.
        U: (n_known, K) orthonormal eigenvectors of the former graph.
    """
    known = U.double().cpu().numpy()
    v = root[:, : len(known)] @ known  # X~_o U_o (n_users, K)
    a = (v**2).sum(0)  # (K,), at most 1 for p = 1/2
    rows = (root[:, len(known) :].T @ v) * np.divide(1, a, out=np.zeros_like(a), where=a > LOST)
    return torch.from_numpy(np.concatenate([known, rows])).to(U)


def neighbours_mean(root: sp.csr_array, values: Tensor) -> Tensor:
    """(n_new, ...): the mean of `values` (n_known, ...) over the neighbours of each new item, weighted by A_no.

    Zero for an item without neighbours. `root` is that of `extension`.
    """
    flat = values.double().cpu().numpy().reshape(len(values), -1)
    old, new = root[:, : len(flat)], root[:, len(flat) :]
    total = new.T @ old.sum(1)  # (n_new,)
    mean = (new.T @ (old @ flat)) / np.where(total > 0, total, 1)[:, None]
    return torch.from_numpy(mean.reshape(-1, *values.shape[1:])).to(values)
