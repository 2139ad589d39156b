"""The largest eigenvalues of A = X~'X~ with their vectors, by products with X~ alone: A itself is never formed."""

from __future__ import annotations

import inspect
import math
import warnings

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

TOLERANCE = 1e-7  # of a residual ||A u - a u||, where a is 1 at most
SWEEPS = 200
RANK = 1e-12  # eigenvalues below are rounding errors of 0, as 1 is the largest that there can be
RANGE = 1e12  # by which one sweep may part the largest eigenvalues from the rest: double precision has 1e16


def largest(root: sp.csr_array, K: int, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (K,) and vectors (n_items, K) of A for X~ (n_users, n_items), in no order, and fewer where there are
    no more.

    On a CPU by Lanczos, whose products with single vectors take a CPU the least; on a GPU by products with many.
    """
    n_users, n_items = root.shape  # pyright: ignore
    if min(n_users, n_items) // 2 <= K:  # then a dense matrix of the smaller side is not much larger than the result
        return _dense(root, K)
    return filtered(root, K, device) if device.type == "cuda" else _lanczos(root, K)


def _dense(root: sp.csr_array, K: int) -> tuple[np.ndarray, np.ndarray]:
    """As `largest`, from all eigenvectors of A (n_items, n_items) or X~X~' (n_users, n_users), whichever is smaller."""
    n_users, n_items = root.shape  # pyright: ignore
    small = root.T @ root if n_items <= n_users else root @ root.T
    a, W = np.linalg.eigh(small.toarray())  # ascending
    kept = np.flatnonzero(a > RANK)[-K:][::-1]
    a, W = a[kept], W[:, kept]
    if n_items <= n_users:
        return a, W
    # X~'w / |X~'w| is an eigenvector of A, with an error of 1e-16 / a that the factorisation takes away.
    V = scipy.linalg.qr(root.T @ (W / np.sqrt(a)), mode="economic", overwrite_a=True, check_finite=False)[0]
    return a, np.asarray(V)


def _lanczos(root: sp.csr_array, K: int) -> tuple[np.ndarray, np.ndarray]:
    n_items = int(root.shape[1])  # pyright: ignore
    transposed = sp.csr_array(root.T)
    A = LinearOperator(shape=(n_items, n_items), dtype=np.float64, matvec=lambda x: transposed @ (root @ x))  # pyright: ignore
    start = np.random.default_rng(0).uniform(-1, 1, n_items)
    seeded = {"rng": 0} if "rng" in inspect.signature(eigsh).parameters else {}  # older versions of SciPy draw nothing
    # 1.5 K Lanczos vectors, where scipy takes 2 K: a third less time on ML-1M, the residual as small.
    return eigsh(A, K, ncv=min(max(3 * K // 2, K + 20), n_items), tol=TOLERANCE, v0=start, **seeded)  # pyright: ignore


def filtered(root: sp.csr_array, K: int, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """As `largest`, by subspace iteration: a Chebyshev polynomial of A that is small on [0, c] is applied to a block of
    vectors, again and again, c being the smallest eigenvalue that the block has seen (Zhou et al. 2006,
    "Self-consistent-field calculations using Chebyshev-filtered subspace iteration", J. Comput. Phys.).

    Holds four blocks of n_items x 1.25 K numbers in double precision.
    """
    down, up = (to_torch(matrix, torch.float64).to(device) for matrix in (root, sp.csr_array(root.T)))
    n_items = int(root.shape[1])  # pyright: ignore
    m = min(K + K // 4 + 16, n_items)
    start = torch.rand(n_items, m, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.5
    V = torch.linalg.qr(start.to(device)).Q  # (n_items, m)
    for _ in range(SWEEPS):
        W = up @ (down @ V)
        a, Q = torch.linalg.eigh(V.T @ W)  # (m,), ascending
        V, W = V @ Q, W @ Q
        if ((W - V * a)[:, -K:].norm(dim=0) < TOLERANCE).all():
            return a[-K:].cpu().numpy(), V[:, -K:].cpu().numpy()
        c = max(a[0].item(), 1e-6) / 2  # the middle of what is to be damped
        growth = math.acosh(max((1 - c) / c, 1.001))  # at 1, the largest eigenvalue there can be, per degree
        before, V = V, (W - c * V) / c
        for _ in range(min(max(int(math.log(RANGE) / growth), 2), 20) - 1):
            before, V = V, 2 * (up @ (down @ V) - c * V) / c - before
        V = torch.linalg.qr(V).Q
    return _lanczos(root, K)  # eigenvalues as close to each other as the filter cannot part


def to_torch(matrix: sp.csr_array, dtype: torch.dtype = torch.float32) -> Tensor:
    """A sparse matrix as torch's."""
    matrix.sort_indices()
    indptr, indices, values = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    with warnings.catch_warnings(action="ignore"):  # torch says once a process that its CSR is in beta
        return torch.sparse_csr_tensor(indptr, indices, values.to(dtype), size=matrix.shape, check_invariants=True)
