"""Inference time of S-Diff compared with baselines and a lower bound.

    python -m benchmarks.inference --items 94949 --batch 100

Measures top-20 lists for a batch of users, from sparse histories to item indices. All models run in one process and
take turns; the median counts. Weights and histories are random and the spectral basis is a random orthonormal matrix;
the time does not depend on them. The floor is the part that every spectral model needs: the product U v and its top-k,
in single precision. Of GiffCF only the propagation is measured: five products with the item graph, as two sparse
products each. `--beside N` measures next to N busy processes, as on a shared host. The last line is JSON, with the
ratios.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from benchmarks.processes import add_beside, busy_processes
from sdiff.base.device import device_name
from sdiff.config import Config, preset
from sdiff.evaluation.evaluate import exclude_, top_n
from sdiff.experiments.baselines.diffrec import DiffRec
from sdiff.experiments.baselines.giffcf import STEPS
from sdiff.experiments.record import report
from sdiff.experiments.scaling import DIFFREC_STEPS, DIFFREC_WIDTHS, LENGTH, in_turns, random_spectrum
from sdiff.method.diffusion import score
from sdiff.method.eigen import to_torch
from sdiff.method.histories import Histories
from sdiff.method.model import Model

TOP, CPU = 20, torch.device("cpu")
PAIRS = 30  # interactions of each item in the random graphs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=2810)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=15)
    add_beside(parser)
    parser.add_argument("--save", action="store_true", help="write the result to benchmarks/results")
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
    report(result, f"inference-{arguments.items:06d}-{arguments.batch:03d}{beside}", arguments.save)


@torch.inference_mode()
def list_times(n_items: int, n_users: int, repeats: int) -> dict[str, float]:
    """Median milliseconds of each model for the top-20 lists of one batch of users."""
    torch.manual_seed(0)
    x = Histories.from_lists(list(np.random.default_rng(0).integers(n_items, size=(n_users, LENGTH))), CPU)
    noise = torch.Generator().manual_seed(0)
    paper, fused = preset("paper"), preset("tuned")
    spectrum = random_spectrum(n_items, paper.K)
    U, v = spectrum.U, torch.randn(n_users, paper.K)
    models = [Model(config, spectrum, torch.ones(n_items)).eval() for config in (paper, fused)]
    if (graph := models[1].graph) is not None:  # random neighbours; the time does not depend on them
        graph.weights.uniform_()
        if graph.neighbours is not None:
            graph.neighbours.random_(n_items)
    diffrec = DiffRec(n_items, DIFFREC_WIDTHS, DIFFREC_STEPS).eval()
    root = random_graph(n_items)
    roots = to_torch(root), to_torch(sp.csr_array(root.T))

    def lists(model: Model, config: Config) -> Tensor:
        return top_n(exclude_(score(model, x, config, noise), x), TOP)[1]

    def propagated() -> Tensor:
        c = x.dense(n_items).T
        for _ in range(2 + STEPS):
            c = roots[1] @ (roots[0] @ c)
        return c

    runs: dict[str, Callable[[], object]] = {
        "floor": lambda: (v @ U.T).topk(TOP),
        "S-Diff": lambda: lists(models[0], paper),
        "S-Diff, fused": lambda: lists(models[1], fused),
        "DiffRec": lambda: top_n(exclude_(diffrec.scores(x), x), TOP),
        "GiffCF's propagation": propagated,
    }
    return in_turns(runs, repeats)


def random_graph(n_items: int) -> sp.csr_array:
    """A random interaction matrix with as many users as items and `PAIRS` interactions per item."""
    rng = np.random.default_rng(0)
    items = np.arange(n_items).repeat(PAIRS)
    users = rng.integers(n_items, size=len(items))
    return sp.csr_array((np.full(len(items), 1 / PAIRS), (users, items)), shape=(n_items, n_items))


if __name__ == "__main__":
    main()
