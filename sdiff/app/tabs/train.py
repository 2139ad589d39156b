"""The Train tab: the best model or a single one, progress from the first second, and a result to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from html import escape
from itertools import count
from threading import Event
from typing import Any

import gradio as gr
from gradio.utils import LRUCache

from sdiff.app import state
from sdiff.app.controls import Parts
from sdiff.app.handlers import training
from sdiff.app.handlers.training import TrainingView
from sdiff.app.labels import PRESET_LABELS, preset_label
from sdiff.app.page import Page
from sdiff.app.processes import space
from sdiff.app.server import gate
from sdiff.app.server.public import public_message
from sdiff.app.views import figures, progress
from sdiff.base.errors import SDiffError
from sdiff.training.auto import MINUTES

WAITING = 8  # runs that can show their position in the queue; others wait in gradio's queue
INTRO = (
    "Tries each kind of model that suits the open data set, and keeps the one whose lists find most of the items "
    "that are held out for validation. You can use the other tabs meanwhile."
)
CURVES = (
    "The training loss (left) falls while the model learns. Recall@20 on validation (right) decides which epoch is "
    "kept: the one with the star. An epoch is one pass over all users."
)
# On a phone, the status stands above the form. It is scrolled into view when a run begins and when it ends.
SHOW = """(...values) => {
  // Not at once and not smoothly, because what stands above and below it is still changing.
  setTimeout(() => document.getElementById("train-status").scrollIntoView({ block: "nearest" }), 200);
  return values;
}"""
# Stop events of runs by session. `_waiting`: runs in gradio's queue. `_running`: runs that have left it.
_waiting: LRUCache[str, Event] = LRUCache(64)  # the capacity of the queue, because any client can add one
_running: dict[str, Event] = {}


class TrainTab:
    """Two ways to start a run, its progress and its result. `trained`: the name of the last saved model."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.trained = gr.Textbox(visible=False)
        if read_only := gate.read_only():
            gr.Markdown(gate.READ_ONLY_MESSAGE, elem_classes="words")
        with gr.Row(visible=not read_only, elem_id="training"):
            with gr.Column(scale=1, min_width=310):
                gr.Markdown(INTRO, elem_classes="words")
                with gr.Row(elem_id="best"):
                    look: dict[str, Any] = dict(variant="primary", scale=3, min_width=200, elem_id="train-best")
                    self.best = gr.Button("Train the best model this data allows", **look)
                    bounds: dict[str, Any] = dict(minimum=0.1, maximum=1440, min_width=80, elem_id="minutes")
                    self.minutes = gr.Number(MINUTES, label="Minutes", **bounds)
                usual = "by default, the time of its start"
                self.name = gr.Textbox("", label="Name of the new model", placeholder=usual, elem_id="model-name")
                with gr.Accordion("Train a single model", open=False, elem_id="single"):
                    self._single()
                if note := space.note():
                    gr.Markdown(note, elem_classes="words")
            with gr.Column(scale=2, min_width=310, elem_id="progress"):
                self.status = gr.HTML(elem_id="train-status", padding=False)
                with gr.Row():
                    self.stop = gr.Button("Stop", visible=False, scale=0, min_width=160, elem_id="stop")
                    look = dict(variant="primary", scale=0, min_width=300, elem_id="use")
                    self.use = gr.Button("Use this model: see its list", visible=False, **look)
                self.tried = gr.HTML(elem_id="tried", padding=False)
                self.plot = gr.Plot(visible=False, label="Training curves", show_label=False, elem_id="curves")
                self.plot_words = gr.Markdown(visible=False, elem_classes="words")

    def _single(self) -> None:
        """The form of a single model."""
        labels = [(label, preset) for preset, label in PRESET_LABELS.items()]
        self.preset = gr.Dropdown(labels, value=labels[0][1], label="Kind of model", elem_id="preset")
        with gr.Row():
            self.epochs = gr.Number(
                200, label="Epochs at most", precision=0, minimum=1, maximum=1_000_000, min_width=110, elem_id="epochs"
            )
            self.seed = gr.Number(
                0, label="Random seed", precision=0, minimum=0, maximum=2**31 - 1, min_width=110, elem_id="train-seed"
            )
        self.changed = gr.Textbox(
            label="Other settings",
            info="name=value pairs, separated by spaces: K=100 lr=0.001",
            placeholder="defaults of this kind of model",
            elem_id="train-settings",
        )
        self.start = gr.Button("Train this model", elem_id="start")

    def wire(self) -> None:
        """Connects the events. A run is registered at once, so that its stop button works while it waits."""
        hidden: dict[str, Any] = dict(show_progress="hidden", api_visibility="private")
        single = [self.preset, self.epochs, self.seed, self.changed, self.name]
        for button, train, inputs in (
            (self.best, self._train_best, [self.minutes, self.seed, self.name]),
            (self.start, self._train, single),
        ):
            run = button.click(self._enlist, None, self._shown, queue=False, **hidden).then(
                train,
                [self.page.opened, *inputs],
                [*self._shown, self.trained, self.name],
                js=SHOW,
                concurrency_id="train",
                concurrency_limit=WAITING,
                **hidden,
            )
            run.success(None, js=SHOW)
            run.failure(self._idle, None, self._shown, queue=False, **hidden)  # such as when the queue is full
        # Set by the page first: an update by `_stop` could arrive after the last update of the run.
        self.stop.click(None, None, self.status, js="() => '<p>Stopping after this epoch …</p>'", **hidden).then(
            _stop, None, None, queue=False, **hidden
        )
        self.use.click(None, None, None, js="() => window.openTab('Recommend')", **hidden)

    @property
    def _shown(self) -> list[Any]:
        """The components that show a run."""
        return [self.status, self.best, self.start, self.stop, self.use, self.tried, self.plot, self.plot_words]

    def _enlist(self, request: gr.Request) -> Parts:
        """Registers the stop event of a run, which also works while the run waits for others."""
        _waiting[str(request.session_hash)] = Event()
        waiting = progress.waiting(None)
        return {**self._status(waiting, running=True), self.tried: "", **self._curves()}

    def _train_best(
        self, opened: list[str], minutes: float, seed: int, name: str, request: gr.Request
    ) -> Iterator[Parts]:
        """Trains all presets that fit the data, and keeps the best."""
        yield from self._views(
            request, lambda stop: training.choose(opened[0], minutes or 0.0, int(seed or 0), named(name), stop)
        )

    def _train(
        self, opened: list[str], preset: str, epochs: int, seed: int, changed: str, name: str, request: gr.Request
    ) -> Iterator[Parts]:
        """Trains a single model."""
        yield from self._views(
            request,
            lambda stop: training.train(
                opened[0], preset, int(epochs or 0), int(seed or 0), changed, named(name), stop
            ),
        )

    def _views(self, request: gr.Request, run: Callable[[Event], Iterator[TrainingView]]) -> Iterator[Parts]:
        """Shows a run until it ends."""
        session = str(request.session_hash)
        stop = _running[session] = _waiting.pop(session, None) or Event()
        try:
            for view in run(stop):
                parts: Parts = {self.status: view.status, self.tried: view.tried}
                if len(view.epochs) > 1:  # one point makes no curve
                    figure = figures.training_curves(view.epochs, view.loss, view.valid)
                    parts |= self._curves(figure, f"**{preset_label(view.preset)}.** {CURVES}")
                if view.saved_as is not None:
                    parts |= {self.trained: view.saved_as, self.name: "", **self._status(view.status)}
                    parts[self.use] = gr.Button(visible=True)
                yield parts
        except SDiffError as error:
            yield self._status(f"<p>{escape(public_message(error))}</p>")
        finally:
            if _running.get(session) is stop:
                del _running[session]

    def _idle(self, request: gr.Request) -> Parts:
        """Resets the buttons after a run that could not start."""
        _waiting.pop(str(request.session_hash), None)
        return self._status("<p>This run could not start: try again.</p>")

    def _status(self, status: str, running: bool = False) -> Parts:
        starts = {button: gr.Button(interactive=not running) for button in (self.best, self.start)}
        return {
            self.status: status,
            **starts,
            self.stop: gr.Button(visible=running),
            self.use: gr.Button(visible=False),
        }

    def _curves(self, figure: Any = None, words: str = "") -> Parts:
        """Shows the curves and what to see in them, or hides both if there is no figure."""
        shown = figure is not None
        return {self.plot: gr.Plot(figure, visible=shown), self.plot_words: gr.Markdown(words, visible=shown)}


def _stop(request: gr.Request) -> None:
    events = [event for runs in (_running, _waiting) if (event := runs.get(str(request.session_hash)))]
    if not events:
        gr.Info("Nothing is running.")
    for event in events:
        event.set()


def named(wish: str) -> str:
    """The wished name of a model, or if it is empty, an unused one that sorts by time."""
    if wish := wish.strip():
        return wish
    name = datetime.now(UTC).strftime("model-%Y%m%d-%H%M%S")
    names = (name if n == 1 else f"{name}-{n}" for n in count(1))
    return next(name for name in names if not state.is_taken(name))
