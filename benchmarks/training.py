"""Training speed in users per second, compared with baselines and a lower bound.

    python -m benchmarks.training --dataset ml-1m-diffrec --save

All models train on the same users in the same process. They take turns, one epoch each, `--rounds` times; the median
counts, without validation. The floor is the part that a preset cannot avoid: the matrix products of its two layers,
forward and backward, and with a softmax loss those of the scores U v, with the same batch size, precision and number of
threads. `--device cuda` trains all models on a GPU; SDIFF_CUDA_GRAPHS=1 adds CUDA graphs to S-Diff.

The number of epochs to the best validation result is taken from Table 1 (benchmarks/results/table1.json), if it
includes this data set; it gives the training time to the best epoch. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.processes import add_beside, busy_processes
from sdiff.base.device import Device, best_device, device_name, wait_for
from sdiff.base.graphs import static_shapes
from sdiff.base.paths import RESULTS
from sdiff.config import Config, preset
from sdiff.data.datasets import load_dataset
from sdiff.data.interactions import Interactions, Split
from sdiff.experiments.baselines import diffrec, giffcf
from sdiff.experiments.baselines.training import Recipe, train_epoch
from sdiff.experiments.record import report, script_parser
from sdiff.training.trainer import Trainer

TABLE_1 = {"S-Diff paper": "S-Diff paper", "S-Diff tuned": "S-Diff tuned", "DiffRec": "DiffRec", "GiffCF": "Giff"}


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--users", type=int, default=0, help="number of users, drawn at random; 0: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    add_beside(parser)
    arguments = parser.parse_args()
    beside, device = arguments.beside, best_device(arguments.device)
    full = load_dataset(arguments.dataset).split
    n_users = arguments.users or len(full.users)
    split = sample_users(full, n_users)
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as cache, busy_processes(beside):
        os.environ["SDIFF_CACHE_DIR"] = cache  # the spectrum of a subset of users is not used again
        runs = contestants(split, arguments.rounds + 1, device)
        for repeat in range(arguments.rounds + 1):
            for name, run in runs.items():
                duration = run()
                if repeat:  # the first round is a warm-up
                    seconds.setdefault(name, []).append(duration)
    rates = {name: n_users / float(np.median(values)) for name, values in seconds.items()}
    epochs = best_epochs(arguments.dataset)
    for name, rate in rates.items():
        print(f"{name:<24} {rate:9.0f} users/s")
    result = {
        "dataset": arguments.dataset,
        "data_fingerprint": full.fingerprint,
        "command": f"python -m benchmarks.training --dataset {arguments.dataset} --users {arguments.users} "
        f"--rounds {arguments.rounds}"
        + f" --device {device}" * (device.type != "cpu")
        + f" --beside {beside}" * bool(beside),
        "busy processes beside": beside,
        "users, items": [n_users, len(full.items)],
        "device": device_name(device),
        "static shapes": static_shapes(),
        "torch": torch.__version__,
        "users a second": {name: round(rate) for name, rate in rates.items()},
        "epochs to the best": epochs,
        "seconds to the best": {name: round(n * len(full.users) / rates[name], 1) for name, n in epochs.items()},
    }
    name = f"training-{arguments.dataset}" + f"-beside-{beside}" * bool(beside)
    report(result, name + f"-{device.type}" * (device.type != "cpu"), arguments.save)


def sample_users(split: Split, n: int) -> Split:
    """The training part of n random users."""
    train = split.train
    sampled = np.sort(np.random.default_rng(0).permutation(len(train.users))[:n])
    new_index = np.full(len(train.users), -1)
    new_index[sampled] = np.arange(len(sampled))
    inside = train.where(new_index[train.rows] >= 0)
    users = train.users.subset(sampled)
    return unvalidated(Interactions.from_pairs(users, train.items, new_index[inside.rows], inside.indices))


def unvalidated(train: Interactions) -> Split:
    """A split with only a training part."""
    empty = train.empty
    return Split(train, empty, empty)


def contestants(split: Split, epochs: int, device: torch.device) -> dict[str, Callable[[], float]]:
    """Functions by model name. Each call trains one more epoch and returns its seconds."""
    runs: dict[str, Callable[[], float]] = {}
    for name in ("paper", "tuned"):
        config = preset(name).override({"epochs": epochs})
        runs[f"S-Diff {name}"] = partial(next, durations(Trainer(config, split, 0, device)))
        floor = partial(products, config, len(split.users), len(split.items), device)
        runs[f"floor of {name}"] = partial(timed, floor, device)
    torch.manual_seed(0)
    runs["DiffRec"] = baseline(diffrec.Trained(split, device), diffrec.RECIPE, device)
    noise = torch.Generator(device).manual_seed(0)
    runs["GiffCF"] = baseline(giffcf.GiffCF(split, noise), giffcf.RECIPE, device)
    return runs


def durations(trainer: Trainer) -> Iterator[float]:
    before = 0.0
    for progress in trainer.iter_epochs():
        yield progress.seconds - before
        before = progress.seconds


def baseline(model: nn.Module, recipe: Recipe, device: torch.device) -> Callable[[], float]:
    model.train()
    epoch = partial(train_epoch, model, recipe.optimizer_of(model), recipe.batch_size, device)  # pyright: ignore
    return partial(timed, epoch, device)


def products(config: Config, n_users: int, n_items: int, device: torch.device) -> None:
    """Only the matrix products of an epoch."""
    widths = config.K + config.time_dim, config.hidden, config.K
    entered, hidden, left = (torch.rand(config.batch_size, width, device=device) for width in widths)
    first, last = (torch.rand(*pair, device=device) for pair in pairwise(widths))
    factors = [(entered, first), (hidden, last)]
    factors += [
        (hidden.T, left),
        (left, last.T),
        (entered.T, hidden),
        (hidden, first.T),
    ]  # gradients
    if config.loss == "softmax":
        U, scores = (torch.rand(n, m, device=device) for n, m in ((n_items, config.K), (config.batch_size, n_items)))
        factors += [(left, U.T), (scores, U)]
    for _ in range(-(-n_users // config.batch_size)):
        for a, b in factors:
            torch.mm(a, b)


def timed(run: Callable[[], object], device: Device = "cpu") -> float:
    """Seconds of a run, until the device has finished."""
    started = time.perf_counter()
    run()
    wait_for(device)
    return time.perf_counter() - started


def best_epochs(dataset: str) -> dict[str, int]:
    """The best epoch of each model in Table 1; empty if Table 1 does not include the data set."""
    runs: list[dict[str, Any]] = json.loads((RESULTS / "table1.json").read_text(encoding="utf-8"))["runs"]
    epochs = {
        row["model"]: row["epoch"]
        for run in runs
        if run["dataset"] == dataset
        for rows in run["jobs"].values()
        for row in rows
    }
    return {name: epochs[label] for name, label in TABLE_1.items() if label in epochs}


if __name__ == "__main__":
    main()
