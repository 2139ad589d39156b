"""Largest eigenvalues and eigenvectors of A = X~'X~, from products with X~ only: A is not formed."""

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

TOLERANCE = 1e-7  # of the residual ||A u - a u||, relative to the largest eigenvalue
SWEEPS = 200  # maximum number of iterations
RANK = 1e-12  # smaller eigenvalues, relative to the largest, are rounding errors of 0
POWERS = 5  # products with a vector to find a bound of the eigenvalues
RANGE = 1e12  # maximum amplification of the wanted eigenvectors per sweep; double precision resolves 1e16


def largest(root: sp.csr_array, K: int, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (K,) and eigenvectors (n_items, K) of A for X~ (n_users, n_items), unordered.

    Returns fewer than K if the rank is lower. Uses Lanczos (products with single vectors) on a CPU and subspace
    iteration (products with blocks of vectors) on a GPU.
    """
    n_users, n_items = root.shape  # pyright: ignore
    if min(n_users, n_items) // 2 <= K:  # a dense matrix of the smaller dimension is not much larger than the result
        return _dense(root, K)
    return filtered(root, K, device) if device.type == "cuda" else _lanczos(root, K)


def _dense(root: sp.csr_array, K: int) -> tuple[np.ndarray, np.ndarray]:
    """`largest` by a full decomposition of A (n_items, n_items) or X~X~' (n_users, n_users), whichever is smaller."""
    n_users, n_items = root.shape  # pyright: ignore
    small = root.T @ root if n_items <= n_users else root @ root.T
    a, W = np.linalg.eigh(small.toarray())  # ascending
    top = np.flatnonzero(a > RANK * max(a[-1], 1.0))[-K:][::-1]
    a, W = a[top], W[:, top]
    if n_items <= n_users:
        return a, W
    # X~'w / |X~'w| is an eigenvector of A, with an error of 1e-16 / a that the QR factorisation removes.
    V = scipy.linalg.qr(root.T @ (W / np.sqrt(a)), mode="economic", overwrite_a=True, check_finite=False)[0]
    return a, np.asarray(V)


def _lanczos(root: sp.csr_array, K: int) -> tuple[np.ndarray, np.ndarray]:
    n_items = int(root.shape[1])  # pyright: ignore
    transposed = sp.csr_array(root.T)
    A = LinearOperator(shape=(n_items, n_items), dtype=np.float64, matvec=lambda x: transposed @ (root @ x))  # pyright: ignore
    start = np.random.default_rng(0).uniform(-1, 1, n_items)
    seeded = {"rng": 0} if "rng" in inspect.signature(eigsh).parameters else {}  # older versions draw nothing
    # 1.5 K Lanczos vectors; SciPy's default is 2 K. On ML-1M this takes a third less time with an equal residual.
    return eigsh(A, K, ncv=min(max(3 * K // 2, K + 20), n_items), tol=TOLERANCE, v0=start, **seeded)  # pyright: ignore


def filtered(root: sp.csr_array, K: int, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """`largest` by Chebyshev-filtered subspace iteration.

    Each sweep applies a Chebyshev polynomial of A that is small on [0, c] to a block of vectors; c is the smallest
    Ritz value of the block (Zhou et al. 2006, "Self-consistent-field calculations using Chebyshev-filtered subspace
    iteration", J. Comput. Phys.). Memory: four blocks of n_items x 1.25 K numbers in double precision.
    """
    down, up = (to_torch(matrix, torch.float64).to(device) for matrix in (root, sp.csr_array(root.T)))
    n_items = int(root.shape[1])  # pyright: ignore
    m = min(K + K // 4 + 16, n_items)
    start = torch.rand(n_items, m, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.5
    V = torch.linalg.qr(start.to(device)).Q  # (n_items, m)
    bound = _bound(down, up)
    for _ in range(SWEEPS):
        W = up @ (down @ V)
        a, Q = torch.linalg.eigh(V.T @ W)  # (m,), ascending
        V, W = V @ Q, W @ Q
        if ((W - V * a)[:, -K:].norm(dim=0) < TOLERANCE * bound).all():
            return a[-K:].cpu().numpy(), V[:, -K:].cpu().numpy()
        c = max(a[0].item(), 1e-6) / 2  # the centre of the damped interval
        growth = math.acosh(max((bound - c) / c, 1.001))  # log amplification per degree at the bound
        before, V = V, (W - c * V) / c
        for _ in range(min(max(int(math.log(RANGE) / growth), 2), 20) - 1):
            before, V = V, 2 * (up @ (down @ V) - c * V) / c - before
        V = torch.linalg.qr(V).Q
    return _lanczos(root, K)  # the eigenvalues are too close for the filter to separate


def _bound(down: Tensor, up: Tensor) -> float:
    """An upper bound of the eigenvalues of A (Collatz 1942): max (A w)_i / w_i for w > 0, after some iterations."""
    w = torch.ones(down.shape[1], 1, dtype=torch.float64, device=down.device)
    Aw = up @ (down @ w)
    for _ in range(POWERS):
        w, Aw = Aw / Aw.max(), up @ (down @ Aw) / Aw.max()
    inside = w > 0  # the other items have no users
    return (Aw[inside] / w[inside]).max().item()


def to_torch(matrix: sp.csr_array, dtype: torch.dtype = torch.float32) -> Tensor:
    """Converts a SciPy sparse matrix to a torch CSR tensor."""
    matrix.sort_indices()
    indptr, indices, values = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    with warnings.catch_warnings(action="ignore"):  # torch warns once per process that its CSR support is in beta
        return torch.sparse_csr_tensor(indptr, indices, values.to(dtype), size=matrix.shape, check_invariants=True)
