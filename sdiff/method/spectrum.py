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
from sdiff.method.eigen import RANK, largest
from sdiff.method.histories import Histories

CPU = torch.device("cpu")
EVERY = slice(None)
TILE = 2048  # items whose scores are computed at once on a CPU; twice as many take longer for large catalogs
Items = slice | Tensor  # indices of some items


@dataclass(frozen=True, eq=False)
class SpectralBasis:
    """The K lowest frequencies of the item graph's Laplacian L = I - A (Section 2.1).

    Attributes:
        U: (n_items, K) orthonormal eigenvectors, one per column.
        lam: (K,) their eigenvalues, ascending in [0, 1] (the paper's d). The paper states [0, 2], but A = X~'X~ is
            positive semi-definite, so the spectrum of L ends at 1. With p < 1/2, A has eigenvalues above 1; where L is
            then negative, lam is 0.
    """

    U: Tensor
    lam: Tensor

    @property
    def K(self) -> int:
        """Number of frequencies."""
        return len(self.lam)

    def gft(self, x: Histories) -> Tensor:
        """Graph Fourier transform U'x (B, K) of sparse histories."""
        return x.dot(self.U)

    def igft(self, v: Tensor, items: Items = EVERY) -> Tensor:
        """Inverse transform U v (B, n_items), or only the columns of `items`."""
        return inverse(v, self.U[items])

    def to(self, device: Device) -> SpectralBasis:
        """The same basis on another device."""
        return SpectralBasis(self.U.to(device), self.lam.to(device))


def inverse(v: Tensor, U: Tensor, bias: Tensor | None = None) -> Tensor:
    """U v + bias (B, n_items). A CPU takes the items in tiles, unless gradients are needed: that suits its caches."""
    with_gradients = torch.is_grad_enabled() and (v.requires_grad or U.requires_grad)
    if v.device.type != "cpu" or len(U) <= TILE or with_gradients:
        return v @ U.T if bias is None else torch.addmm(bias, v, U.T)
    out = v.new_empty(len(v), len(U))
    for first in range(0, len(U), TILE):
        tile = slice(first, first + TILE)
        if bias is None:
            torch.mm(v, U[tile].T, out=out[:, tile])
        else:
            torch.addmm(bias[tile], v, U[tile].T, out=out[:, tile])
    return out


def normalised_adjacency_root(X: sp.csr_array, p: float = 1 / 2) -> sp.csr_array:
    """X~ = D_U^-p X D_I^-1/2 (n_users, n_items), the root of A = X~'X~ (Section 2.1; GiffCF uses p = 1/4).

    Rows and columns of degree zero remain zero.
    """
    return sp.csr_array(sp.diags_array(inverse_power(X.sum(1), p)) @ X @ sp.diags_array(inverse_power(X.sum(0), 1 / 2)))


def inverse_power(degree: np.ndarray, p: float) -> np.ndarray:
    """degree^-p, or 0 if the degree is 0."""
    return np.power(degree, -p, out=np.zeros_like(degree), where=degree > 0)


def spectral_basis(train: Interactions, K: int, device: Device = CPU, p: float = 1 / 2) -> SpectralBasis:
    """The K eigenvectors of L = I - A with the smallest eigenvalues (Section 3.2).

    `p` is that of `normalised_adjacency_root`.

    They are computed on `device` and returned on the CPU. If the rank of X~ is lower than K, only as many are returned:
    the transform of every history is zero at the other frequencies. Signs are fixed (the largest entry of each vector
    is positive) and starting vectors are seeded, so that equal data gives equal vectors on the same machine.
    """
    a, U = largest(normalised_adjacency_root(train.matrix(), p), K, best_device(device))
    order = np.argsort(-a)[:K]
    order = order[a[order] > RANK * a.max(initial=RANK)]
    U = U[:, order]
    U *= np.sign(U[np.abs(U).argmax(0), np.arange(U.shape[1])])
    lam = np.clip(1.0 - a[order], 0.0, 1.0)
    # Copied into memory aligned by torch: the alignment affects the last digits of every sum.
    return SpectralBasis(*(torch.from_numpy(x.astype(np.float32, order="C")).clone() for x in (U, lam)))


def cached_basis(train: Interactions, K: int, device: Device = CPU, p: float = 1 / 2) -> SpectralBasis:
    """`spectral_basis`, cached on disk by data, normalisation and K."""
    key = hashlib.sha256(f"{train.fingerprint}|X~ = Du^-{p} X Di^-1/2|{K}".encode()).hexdigest()[:24]
    path = cache_dir() / "spectra" / f"{key}.safetensors"
    sweep(path.parent)  # also sweep here: a cache hit writes nothing
    try:
        tensors = load_file(regular(path))
        return SpectralBasis(tensors["U"].clone(), tensors["lam"].clone())  # aligned, as above
    except (OSError, SafetensorError, KeyError, TypeError):  # missing or damaged
        basis = spectral_basis(train, K, device, p)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save({"U": basis.U.contiguous(), "lam": basis.lam}))
    except OSError:  # a read-only or full disk prevents caching, not the result
        pass
    return basis


def shared_basis(train: Interactions, K: int, device: torch.device, ranks: Ranks, p: float) -> SpectralBasis:
    """`cached_basis` of rank 0, sent to all ranks: other machines may have another cache or other rounding errors."""
    if not ranks.launched:
        return cached_basis(train, K, device, p).to(device)

    def rows() -> Tensor:
        basis = cached_basis(train, K, device, p)
        return torch.cat([basis.lam[None], basis.U])

    lam, U = ranks.from_first(rows, device).split([1, len(train.items)])
    return SpectralBasis(U.clone(), lam[0].clone())
