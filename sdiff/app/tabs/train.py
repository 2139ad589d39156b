"""The Train tab: settings, start and stop, the live curves."""

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
from sdiff.app.tabs import training_handlers
from sdiff.app.words import told
from sdiff.base.errors import SDiffError
from sdiff.config import PRESETS

WAITING = 8  # runs that can see their place in the line; later ones wait for such a place
# The stop button of a page sets the event of its session's run: one that waits in gradio's queue, or one that goes on.
_waiting: LRUCache[str, Event] = LRUCache(64)  # as many as the queue holds: any client can ask for one
_running: dict[str, Event] = {}


def train_tab(opened: gr.JSON) -> gr.Textbox:
    """Builds the tab for the data set that is open. Returns a hidden field that names each model when it is saved."""
    trained = gr.Textbox(visible=False)
    if shut := gate.read_only():
        gr.Markdown(gate.SHUT, elem_classes="words")
    with gr.Row(visible=not shut):
        with gr.Column(scale=1, min_width=280):
            preset = gr.Dropdown(list(PRESETS), value=next(iter(PRESETS)), label="Preset")
            epochs = gr.Number(200, label="Most epochs", precision=0, minimum=1, maximum=1_000_000, elem_id="epochs")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1)
            changed = gr.Textbox(
                label="Settings to change",
                info="key=value, with spaces between them: K=100 lr=0.001",
                placeholder="none",
                elem_id="train-settings",
            )
            name = gr.Textbox(label="Name of the model", elem_id="model-name")
            with gr.Row():
                start = gr.Button("Start training", variant="primary", min_width=110, elem_id="start")
                stop = gr.Button("Stop", min_width=110, interactive=False, elem_id="stop")
            if note := space.note():
                gr.Markdown(note, elem_classes="words")
        with gr.Column(scale=3, min_width=320):
            status = gr.Markdown("Trains on the data set that is open; the best epoch by validation is kept.")
            plot = gr.Plot(figures.training_curves([], [], []), show_label=False, elem_id="curves")
    hidden: dict[str, Any] = dict(show_progress="hidden", api_visibility="private")
    gr.on(None, _name, None, name, **hidden)  # when the page opens
    run = start.click(_enlist, None, [status, start, stop], queue=False, **hidden).then(
        _train,
        [opened, preset, epochs, seed, changed, name],
        [status, plot, trained, name, start, stop],
        concurrency_id="train",
        concurrency_limit=WAITING,
        **hidden,
    )
    run.failure(_idle, None, [status, start, stop], queue=False, **hidden)  # as where the queue is full
    # Said by the page before the run hears of it: an answer of `_stop` could come after the run's last words.
    stop.click(None, None, status, js="() => 'Stopping after this epoch …'", **hidden).then(
        _stop, None, None, queue=False, **hidden
    )
    return trained


def _enlist(request: gr.Request) -> tuple[Any, ...]:
    """At once: a stop that works while the run waits for others, too."""
    _waiting[str(request.session_hash)] = Event()
    return "Waiting …", gr.Button(interactive=False), gr.Button(interactive=True)


def _train(
    opened: list[str], preset: str, epochs: int, seed: int, changed: str, name: str, request: gr.Request
) -> Iterator[tuple[Any, ...]]:
    session = str(request.session_hash)
    stop = _running[session] = _waiting.pop(session, None) or Event()
    idle = gr.Button(interactive=True), gr.Button(interactive=False)
    try:
        for view in training_handlers.train(opened[0], preset, int(epochs or 0), int(seed or 0), changed, name, stop):
            plot = figures.training_curves(view.epochs, view.loss, view.valid) if view.epochs else gr.skip()
            if view.saved_as is None:
                yield view.status, plot, gr.skip(), gr.skip(), gr.skip(), gr.skip()
            else:
                yield view.status, plot, view.saved_as, _name(), *idle
    except SDiffError as error:
        yield escape(told(error)), gr.skip(), gr.skip(), gr.skip(), *idle
    finally:
        if _running.get(session) is stop:
            del _running[session]


def _idle(request: gr.Request) -> tuple[Any, ...]:
    """After a run that could not even begin."""
    _waiting.pop(str(request.session_hash), None)
    return "This run could not be made: try again.", gr.Button(interactive=True), gr.Button(interactive=False)


def _stop(request: gr.Request) -> None:
    found = [event for kept in (_running, _waiting) if (event := kept.get(str(request.session_hash)))]
    if not found:
        gr.Info("Nothing is running.")
    for event in found:
        event.set()


def _name() -> str:
    """A name that is free and sorts by time."""
    name = datetime.now(UTC).strftime("model-%Y%m%d-%H%M%S")
    names = (name if n == 1 else f"{name}-{n}" for n in count(1))
    return next(name for name in names if not state.is_taken(name))
