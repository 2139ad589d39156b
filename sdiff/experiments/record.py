"""How an experiment or a benchmark keeps its result: a JSON document with the versions that it depends on."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from typing import Any

import sdiff
from sdiff.base.paths import RESULTS


def report(result: dict[str, Any], name: str, save: bool) -> None:
    """Prints `result` as the last line, one JSON document; `save` also keeps it in benchmarks/results."""
    if save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


def versions(*packages: str) -> dict[str, str]:
    """Of this project, of the packages that a result may depend on, and of Python."""
    found = {"sdiff": sdiff.__version__} | {name: version(name) for name in packages}
    return found | {"python": platform.python_version()}
