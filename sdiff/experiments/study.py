"""How an experiment is put down: jobs that give rows, a label and what was measured under it, and a figure of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

import torch

from sdiff.config import Config
from sdiff.data.datasets import Dataset
from sdiff.evaluation.evaluate import evaluate
from sdiff.experiments.accuracy import PARTS, fitted
from sdiff.serving.recommender import Recommender

Row = dict[str, Any]
Job = Callable[["Study"], list[Row]]


@dataclass(frozen=True)
class Study:
    """On what an experiment is run: a data set, the preset it starts from, the seed; `quick` is a smoke run."""

    dataset: Dataset
    config: Config
    seed: int
    quick: bool = False


@dataclass(frozen=True)
class Cell:
    """What is varied in one row: its label, the settings of its training and those of its sampling."""

    label: Row
    training: Row = field(default_factory=dict)
    sampling: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """Jobs by name, how `experiment_figures` draws their rows, and what the paper prints, by data set and first label.

    An experiment `of_preset` starts from a preset and is kept once for each; it trains as long as the preset says if
    that is what it needs to be `exact`, else for so many epochs as a sweep can afford. `fits` says which jobs a data
    set allows.
    """

    title: str
    jobs: dict[str, Job]
    figure: dict[str, Any]
    paper: dict[str, dict[str, Row]] = field(default_factory=dict)
    of_preset: bool = True
    exact: bool = False
    fits: Callable[[str, Dataset], bool] = lambda job, dataset: True


def sweep(cells: Iterable[Cell], extra: Callable[[Study, Config], Row] | None = None) -> dict[str, Job]:
    """One job for each training; cells that differ in sampling alone share it."""

    def train(training: Row, cells: list[Cell], study: Study) -> list[Row]:
        config = study.config.override(training)
        started = time.perf_counter()
        trainer = fitted(config, study.dataset.split, study.seed)
        seconds = time.perf_counter() - started
        model = Recommender(trainer.checkpoint(study.dataset.key, ""), trainer.device)
        rows = []
        for cell in cells:
            sampling = config.at_inference(cell.sampling)
            row = cell.label | {"epoch": trainer.best.epoch, "seconds": round(seconds, 1)}
            for part in PARTS:
                noise = torch.Generator().manual_seed(study.seed)
                score = partial(model.scores, config=sampling, noise=noise)
                row[part] = evaluate(score, study.dataset.split, part, trainer.device)
            rows.append(row | (extra(study, config) if extra else {}))
        return rows

    jobs = {}
    for training, group in groupby(cells, key=lambda cell: cell.training):
        name = " ".join(f"{key}={value}" for key, value in training.items()) or "as it is"
        jobs[name] = partial(train, training, list(group))
    return jobs
