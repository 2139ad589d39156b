"""Fuzz test: reads thousands of damaged files and checks that none does harm.

    python -m benchmarks.fuzz --cases 5000 --save
    python -m benchmarks.fuzz --only 1234            # runs one case again

The files are checkpoints, training states, tables of ratings and items in every format, and archives. `mutations`
damages them; `fuzz_cases` reads them. Each file must be read, or refused with an SDiffError of limited length, within
10 seconds and 512 MB, and without writing outside the folder of the case. Cases run in worker processes, so that
crashes of native code are detected. The last line is JSON; --save writes it to benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.fuzz_cases import SECONDS, Box
from sdiff.experiments.record import report, script_parser, versions

ADDRESS_SPACE = 12 << 30  # limit of a worker's address space in bytes
ROOT = Path(__file__).parents[1]
WORKER = (sys.executable, "-m", "benchmarks.fuzz", "--worker")
LAWFUL = ("read", "refused")


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", type=int, action="append", help="number of a case to run; repeat for several")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return work(arguments.seed)
    started = time.perf_counter()
    numbers = arguments.only or list(range(arguments.cases))
    outcomes = fuzz(numbers, arguments.seed, arguments.workers)
    kinds = sorted({kind for kind, _ in outcomes.values()})
    counts = {
        kind: Counter(what if what in LAWFUL else "against the law" for k, what in outcomes.values() if k == kind)
        for kind in kinds
    }
    violations = {number: [kind, what] for number, (kind, what) in outcomes.items() if what not in LAWFUL}
    for number, (kind, what) in violations.items():
        print(f"{number}: {kind}: {what}")
    result: dict[str, Any] = {
        "command": f"python -m benchmarks.fuzz --cases {len(numbers)} --seed {arguments.seed}",
        "cases": len(numbers),
        "counts": counts,
        "against the law": violations,
        "seconds": round(time.perf_counter() - started),
        "versions": versions("duckdb", "torch", "safetensors"),
    }
    report(result, "fuzz", arguments.save)
    sys.exit(bool(violations))


def fuzz(numbers: list[int], seed: int, workers: int = 2) -> dict[int, tuple[str, str]]:
    """The outcome of each case by its number: (type of file, "read", "refused" or a description of the violation)."""
    with ThreadPoolExecutor(workers) as pool:
        shares = pool.map(lambda first: list(_answers(numbers[first::workers], seed)), range(workers))
        return dict(sorted(answer for share in shares for answer in share))


def _answers(numbers: list[int], seed: int) -> Iterator[tuple[int, tuple[str, str]]]:
    """Runs cases one after the other in a worker. A worker that crashes or does not answer in time is replaced."""
    worker = None
    for number in numbers:
        if worker is None:
            pipes: dict[str, Any] = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            worker = subprocess.Popen([*WORKER, "--seed", str(seed)], cwd=ROOT, **pipes)
            assert worker.stdout
            worker.stdout.readline()  # the worker is ready
        assert worker.stdin and worker.stdout
        worker.stdin.write(f"{number}\n")
        worker.stdin.flush()
        ready, _, _ = select.select([worker.stdout], [], [], 2 * SECONDS)
        line = worker.stdout.readline() if ready else ""
        if line:
            yield number, tuple(json.loads(line))
            continue
        worker.kill()
        code = worker.wait()
        yield number, ("?", f"the process ended with {code}" if ready else f"no answer in {2 * SECONDS:.0f} seconds")
        worker = None
    if worker is not None and worker.stdin:
        worker.stdin.close()
        worker.wait()


def work(seed: int) -> None:
    """Runs the case of each number on stdin and writes its outcome to stdout as a line of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries goes to stderr
    numbers = os.fdopen(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    with tempfile.TemporaryDirectory(prefix="sdiff-fuzz-") as folder:
        box = Box(Path(folder))
        print("ready", file=answers, flush=True)
        for number in numbers:
            print(json.dumps(box.run(seed, int(number))), file=answers, flush=True)


if __name__ == "__main__":
    main()
