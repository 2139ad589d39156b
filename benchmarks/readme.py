"""Writes the measured tables of the README from benchmarks/results: `python -m benchmarks.readme`."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
COLUMNS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


def accuracy_table(results: Path) -> str:
    """A block of rows for each data set: our presets, then the references of the same runs."""
    lines = ["| data | model | R@10 | R@20 | N@10 | N@20 | training |", "|---|---|---|---|---|---|---|"]
    documents = [json.loads(path.read_text()) for path in sorted(results.glob("accuracy-*.json"))]
    for dataset in dict.fromkeys(d["dataset"] for d in documents):
        runs = [d for d in documents if d["dataset"] == dataset]
        for run in runs:
            cells = [_cell(run["mean"]["test"][key], run["std"]["test"][key], run["seeds"]) for key in COLUMNS]
            training = f"{run['seconds']:.0f} s, {run['seeds']} seed{'s' if run['seeds'] > 1 else ''}, {run['device']}"
            lines.append(f"| {dataset} | **S-Diff `{run['preset']}`** | {' | '.join(cells)} | {training} |")
        for name, row in runs[0]["references"].items():
            cells = [f"{row['test'][key]:.4f}" for key in COLUMNS]
            lines.append(f"| {dataset} | {name} | {' | '.join(cells)} | |")
    return "\n".join(lines)


def filled(readme: str, table: str) -> str:
    """The README with the table between its marks."""
    return re.sub(
        r"(<!-- accuracy -->\n).*?(<!-- /accuracy -->)", lambda m: f"{m[1]}{table}\n{m[2]}", readme, flags=re.S
    )


def _cell(mean: float, std: float, seeds: int) -> str:
    return f"{mean:.4f}" + (f" ± {std:.4f}" if seeds > 1 else "")


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8"), accuracy_table(ROOT / "benchmarks" / "results")), "utf-8")
