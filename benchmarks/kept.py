"""Where results are kept, and how a benchmark tells its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def tell(result: dict[str, Any], name: str, save: bool) -> None:
    """Prints `result` as the last line, one JSON document; `save` also keeps it in benchmarks/results."""
    if save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))
