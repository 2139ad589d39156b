"""The Train tab: settings, start and stop, live curves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from itertools import count
from threading import Event
from typing import Any

import gradio as gr
from gradio.utils import LRUCache

from sdiff.app import figures, gate, space, state
from sdiff.app.controls import Parts
from sdiff.app.page import Page
from sdiff.app.training import choose, train
from sdiff.app.words import public_message
from sdiff.base.errors import SDiffError
from sdiff.config import AUTO, PRESETS
from sdiff.training.auto import MINUTES

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
