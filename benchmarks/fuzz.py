"""Can a file from a stranger do more than be refused? Valid files are damaged by the thousand, and read.

    python -m benchmarks.fuzz --cases 5000 --save
    python -m benchmarks.fuzz --only 1234            # one case again

Checkpoints, the state of a run, tables of ratings and of items in every format, and archives: `mutations` says what is
done to them, `fuzz_cases` how they are read. The law: each is read, or refused by an SDiffError no longer than a
paragraph; within 10 seconds, with less than 512 MB, and nothing is written outside the case's folder. Cases run in
worker processes, so that a crash of native code is seen as well. The last line is JSON, which --save keeps in
benchmarks/results.
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
from sdiff.experiments.record import report, versions

ADDRESS_SPACE = 12 << 30  # bytes: what asks for all the memory there is takes not all of the machine's
ROOT = Path(__file__).parents[1]
WORKER = (sys.executable, "-m", "benchmarks.fuzz", "--worker")
LAWFUL = ("read", "refused")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", type=int, action="append", help="the number of a case to run again")
    parser.add_argument("--save", action="store_true", help="keep the result in benchmarks/results")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return work(arguments.seed)
    started = time.perf_counter()
    numbers = arguments.only or list(range(arguments.cases))
    found = fuzz(numbers, arguments.seed, arguments.workers)
    kinds = sorted({kind for kind, _ in found.values()})
    counts = {
        kind: Counter(what if what in LAWFUL else "against the law" for k, what in found.values() if k == kind)
        for kind in kinds
    }
    against = {number: [kind, what] for number, (kind, what) in found.items() if what not in LAWFUL}
    for number, (kind, what) in against.items():
        print(f"{number}: {kind}: {what}")
    result: dict[str, Any] = {
        "command": f"python -m benchmarks.fuzz --cases {len(numbers)} --seed {arguments.seed}",
        "cases": len(numbers),
        "counts": counts,
        "against the law": against,
        "seconds": round(time.perf_counter() - started),
        "versions": versions("duckdb", "torch", "safetensors"),
    }
    report(result, "fuzz", arguments.save)
    sys.exit(bool(against))


def fuzz(numbers: list[int], seed: int, workers: int = 2) -> dict[int, tuple[str, str]]:
    """What became of each case, by its number: (kind, "read", "refused" or what is against the law)."""
    with ThreadPoolExecutor(workers) as pool:
        shares = pool.map(lambda first: list(_answers(numbers[first::workers], seed)), range(workers))
        return dict(sorted(answer for share in shares for answer in share))


def _answers(numbers: list[int], seed: int) -> Iterator[tuple[int, tuple[str, str]]]:
    """Cases one after the other in a worker; one that ends, or does not answer in time, has the next one follow."""
    worker = None
    for number in numbers:
        if worker is None:
            pipes: dict[str, Any] = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            worker = subprocess.Popen([*WORKER, "--seed", str(seed)], cwd=ROOT, **pipes)
            assert worker.stdout
            worker.stdout.readline()  # it has made what is valid
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
    """Answers each number on stdin by a line of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries say goes elsewhere
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
