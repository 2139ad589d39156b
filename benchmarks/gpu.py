"""Checks and measures everything on one GPU, in less than ten minutes.

    python -m benchmarks.gpu --dataset ml-1m-diffrec --out gpu.json

Runs, one after the other, each in its own process and with a time limit: the tests in tests/cuda; launches per step and
per list; inference and training next to the baselines; and the training of three presets to their best epoch. All but
the tests run without and with CUDA graphs. A part that fails or takes too long is recorded as such and the next one
follows. The results are written to --out after each part, as one JSON document. `--device cpu` tries the script out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from sdiff.base.device import best_device, device_name
from sdiff.base.files import write_atomically

SIZES = ((2_810, 100), (94_949, 100), (94_949, 1_000))  # items, users
PRESETS = {"tuned": 45, "temporal": 45, "paper": 75}  # seconds allowed to the best epoch
LIMIT = 590  # seconds for everything


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-1m-diffrec", help="data set of the training runs")
    parser.add_argument("--device", default="cuda", help="cpu or cuda")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="file of the results")
    parser.add_argument("--seconds", type=int, default=LIMIT, help="time limit for everything")
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.seconds
    results: dict[str, Any] = {
        "device": device_name(best_device(arguments.device)),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "parts": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, graphs, limit, command in parts(arguments.dataset, arguments.device, Path(folder)):
            seconds = min(limit, end - time.monotonic())
            part = {"name": name, "graphs": graphs} | measured(command, graphs, seconds)
            results["parts"].append(part)
            write_atomically(arguments.out, (json.dumps(results, indent=2) + "\n").encode())
            print(
                f"{name:<34} {'graphs' if graphs else 'plain':<8} {part['seconds']:6.1f} s  {part['status']}",
                flush=True,
            )
    print(json.dumps(results))


def parts(dataset: str, device: str, folder: Path) -> list[tuple[str, bool, int, list[str]]]:
    """Name, whether CUDA graphs are on, seconds allowed and command of each part, the most important first."""
    found = [("tests", False, 150, ["pytest", "tests/cuda", "-q", "-n", "0", "-p", "no:cacheprovider"])]
    for graphs in (True, False):
        found.append(("launches", graphs, 40, ["benchmarks.launches", "--device", device]))
        for n_items, batch in SIZES:
            size = ["--items", str(n_items), "--batch", str(batch)]
            found.append(
                (f"lists, {n_items} x {batch}", graphs, 40, ["benchmarks.inference", *size, "--device", device])
            )
        rounds = ["--dataset", dataset, "--rounds", "3", "--device", device]
        found.append(("training", graphs, 60, ["benchmarks.training", *rounds]))
    for graphs in (True, False):
        for preset, limit in PRESETS.items():
            out = ["--out", str(folder / f"{preset}-{graphs}"), "--json"]
            command = ["sdiff", "train", "--dataset", dataset, "--preset", preset, *out]
            found.append((f"to the best epoch, {preset}", graphs, limit, command))
    return found


def measured(command: list[str], graphs: bool, limit: float) -> dict[str, Any]:
    """Runs a module with Python. Returns status and seconds, and what its last line says if it is JSON."""
    if limit <= 1:
        return {"status": "no time left", "seconds": 0.0}
    environment = os.environ | {"SDIFF_CUDA_GRAPHS": str(int(graphs))}
    started = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", *command], env=environment, capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return {"status": f"more than {limit:.0f} s", "seconds": round(limit, 1)}
    seconds = {"seconds": round(time.monotonic() - started, 1)}
    lines = done.stdout.strip().splitlines()
    if done.returncode:
        return {"status": f"exit code {done.returncode}", "output": (done.stdout + done.stderr)[-4000:]} | seconds
    try:
        return {"status": "ok", "result": json.loads(lines[-1])} | seconds
    except (json.JSONDecodeError, IndexError):
        return {"status": "ok", "result": lines[-1:]} | seconds


if __name__ == "__main__":
    main()
