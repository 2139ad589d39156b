"""The Train tab: settings, start and stop, live curves. The best weights are saved even if a run stops or fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import count
from pathlib import Path
from threading import Event, Lock
from typing import Any

import gradio as gr
from gradio.utils import LRUCache

from sdiff.app import figures, gate, journal, runs, space, state
from sdiff.app.controls import Parts
from sdiff.app.page import Page
from sdiff.app.words import public_message
from sdiff.base.errors import SDiffError
from sdiff.config import AUTO, PRESETS, Config, parse_assignments, preset
from sdiff.training.auto import MINUTES, Candidate, Failure, Step
from sdiff.training.trainer import CRITERION, Progress

WAIT = 0.5  # seconds between updates of a waiting run
REDRAW = 1.0  # seconds between updates of the curves, which a slow browser takes long to draw
WAITING = 8  # runs that can show their position in the queue; others wait in gradio's queue
# Stop events of runs by session. `_waiting`: runs in gradio's queue. `_running`: runs that have left it.
_waiting: LRUCache[str, Event] = LRUCache(64)  # the capacity of the queue, because any client can add one
_running: dict[str, Event] = {}


class TrainTab:
    """The form of a run, and its curves. `trained`: the name of the last saved model."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.trained = gr.Textbox(visible=False)
        if read_only := gate.read_only():
            gr.Markdown(gate.READ_ONLY_MESSAGE, elem_classes="words")
        with gr.Row(visible=not read_only):
            with gr.Column(scale=1, min_width=280):
                self.preset = gr.Dropdown(
                    [*PRESETS, ("auto: try all, keep the best", AUTO)],
                    value=next(iter(PRESETS)),
                    label="Preset",
                    elem_id="preset",
                )
                self.minutes = gr.Number(
                    MINUTES,
                    label="Minutes for all presets together",
                    minimum=0.1,
                    maximum=1440,
                    visible=False,
                    elem_id="minutes",
                )
                self.epochs = gr.Number(
                    200, label="Most epochs", precision=0, minimum=1, maximum=1_000_000, elem_id="epochs"
                )
                self.seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1)
                self.changed = gr.Textbox(
                    label="Settings to change",
                    info="key=value, with spaces between them: K=100 lr=0.001",
                    placeholder="none",
                    elem_id="train-settings",
                )
                self.name = gr.Textbox(label="Name of the model", elem_id="model-name")
                with gr.Row():
                    self.start = gr.Button("Start training", variant="primary", min_width=110, elem_id="start")
                    self.stop = gr.Button("Stop", min_width=110, interactive=False, elem_id="stop")
                if note := space.note():
                    gr.Markdown(note, elem_classes="words")
            with gr.Column(scale=3, min_width=320):
                self.status = gr.Markdown("Trains on the data set that is open; the best epoch by validation is kept.")
                self.plot = gr.Plot(figures.training_curves([], [], []), show_label=False, elem_id="curves")

    def wire(self) -> None:
        """Connects the events. A run is registered at once, so that its stop button works while it waits."""
        hidden: dict[str, Any] = dict(show_progress="hidden", api_visibility="private")
        gr.on(None, _name, None, self.name, **hidden)  # when the page opens
        self.preset.change(self._fields, self.preset, [self.epochs, self.changed, self.minutes], **hidden)
        buttons = [self.status, self.start, self.stop]
        run = self.start.click(self._enlist, None, buttons, queue=False, **hidden).then(
            self._train,
            [self.page.opened, self.preset, self.epochs, self.minutes, self.seed, self.changed, self.name],
            [*buttons, self.plot, self.trained, self.name],
            concurrency_id="train",
            concurrency_limit=WAITING,
            **hidden,
        )
        run.failure(self._idle, None, buttons, queue=False, **hidden)  # such as when the queue is full
        # Set by the page first: an update by `_stop` could arrive after the last update of the run.
        self.stop.click(None, None, self.status, js="() => 'Stopping after this epoch …'", **hidden).then(
            _stop, None, None, queue=False, **hidden
        )

    def _fields(self, preset: str) -> Parts:
        """The fields that the preset has a use for."""
        auto = preset == AUTO
        return {
            self.epochs: gr.Number(visible=not auto),
            self.changed: gr.Textbox(visible=not auto),
            self.minutes: gr.Number(visible=auto),
        }

    def _enlist(self, request: gr.Request) -> Parts:
        """Registers the stop event of a run, which also works while the run waits for others."""
        _waiting[str(request.session_hash)] = Event()
        return self._status("Waiting …", running=True)

    def _train(
        self,
        opened: list[str],
        preset: str,
        epochs: int,
        minutes: float,
        seed: int,
        changed: str,
        name: str,
        request: gr.Request,
    ) -> Iterator[Parts]:
        session = str(request.session_hash)
        stop = _running[session] = _waiting.pop(session, None) or Event()
        try:
            if preset == AUTO:
                views = choose(opened[0], minutes or 0.0, int(seed or 0), name, stop)
            else:
                views = train(opened[0], preset, int(epochs or 0), int(seed or 0), changed, name, stop)
            for view in views:
                parts: Parts = {self.status: view.status}
                if view.epochs:
                    parts[self.plot] = figures.training_curves(view.epochs, view.loss, view.valid)
                if view.saved_as is not None:
                    parts |= {self.trained: view.saved_as, self.name: _name(), **self._status(view.status)}
                yield parts
        except SDiffError as error:
            yield self._status(escape(public_message(error)))
        finally:
            if _running.get(session) is stop:
                del _running[session]

    def _idle(self, request: gr.Request) -> Parts:
        """Resets the buttons after a run that could not start."""
        _waiting.pop(str(request.session_hash), None)
        return self._status("This run could not start: try again.")

    def _status(self, status: str, running: bool = False) -> Parts:
        buttons = {self.start: gr.Button(interactive=not running), self.stop: gr.Button(interactive=running)}
        return {self.status: status, **buttons}


def _stop(request: gr.Request) -> None:
    events = [event for runs in (_running, _waiting) if (event := runs.get(str(request.session_hash)))]
    if not events:
        gr.Info("Nothing is running.")
    for event in events:
        event.set()


def _name() -> str:
    """An unused name that sorts by time."""
    name = datetime.now(UTC).strftime("model-%Y%m%d-%H%M%S")
    names = (name if n == 1 else f"{name}-{n}" for n in count(1))
    return next(name for name in names if not state.is_taken(name))


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
