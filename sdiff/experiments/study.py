"""Definition of experiments: jobs that return rows of labels and measured values, and a figure of the rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

from sdiff.base.errors import SDiffError
from sdiff.config import Config
from sdiff.data.datasets import Dataset
from sdiff.evaluation.evaluate import evaluate
from sdiff.experiments.accuracy import PARTS, fitted
from sdiff.serving.recommender import Recommender

Row = dict[str, Any]
Job = Callable[["Study"], list[Row]]


@dataclass(frozen=True)
class Study:
    """Inputs of an experiment: data set, configuration and seed. `quick` marks a smoke run."""

    dataset: Dataset
    config: Config
    seed: int
    quick: bool = False


@dataclass(frozen=True)
class Cell:
    """One row of a sweep: its label, its training settings and its sampling settings."""

    label: Row
    training: Row = field(default_factory=dict)
    sampling: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """An experiment.

    Attributes:
        jobs: jobs by name.
        figure: how `sdiff.results.charts` draws the rows.
        paper: the values published in the paper, by data set and value of the first label.
        of_preset: whether it depends on a preset; results are then saved for each preset.
        exact: whether to train for as many epochs as the preset says; otherwise epochs are limited to shorten sweeps.
        fits: whether a job can run on a data set.
        current: whether the rows of a job are those of the present presets, if it is not `of_preset`.
        by_preset: jobs by preset, in place of `jobs`, if they depend on it.
    """

    title: str
    jobs: dict[str, Job]
    figure: dict[str, Any]
    paper: dict[str, dict[str, Row]] = field(default_factory=dict)
    of_preset: bool = True
    exact: bool = False
    fits: Callable[[str, Dataset], bool] = lambda job, dataset: True
    current: Callable[[list[Row]], bool] = lambda rows: True
    by_preset: dict[str, dict[str, Job]] = field(default_factory=dict)

    def jobs_for(self, preset: str) -> dict[str, Job]:
        """Jobs by name. Raises SDiffError if there are none for this preset."""
        jobs = self.by_preset.get(preset, {}) if self.by_preset else self.jobs
        if not jobs:
            presets = ", ".join(self.by_preset)
            raise SDiffError(f"There are no jobs for the preset {preset!r}: choose among {presets}.")
        return jobs


def sweep(cells: Iterable[Cell], extra: Callable[[Study, Config], Row] | None = None) -> dict[str, Job]:
    """One job per training run. Consecutive cells with equal training settings share a job."""

    def train(training: Row, cells: list[Cell], study: Study) -> list[Row]:
        config = study.config.override(training)
        started = time.perf_counter()
        trainer = fitted(config, study.dataset.split, study.seed)
        seconds = time.perf_counter() - started
        model = Recommender(trainer.checkpoint(study.dataset.key, ""), trainer.device)
        rows = []
        for cell in cells:
            row = cell.label | {"epoch": trainer.best.epoch, "seconds": round(seconds, 1)}
            for part in PARTS:
                score = model.scorer(study.seed, **cell.sampling)
                row[part] = evaluate(score, study.dataset.split, part, trainer.device)
            rows.append(row | (extra(study, config) if extra else {}))
        return rows

    jobs = {}
    for training, group in groupby(cells, key=lambda cell: cell.training):
        name = " ".join(f"{key}={value}" for key, value in training.items()) or "as it is"
        jobs[name] = partial(train, training, list(group))
    return jobs
