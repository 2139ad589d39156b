"""Trains every applicable preset on a data set, and finds the one with the best validation result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from sdiff.base.checks import number
from sdiff.base.device import Device, generator
from sdiff.base.errors import SDiffError
from sdiff.config import PRESETS, Config
from sdiff.data.interactions import Split
from sdiff.evaluation.evaluate import evaluate
from sdiff.method.diffusion import score
from sdiff.training.checkpointing import Epochs
from sdiff.training.trainer import CRITERION, Progress, Trainer

CANDIDATES = ("filter", "gfcf", "instant", "tuned", "sparse", "temporal")  # the fastest first
SPARSE = 0.005  # density below which "sparse" replaces "tuned"
MINUTES = 10.0  # for all candidates together
# Settings of inference that are chosen on validation, one after the other, beside the preset's own value
CHOICES = {"half_life": (1.0, 2.0, 4.0, 8.0, 16.0), "beta": (0.0, 0.1, 0.2, 0.3)}


@dataclass(frozen=True)
class Step:
    """An epoch of a preset."""

    preset: str
    progress: Progress


@dataclass(frozen=True)
class Candidate:
    """A trained preset.

    Attributes:
        preset: its name.
        chosen: the best value of each setting in `CHOICES`.
        valid: all validation metrics with these values.
        valid_by: validation recall@20 by setting and value. Half-lives are measured without a popularity discount, and
            popularity discounts with the best half-life.
        epoch: epoch of the best weights.
        seconds: time of training and validation.
    """

    preset: str
    chosen: dict[str, float]
    valid: dict[str, float]
    valid_by: dict[str, dict[float, float]]
    epoch: int
    seconds: float


@dataclass(frozen=True)
class Failure:
    """A preset that could not be trained, for example because memory ran out."""

    preset: str
    error: SDiffError


def candidates(split: Split) -> list[str]:
    """The presets that suit the data."""
    train = split.train
    pairs = len(train.users) * len(train.items)
    left_out = "tuned" if len(train) < SPARSE * pairs else "sparse"
    return [name for name in CANDIDATES if name != left_out and (train.ordered or not PRESETS[name].half_life)]


def compare(
    split: Split,
    seed: int,
    minutes: float,
    keep: Callable[[Trainer, str], None],
    device: Device | None = None,
    stopped: Callable[[], bool] = lambda: False,
    epochs: Epochs = Trainer.iter_epochs,
) -> Iterator[Step | Candidate | Failure]:
    """Trains the presets one after the other, and chooses the best `CHOICES` of inference settings for each.

    Each may take an equal share of the remaining time. A preset that is stopped early keeps its best epoch.

    Args:
        minutes: time for all presets together.
        keep: called with the trainer and the preset of each candidate that is better than all before it.
        stopped: called after each epoch; True ends the comparison after the current preset.
        epochs: trains epoch by epoch.

    Raises:
        SDiffError: there is no validation part to choose on, or no preset could be trained, or `minutes` is invalid.
    """
    if not len(split.valid):
        raise SDiffError("This data set has no validation part to choose on: name a preset instead of auto.")
    minutes = number("minutes", minutes)
    if minutes <= 0:
        raise SDiffError(f"minutes must be a positive number, not {minutes:g}.")
    end, names, best = time.monotonic() + 60 * minutes, candidates(split), None
    for n, name in enumerate(names):
        started = time.monotonic()
        share = (end - started) / (len(names) - n)
        if n and (share <= 0 or stopped()):
            break
        try:
            trainer = Trainer(PRESETS[name], split, seed, device)
            with closing(epochs(trainer)) as run:
                for progress in run:
                    yield Step(name, progress)
                    if stopped() or time.monotonic() - started > share:
                        break
            chosen, valid, valid_by = _choose(trainer)
        except SDiffError as error:
            yield Failure(name, error)
            continue
        if best is None or valid[CRITERION] > best:
            best = valid[CRITERION]
            keep(trainer, name)
        yield Candidate(name, chosen, valid, valid_by, trainer.best.epoch, time.monotonic() - started)
        del trainer  # frees its memory before the next one is trained
    if best is None:
        raise SDiffError("No preset could be trained on this data set: train one preset by name to see why.")


def best_of(split: Split, seed: int, minutes: float, device: Device | None = None) -> tuple[Trainer, str]:
    """The best trainer that `compare` finds, and its preset."""
    best: list[tuple[Trainer, str]] = []

    def keep(trainer: Trainer, name: str) -> None:
        best[:] = [(trainer, name)]

    for _ in compare(split, seed, minutes, keep, device):
        pass
    return best[0]


def _choose(trainer: Trainer) -> tuple[dict[str, float], dict[str, float], dict[str, dict[float, float]]]:
    """Sets the values of `CHOICES` that are best on validation. Returns them, their metrics, and all recalls."""
    trainer.ema_model.load_state_dict(trainer.best.weights)
    model = trainer.ema_model.eval()

    def measured(config: Config) -> dict[str, float]:
        noise = generator(trainer.seed, 0)
        return evaluate(lambda x: score(model, x, config, noise), trainer.split, "valid", trainer.device)

    chosen: dict[str, float] = {}
    valid_by: dict[str, dict[float, float]] = {}
    for name, values in CHOICES.items():
        if name == "half_life" and not trainer.split.train.ordered:
            continue
        config, own = trainer.config.at_inference(trainer.inference_settings), getattr(trainer.config, name)
        results = {value: measured(config.at_inference({name: value})) for value in dict.fromkeys((own, *values))}
        chosen[name] = max(results, key=lambda value: results[value][CRITERION])
        valid_by[name] = {value: result[CRITERION] for value, result in results.items()}
        trainer.inference_settings[name] = chosen[name]
        trainer.best.valid = results[chosen[name]]
    return chosen, trainer.best.valid, valid_by
