"""How experiments and benchmarks run, and how their results are printed and saved as JSON."""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import sdiff
from sdiff.base.files import write_atomically
from sdiff.base.paths import OUTPUT
from sdiff.base.terminal import run


def script_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser of the arguments of a script that reports a result, with the script's docstring as its help."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true", help="write the result to benchmarks/results")
    return parser


def run_script(main: Callable[[], None]) -> None:
    """Runs a script and leaves Python. Expected errors and Ctrl-C end it with one sentence."""

    def program() -> int:
        main()
        return 0

    sys.exit(run(Path(sys.argv[0]).stem, program))


def in_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work` returns in a process of its own, so that its peak memory can be measured."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def report(result: dict[str, Any], name: str, save: bool) -> None:
    """Prints `result` as one line of JSON. With `save`, also writes it to benchmarks/results."""
    print(json.dumps(result))
    if save:
        OUTPUT.mkdir(exist_ok=True)
        file = re.sub(r"[^\w.-]+", "-", f"{name}.json")  # the name may contain a path
        write_atomically(OUTPUT / file, f"{json.dumps(result, indent=2)}\n".encode())


def versions(*packages: str) -> dict[str, str]:
    """The versions of this project, of `packages` and of Python."""
    packages_used = {name: version(name) for name in packages}
    return {"sdiff": sdiff.__version__, **packages_used, "python": platform.python_version()}
