"""Inference time of S-Diff compared with baselines and a lower bound.

    python -m benchmarks.inference --items 94949 --batch 100

Measures top-20 lists for a batch of users, from sparse histories to item indices. All models run in one process and
take turns; the median counts. Weights and histories are random and the spectral basis is a random orthonormal matrix;
the time does not depend on them. The floor is the part that every spectral model needs: the product U v and its top-k,
in single precision. Of GiffCF only the propagation is measured: five products with the item graph, as two sparse
products each. `--beside N` measures next to N busy processes, as on a shared host. `--device cuda` measures all models
on a GPU, where the sampling noise is drawn, too; SDIFF_CUDA_GRAPHS=1 adds CUDA graphs to S-Diff. The last line is JSON,
with the ratios.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from benchmarks.processes import add_beside, busy_processes
from sdiff.base.device import Device, best_device, device_name
from sdiff.base.graphs import static_shapes
from sdiff.config import Config, preset
from sdiff.evaluation.evaluate import exclude_, top_n
from sdiff.experiments.baselines.diffrec import DiffRec
from sdiff.experiments.baselines.giffcf import STEPS
from sdiff.experiments.record import report, script_parser
from sdiff.experiments.scaling import DIFFREC_STEPS, DIFFREC_WIDTHS, LENGTH, in_turns, random_spectrum
from sdiff.method.diffusion import score
from sdiff.method.eigen import to_torch
from sdiff.method.histories import Histories
from sdiff.method.model import Model
from sdiff.method.static import StaticScore

TOP = 20
PAIRS = 30  # interactions of each item in the random graphs


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--items", type=int, default=2810)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    add_beside(parser)
    arguments = parser.parse_args()
    with busy_processes(arguments.beside):
        milliseconds = list_times(arguments.items, arguments.batch, arguments.repeats, arguments.device)
    for name, value in milliseconds.items():
        print(f"{name:<24} {value:9.2f} ms")
    spectral, fused = milliseconds["S-Diff"], milliseconds["S-Diff, fused"]
    ratios = {
        "S-Diff / floor": spectral / milliseconds["floor"],
        "DiffRec / S-Diff": milliseconds["DiffRec"] / spectral,
        "DiffRec / S-Diff, fused": milliseconds["DiffRec"] / fused,
        "GiffCF / S-Diff, fused": milliseconds["GiffCF's propagation"] / fused,
    }
    on_gpu = arguments.device != "cpu"
    result = {
        "command": f"python -m benchmarks.inference --items {arguments.items} --batch {arguments.batch}"
        + f" --device {arguments.device}" * on_gpu
        + f" --beside {arguments.beside}" * bool(arguments.beside),
        "items": arguments.items,
        "batch": arguments.batch,
        "busy processes beside": arguments.beside,
        "device": device_name(arguments.device),
        "static shapes": static_shapes(),
        "torch": torch.__version__,
        "milliseconds": {name: round(value, 2) for name, value in milliseconds.items()},
        "ratios": {name: round(value, 2) for name, value in ratios.items()},
    }
    beside = f"-beside-{arguments.beside}" * bool(arguments.beside) + f"-{arguments.device}" * on_gpu
    report(result, f"inference-{arguments.items:06d}-{arguments.batch:03d}{beside}", arguments.save)


@torch.inference_mode()
def list_times(n_items: int, n_users: int, repeats: int, device: Device = "cpu") -> dict[str, float]:
    """Median milliseconds of each model for the top-20 lists of one batch of users."""
    torch.manual_seed(0)
    device = best_device(device)
    runs = contestants(n_items, n_users, device)
    return in_turns(runs, repeats, device)


def contestants(n_items: int, n_users: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """The lists of one batch by model name, with everything on the device."""
    histories = list(np.random.default_rng(0).integers(n_items, size=(n_users, LENGTH)))
    x = Histories.from_lists(histories, device)
    noise = torch.Generator().manual_seed(0)
    paper, fused = preset("paper"), preset("tuned")
    spectrum = random_spectrum(n_items, paper.K).to(device)
    U, v = spectrum.U, torch.randn(n_users, paper.K).to(device)
    counts = torch.ones(n_items, device=device)
    models = [Model(config, spectrum, counts).to(device).eval() for config in (paper, fused)]
    if (graph := models[1].graph) is not None:  # random neighbours; the time does not depend on them
        graph.weights.uniform_()
        if graph.neighbours is not None:
            graph.neighbours.random_(n_items)
    diffrec = DiffRec(n_items, DIFFREC_WIDTHS, DIFFREC_STEPS).to(device).eval()
    root = random_graph(n_items)
    roots = [to_torch(matrix).to(device) for matrix in (root, sp.csr_array(root.T))]
    scorers = [StaticScore(model) if static_shapes() else partial(score, model) for model in models]

    def lists(scorer: Callable[[Histories, Config, torch.Generator, bool], Tensor], config: Config) -> Tensor:
        return top_n(exclude_(scorer(x, config, noise, True), x), TOP)[1]  # as `Recommender.top`

    def propagated() -> Tensor:
        c = x.dense(n_items).T
        for _ in range(2 + STEPS):
            c = roots[1] @ (roots[0] @ c)
        return c

    return {
        "floor": lambda: (v @ U.T).topk(TOP),
        "S-Diff": lambda: lists(scorers[0], paper),
        "S-Diff, fused": lambda: lists(scorers[1], fused),
        "DiffRec": lambda: top_n(exclude_(diffrec.scores(x), x), TOP),
        "GiffCF's propagation": propagated,
    }


def random_graph(n_items: int) -> sp.csr_array:
    """A random interaction matrix with as many users as items and `PAIRS` interactions per item."""
    rng = np.random.default_rng(0)
    items = np.arange(n_items).repeat(PAIRS)
    users = rng.integers(n_items, size=len(items))
    return sp.csr_array((np.full(len(items), 1 / PAIRS), (users, items)), shape=(n_items, n_items))


if __name__ == "__main__":
    main()
