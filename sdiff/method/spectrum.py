"""The item graph and its low frequencies: normalised adjacency, Laplacian spectrum, graph Fourier transform."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from sdiff.base.device import Device, best_device
from sdiff.base.distributed import Ranks
from sdiff.base.files import regular, sweep, write_atomically
from sdiff.base.paths import cache_dir
from sdiff.data.interactions import Interactions
from sdiff.method.eigen import largest
from sdiff.method.histories import Histories

CPU = torch.device("cpu")
EVERY = slice(None)


@dataclass(frozen=True, eq=False)
class SpectralBasis:
    """The K lowest frequencies of the item graph's Laplacian L = I - A.

    U (n_items, K): orthonormal eigenvectors, one in a column. lam (K,): their eigenvalues, ascending in [0, 1]
    (the paper's d; it says [0, 2], but A = X~'X~ is positive semi-definite, so that L's spectrum ends at 1).
    """

    U: Tensor
    lam: Tensor

    @property
    def K(self) -> int:
        return len(self.lam)

    def gft(self, x: Histories) -> Tensor:
        """Graph Fourier transform U'x (B, K) of sparse rows."""
        return x.dot(self.U)

    def igft(self, v: Tensor, items: slice = EVERY) -> Tensor:
        """Inverse transform U v (B, n_items), or its columns of some items."""
        return v @ self.U[items].T

    def to(self, device: Device) -> SpectralBasis:
        return SpectralBasis(self.U.to(device), self.lam.to(device))


def normalised_adjacency_root(X: sp.csr_array, p: float = 1 / 2) -> sp.csr_array:
    """X~ = D_U^-p X D_I^-1/2 (n_users, n_items), the root of A = X~'X~ (Section 2.1; GiffCF takes p = 1/4). Degree zero
    stays zero."""
    return sp.csr_array(sp.diags_array(inverse_power(X.sum(1), p)) @ X @ sp.diags_array(inverse_power(X.sum(0), 1 / 2)))


def inverse_power(degree: np.ndarray, p: float) -> np.ndarray:
    """degree^-p, and 0 for a degree of 0."""
    return np.power(degree, -p, out=np.zeros_like(degree), where=degree > 0)


def spectral_basis(train: Interactions, K: int, device: Device = CPU) -> SpectralBasis:
    """The K eigenvectors of L = I - A with the smallest eigenvalues (Section 3.2), computed on a device, for the CPU.

    Frequencies beyond the rank of X~ carry nothing of any history: where K is larger than the rank, the rank is
    what comes back. Signs are fixed (the largest entry of each vector is positive) and every start is seeded, so that
    equal data gives equal vectors on one machine.
    """
    a, U = largest(normalised_adjacency_root(train.matrix()), K, best_device(device))
    order = np.argsort(-a)[:K]
    order = order[a[order] > 1e-12 * a.max(initial=1e-12)]
    U = U[:, order]
    U *= np.sign(U[np.abs(U).argmax(0), np.arange(U.shape[1])])
    lam = np.clip(1.0 - a[order], 0.0, 1.0)
    # Copied into memory that torch aligns: where it lies decides the last digits of every sum.
    return SpectralBasis(*(torch.from_numpy(x.astype(np.float32, order="C")).clone() for x in (U, lam)))


def cached_basis(train: Interactions, K: int, device: Device = CPU) -> SpectralBasis:
    """`spectral_basis`, kept on disk under a key of data, normalisation and K."""
    key = hashlib.sha256(f"{train.fingerprint}|X~ = Du^-1/2 X Di^-1/2|{K}".encode()).hexdigest()[:24]
    path = cache_dir() / "spectra" / f"{key}.safetensors"
    sweep(path.parent)  # where the file is there already, no writer comes who would
    try:
        tensors = load_file(regular(path))
        return SpectralBasis(tensors["U"].clone(), tensors["lam"].clone())  # aligned, as above
    except (OSError, SafetensorError, KeyError, TypeError):  # not there yet, or damaged: made anew
        basis = spectral_basis(train, K, device)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save({"U": basis.U.contiguous(), "lam": basis.lam}))
    except OSError:  # a read-only or full disk costs the cache, not the result
        pass
    return basis


def shared_basis(train: Interactions, K: int, device: torch.device, ranks: Ranks) -> SpectralBasis:
    """`cached_basis` of rank 0 for all: another machine may not share the cache, nor compute the same last bits."""
    if not ranks.launched:
        return cached_basis(train, K, device).to(device)

    def rows() -> Tensor:
        basis = cached_basis(train, K, device)
        return torch.cat([basis.lam[None], basis.U])

    lam, U = ranks.from_first(rows, device).split([1, len(train.items)])
    return SpectralBasis(U.clone(), lam[0].clone())
