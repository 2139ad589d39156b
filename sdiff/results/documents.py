"""Reads results of experiments from `paths.RESULTS`. Computes nothing."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdiff.base.errors import SDiffError, brief
from sdiff.base.paths import ASSETS, RESULTS

METRICS = {"recall@10": "R@10", "recall@20": "R@20", "ndcg@10": "N@10", "ndcg@20": "N@20"}
# By experiment, what it shows, what the paper says, and how this differs; by preset, what it is
WORDS = json.loads((ASSETS / "experiments.json").read_text(encoding="utf-8"))
LOG = logging.getLogger(__name__)
LONGEST = 60  # maximum number of rows of a table; longer results, such as curves, have only a figure


@dataclass(frozen=True)
class Run:
    """A run of an experiment.

    Attributes:
        title: title of the experiment.
        rows: measured rows.
        paper: the paper's figures by first label of a row.
        figure: kind and options of the figure.
        head, cells: table of the rows.
        source: command, seed, data, device and versions.
        protocols: table of the rows under each other evaluation protocol.
        words: what it shows, what the paper says, how this differs, and what the preset is, as Markdown.
    """

    title: str
    rows: list[dict[str, Any]]
    paper: dict[str, dict[str, float]]
    figure: dict[str, Any]
    head: list[str]
    cells: list[list[str]]
    source: str
    protocols: dict[str, list[list[str]]]
    words: str


def titles(folder: Path = RESULTS) -> list[tuple[str, str]]:
    """(title, name) of each experiment with results."""
    return [(document["title"], name) for name, document in _documents(folder).items()]


def runs(name: str, folder: Path = RESULTS) -> list[str]:
    """Labels of an experiment's runs: the data set, and the preset if there is one.

    Raises:
        SDiffError: the experiment is unknown.
    """
    return [_label(run) for run in _document(name, folder)["runs"]]


def read_run(name: str, label: str, folder: Path = RESULTS) -> Run:
    """One run by its label. Raises SDiffError for an unknown experiment or label."""
    document = _document(name, folder)
    run = next((run for run in document["runs"] if _label(run) == label), None)
    if run is None:
        raise SDiffError(f"{document['title']} has no run {brief(label)}: choose another.")
    rows = [row for job in run["jobs"].values() for row in job]
    head, cells = table(rows, run["paper"]) if len(rows) <= LONGEST else ([], [])
    versions = ", ".join(f"{package} {version}" for package, version in run["versions"].items())
    took = (
        f", {sum(run['seconds'].values()) / 60:.1f} min" if run.get("seconds", {}).keys() == run["jobs"].keys() else ""
    )
    origin = f"seed {run['seed']}, data {run['data_fingerprint']}, {run['device']}, {versions}{took}"
    source = f"`{run['command']}`  \n{origin}"
    protocols = {
        name: table([row | {"test": row["protocols"][name]} for row in rows], run["paper"])[1]
        for name in rows[0].get("protocols", ())
        if all(name in row.get("protocols", ()) for row in rows)
    }
    preset = run["preset"] or ("paper" if any(row.get("model") == "S-Diff paper" for row in rows) else None)
    words = _words(name, preset)
    return Run(document["title"], rows, run["paper"], document["figure"], head, cells, source, protocols, words)


def table(rows: list[dict[str, Any]], paper: dict[str, dict[str, float]]) -> tuple[list[str], list[list[str]]]:
    """Head and cells of a table: labels and other measures, test metrics, validation recall@20, the paper's figures.

    `paper`: the paper's figures by first label of a row.
    """
    own = list(dict.fromkeys(key for row in rows for key in row if key not in ("valid", "test", "protocols")))
    metrics = [key for key in METRICS if any("test" in row for row in rows)]
    printed = [key for key in (*METRICS, *own) if any(key in values for values in paper.values())]
    head = [*own, *(METRICS[key] for key in metrics), *(["valid R@20"] if metrics else [])]
    head += [f"paper {METRICS.get(key, key)}" for key in printed]
    cells = []
    for row in rows:
        of_paper = paper.get(str(row[own[0]]), {})
        accuracies = [row.get("test", {}).get(key) for key in metrics]
        accuracies += [row.get("valid", {}).get("recall@20")] * bool(metrics) + [of_paper.get(key) for key in printed]
        cells.append([_text(row.get(key)) for key in own] + [_text(value, ".4f") for value in accuracies])
    return head, cells


def _words(name: str, preset: str | None) -> str:
    texts = WORDS["experiments"][name]
    parts = [texts["shows"], f"**The paper:** {texts['paper']}", f"**Here:** {texts['here']}"]
    return "\n\n".join([*parts, WORDS["presets"].get(preset, "")])


def _documents(folder: Path) -> dict[str, dict[str, Any]]:
    """The results of experiments by name. Damaged files, such as unfinished ones, are left out with a warning."""
    documents = {}
    for path in sorted(folder.glob("*.json")):
        if path.stem not in WORDS["experiments"]:  # of a benchmark
            continue
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if not (document["title"] and document["figure"]["kind"] and all(map(complete, document["runs"]))):
                raise ValueError("a part is missing")
            documents[path.stem] = document
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            LOG.warning("%s cannot be shown, because it is damaged (%s)", path, error)
    return documents


def _document(name: str, folder: Path) -> dict[str, Any]:
    documents = _documents(folder)
    if name not in documents:
        raise SDiffError(f"There is no experiment {brief(name)}: choose another.")
    return documents[name]


def complete(run: dict[str, Any]) -> bool:
    """Whether a run has all parts that `read_run` needs. Raises TypeError or AttributeError if it is no run."""
    parts = {"dataset", "preset", "command", "seed", "data_fingerprint", "versions", "device", "paper", "jobs"}
    return parts <= run.keys() and all(isinstance(rows, list) for rows in run["jobs"].values())


def _label(run: dict[str, Any]) -> str:
    return ", ".join(filter(None, (run["dataset"], run["preset"])))


def _text(value: Any, form: str = ".4g") -> str:
    if isinstance(value, bool):
        return "✓" if value else ""
    if isinstance(value, float):
        return format(value, form)
    return "" if value is None else str(value)
