"""Training runs as the Train tab shows them, one at a time. The best weights are saved even if a run stops or fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

from sdiff.app import state
from sdiff.app.labels import preset_label
from sdiff.app.processes import runs, space
from sdiff.app.server import gate, journal
from sdiff.app.server.public import public_message
from sdiff.app.views import progress
from sdiff.base.errors import SDiffError
from sdiff.config import Config, parse_assignments, preset
from sdiff.training.auto import Candidate, Failure, Step, candidates
from sdiff.training.trainer import CRITERION, Progress

WAIT = 0.5  # seconds between updates of a waiting run
REDRAW = 1.0  # seconds between updates of the curves, which a slow browser takes long to draw
CHOSEN = {"half_life": "half-life", "beta": "popularity discount"}  # settings that `choose` chooses
Curves = tuple[list[int], list[float], list[tuple[int, float]]]  # epochs, their losses, (epoch, validation recall@20)


@dataclass(frozen=True)
class TrainingView:
    """The state of a run.

    Attributes:
        status: what it does, for how long, and what is expected, or how it ended, as HTML.
        epochs, loss, valid: the curves so far.
        saved_as: the name of the model once it is saved.
        tried: table of the presets tried so far, as HTML.
        preset: the preset that the curves are of.
    """

    status: str
    epochs: list[int]
    loss: list[float]
    valid: list[tuple[int, float]]
    saved_as: str | None = None
    tried: str = ""
    preset: str = ""


@dataclass(eq=False)
class Place:
    """A place in the queue.

    Attributes:
        name: name of the run's model.
        seconds: how long the run is expected to take; None as long as nobody knows.
        end: when it is expected to end, as by `time.monotonic`; None before it has an estimate.
    """

    name: str
    seconds: float | None
    end: float | None = None

    @property
    def left(self) -> float | None:
        """Expected seconds until a run that has begun ends, or that a waiting run will take; None if nobody knows."""
        return self.seconds if self.end is None else max(0.0, self.end - time.monotonic())


class RunQueue:
    """Queue of training runs. They run one at a time, in order of arrival, and have different names."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._places)

    @contextmanager
    def enter(self, name: str, seconds: float | None = None) -> Iterator[Place]:
        """Holds a place in the queue.

        Raises:
            SDiffError: a run of that name is in the queue.
        """
        with self._lock:
            if any(place.name == name for place in self._places):
                raise SDiffError(f"Another run is training a model {name!r}: choose another name.")
            self._places.append(place := Place(name, seconds))
        try:
            yield place
        finally:
            self._places.remove(place)

    def ahead(self, place: Place) -> list[Place]:
        """The places before this one."""
        with self._lock:
            return self._places[: self._places.index(place)]


QUEUE = RunQueue()


def train(
    dataset: str, preset_name: str, epochs: int, seed: int, changed: str, name: str, stop: Event
) -> Generator[TrainingView, None, None]:
    """Waits for earlier runs, then trains a model. Yields its state about twice a second. Setting `stop` ends it.

    The best weights are saved even if the run is stopped or fails, because the loss is not finite, memory runs out, or
    ZeroGPU gives no more time.

    Raises:
        SDiffError: the app is read-only, the name is taken, a setting is invalid, no epoch was completed, or the
            weights cannot be saved.
    """
    config = preset(preset_name).override({"epochs": epochs, **parse_assignments(changed.split())})
    if epochs < 1:
        raise SDiffError("Train for at least one epoch.")

    def run(folder: Path, place: Place) -> Iterator[TrainingView]:
        return _trained(config, dataset, preset_name, seed, folder, place, stop)

    yield from _in_turn(name, dataset, None, stop, run)


def choose(dataset: str, minutes: float, seed: int, name: str, stop: Event) -> Generator[TrainingView, None, None]:
    """As `train`, but trains all presets that fit the data set, and saves the one that is best on validation.

    Raises:
        SDiffError: the app is read-only, the name is taken, there is nothing to choose on, no preset could be trained,
            or the weights cannot be saved.
    """
    if not minutes > 0:
        raise SDiffError("The number of minutes must be greater than 0.")

    if not len(state.open_dataset(dataset).dataset.split.valid):
        raise SDiffError("Nothing is held out for validation here: use Train a single model below.")

    def run(folder: Path, place: Place) -> Iterator[TrainingView]:
        return _chosen(dataset, minutes, seed, folder, place, stop)

    yield from _in_turn(name, dataset, 60 * minutes, stop, run)


def _in_turn(
    name: str,
    dataset: str,
    seconds: float | None,
    stop: Event,
    run: Callable[[Path, Place], Iterator[TrainingView]],
) -> Generator[TrainingView, None, None]:
    """Waits for earlier runs, then yields from `run`, called with the folder of the model and its place in the queue.

    Args:
        seconds: how long the run is expected to take, if anybody knows.
    """
    gate.require_writable()
    journal.note(data=dataset, model=name)
    started = time.monotonic()
    with QUEUE.enter(name := name.strip(), seconds) as place, state.claimed_run(name) as folder:
        while ahead := QUEUE.ahead(place):
            if stop.is_set():
                raise SDiffError("Stopped before it began: nothing was trained.")
            known = [place.left for place in ahead if place.left is not None]
            left = sum(known) if len(known) == len(ahead) else None
            yield TrainingView(progress.waiting(len(ahead), time.monotonic() - started, left), [], [], [])
            time.sleep(WAIT)
        yield from run(folder, place)


def _trained(
    config: Config, dataset: str, preset_name: str, seed: int, folder: Path, place: Place, stop: Event
) -> Generator[TrainingView, None, None]:
    started = time.monotonic()
    opened = state.open_dataset(dataset).dataset
    title = opened.title
    yield TrainingView(progress.preparing(title, place.left), [], [], [])
    curves: Curves = ([], [], [])
    shown, stopped = 0.0, False
    with closing(space.run(config, opened.split, seed, dataset, preset_name, folder)) as run:
        step = next(run)
        while isinstance(step, Progress):
            _extend(curves, step)
            place.end = time.monotonic() + step.eta
            stopped = stop.is_set()
            if not stopped and time.monotonic() - shown > REDRAW:
                shown = time.monotonic()
                doing = progress.training(title, step, shown - started, place.left)
                yield TrainingView(doing, *curves, preset=preset_name)
            step = run.send(stopped)
    how = "Ended" if step.failure else "Stopped" if stopped else "Done"
    why = public_message(step.failure) if step.failure else ""
    seconds = time.monotonic() - started
    yield TrainingView(
        progress.result(step.valid, step.popularity)
        + progress.trained(how, step.epoch, title, seconds, step.best_epoch, folder.name, why),
        *curves,
        saved_as=folder.name,
        preset=preset_name,
    )


def _chosen(
    dataset: str, minutes: float, seed: int, folder: Path, place: Place, stop: Event
) -> Generator[TrainingView, None, None]:
    started = time.monotonic()
    place.end = started + 60 * minutes
    opened = state.open_dataset(dataset).dataset
    title, names = opened.title, candidates(opened.split)
    tried: list[Candidate | Failure] = []
    curves: Curves = ([], [], [])

    def view(doing: str) -> TrainingView:
        number, seconds = names.index(current) + 1, time.monotonic() - started
        now = progress.trying(title, preset_label(current), number, len(names), doing, seconds, place.left)
        return TrainingView(now, *curves, tried=progress.tried(_cells(tried)), preset=drawn)

    current, drawn, shown = names[0], "", 0.0  # the preset that is tried, and the one that the curves are of
    yield view("preparing")
    with closing(space.choose(minutes, opened.split, seed, dataset, folder)) as run:
        step = next(run)
        while not isinstance(step, runs.Ended):
            if isinstance(step, Step):
                epoch = step.progress
                if epoch.epoch == 1:
                    current = drawn = step.preset
                    curves = ([], [], [])
                _extend(curves, epoch)
                if time.monotonic() - shown > REDRAW:
                    shown = time.monotonic()
                    yield view(f"epoch {epoch.epoch} of at most {epoch.epochs}")
            else:
                tried.append(step)
                if len(tried) < len(names) and not stop.is_set():
                    current = names[len(tried)]
                    yield view("preparing")
            step = run.send(stop.is_set())
    best = max((each for each in tried if isinstance(each, Candidate)), key=lambda each: each.valid[CRITERION])
    how = "Stopped" if stop.is_set() else "Done"
    yield TrainingView(
        progress.result(step.valid, step.popularity)
        + progress.chosen(how, title, time.monotonic() - started, preset_label(best.preset), folder.name),
        *curves,
        saved_as=folder.name,
        tried=progress.tried(_cells(tried)),
        preset=drawn,
    )


def _extend(curves: Curves, done: Progress) -> None:
    epochs, loss, valid = curves
    epochs.append(done.epoch)
    loss.append(done.loss)
    if done.valid:
        valid.append((done.epoch, done.valid[CRITERION]))


def _cells(tried: list[Candidate | Failure]) -> list[list[str]]:
    """The presets that were tried, as rows of `progress.tried`."""
    cells = []
    for each in tried:
        label = preset_label(each.preset).partition(":")[0]
        if isinstance(each, Failure):
            cells.append([label, "", public_message(each.error), ""])
            continue
        chosen = ", ".join(f"{CHOSEN[name]} {value:g}" for name, value in each.chosen.items())
        cells.append([label, f"{each.valid[CRITERION]:.3f}", chosen, progress.duration(each.seconds)])
    return cells
