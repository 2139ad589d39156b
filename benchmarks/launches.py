"""Launches of a training step, and of the top-20 lists of one batch of users.

    python -m benchmarks.launches --device cuda

On a GPU: kernels, copies and graphs that the host launches, and milliseconds in kernels, from torch's profiler. On a
CPU: operators, without views and uninitialised tensors, which launch nothing; this is about the number of kernels. With
SDIFF_CUDA_GRAPHS=1, S-Diff uses static shapes; on a CPU, the launches that would be left with graphs are counted, too.
A training step is the mean over the batches of an epoch, without validation; the epochs before it are a warm-up. The
last line is JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.inference import contestants
from benchmarks.training import durations, unvalidated
from sdiff.base.device import best_device, device_name, wait_for
from sdiff.base.graphs import WARM_UP, Graphs, static_shapes
from sdiff.config import preset
from sdiff.data.datasets import load_dataset
from sdiff.experiments.record import report, script_parser
from sdiff.training.trainer import Trainer

STEPS, LISTS = ("paper", "tuned", "temporal"), ("S-Diff", "S-Diff, fused", "DiffRec")
ITEMS, BATCH = 2810, 100
NOTHING = {"aten.empty", "aten.empty_like", "aten.empty_strided", "aten.new_empty", "aten.new_empty_strided"}
LAUNCHES = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch", "cudaMemcpy", "cudaMemset")  # prefixes of runtime calls


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    arguments = parser.parse_args()
    device = best_device(arguments.device)
    split = unvalidated(load_dataset(arguments.dataset).split.train)
    counts: dict[str, Mapping[str, float]] = {}
    for name in STEPS:
        epochs = 2 * WARM_UP + 2  # enough that every shape has its graph
        trainer = Trainer(preset(name).override({"epochs": epochs}), split, 0, device)
        run = durations(trainer)
        for _ in range(epochs - 1):
            next(run)
        n_batches = len(trainer.batches(torch.from_numpy(split.train.lengths.nonzero()[0]).to(device)))
        of_epoch = launches(partial(next, run), device)
        counts[f"step of {name}"] = {key: value / n_batches for key, value in of_epoch.items()}
    with torch.inference_mode():
        runs = contestants(ITEMS, BATCH, device)
        for name in LISTS:
            for _ in range(WARM_UP + 1):
                runs[name]()
            counts[f"lists, {name}"] = launches(runs[name], device)
    result: dict[str, Any] = {
        "command": f"python -m benchmarks.launches --dataset {arguments.dataset} --device {device.type}",
        "device": device_name(device),
        "static shapes": static_shapes(),
        "torch": torch.__version__,
        "counts": {name: {key: round(value, 2) for key, value in row.items()} for name, row in counts.items()},
    }
    for name, row in result["counts"].items():
        print(f"{name:<24}", *(f"{value:9.2f} {key}" for key, value in row.items()))
    report(result, f"launches-{device.type}" + "-static" * static_shapes(), arguments.save)


def launches(run: Callable[[], object], device: torch.device) -> Mapping[str, float]:
    """What one call launches: operators on a CPU; runtime calls, kernels and their milliseconds on a GPU."""
    if device.type != "cuda":
        return operators(run)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        run()
        wait_for(device)
    events = profiled.key_averages()
    kernels = [event for event in events if str(event.device_type).endswith("CUDA")]
    return {
        "launches": sum(event.count for event in events if event.key.startswith(LAUNCHES)),
        "kernels": sum(event.count for event in kernels),
        "ms in kernels": sum(event.self_device_time_total for event in kernels) / 1000,
    }


def operators(run: Callable[[], object]) -> Mapping[str, float]:
    """Operators of one call and, with static shapes, what is left if the static parts are replayed as graphs."""
    counter, saved, call = Counter(), 0, Graphs.__call__

    def counted(graphs: Graphs, key: Hashable, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        nonlocal saved
        before = counter.n
        result = call(graphs, key, function, *inputs)
        # A replay copies the inputs, sets seed and offset of each generator, and launches the graph.
        saved += counter.n - before - len(inputs) - 2 * (1 + len(graphs.generators)) - 1
        return result

    with counter, patch.object(Graphs, "__call__", counted):
        run()
    return {"operators": counter.n} | ({"launches with graphs": counter.n - saved} if static_shapes() else {})


class Counter(TorchDispatchMode):
    """Counts operators that do work."""

    n = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.n += not func.is_view and str(func.overloadpacket) not in NOTHING
        return func(*args, **(kwargs or {}))


if __name__ == "__main__":
    main()
