"""Writes the measured tables of the README from benchmarks/results: `python -m benchmarks.readme`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.peers.recency import RECENT
from sdiff.config import PRESETS

ROOT = Path(__file__).parent.parent
COLUMNS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
IN_ORDER = {"temporal", "sasrec", *RECENT}  # what sees in which order a user chose


def tables(results: Path) -> dict[str, str]:
    """Mark in the README -> table."""
    return {
        "accuracy": accuracy_table(results),
        "ablation": ablation_table(results),
        "table1": table1(results),
    }


def accuracy_table(results: Path) -> str:
    """For each data set what does not look at the order, then what does: our presets, rivals, plain references."""
    lines = ["| data | model | order | R@10 | R@20 | N@10 | N@20 | training |", "|---|---|---|---|---|---|---|---|"]
    documents = _read(results, "accuracy-*.json")
    for dataset in dict.fromkeys(d["dataset"] for d in documents):
        runs = [d for d in documents if d["dataset"] == dataset]
        rows = {run["preset"]: _run_cells(run) for run in runs}
        changed = {run["preset"]: f" ({', '.join(run['set'])})" for run in runs if run["set"]}
        for name, reached in max((run["references"] for run in runs), key=len).items():
            rows[name] = [f"{reached['test'][key]:.4f}" for key in COLUMNS] + [""]
        for name in sorted(rows, key=lambda name: name in IN_ORDER):
            label = f"**S-Diff `{name}`**" if name in PRESETS else {"sasrec": "SASRec"}.get(name, name)
            cells = [dataset, f"{label}{changed.get(name, '')}", "✓" if name in IN_ORDER else "", *rows[name]]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def table1(results: Path) -> str:
    """Every model of Table 1 beside what the paper prints of it: what does not look at the order, then what does."""
    lines = [
        "| data | model | order | R@10 | R@20 | N@10 | N@20 | paper R@20 | paper N@20 | training | scoring | memory |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in json.loads((results / "table1.json").read_text())["runs"]:
        rows = [row for job in run["jobs"].values() for row in job]
        for row in sorted(rows, key=lambda row: row["order"]):
            paper = run["paper"].get(row["model"], {})
            label = f"**{row['model']}**" if row["model"].startswith("S-Diff") else row["model"]
            cells = [run["dataset"], label, "✓" if row["order"] else ""]
            cells += [f"{row['test'][key]:.4f}" for key in COLUMNS]
            cells += [f"{paper[key]:.4f}" if key in paper else "" for key in ("recall@20", "ndcg@20")]
            cells += [f"{row['training seconds']:.0f} s", f"{row['scoring seconds']:.1f} s"]
            lines.append(f"| {' | '.join(cells)} | {row['peak memory MB']} MB |")
    return "\n".join(lines)


def ablation_table(results: Path) -> str:
    """For each ablated preset what it reaches without one of its parts, and the difference that makes on test."""
    lines = [
        "| data | preset | without | valid R@20 | test R@20 | test N@20 | change |",
        "|---|---|---|---|---|---|---|",
    ]
    for document in _read(results, "ablation-*.json"):
        whole = document["rows"][0]["test"]["recall@20"]
        for row in document["rows"]:
            test = row["test"]
            cells = [row["valid"]["recall@20"], test["recall@20"], test["ndcg@20"]]
            change = f"{test['recall@20'] - whole:+.4f}" if row["set"] else ""
            numbers = " | ".join(f"{cell:.4f}" for cell in cells)
            lines.append(f"| {document['dataset']} | `{document['preset']}` | {row['off']} | {numbers} | {change} |")
    return "\n".join(lines)


def filled(readme: str, contents: dict[str, str]) -> str:
    """The README with each table between its marks."""
    for mark, table in contents.items():
        before, after = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
        readme = re.sub(f"(?<={before}).*?(?={after})", lambda _, table=table: f"{table}\n", readme, flags=re.S)
    return readme


def _read(results: Path, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(results.glob(pattern))]


def _run_cells(run: dict[str, Any]) -> list[str]:
    cells = [_cell(run["mean"]["test"][key], run["std"]["test"][key], run["seeds"]) for key in COLUMNS]
    training = f"{run['seconds']:.0f} s, {run['seeds']} seed{'s' if run['seeds'] > 1 else ''}, {run['device']}"
    return [*cells, training]


def _cell(mean: float, std: float, seeds: int) -> str:
    return f"{mean:.4f}" + (f" ± {std:.4f}" if seeds > 1 else "")


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8"), tables(ROOT / "benchmarks" / "results")), "utf-8")
