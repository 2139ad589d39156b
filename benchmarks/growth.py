"""Scaling of time and memory with the number of users, items and pairs: `python -m benchmarks.growth --save`.

Uses synthetic graphs (`benchmarks.basis.drawn`). Starting at 1,000 users, 1,000 items and 20,000 pairs, it increases by
factors of 10 and 100: all three numbers, only users and pairs, or only items. It measures the spectrum (K = 200), one
epoch of the presets paper and tuned, and top-20 lists for 100 users, each in a separate process. The exponent p of
time ~ size^p and memory ~ size^p is fitted to the three sizes. Memory is the increase of the peak resident memory of
the process, as reported by Linux. The last line is JSON.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.basis import drawn
from benchmarks.processes import memory_mb
from benchmarks.training import timed, unvalidated
from sdiff.base.device import best_device, device_name
from sdiff.config import preset
from sdiff.evaluation.evaluate import exclude_, top_n
from sdiff.experiments.record import report, script_parser
from sdiff.method.diffusion import score
from sdiff.method.histories import Histories
from sdiff.method.spectrum import cached_basis
from sdiff.training.trainer import Trainer

BASE = (1_000, 1_000, 20_000)  # users, items, pairs
FACTORS = (1, 10, 100)
GROWS = {"users, items and pairs": (1, 1, 1), "users and their pairs": (1, 0, 1), "items": (0, 1, 0)}
BATCH, TOP, REPEATS = 100, 20, 10
WORK = ("spectrum", "epoch, paper", "epoch, tuned", "lists, paper", "lists, tuned")


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--factors", type=int, nargs="+", default=FACTORS)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)  # used by `alone`
    arguments = parser.parse_args()
    if arguments.one:
        work, *size = arguments.one
        return print(json.dumps(measured(work, tuple(map(int, size)))))
    rows = []
    with tempfile.TemporaryDirectory() as cache:  # the spectrum is computed once per size
        measure = functools.cache(functools.partial(alone, cache))
        for grows, powers in GROWS.items():
            sizes = [tuple(n * f**p for n, p in zip(BASE, powers, strict=True)) for f in arguments.factors]
            for work in WORK:
                costs = [measure(work, size) for size in sizes]
                row: dict[str, Any] = {"grows": grows, "work": work, "sizes": sizes}
                for unit in ("seconds", "MB"):
                    values = [cost[unit] for cost in costs]
                    slope = np.polyfit(np.log(arguments.factors), np.log(np.maximum(values, 1e-4)), 1)[0]
                    row |= {unit: values, f"exponent of {unit}": round(float(slope), 2)}
                rows.append(row)
                print(f"{grows:<24} {work:<14}", *(f"{c['seconds']:9.3f} s {c['MB']:6.0f} MB" for c in costs))
    result = {
        "command": "python -m benchmarks.growth",
        "factors": list(arguments.factors),
        "device": device_name(best_device()),
        "torch": torch.__version__,
        "rows": rows,
    }
    report(result, "growth", arguments.save)


def alone(cache: str, work: str, size: tuple[int, ...]) -> dict[str, float]:
    """`measured` in a new process, for its own peak memory."""
    command = [sys.executable, "-m", "benchmarks.growth", "--one", work, *map(str, size)]
    done = subprocess.run(command, env=os.environ | {"SDIFF_CACHE_DIR": cache}, capture_output=True, check=True)
    return json.loads(done.stdout)


def measured(work: str, size: tuple[int, ...]) -> dict[str, float]:
    """Seconds and megabytes of one type of work."""
    n_users, n_items, n_pairs = size
    train = drawn(n_users, n_items, n_pairs)
    kind, _, name = work.partition(", ")
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak memory (Linux)
    before = memory_mb(os.getpid(), "VmRSS")

    def beyond() -> int:
        return memory_mb(os.getpid(), "VmHWM") - before

    if kind == "spectrum":
        return {"seconds": timed(lambda: cached_basis(train, preset("paper").K)), "MB": beyond()}
    trainer = Trainer(preset(name).override({"epochs": 1}), unvalidated(train), 0)
    if kind == "epoch":
        (progress,) = trainer.iter_epochs()
        return {"seconds": progress.seconds, "MB": beyond()}
    model, config = trainer.model.eval(), trainer.config
    x = Histories.from_interactions(train, trainer.device).take(torch.arange(BATCH))
    noise = torch.Generator().manual_seed(0)

    def lists() -> None:
        top_n(exclude_(score(model, x, config, noise), x), TOP)

    with torch.inference_mode():
        return {"seconds": min(timed(lists) for _ in range(REPEATS)), "MB": beyond()}


if __name__ == "__main__":
    main()
