"""Training runs as the Train tab shows them, one at a time. The best weights are saved even if a run stops or fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from threading import Event, Lock

from sdiff.app import gate, journal, runs, space, state
from sdiff.app.words import public_message
from sdiff.base.errors import SDiffError
from sdiff.config import Config, parse_assignments, preset
from sdiff.training.auto import Candidate, Failure, Step
from sdiff.training.trainer import CRITERION, Progress

WAIT = 0.5  # seconds between updates of a waiting run
REDRAW = 1.0  # seconds between updates of the curves, which a slow browser takes long to draw
Curves = tuple[list[int], list[float], list[tuple[int, float]]]  # epochs, their losses, (epoch, validation recall@20)


@dataclass(frozen=True)
class TrainingView:
    """The state of a run: status text, the curves so far, and the model's name once it is saved."""

    status: str
    epochs: list[int]
    loss: list[float]
    valid: list[tuple[int, float]]
    saved_as: str | None = None


class RunQueue:
    """Queue of training runs. They run one at a time, in order of arrival, and have different names."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._names)

    @contextmanager
    def enter(self, name: str) -> Iterator[Callable[[], int]]:
        """Holds a place in the queue. Yields a function that returns the number of runs ahead.

        Raises:
            SDiffError: a run of that name is in the queue.
        """
        with self._lock:
            if name in self._names:
                raise SDiffError(f"Another run is training a model {name!r}: choose another name.")
            self._names.append(name)
        try:
            yield lambda: self._names.index(name)
        finally:
            self._names.remove(name)


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
    yield from _in_turn(name, dataset, stop, lambda folder: _trained(config, dataset, preset_name, seed, folder, stop))


def choose(dataset: str, minutes: float, seed: int, name: str, stop: Event) -> Generator[TrainingView, None, None]:
    """As `train`, but trains all presets that fit the data set, and saves the one that is best on validation.

    Raises:
        SDiffError: the app is read-only, the name is taken, there is nothing to choose on, no preset could be trained,
            or the weights cannot be saved.
    """
    if not minutes > 0:
        raise SDiffError("Give it some minutes: more than 0.")
    yield from _in_turn(name, dataset, stop, lambda folder: _chosen(dataset, minutes, seed, folder, stop))


def _in_turn(
    name: str, dataset: str, stop: Event, run: Callable[[Path], Iterator[TrainingView]]
) -> Generator[TrainingView, None, None]:
    """Waits for earlier runs, then yields from `run`, called with the folder of the model."""
    gate.require_writable()
    journal.note(data=dataset, model=name)
    with QUEUE.enter(name := name.strip()) as runs_ahead, state.claimed_run(name) as folder:
        while n := runs_ahead():
            if stop.is_set():
                raise SDiffError("Stopped before it began: nothing was trained.")
            yield TrainingView(f"Waiting for {'the run' if n == 1 else f'{n} runs'} before this one …", [], [], [])
            time.sleep(WAIT)
        yield from run(folder)


def _trained(
    config: Config, dataset: str, preset_name: str, seed: int, folder: Path, stop: Event
) -> Generator[TrainingView, None, None]:
    opened = state.open_dataset(dataset).dataset
    title = opened.title
    yield TrainingView(f"Computing the spectrum of {title} …", [], [], [])
    curves: Curves = ([], [], [])
    shown, stopped = 0.0, False
    with closing(space.run(config, opened.split, seed, dataset, preset_name, folder)) as run:
        progress = next(run)
        while isinstance(progress, Progress):
            _extend(curves, progress)
            stopped = stop.is_set()
            if not stopped and time.monotonic() - shown > REDRAW:
                shown = time.monotonic()
                yield TrainingView(
                    f"{title}: epoch **{progress.epoch}** of at most {progress.epochs} · loss {progress.loss:.5f} "
                    f"· {_best(progress)} · at most {duration(progress.eta)} to go",
                    *curves,
                )
            progress = run.send(stopped)
    how = "Ended" if progress.failure else "Stopped" if stopped else "Done"
    why = escape(f" {public_message(progress.failure)}") if progress.failure else ""
    yield TrainingView(
        f"{how} after {progress.epoch} epoch{'s'[: progress.epoch != 1]} on {title} in {duration(progress.seconds)}. "
        f"The weights of epoch **{progress.best_epoch}** are saved as **{folder.name}**.{why}",
        *curves,
        saved_as=folder.name,
    )


def _chosen(dataset: str, minutes: float, seed: int, folder: Path, stop: Event) -> Generator[TrainingView, None, None]:
    opened = state.open_dataset(dataset).dataset
    title = opened.title
    yield TrainingView(f"Computing the spectrum of {title} …", [], [], [])
    tried: list[Candidate | Failure] = []
    current, shown = "", 0.0
    curves: Curves = ([], [], [])
    with closing(space.choose(minutes, opened.split, seed, dataset, folder)) as run:
        step = next(run)
        while not isinstance(step, runs.Ended):
            if isinstance(step, Step):
                progress = step.progress
                if step.preset != current:
                    current, curves = step.preset, ([], [], [])
                _extend(curves, progress)
                doing = f"{title}, {current}: epoch **{progress.epoch}** of at most {progress.epochs}"
            else:
                tried.append(step)
                doing = f"{title}: {len(tried)} presets tried"
            if time.monotonic() - shown > REDRAW or not isinstance(step, Step):
                shown = time.monotonic()
                yield TrainingView(f"{doing}\n\n{_table(tried)}", *curves)
            step = run.send(stop.is_set())
    best = max((each for each in tried if isinstance(each, Candidate)), key=lambda each: each.valid[CRITERION])
    yield TrainingView(
        f"Done on {title} in {duration(step.seconds)}. Best on validation is **{best.preset}**, which is saved as "
        f"**{folder.name}**.\n\n{_table(tried)}",
        *curves,
        saved_as=folder.name,
    )


def _extend(curves: Curves, progress: Progress) -> None:
    epochs, loss, valid = curves
    epochs.append(progress.epoch)
    loss.append(progress.loss)
    if progress.valid:
        valid.append((progress.epoch, progress.valid[CRITERION]))


def _table(tried: list[Candidate | Failure]) -> str:
    """The presets that were tried, as a table in Markdown."""
    if not tried:
        return ""
    lines = ["| preset | recall@20 | NDCG@20 | chosen | time |", "|---|---|---|---|---|"]
    for each in tried:
        if isinstance(each, Failure):
            lines.append(f"| {each.preset} | | | {escape(public_message(each.error))} | |")
            continue
        chosen = ", ".join(f"{name} = {value:g}" for name, value in each.chosen.items())
        recall, ndcg = each.valid[CRITERION], each.valid["ndcg@20"]
        lines.append(f"| {each.preset} | {recall:.4f} | {ndcg:.4f} | {chosen} | {duration(each.seconds)} |")
    return "\n".join(lines)


def _best(progress: Progress) -> str:
    if progress.best is None:
        return "not validated yet"
    return f"best validation recall@20 **{progress.best:.4f}** at epoch {progress.best_epoch}"


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
