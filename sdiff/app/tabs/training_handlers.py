"""A training run as the app shows it: yielded while it goes on, kept however it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from threading import Event, Lock

from sdiff.app import gate, journal, space
from sdiff.app.state import claimed_run, open_dataset
from sdiff.app.words import told
from sdiff.base.errors import SDiffError
from sdiff.config import Config, parse_assignments, preset
from sdiff.training.trainer import CRITERION, Progress

WAIT = 0.5  # seconds between two looks at the line


@dataclass(frozen=True)
class TrainingView:
    """The state of a run: what to say, the curves so far, and the model's name once it can be used."""

    status: str
    epochs: list[int]
    loss: list[float]
    valid: list[tuple[int, float]]
    saved_as: str | None = None


class Line:
    """Runs that wait for one another: one at a time, in the order in which they came, each of another name."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._joining = Lock()

    def __len__(self) -> int:
        return len(self._names)

    @contextmanager
    def joined(self, name: str) -> Iterator[Callable[[], int]]:
        """Takes a place at the end, and leaves it; what it gives says how many runs are before this one.

        Raises:
            SDiffError: a run of that name is in the line.
        """
        with self._joining:
            if name in self._names:
                raise SDiffError(f"A run is making a model {name!r} already: choose another name.")
            self._names.append(name)
        try:
            yield lambda: self._names.index(name)
        finally:
            self._names.remove(name)


LINE = Line()


def train(
    dataset: str, preset_name: str, epochs: int, seed: int, changed: str, name: str, stop: Event
) -> Generator[TrainingView, None, None]:
    """Trains a model when the runs before it are over, yielding about twice a second; setting `stop` ends it.

    The best weights are kept either way, and also where it cannot go on: the loss is no longer finite, memory does not
    suffice, ZeroGPU gives no more time.

    Raises:
        SDiffError: the app is read-only, a name is taken, a setting is wrong, no epoch came to its end, or there is no
            place for the weights.
    """
    gate.writing()
    journal.note(data=dataset, model=name)
    config = preset(preset_name).override({"epochs": epochs, **parse_assignments(changed.split())})
    if epochs < 1:
        raise SDiffError("Train for at least one epoch.")
    with LINE.joined(name := name.strip()) as before, claimed_run(name) as folder:
        while n := before():
            if stop.is_set():
                raise SDiffError("Stopped before it began: nothing was trained.")
            yield TrainingView(f"Waiting for {'the run' if n == 1 else f'{n} runs'} before this one …", [], [], [])
            time.sleep(WAIT)
        yield from _trained(config, dataset, preset_name, seed, folder, stop)


def _trained(
    config: Config, dataset: str, preset_name: str, seed: int, folder: Path, stop: Event
) -> Generator[TrainingView, None, None]:
    opened = open_dataset(dataset).dataset
    title = opened.title
    yield TrainingView(f"Computing the spectrum of {title} …", [], [], [])
    curves: tuple[list[int], list[float], list[tuple[int, float]]] = ([], [], [])
    shown, stopped = 0.0, False
    with closing(space.run(config, opened.split, seed, dataset, preset_name, folder)) as run:
        progress = next(run)
        while isinstance(progress, Progress):
            curves[0].append(progress.epoch)
            curves[1].append(progress.loss)
            if progress.valid:
                curves[2].append((progress.epoch, progress.valid[CRITERION]))
            stopped = stop.is_set()
            if not stopped and time.monotonic() - shown > 0.5:
                shown = time.monotonic()
                yield TrainingView(
                    f"{title}: epoch **{progress.epoch}** of at most {progress.epochs} · loss {progress.loss:.5f} "
                    f"· {_best(progress)} · at most {duration(progress.eta)} to go",
                    *curves,
                )
            progress = run.send(stopped)
    how = "Ended" if progress.failure else "Stopped" if stopped else "Done"
    why = escape(f" {told(progress.failure)}") if progress.failure else ""
    yield TrainingView(
        f"{how} after {progress.epoch} epoch{'s'[: progress.epoch != 1]} on {title} in {duration(progress.seconds)}. "
        f"The weights of epoch **{progress.best_epoch}** are saved as **{folder.name}**.{why}",
        *curves,
        saved_as=folder.name,
    )


def _best(progress: Progress) -> str:
    if progress.best is None:
        return "not validated yet"
    return f"best validation recall@20 **{progress.best:.4f}** at epoch {progress.best_epoch}"


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
