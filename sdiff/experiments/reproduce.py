"""Runs an experiment, job by job, and writes its results and its figure to a folder.

    python -m sdiff reproduce fig7 --dataset ml-1m-diffrec

Results are saved after each job, so an interrupted experiment is resumed by running the same command again. The result
file of an experiment contains one run per data set and preset.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sdiff.base.device import best_device, device_name
from sdiff.base.errors import SDiffError, brief
from sdiff.base.files import write_atomically
from sdiff.base.paths import OUTPUT
from sdiff.config import Config, preset
from sdiff.data.datasets import load_dataset
from sdiff.experiments.accuracy import PARTS
from sdiff.experiments.record import versions
from sdiff.experiments.studies import EXPERIMENTS
from sdiff.experiments.study import Row, Study
from sdiff.results import charts, documents
from sdiff.training.trainer import CRITERION

QUICK = {"K": 16, "hidden": 32, "epochs": 2}  # settings of a smoke run
# Limits of sweeps. On ML-1M, the preset paper improves until epoch 335 (table1): recall 0.158 instead of 0.147.
CAPS = {"epochs": 100, "patience": 30}


def reproduce(
    what: str, key: str, name: str, seed: int, quick: bool, folder: Path | None = None, only: Collection[str] = ()
) -> dict[str, Any]:
    """Runs the missing jobs of an experiment, prints and draws the rows, and returns the run.

    Args:
        what: name of the experiment.
        key: key of the data set.
        name: name of the preset.
        quick: whether this is a smoke run, with a tiny model.
        folder: of the result files.
        only: names of the jobs to run; all by default.

    Raises:
        SDiffError: unknown experiment, job, data set or preset, or no jobs for this preset.
    """
    if what not in EXPERIMENTS:
        raise SDiffError(f"Unknown experiment {what!r}: choose one of {', '.join(EXPERIMENTS)}.")
    experiment = EXPERIMENTS[what]
    jobs = experiment.jobs_for(name)
    if unknown := set(only) - set(jobs):
        names = ", ".join(map(repr, jobs))
        raise SDiffError(f"Unknown job {', '.join(sorted(unknown))} of {what}: choose among {names}.")
    dataset, config = load_dataset(key), preset(name)
    fitting = [job for job in jobs if experiment.fits(job, dataset)]
    if unfit := set(only) - set(fitting):
        raise SDiffError(
            f"{', '.join(sorted(unfit))} cannot run on {key}: the data set has too many items for it, or no order: "
            f"choose another data set."
        )
    capped = {} if experiment.exact else {k: min(getattr(config, k), v) for k, v in CAPS.items()}
    study = Study(dataset, config.override(QUICK if quick else capped), seed, quick)
    path = (folder or (Path("results-quick") if quick else OUTPUT)) / f"{what}.json"
    document, run = opened(path, what, identity_of(what, name, study))

    for job in tqdm([job for job in fitting if not only or job in only], desc=what, unit="job", disable=None):
        if not (job in run["jobs"] and experiment.current(run["jobs"][job])):
            started = time.perf_counter()
            run["jobs"][job] = jobs[job](study)
            run["seconds"][job] = round(time.perf_counter() - started, 1)
        for column in ("jobs", "seconds"):  # in the order of the experiment
            run[column] = {job: run[column][job] for job in jobs if job in run[column]}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(document, indent=1).encode())
    for row in rows(run):
        if "test" in row:
            labels = (f"{k} {v}" for k, v in row.items() if k not in (*PARTS, "protocols", "config"))
            print(*labels, *(f"{part} {CRITERION} {row[part][CRITERION]:.4f}" for part in PARTS), sep="  ")
    picture = path.with_name("-".join(filter(None, (what, key, run["preset"]))) + ".svg")
    draw(what, run, picture)
    print(f"{path}, {picture}")
    return run | {"file": str(path), "picture": str(picture)}


def identity_of(what: str, name: str, study: Study) -> dict[str, Any]:
    """What determines the results of a run: data, preset, seed, versions and machine."""
    experiment, key = EXPERIMENTS[what], study.dataset.key
    return {
        "dataset": key,
        "data_fingerprint": study.dataset.split.fingerprint,
        "preset": name if experiment.of_preset else None,
        "command": f"python -m sdiff reproduce {what} --dataset {key}"
        + (f" --preset {name}" if experiment.of_preset else "")
        + f" --seed {study.seed}"
        + (" --quick" if study.quick else ""),
        "seed": study.seed,
        "versions": versions("torch"),
        "device": device_name(best_device()),
        "config": study.config.to_dict() if experiment.of_preset else None,
    }


def opened(path: Path, what: str, identity: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The contents of a result file, and its run of this identity, which is empty unless it was begun before."""
    experiment = EXPERIMENTS[what]
    document = read(path) or {"what": what, "runs": []}
    document |= {"title": experiment.title, "figure": experiment.figure}
    runs = {(run["dataset"], run["preset"]): run for run in document["runs"]}
    key = identity["dataset"], identity["preset"]
    run = runs.get(key, {})
    with suppress(SDiffError):  # a setting of another version: start again
        run["config"] = run.get("config") and Config.from_dict(run["config"]).to_dict()  # later settings added
    if {k: run.get(k) for k in identity} != identity:  # other data, settings or versions: start again
        run = identity | {"jobs": {}}
    run.setdefault("seconds", {})
    run["paper"] = experiment.paper.get(identity["dataset"], {})
    runs[key] = run
    document["runs"] = [*runs.values()]
    return document, run


def rows(run: dict[str, Any]) -> list[Row]:
    """All rows of a run."""
    return [row for job in run["jobs"].values() for row in job]


def draw(what: str, run: dict[str, Any], path: Path) -> None:
    """Draws the figure of a run to a file. Needs Chromium; without it, prints a warning."""
    experiment = EXPERIMENTS[what]
    figure = charts.picture(rows(run), run["paper"], **experiment.figure)
    of = ", ".join(filter(None, (run["dataset"], run["preset"])))
    title = {"text": f"{experiment.title} ({of})", "font_size": 14, "y": 1, "yanchor": "top", "pad": {"t": 16}}
    figure.update_layout(title=title)
    figure.update_layout(paper_bgcolor="white", margin={"t": 90}, height=figure.layout.height + 60, width=760)
    try:
        figure.write_image(path)
    except (RuntimeError, ValueError) as error:  # kaleido or its browser is missing
        print(f"Cannot draw {path}: {error}", file=sys.stderr)


def read(path: Path) -> dict[str, Any] | None:
    """The saved results of an experiment, or None if it has not been run. Raises SDiffError for a damaged file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not all(documents.complete(run) for run in document.get("runs", ())):
            raise ValueError("a run is not complete")
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise SDiffError(f"{path} is damaged ({brief(str(error))}): delete it, or choose another --out.") from error
    return document
