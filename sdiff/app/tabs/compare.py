"""The Compare tab: the page's list (A) beside a list of another model or other settings (B)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from html import escape
from math import prod
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from sdiff.app import comparison, experiment_figures, lists
from sdiff.app.controls import SLIDERS, Parts, Settings, Values, at, changed, moves, slider
from sdiff.app.page import QUIETLY, Page
from sdiff.app.query import Query
from sdiff.app.state import serve
from sdiff.app.words import attempt, guarded, public_message
from sdiff.base.errors import SDiffError
from sdiff.config import INFERENCE_KEYS

SIDE = "b-"  # prefix of B's keys in the URL
MEASURE: dict[str, Any] = dict(concurrency_id="measure", concurrency_limit=1, api_visibility="private")


class CompareTab:
    """Model and settings of B, the two lists, and the measurement of both sides."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.words = gr.Markdown("Choose what to compare with.", elem_id="compare-words")
        with gr.Row(elem_id="sides"):
            with gr.Column(min_width=310):
                gr.Markdown("## A · as on this page")
                self.a_words = gr.Markdown(elem_classes="words", elem_id="a-words")
            with gr.Column(min_width=310):
                with gr.Row(elem_id="b-pick"):
                    gr.Markdown("## B ·")
                    self.model = gr.Dropdown(
                        [], label="Model of B", elem_id="b-model", scale=9, min_width=160, container=False
                    )
                self.b_words = gr.Markdown(elem_classes="words", elem_id="b-words")
        with gr.Accordion("Settings of B", open=False, elem_id="b-panel") as self.panel:
            with gr.Row():
                self.settings: Settings = {name: slider(name, SIDE) for name in SLIDERS}
            self.reset = gr.Button("Reset to the checkpoint's values", size="sm", elem_id="b-reset")
        with gr.Row(elem_id="both"):
            self.a_list = gr.HTML(elem_id="a-list", padding=False, min_width=310)
            self.b_list = gr.HTML(elem_id="b-list", padding=False, min_width=310)
        with gr.Row(elem_id="measuring"):
            self.part = gr.Radio(
                [("validation part", "valid"), ("test part", "test")],
                value="valid",
                label="Measure both on",
                scale=2,
                min_width=240,
            )
            self.button = gr.Button("Measure", variant="primary", scale=0, min_width=140, elem_id="measure")
        self.measured = gr.HTML(elem_id="measured", padding=False)
        gr.Markdown("## How A answers to αₘᵢₙ and σₘₐₓ")
        with gr.Row(elem_id="sensitivity"):
            self.start = gr.Button("Measure the grid", size="sm", scale=0, min_width=160, elem_id="grid")
            self.stop = gr.Button("Stop", size="sm", scale=0, min_width=90, interactive=False)
            self.grid_words = gr.Markdown(
                "Recall@20 for 25 pairs of values, on the validation part if there is one, else on the test part.",
                elem_classes="words",
            )
        self.grid = gr.Plot(visible=False, show_label=False, elem_id="grid-plot", container=False)
        self.side = gr.Textbox(visible=False)  # B's part of the URL

    def wire(self, opened: Iterable[Any]) -> None:
        """Connects the events. `opened`: events that open a data set or a model; they update B's choices."""
        page, inputs = self.page, {self.model, *self.settings.values(), *self.page.inputs}
        chosen, panel = [page.opened, self.model], [self.panel, *self.settings.values()]
        shown = [self.words, self.a_words, self.a_list, self.b_words, self.b_list, self.side]
        self.side.change(None, self.side, js="text => window.setSide(text)")
        for event in opened:
            event.success(self.open_sides, chosen, [self.model, *panel], **QUIETLY)
        page.on_new_list("Compare", self.compare, shown, {page.view, *inputs}, moves(self.settings))
        for event in (
            self.model.change(self.settings_of, chosen, panel, **QUIETLY),
            self.reset.click(self.trained_settings, chosen, [*self.settings.values()], **QUIETLY),
        ):
            event.success(self.compare, {page.view, *inputs}, shown, **QUIETLY)
        self.button.click(self.measure, {self.part, *inputs}, self.measured, **MEASURE)
        cells = [self.grid_words, self.grid, self.start, self.stop]
        grid = self.start.click(self.sensitivity, page.inputs, cells, show_progress="hidden", **MEASURE)
        buttons = [self.start, self.stop]
        self.stop.click(self.stopped, None, buttons, cancels=grid, queue=False, api_visibility="private")

    def open_sides(self, request: gr.Request, opened: list[str], model: str) -> Parts:
        """B's choices for the open data set, and its panel. Initially from the URL, or else another model than A's."""
        choices, linked = comparison.sides(opened[0]), _linked(request)
        if not model and linked.model not in ("", *choices):
            message = f"There is no model {linked.model:.200} to compare with here: choose another."
            gr.Warning(escape(message), duration=15)
        preferred = (model, linked.model, *(name for name in choices if name != opened[1]))
        chosen = next(name for name in preferred if name in choices)
        # At once, before a comparison changes the URL.
        panel = {} if model else self.settings_of(request, opened, chosen)
        return {self.model: gr.Dropdown(choices, value=chosen), **panel}

    def settings_of(self, request: gr.Request, opened: list[str], model: str) -> Parts:
        """B's panel, with the settings of the URL if they are of this model, else the checkpoint's.

        The panel is hidden for a baseline, which has no settings.
        """
        if model in comparison.BASELINES:
            return {self.panel: gr.Accordion(visible=False)}
        config, linked = serve(opened[0], model)[1].config, _linked(request)
        if linked.model == model:
            config = attempt(lambda: config.at_inference(linked.settings), config)
        return {self.panel: gr.Accordion(visible=True), **at(config, self.settings)}

    def trained_settings(self, opened: list[str], model: str) -> Parts:
        """Resets B's settings to its checkpoint's values."""
        return at(serve(opened[0], model)[1].config, self.settings)

    def sides(self, values: Values) -> tuple[Query, Query]:
        """The queries of A and B. Raises SDiffError."""
        a, model = self.page.query(values), values[self.model]
        if model in comparison.BASELINES:
            return a, replace(a, model=model, settings={})
        trained = serve(a.dataset, model)[1].config
        return a, replace(a, model=model, settings=changed(self.settings, values, trained))

    @guarded
    def compare(self, values: Values) -> Parts:
        """Both lists, if the tab is open, and B's part of the URL."""
        if values[self.page.view] != "Compare" or not values[self.model]:  # no data set is open yet
            return gr.skip()
        a, b = self.sides(values)
        result = comparison.compare(a, b)
        tables = [
            lists.moving_table(f"{side} · top {len(rows)}", rows, shifts, than)
            for side, rows, shifts, than in zip("AB", result.lists, result.shifts, "BA", strict=True)
        ]
        return {
            self.words: result.words,
            self.a_words: comparison.describe(a),
            self.a_list: tables[0],
            self.b_words: comparison.describe(b),
            self.b_list: tables[1],
            self.side: urlencode({SIDE + name: value for name, value in {"model": b.model, **b.settings}.items()}),
        }

    @guarded
    def measure(self, values: Values) -> str:
        """Metrics of both sides over many users."""
        rows, words = comparison.measure(*self.sides(values), values[self.part])
        return lists.plain_table(words, ["measure", "A", "B", "B − A", "what it says"], rows)

    def sensitivity(self, values: Values) -> Iterator[Parts]:
        """The heat map, cell by cell, until it is complete, stopped, or the page is closed."""
        try:
            query = self.page.query(values)
            grid = comparison.grid(query)
            n = prod(map(len, grid.values()))
            alike = "; σₘₐₓ changes nothing without noise" if len(grid["sigma_max"]) == 1 else ""
            yield {self.grid_words: f"Measuring the first of {n} pairs …", **self._measuring(True)}
            for cells in comparison.sensitivity(query):
                best = max(cells, key=lambda cell: cell["recall@20"])
                lowest = min(cell["recall@20"] for cell in cells)
                words = (
                    f"{query.model}: {len(cells)} of {n} pairs measured{alike}. Best: αₘᵢₙ = {best['alpha_min']:g} and "
                    f"σₘₐₓ = {best['sigma_max']:g} with recall@20 {best['recall@20']:.4f}; lowest {lowest:.4f}."
                )
                figure = gr.Plot(experiment_figures.heat_map(cells, "alpha_min", "sigma_max"), visible=True)
                yield {self.grid_words: words, self.grid: figure, **self._measuring(len(cells) < n)}
        except SDiffError as error:
            yield {self.grid_words: escape(public_message(error)), **self.stopped()}

    def stopped(self) -> Parts:
        """The buttons after a measurement was stopped."""
        return self._measuring(False)

    def _measuring(self, on: bool) -> Parts:
        return {self.start: gr.Button(interactive=not on), self.stop: gr.Button(interactive=on)}


def _linked(request: gr.Request) -> Query:
    """B's model and settings in the URL."""
    pairs = [(name.removeprefix(SIDE), value) for name, value in request.query_params.items() if name.startswith(SIDE)]
    return attempt(lambda: Query.parse(pair for pair in pairs if pair[0] in ("model", *INFERENCE_KEYS)), Query())
