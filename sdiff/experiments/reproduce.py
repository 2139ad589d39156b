"""Runs an experiment, job by job, and writes its numbers and its picture to a folder.

    python -m sdiff reproduce fig7 --dataset ml-1m-diffrec

What is done is kept after each job, so that the same command goes on where it was interrupted. Each file holds one run
for each data set and preset.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sdiff.app import experiment_figures
from sdiff.base.device import best_device, device_name
from sdiff.base.errors import SDiffError
from sdiff.base.files import write_atomically
from sdiff.base.paths import INSTALLED, RESULTS
from sdiff.config import preset
from sdiff.data.datasets import load_dataset
from sdiff.experiments.accuracy import PARTS
from sdiff.experiments.record import versions
from sdiff.experiments.studies import EXPERIMENTS
from sdiff.experiments.study import Row, Study
from sdiff.training.trainer import CRITERION

QUICK = {"K": 16, "hidden": 32, "epochs": 2}  # of a smoke run: everything happens, nothing is learnt
AFFORDED = {"epochs": 100, "patience": 30}  # paper creeps on to epoch 335 on ML-1M (table1): 0.158 instead of 0.147


def reproduce(
    what: str, key: str, name: str, seed: int, quick: bool, results: Path | None = None, only: Collection[str] = ()
) -> dict[str, Any]:
    """Runs what is still missing of an experiment, prints its rows, draws them, and returns the run.

    Args:
        only: the names of the jobs to run, where not all of them are wanted.

    Raises:
        SDiffError: there is no such experiment, job, data set or preset.
    """
    if what not in EXPERIMENTS:
        raise SDiffError(f"Unknown experiment {what!r}: choose one of {', '.join(EXPERIMENTS)}.")
    experiment = EXPERIMENTS[what]
    if unknown := set(only) - set(experiment.jobs):
        names = ", ".join(repr(job) for job in experiment.jobs)
        raise SDiffError(f"Unknown job {', '.join(sorted(unknown))} of {what}: choose among {names}.")
    dataset, config = load_dataset(key), preset(name)
    fitting = [job for job in experiment.jobs if experiment.fits(job, dataset)]
    if unfit := set(only) - set(fitting):
        raise SDiffError(
            f"{', '.join(sorted(unfit))} cannot run on {key}: the data set has too many items for it, or no order."
        )
    kept_as = name if experiment.of_preset else None
    capped = {} if experiment.exact else {k: min(getattr(config, k), v) for k, v in AFFORDED.items()}
    config = config.override(QUICK if quick else capped)
    identity = {
        "dataset": key,
        "data_fingerprint": dataset.split.fingerprint,
        "preset": kept_as,
        "command": f"python -m sdiff reproduce {what} --dataset {key}"
        + (f" --preset {name}" if experiment.of_preset else "")
        + f" --seed {seed}"
        + (" --quick" if quick else ""),
        "seed": seed,
        "versions": versions("torch"),
        "device": device_name(best_device()),
        "config": config.to_dict() if experiment.of_preset else None,
    }
    results = results or (Path("results") if quick or INSTALLED else RESULTS)
    path = results / f"{what}.json"
    document = read(path) or {"what": what, "runs": []}
    document |= {"title": experiment.title, "figure": experiment.figure}
    runs = {(run["dataset"], run["preset"]): run for run in document["runs"]}
    run = runs.get((key, kept_as), {})
    if {k: run.get(k) for k in identity} != identity:  # of other data, settings or versions: begun anew
        run = identity | {"jobs": {}}
    run.setdefault("seconds", {})
    run["paper"] = experiment.paper.get(key, {})

    def keep() -> None:
        for name in ("jobs", "seconds"):  # in their order, however they came
            run[name] = {job: run[name][job] for job in experiment.jobs if job in run[name]}
        runs[key, kept_as] = run
        document["runs"] = list(runs.values())
        results.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(document, indent=1).encode())

    study = Study(dataset, config, seed, quick)
    for job in tqdm([job for job in fitting if not only or job in only], desc=what, unit="job", disable=None):
        if job not in run["jobs"]:
            started = time.perf_counter()
            run["jobs"][job] = experiment.jobs[job](study)
            run["seconds"][job] = round(time.perf_counter() - started, 1)
        keep()
    for row in rows(run):
        if "test" in row:
            labels = (f"{k} {v}" for k, v in row.items() if k not in PARTS)
            print(*labels, *(f"{part} {CRITERION} {row[part][CRITERION]:.4f}" for part in PARTS), sep="  ")
    picture = path.with_name("-".join(filter(None, (what, key, kept_as))) + ".svg")
    draw(what, run, picture)
    return run | {"file": str(path), "picture": str(picture)}


def rows(run: dict[str, Any]) -> list[Row]:
    """The rows of all jobs of a run."""
    return [row for job in run["jobs"].values() for row in job]


def draw(what: str, run: dict[str, Any], path: Path) -> None:
    """The figure of a run as a picture, which needs Chromium."""
    experiment = EXPERIMENTS[what]
    figure = experiment_figures.picture(rows(run), run["paper"], **experiment.figure)
    of = ", ".join(filter(None, (run["dataset"], run["preset"])))
    title = {"text": f"{experiment.title} ({of})", "font_size": 14, "y": 1, "yanchor": "top", "pad": {"t": 16}}
    figure.update_layout(title=title)
    figure.update_layout(paper_bgcolor="white", margin={"t": 90}, height=figure.layout.height + 60, width=760)
    try:
        figure.write_image(path)
    except (RuntimeError, ValueError) as error:  # kaleido or its browser is not there
        print(f"No picture: {error}", file=sys.stderr)


def read(path: Path) -> dict[str, Any] | None:
    """The document of an experiment, None where it has not been run."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
