"""How long inference takes, S-Diff beside rivals and the floor. Random weights and histories: time does not depend on
them, and the spectral basis is a random orthonormal one.

    python -m benchmarks.inference --items 94949 --batch 100

Top-20 lists for a batch, from sparse histories to ids, all in one process and in turns; the median counts. The floor
is what no spectral model can do without: the product U v and torch's top-k of it, in single precision. GiffCF's part
is its propagation alone, five products with the item graph as two sparse ones. `--beside N` measures the same beside N
processes that keep busy, as on a shared host. The last line is JSON, with the ratios.

`growth` is Figure 5: scores of a batch of 100 as items or users grow. Users do not enter inference of either model;
their number is that of the train part which the batch is taken from.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from benchmarks.kept import add_beside, busy_processes, tell
from sdiff.base.device import device_name
from sdiff.config import Config, preset
from sdiff.evaluation.evaluate import exclude_, top_n
from sdiff.experiments.peers.diffrec import DiffRec
from sdiff.experiments.peers.giffcf import STEPS
from sdiff.experiments.study import Row, Study
from sdiff.method.diffusion import score
from sdiff.method.eigen import to_torch
from sdiff.method.histories import Histories
from sdiff.method.model import Model
from sdiff.method.spectrum import SpectralBasis

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
OTHER, BATCH, LENGTH, REPEATS = 10_000, 100, 50, 5
DIFFREC_WIDTHS, DIFFREC_STEPS = (1000,), 5
TOP, CPU = 20, torch.device("cpu")
PAIRS = 30  # interactions of each item in the random graphs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=2810)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=15)
    add_beside(parser)
    parser.add_argument("--save", action="store_true", help="keep the result in benchmarks/results")
    arguments = parser.parse_args()
    with busy_processes(arguments.beside):
        milliseconds = list_times(arguments.items, arguments.batch, arguments.repeats)
    for name, value in milliseconds.items():
        print(f"{name:<24} {value:9.2f} ms")
    spectral, fused = milliseconds["S-Diff"], milliseconds["S-Diff, fused"]
    ratios = {
        "S-Diff / floor": spectral / milliseconds["floor"],
        "DiffRec / S-Diff": milliseconds["DiffRec"] / spectral,
        "DiffRec / S-Diff, fused": milliseconds["DiffRec"] / fused,
        "GiffCF / S-Diff, fused": milliseconds["GiffCF's propagation"] / fused,
    }
    result = {
        "command": f"python -m benchmarks.inference --items {arguments.items} --batch {arguments.batch}"
        + f" --beside {arguments.beside}" * bool(arguments.beside),
        "items": arguments.items,
        "batch": arguments.batch,
        "busy processes beside": arguments.beside,
        "device": device_name(CPU),
        "torch": torch.__version__,
        "milliseconds": {name: round(value, 2) for name, value in milliseconds.items()},
        "ratios": {name: round(value, 2) for name, value in ratios.items()},
    }
    beside = f"-beside-{arguments.beside}" * bool(arguments.beside)
    tell(result, f"inference-{arguments.items:06d}-{arguments.batch:03d}{beside}", arguments.save)


@torch.inference_mode()
def list_times(n_items: int, n_users: int, repeats: int) -> dict[str, float]:
    """Milliseconds of each model for the lists of one batch of users."""
    torch.manual_seed(0)
    x = Histories.from_lists(list(np.random.default_rng(0).integers(n_items, size=(n_users, LENGTH))), CPU)
    noise = torch.Generator().manual_seed(0)
    paper, fused = preset("paper"), preset("tuned")
    spectrum = random_spectrum(n_items, paper.K)
    U, v = spectrum.U, torch.randn(n_users, paper.K)
    models = [Model(config, spectrum, torch.ones(n_items)).eval() for config in (paper, fused)]
    if (graph := models[1].graph) is not None:  # random neighbours: what they are makes no difference
        graph.weights.uniform_()
        if graph.neighbours is not None:
            graph.neighbours.random_(n_items)
    diffrec = DiffRec(n_items, DIFFREC_WIDTHS, DIFFREC_STEPS).eval()
    root = random_graph(n_items)
    roots = to_torch(root), to_torch(sp.csr_array(root.T))

    def lists(model: Model, config: Config) -> Tensor:
        return top_n(exclude_(score(model, x, config, noise), x), None, TOP)[1]

    def propagated() -> Tensor:
        c = x.dense(n_items).T
        for _ in range(2 + STEPS):
            c = roots[1] @ (roots[0] @ c)
        return c

    runs: dict[str, Callable[[], object]] = {
        "floor": lambda: (v @ U.T).topk(TOP),
        "S-Diff": lambda: lists(models[0], paper),
        "S-Diff, fused": lambda: lists(models[1], fused),
        "DiffRec": lambda: top_n(exclude_(diffrec.scores(x), x), None, TOP),
        "GiffCF's propagation": propagated,
    }
    return in_turns(runs, repeats)


def in_turns(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each; they take turns, and the first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if repeat:
                seconds[name].append(time.perf_counter() - started)
    return {name: 1000 * float(np.median(values)) for name, values in seconds.items()}


def random_spectrum(n_items: int, K: int) -> SpectralBasis:
    U, _ = torch.linalg.qr(torch.randn(n_items, K))
    return SpectralBasis(U.contiguous(), torch.linspace(0, 1, K))  # qr leaves it by columns, slow to read rows of


def random_graph(n_items: int) -> sp.csr_array:
    """As many users as items, and `PAIRS` interactions of each item."""
    rng = np.random.default_rng(0)
    items = np.arange(n_items).repeat(PAIRS)
    users = rng.integers(n_items, size=len(items))
    return sp.csr_array((np.full(len(items), 1 / PAIRS), (users, items)), shape=(n_items, n_items))


def growth(study: Study) -> list[Row]:
    """Rows of milliseconds, the median over repeats that take turns, while items or users grow."""
    sizes = SIZES[:1] if study.quick else SIZES
    return [
        {"model": f"{model}, more {grows}", "size": size, "milliseconds": milliseconds}
        for grows in ("items", "users")
        for size in sizes
        for model, milliseconds in batch_times(
            study.config, *((OTHER, size) if grows == "items" else (size, OTHER)), study.seed
        ).items()
    ]


@torch.inference_mode()
def batch_times(config: Config, n_users: int, n_items: int, seed: int) -> dict[str, float]:
    """Milliseconds of each model for one batch."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    everyone = Histories.from_lists(list(generator.integers(n_items, size=(n_users, LENGTH))), CPU)
    batch = torch.from_numpy(generator.integers(n_users, size=BATCH))
    sdiff = Model(config, random_spectrum(n_items, config.K), torch.ones(n_items)).eval()
    diffrec = DiffRec(n_items, DIFFREC_WIDTHS, DIFFREC_STEPS).eval()
    noise = torch.Generator().manual_seed(seed)

    def on_batch(scores: Callable[[Histories], Tensor]) -> Tensor:
        return scores(everyone.take(batch))

    models: dict[str, Callable[[Histories], Tensor]] = {
        "S-Diff": lambda x: score(sdiff, x, config, noise),
        "DiffRec": diffrec.scores,
    }
    runs = {name: partial(on_batch, scores) for name, scores in models.items()}
    return in_turns(runs, REPEATS)


if __name__ == "__main__":
    main()
