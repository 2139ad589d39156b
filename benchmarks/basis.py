"""Speed, accuracy and memory of the spectral basis, compared with SciPy's svds.

    python -m benchmarks.basis --dataset ml-1m-diffrec

`--dataset amazon-book-size` is a synthetic graph of the size of Amazon-Book: 108,822 users, 94,949 items and 3.1
million pairs. Users and items are drawn with probabilities that follow a power law, with seed 0.

Both solvers run alternately in this process, `--rounds` times; the best time counts. The residual is the largest norm
of L u - lam u over the K eigenvectors. Memory is the peak of NumPy's allocations, without the graph.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse.linalg import svds

from sdiff.base.device import best_device, device_name
from sdiff.data.datasets import load_dataset
from sdiff.data.interactions import Interactions, Vocabulary
from sdiff.experiments.record import report, script_parser
from sdiff.method.spectrum import normalised_adjacency_root, spectral_basis

AMAZON_BOOK = (108_822, 94_949, 3_100_000)


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--K", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    synthetic = arguments.dataset == "amazon-book-size"
    train = drawn(*AMAZON_BOOK) if synthetic else load_dataset(arguments.dataset).split.train
    root = normalised_adjacency_root(train.matrix())

    def ours() -> tuple[np.ndarray, np.ndarray]:
        basis = spectral_basis(train, arguments.K, best_device())
        return basis.U.double().numpy(), basis.lam.double().numpy()

    def theirs() -> tuple[np.ndarray, np.ndarray]:
        _, s, Vt = svds(root, k=arguments.K)
        return np.asarray(Vt).T, 1 - s**2

    def measure(solve: Callable[[], tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        tracemalloc.start()
        started = time.perf_counter()
        U, lam = solve()
        seconds = time.perf_counter() - started
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        residual = np.linalg.norm(U - root.T @ (root @ U) - U * lam, axis=0).max()
        return {"seconds": round(seconds, 3), "residual": float(residual), "peak MB": round(peak / 1e6)}

    rounds = [(measure(ours), measure(theirs)) for _ in range(arguments.rounds)]
    best = [min(runs, key=lambda run: run["seconds"]) for runs in zip(*rounds, strict=True)]
    result = {
        "command": f"python -m benchmarks.basis --dataset {arguments.dataset} --rounds {arguments.rounds}",
        "dataset": arguments.dataset,
        "users, items, pairs": [len(train.users), len(train.items), len(train)],
        "data_fingerprint": train.fingerprint,
        "K": arguments.K,
        "device": device_name(best_device()),
        "torch": torch.__version__,
        "spectral_basis": best[0],
        "svds": best[1],
        "ratio": round(best[0]["seconds"] / best[1]["seconds"], 2),
    }
    report(result, f"basis-{arguments.dataset}", arguments.save)


def drawn(n_users: int, n_items: int, n_pairs: int) -> Interactions:
    """A synthetic training part with power-law popularity of users and items; repeated pairs are dropped."""
    rng = np.random.default_rng(0)

    def ranks(n: int) -> np.ndarray:
        weights = np.arange(1, n + 1) ** -0.6
        return rng.choice(n, size=n_pairs, p=weights / weights.sum())

    users, items = (Vocabulary(tuple(map(str, range(n)))) for n in (n_users, n_items))
    return Interactions.from_pairs(users, items, ranks(n_users), ranks(n_items))


if __name__ == "__main__":
    main()
