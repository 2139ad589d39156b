"""What benchmarks share: the memory of processes, and busy processes to measure beside."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Ends by itself when the benchmark is gone, however that ended.
SPINNING = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"


def own_memory_mb(pid: int) -> float:
    """Memory of a process, where pages that it shares with others count in part; 0 when it has just ended."""
    try:
        return int(Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").split("\nPss:")[1].split()[0]) / 1024
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def all_memory_mb(pid: int) -> float:
    """Memory of a process and of all that it started, where pages that some share count once."""
    try:
        started = [n for task in Path(f"/proc/{pid}/task").iterdir() for n in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return own_memory_mb(pid) + sum(all_memory_mb(int(child)) for child in started)


def memory_mb(pid: int, what: str) -> int:
    """Memory of a process as Linux names it: VmRSS, what is resident now, or VmHWM, the most that has been."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        [kilobytes] = [line.split()[1] for line in status if line.startswith(f"{what}:")]
    return int(kilobytes) // 1024


def add_beside(parser: argparse.ArgumentParser) -> None:
    """Adds the option --beside N, the number of `busy_processes` to measure beside."""
    parser.add_argument("--beside", type=int, default=0, metavar="N", help="measure beside N processes that keep busy")


@contextmanager
def busy_processes(n: int) -> Iterator[None]:
    """n processes that spin while the block runs, as on a host that others use, too."""
    processes = [subprocess.Popen([sys.executable, "-c", SPINNING]) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
