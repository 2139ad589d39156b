"""How fast and how exact is the spectrum, beside scipy's svds? `python -m benchmarks.basis --dataset ml-1m-diffrec`

Both run one after the other in this process, three times, and the best time of each counts. The residual is the largest
norm of L u - lam u over the K eigenvectors.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse.linalg import svds

from sdiff.datasets import load_dataset
from sdiff.spectrum import normalised_adjacency_root, spectral_basis

ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--K", type=int, default=200)
    arguments = parser.parse_args()
    train = load_dataset(arguments.dataset).split.train
    root = normalised_adjacency_root(train.matrix())

    def ours() -> tuple[np.ndarray, np.ndarray]:
        basis = spectral_basis(train, arguments.K)
        return basis.U.double().numpy(), basis.lam.double().numpy()

    def theirs() -> tuple[np.ndarray, np.ndarray]:
        _, s, Vt = svds(root, k=arguments.K)
        return Vt.T, 1 - s**2

    def measure(solve: Callable[[], tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        started = time.perf_counter()
        U, lam = solve()
        seconds = time.perf_counter() - started
        residual = np.linalg.norm(U - root.T @ (root @ U) - U * lam, axis=0).max()
        return {"seconds": round(seconds, 3), "residual": float(residual)}

    rounds = [(measure(ours), measure(theirs)) for _ in range(ROUNDS)]
    best = [min(runs, key=lambda run: run["seconds"]) for runs in zip(*rounds, strict=True)]
    result = {
        "dataset": arguments.dataset,
        "data_fingerprint": train.fingerprint,
        "K": arguments.K,
        "threads": torch.get_num_threads(),
        "spectral_basis": best[0],
        "svds": best[1],
        "ratio": round(best[0]["seconds"] / best[1]["seconds"], 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
