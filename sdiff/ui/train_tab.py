"""The Train tab: settings, start and stop, the live curves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Event
from typing import Any

import gradio as gr

from sdiff.config import PRESETS
from sdiff.errors import SDiffError
from sdiff.ui import figures, handlers

# One run at a time for each visitor; the stop button of a page sets the event of its own session.
_stops: dict[str, Event] = {}


def train_tab(dataset: gr.Dropdown) -> gr.Textbox:
    """Builds the tab for the data set that is picked. Returns a hidden field that names each model when it is saved."""
    trained = gr.Textbox(visible=False)
    with gr.Row():
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
            name = gr.Textbox(_name, label="Name of the model", elem_id="model-name")
            with gr.Row():
                start = gr.Button("Start training", variant="primary", min_width=110, elem_id="start")
                stop = gr.Button("Stop", min_width=110, interactive=False, elem_id="stop")
        with gr.Column(scale=3, min_width=320):
            status = gr.Markdown("Trains on the data set picked above; the best epoch by validation is kept.")
            plot = gr.Plot(figures.training_curves([], [], []), show_label=False, elem_id="curves")
    run = gr.on(
        [start.click],
        _train,
        [dataset, preset, epochs, seed, changed, name],
        [status, plot, trained, start, stop],
        show_progress="hidden",
        concurrency_id="train",
        concurrency_limit=1,
        api_visibility="private",
    )
    run.then(_name, None, name, show_progress="hidden", api_visibility="private")
    stop.click(_stop, None, status, show_progress="hidden", queue=False, api_visibility="private")
    return trained


def _train(
    dataset: str, preset: str, epochs: int, seed: int, changed: str, name: str, request: gr.Request
) -> Iterator[tuple[Any, ...]]:
    stop = _stops[str(request.session_hash)] = Event()
    try:
        for view in handlers.train(dataset, preset, int(epochs or 1), int(seed or 0), changed, name, stop):
            running = view.saved_as is None
            yield (
                view.status,
                figures.training_curves(view.epochs, view.loss, view.valid),
                view.saved_as,
                gr.Button(interactive=not running),
                gr.Button(interactive=running),
            )
    except SDiffError as error:
        gr.Warning(str(error), title="Training did not run", duration=15)
        yield str(error), gr.skip(), gr.skip(), gr.Button(interactive=True), gr.Button(interactive=False)
    finally:
        _stops.pop(str(request.session_hash), None)


def _stop(request: gr.Request) -> str:
    event = _stops.get(str(request.session_hash))
    if event is None:
        return "Nothing is running."
    event.set()
    return "Stopping after this epoch …"


def _name() -> str:
    """A name that is free and sorts by time."""
    return datetime.now(UTC).strftime("model-%Y%m%d-%H%M%S")
