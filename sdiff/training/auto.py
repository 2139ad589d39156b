"""Trains every preset that fits a data set, and keeps the one with the best validation result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sdiff.base.checks import generator
from sdiff.base.device import Device
from sdiff.base.errors import SDiffError
from sdiff.config import PRESETS, Config
from sdiff.data.interactions import Split
from sdiff.evaluation.evaluate import evaluate
from sdiff.method.diffusion import score
from sdiff.training.trainer import CRITERION, Progress, Trainer

CANDIDATES = ("filter", "gfcf", "instant", "tuned", "temporal")  # the fastest first
MINUTES = 10.0  # for all candidates together
BETAS = (0.0, 0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Candidate:
    """A trained preset.

    Attributes:
        preset: its name.
        beta: the popularity penalty with the best validation recall@20.
        valid: validation metrics with that penalty.
        valid_by_beta: validation recall@20 with each penalty.
        epoch: epoch of the best weights.
        seconds: time of training and validation.
        trainer: the run, whose `checkpoint` has the best weights and the penalty.
    """

    preset: str
    beta: float
    valid: dict[str, float]
    valid_by_beta: dict[float, float]
    epoch: int
    seconds: float
    trainer: Trainer


def candidates(split: Split) -> list[str]:
    """The presets that can be trained on the data."""
    return [name for name in CANDIDATES if split.train.ordered or not PRESETS[name].half_life]


def compare(
    split: Split,
    seed: int,
    minutes: float,
    device: Device | None = None,
    progress: Callable[[str, Progress], None] = lambda preset, progress: None,
) -> Iterator[Candidate]:
    """Trains the presets one after the other, and yields each with the popularity penalty that suits it best.

    Each may take an equal share of the remaining time. What stops early keeps its best epoch.

    Args:
        minutes: time for all presets together.
        progress: called with the name of the preset and its progress, after each epoch.

    Raises:
        SDiffError: there is no validation part to choose on.
    """
    if not len(split.valid):
        raise SDiffError("This data set has no validation part to choose on: name a preset instead of auto.")
    end, names = time.monotonic() + 60 * minutes, candidates(split)
    for n, name in enumerate(names):
        started = time.monotonic()
        share = (end - started) / (len(names) - n)
        if n and share <= 0:
            return
        trainer = Trainer(PRESETS[name], split, seed, device)
        for step in trainer.iter_epochs():
            progress(name, step)
            if time.monotonic() - started > share:
                break
        yield Candidate(name, *_with_beta(trainer), trainer.best.epoch, time.monotonic() - started, trainer)


def _with_beta(trainer: Trainer) -> tuple[float, dict[str, float], dict[float, float]]:
    """Sets the popularity penalty of `BETAS` that is best on validation.

    Returns the penalty, its metrics, and the recall of all of them.
    """
    trainer.serving.load_state_dict(trainer.best.weights)
    model = trainer.serving.eval()

    def measured(config: Config) -> dict[str, float]:
        noise = generator(trainer.seed, 0)
        return evaluate(lambda x: score(model, x, config, noise), trainer.split, "valid", trainer.device)

    results = {beta: measured(trainer.config.at_inference({"beta": beta})) for beta in BETAS}
    beta = max(results, key=lambda beta: results[beta][CRITERION])
    trainer.config = trainer.config.at_inference({"beta": beta})
    trainer.best.valid = results[beta]
    return beta, results[beta], {beta: result[CRITERION] for beta, result in results.items()}
