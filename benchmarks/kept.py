"""What benchmarks share: where results are kept, how one tells its own, of which versions, the memory of a process."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sdiff

RESULTS = Path(__file__).parent / "results"


def tell(result: dict[str, Any], name: str, save: bool) -> None:
    """Prints `result` as the last line, one JSON document; `save` also keeps it in benchmarks/results."""
    if save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


def versions(*packages: str) -> dict[str, str]:
    """Of this project, of the packages that a result may depend on, and of Python."""
    found = {"sdiff": sdiff.__version__} | {name: version(name) for name in packages}
    return found | {"python": platform.python_version()}


def memory_mb(pid: int, what: str) -> int:
    """Memory of a process as Linux names it: VmRSS, what is resident now, or VmHWM, the most that has been."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        [kilobytes] = [line.split()[1] for line in status if line.startswith(f"{what}:")]
    return int(kilobytes) // 1024
