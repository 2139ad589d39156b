"""Fills the tables of README.md and docs from benchmarks/results and `sdiff.config`: `python -m benchmarks.report`.

A table stands between two marks, `<!-- name -->` and `<!-- /name -->`; everything else in a page is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args, get_type_hints

from benchmarks import tables
from benchmarks.tables import markdown, read
from sdiff.config import AUTO, BOUNDS, HELP, INFERENCE_KEYS, PRESETS, Config
from sdiff.evaluation.protocols import PROTOCOLS
from sdiff.experiments.baselines.recency import RECENT
from sdiff.results import documents
from sdiff.training.trainer import CRITERION

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "docs" / "reference.md"]
IN_ORDER = {"temporal", "sasrec", AUTO, *RECENT}  # models that use, or may use, the order of interactions
MARK = re.compile(r"(<!-- (\w+) -->\n).*?(?=<!-- /\2 -->)", flags=re.S)
# Rows and columns of Table 1 in the README.
SUMMARY = ("EASE", "Giff", "S-Diff paper", "S-Diff tuned", "EASE, recency", "S-Diff temporal")
COLUMNS = {
    "model": "model",
    "order": "uses order",
    "R@20": "Recall@20",
    "N@20": "NDCG@20",
    "paper R@20": "Recall@20 in the paper",
    "training seconds": "training, s",
}


def filled(page: str) -> str:
    """A page with each table between its marks. Raises KeyError for a mark that no table has."""
    return MARK.sub(lambda mark: f"{mark[1]}{TABLES[mark[2]]()}\n", page)


def summary() -> str:
    """Table 1 on ml-1m-diffrec, reduced to `SUMMARY` and `COLUMNS`, and SASRec."""
    run = documents.read_run("table1", "ml-1m-diffrec")
    rows = {row[0]: dict(zip(run.head, row, strict=True)) for row in run.cells}
    (sasrec,) = read("accuracy-ml-1m-diffrec-sasrec.json")
    test = sasrec["mean"]["test"]
    accuracy = [f"{test[key]:.4f}" for key in ("recall@20", "ndcg@20")]
    *others, best = [[rows[name][column] for column in COLUMNS] for name in SUMMARY]
    return markdown([*COLUMNS.values()], [*others, ["SASRec", "✓", *accuracy, "", f"{sasrec['seconds']:.0f}"], best])


def settings() -> str:
    """Every setting of `Config`: its values, its value in each preset, and what it means."""
    presets = {name: asdict(config) for name, config in PRESETS.items()}
    usual, hints, cells = presets["paper"], get_type_hints(Config), []
    for name, meaning in HELP.items():
        own = ["" if v is not usual and v[name] == usual[name] else _written(v[name]) for v in presets.values()]
        cells.append([f"`{name}`", _values(name, hints[name]), "✓" * (name in INFERENCE_KEYS), *own, meaning])
    return markdown(["setting", "values", "at inference", *(f"`{name}`" for name in presets), "meaning"], cells)


def _values(name: str, kind: Any) -> str:
    if name in BOUNDS:
        low, high = map(_written, BOUNDS[name])
        return f"{low} to {high}" + ", whole" * (kind is int)
    return ", ".join(["true", "false"] if kind is bool else get_args(kind))


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool | str) else f"{value:,.15g}"


def accuracy() -> str:
    """Accuracy per data set: first the models that ignore the order of interactions, then those that use it."""
    cells = []
    measured = read("accuracy-*.json")
    for dataset in dict.fromkeys(d["dataset"] for d in measured):
        runs = [d for d in measured if d["dataset"] == dataset]
        rows = {run["preset"]: _reached(run) for run in runs}
        notes = {run["preset"]: ", ".join(run["set"] or sorted({*run.get("chosen", ())})) for run in runs}
        for name, reached in max((run["references"] for run in runs), key=len).items():
            rows[name] = [f"{reached['test'][key]:.4f}" for key in documents.METRICS] + [""]
        for name in sorted(rows, key=lambda name: name in IN_ORDER):
            label = f"**S-Diff `{name}`**" if name in (AUTO, *PRESETS) else {"sasrec": "SASRec"}.get(name, name)
            cells.append(
                [
                    dataset,
                    f"{label} ({notes[name]})" if notes.get(name) else label,
                    "✓" * (name in IN_ORDER),
                    *rows[name],
                ]
            )
    return markdown(["data", "model", "order", *documents.METRICS.values(), "training"], cells)


def ablation() -> str:
    """For each ablated preset what it reaches without one of its parts, and the difference that makes on test."""
    cells = []
    for label in documents.runs("ablation"):
        run = documents.read_run("ablation", label)
        (whole,) = (row["test"][CRITERION] for row in run.rows if row["without"] == "nothing")
        for row in run.rows:
            values = [row["valid"][CRITERION], row["test"][CRITERION], row["test"]["ndcg@20"]]
            change = "" if row["without"] == "nothing" else f"{row['test'][CRITERION] - whole:+.4f}"
            cells.append([*label.split(", "), row["without"], *(f"{value:.4f}" for value in values), change])
    return markdown(["data", "preset", "without", "valid R@20", "test R@20", "test N@20", "change"], cells)


def experiments() -> str:
    """Every experiment but those that have a section of their own."""
    others = ((title, name) for title, name in documents.titles() if name not in ("table1", "ablation"))
    return "\n\n".join(f"### {title}\n\n{experiment(name, '####')}" for title, name in others)


def experiment(name: str, level: str) -> str:
    """Picture, command and table of each run of an experiment, under headings of a level."""
    return "\n\n".join(_runs(name, level))


def _runs(name: str, level: str) -> Iterator[str]:
    title = {key: title for title, key in documents.titles()}[name]
    for label in documents.runs(name):
        run = documents.read_run(name, label)
        picture = f"{name}-{label.replace(', ', '-')}.svg"
        yield f"{level} {label}\n\n![{title}, {label}](../benchmarks/results/{picture})\n\nMade by {run.source}"
        if run.cells:
            yield markdown(run.head, run.cells)
        for protocol, cells in run.protocols.items():
            yield f"Protocol `{protocol}`: {PROTOCOLS[protocol]}." + "\n\n" + markdown(run.head, cells)  # pyright: ignore


def _reached(run: dict[str, Any]) -> list[str]:
    cells = [_spread(run["mean"]["test"][key], run["std"]["test"][key], run["seeds"]) for key in documents.METRICS]
    return [*cells, f"{run['seconds']:.0f} s, {run['seeds']} seed{'s' if run['seeds'] > 1 else ''}, {run['device']}"]


def _spread(mean: float, std: float, seeds: int) -> str:
    return f"{mean:.4f}" + (f" ± {std:.4f}" if seeds > 1 else "")


TABLES: dict[str, Callable[[], str]] = {
    "summary": summary,
    "settings": settings,
    "table1": lambda: experiment("table1", "###"),
    "accuracy": accuracy,
    "ablation": ablation,
    "ecosystem": tables.ecosystem,
    "app": tables.app,
    "paint": tables.paint,
    "lists": tables.lists,
    "training": tables.training,
    "spectra": tables.spectra,
    "updates": tables.updates,
    "cold": tables.cold,
    "growth": tables.growth,
    "beside": tables.beside,
    "soak": tables.soak,
    "broken": tables.broken,
    "experiments": experiments,
}


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
