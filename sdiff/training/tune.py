"""Searches the settings of a preset that are best on the validation part. Needs the library `optuna`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from sdiff.base.device import Device
from sdiff.base.errors import SDiffError, brief
from sdiff.config import Config, parse_assignments, parse_value
from sdiff.data.interactions import Split
from sdiff.training.trainer import CRITERION, Progress, Trainer

# What is searched by default, as text for `Space.parse`. With folds, each K needs a spectrum for each of them, so K has
# only a few values, whose spectra are cached.
SEARCH = {
    "paper": "K=64:512:log hidden=256:2048:log lr=1e-5:1e-3:log mask=0.1:0.9 dropout=0:0.5",
    "tuned": "K=100,200,400 hidden=128:1024:log lr=3e-4:1e-2:log mask=0.1:0.6 dropout=0.2:0.9 q=0:0.6",
    "temporal": "K=32,64,128,256 lr=1e-3:2e-2:log dropout=0.2:0.8 half_life=0.5:8:log horizon=1:20:log",
    "instant": "K=32:1000:log mask=0.3:0.99 beta=0:0.4",
    "filter": "beta=0:0.4",
    "gfcf": "K=32:1000:log low_pass=0.03:3:log beta=0:0.4",
}
SEARCH["sparse"] = SEARCH["tuned"]
FILE = "study.db"  # in the folder of the checkpoint
WARM_UP = 5  # trials before one may be pruned


@dataclass(frozen=True)
class Space:
    """Values to search, by setting: (low, high, log) for a range, or a list of choices.

    Raises:
        SDiffError: a setting or a value is invalid.
    """

    settings: Mapping[str, tuple[float, float, bool] | list[Any]]

    @classmethod
    def parse(cls, texts: list[str]) -> Space:
        """A space from texts such as "K=64:512:log", "dropout=0:0.5" and "fusion=film,concat"."""
        return cls({name: _values(name, text) for name, text in parse_assignments(texts).items()})

    def distributions(self) -> dict[str, Any]:
        """The distributions of `optuna`, by setting."""
        kinds, found, optuna = get_type_hints(Config), {}, library().distributions
        for name, values in self.settings.items():
            if isinstance(values, list):
                found[name] = optuna.CategoricalDistribution(values)
            elif kinds[name] is int:
                found[name] = optuna.IntDistribution(int(values[0]), int(values[1]), log=values[2])
            else:
                found[name] = optuna.FloatDistribution(values[0], values[1], log=values[2])
        return found

    def nearest(self, base: Config) -> dict[str, Any]:
        """The values of a configuration, moved into the ranges; without those that are not among the choices."""
        own = {name: getattr(base, name) for name in self.settings}
        return {
            name: own[name] if isinstance(values, list) else min(max(own[name], values[0]), values[1])
            for name, values in self.settings.items()
            if not isinstance(values, list) or own[name] in values
        }


@dataclass(frozen=True)
class Trial:
    """A finished trial.

    Attributes:
        number: from 0.
        settings: the values that were tried.
        value: best validation recall@20; None if the training failed before the first validation.
        state: "complete", "pruned" or "fail".
        best: whether it is the best complete trial so far.
        seconds: time of training and validation.
        reason: why it failed.
    """

    number: int
    settings: dict[str, Any]
    value: float | None
    state: str
    best: bool
    seconds: float
    reason: str = ""


class Study:
    """A search whose trials are kept in a file, so that it can be continued.

    The first trial is the preset itself, the next ones are drawn at random, and later ones by a tree-structured Parzen
    estimator (Bergstra et al. 2011, "Algorithms for hyper-parameter optimization", NeurIPS). After `WARM_UP` trials, a
    training is pruned when its validation recall is below the median of the other trials at the same epoch.

    Args:
        folder: of the file `FILE`.
        base: the preset.
        space: what is searched.
        split: the data set.
        seed: of the search and of each training.
        resume: whether to continue the study of that folder.

    Raises:
        SDiffError: `optuna` is not installed, there is no validation part, or the folder holds another study, or one
            and `resume` is false, or none and it is true.
    """

    def __init__(self, folder: Path, base: Config, space: Space, split: Split, seed: int, resume: bool = False) -> None:
        if not len(split.valid):
            raise SDiffError(
                "This data set has no validation part to choose settings on: use another data set or split."
            )
        self.base, self.space, self.split, self.seed, optuna = base, space, split, seed, library()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path = folder / FILE
        if path.exists() != resume:
            raise SDiffError(
                f"There is nothing to resume in {folder}: tune without --resume first."
                if resume
                else f"{folder} already has a study: choose another --out, or add --resume to continue."
            )
        folder.mkdir(parents=True, exist_ok=True)
        self.study = optuna.create_study(
            study_name="sdiff", storage=f"sqlite:///{path}", direction="maximize", load_if_exists=True
        )
        own = {"data": split.fingerprint, "config": base.to_dict(), "space": {**space.settings}, "seed": seed}
        if not resume:
            for name, value in own.items():
                self.study.set_user_attr(name, value)
            self.study.enqueue_trial(space.nearest(base))
        elif {name: self.study.user_attrs.get(name) for name in own} != json.loads(json.dumps(own)):
            raise SDiffError(
                f"{path} belongs to another study (data, preset, --search or seed differ): choose another --out."
            )
        states = optuna.trial.TrialState
        for trial in self.study.get_trials(states=[states.RUNNING]):  # of a process that was killed
            self.study.tell(trial.number, state=states.FAIL)
        done = len(self.study.trials) - bool(not resume)
        self.study.sampler = optuna.samplers.TPESampler(seed=seed + done)  # else the first draws would be repeated
        self.study.pruner = optuna.pruners.MedianPruner(n_startup_trials=WARM_UP)

    @property
    def finished(self) -> int:
        """Number of finished trials."""
        return sum(trial.state.is_finished() for trial in self.study.trials)

    @property
    def best(self) -> float:
        """Validation recall@20 of the best complete trial; -inf if there is none."""
        values = [trial.value for trial in self.study.trials if trial.state.name == "COMPLETE"]
        return max((value for value in values if value is not None), default=-math.inf)

    def iter_trials(
        self, trials: int, minutes: float = math.inf, device: Device | None = None
    ) -> Iterator[Progress | tuple[Trial, Trainer | None]]:
        """Tries settings. Yields the progress after each epoch, and each finished trial with its trainer.

        Args:
            trials: number of finished trials at which the search ends, earlier ones included.
            minutes: time at which it ends. A training that is under way then keeps its best epoch.

        Raises:
            SDiffError: every trial failed.
        """
        end, reason = time.monotonic() + 60 * minutes, "give a larger budget."
        while self.finished < trials and time.monotonic() < end:
            asked, started, pruned, trainer = self.study.ask(self.space.distributions()), time.monotonic(), False, None
            try:
                trainer = Trainer(self.base.override(asked.params), self.split, self.seed, device)
                pruned = yield from self._epochs(asked, trainer, end)
            except SDiffError as error:
                reason = str(error)
            value = trainer.best.value if trainer else None
            state = "pruned" if pruned else "fail" if value is None else "complete"
            better = state == "complete" and value is not None and value > self.best
            self.study.tell(asked, value if state == "complete" else None, library().trial.TrialState[state.upper()])
            seconds, failed = time.monotonic() - started, reason if state == "fail" else ""
            yield Trial(asked.number, asked.params, value, state, better, seconds, failed), trainer
        if self.best == -math.inf:
            raise SDiffError(f"No trial was completed: {reason}")

    def _epochs(self, asked: Any, trainer: Trainer, end: float) -> Generator[Progress, None, bool]:
        """Trains until the trial is pruned or the time is over. Returns whether it was pruned."""
        with closing(trainer.iter_epochs()) as epochs:
            for progress in epochs:
                yield progress
                if progress.valid:
                    asked.report(progress.valid[CRITERION], progress.epoch)
                    if asked.should_prune():
                        return True
                if time.monotonic() > end:
                    break
        return False

    def plot(self) -> str:
        """A page of HTML with the importance of each setting and the recall by its value; empty before two trials.

        The importance is that of PED-ANOVA (Watanabe et al. 2023, IJCAI): how much the settings of the best trials
        differ from those of all.
        """
        optuna = library()
        complete = [trial for trial in self.study.trials if trial.state.name == "COMPLETE"]
        if len(complete) < 2:
            return ""
        names, view = [*self.space.settings], optuna.visualization
        figures = [
            view.plot_param_importances(
                self.study,
                evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
                params=names,
                target_name=CRITERION,
            ),
            view.plot_slice(self.study, params=names, target_name=CRITERION),
            view.plot_optimization_history(self.study, target_name=CRITERION),
        ]
        parts = [figure.to_html(full_html=False, include_plotlyjs=not n) for n, figure in enumerate(figures)]
        return "<!doctype html>\n<meta charset='utf-8'>\n<title>sdiff tune</title>\n" + "\n".join(parts)


def library() -> Any:
    """`optuna`. Raises SDiffError if it is not installed, or Plotly, with which it draws."""
    try:
        import_module("plotly")
        return import_module("optuna")
    except ImportError:
        raise SDiffError("sdiff tune needs the libraries optuna and plotly: run pip install optuna plotly.") from None


def _values(name: str, text: str) -> tuple[float, float, bool] | list[Any]:
    """The values of one setting. Raises SDiffError if they are invalid."""
    parts = text.split(":")
    if len(parts) == 1:
        return [parse_value(name, choice.strip()) for choice in text.split(",")]
    log = parts[2:] == ["log"]
    ends = [parse_value(name, end) for end in parts[:2]]
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
    if not numbers or (parts[2:] and not log) or not ends[0] < ends[1] or (log and ends[0] <= 0):
        raise SDiffError(
            f"Cannot search {name}={brief(text)}: write low:high, low:high:log with low above 0, or choices a,b,c."
        )
    return ends[0], ends[1], log
