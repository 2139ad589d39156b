"""Helpers of the benchmarks: memory of processes, and busy background processes."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Exits when the benchmark has ended, even if it was killed.
SPINNING = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"


def own_memory_mb(pid: int, field: str = "Pss_Anon") -> float:
    """Memory that a process has allocated: its anonymous pages. 0 if the process has ended.

    `field`: another one of /proc/PID/smaps_rollup. `Pss` adds a share of the pages of files, such as libraries, and so
    it also changes when other processes start or end.
    """
    try:
        values = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        return int(values.split(f"\n{field}:")[1].split()[0]) / 1024
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def all_memory_mb(pid: int) -> float:
    """PSS of a process and its descendants: pages shared among them count once. 0 if the process has ended."""
    children: list[str] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            children += thread.read_text(encoding="ascii").split()
    return own_memory_mb(pid, "Pss") + sum(all_memory_mb(int(child)) for child in children)


def memory_mb(pid: int, what: str) -> int:
    """Memory of a process from /proc: "VmRSS", the current resident memory, or "VmHWM", its peak."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        [kilobytes] = [line.split()[1] for line in status if line.startswith(f"{what}:")]
    return int(kilobytes) // 1024


def add_beside(parser: argparse.ArgumentParser) -> None:
    """Adds the option --beside N: the number of `busy_processes` during the measurement."""
    parser.add_argument("--beside", type=int, default=0, metavar="N", help="measure next to N busy processes")


@contextmanager
def busy_processes(n: int) -> Iterator[None]:
    """Runs n busy processes in the background, as on a shared host."""
    processes = [subprocess.Popen([sys.executable, "-c", SPINNING]) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
