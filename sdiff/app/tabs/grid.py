"""Buttons that start and stop a measurement, and the sensitivity of recall to the signal floor and noise ceiling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html import escape
from math import prod
from typing import Any

import gradio as gr

from sdiff.app.controls import Parts, Values
from sdiff.app.handlers import comparison, measuring
from sdiff.app.labels import literal
from sdiff.app.page import Page, plot_area
from sdiff.app.server.public import public_message
from sdiff.app.state import open_dataset
from sdiff.base.errors import SDiffError
from sdiff.results import charts

MEASURE: dict[str, Any] = measuring.LINE | dict(api_visibility="private")


class Buttons:
    """A button that starts a measurement and tells how far it is, and one that stops it."""

    def __init__(self, label: str, elem_id: str) -> None:
        self.label = label
        self.start = gr.Button(label, size="sm", scale=0, min_width=180, elem_id=elem_id)
        self.stop = gr.Button("Stop", size="sm", scale=0, min_width=90, interactive=False, elem_id=f"{elem_id}-stop")

    def wire(self, page: Page, measure: Any, inputs: Any, outputs: list[Any]) -> None:
        """Connects the buttons to a generator that updates `outputs` and calls `measuring`.

        It measures what is open on the page, so it ends when another data set or model is opened.
        """
        both = [self.start, self.stop]
        at_once: dict[str, Any] = dict(show_progress="hidden", queue=False, api_visibility="private")
        run = self.start.click(self.waiting, None, both, **at_once).then(
            measure, inputs, [*outputs, *both], show_progress="hidden", **MEASURE
        )
        run.failure(self.stopped, None, both, **at_once)  # such as when the queue is full
        gr.on([self.stop.click, page.opened.change], self.stopped, None, both, cancels=run, **at_once)

    def waiting(self) -> Parts:
        """The buttons until the measurements of other visitors have ended."""
        return self._running("Waiting in line …")

    def measuring(self, on: bool) -> Parts:
        return self._running("Measuring …") if on else self.stopped()

    def stopped(self) -> Parts:
        """The buttons when nothing is measured."""
        return {self.start: gr.Button(self.label, interactive=True), self.stop: gr.Button(interactive=False)}

    def _running(self, label: str) -> Parts:
        return {self.start: gr.Button(label, interactive=False), self.stop: gr.Button(interactive=True)}


class Grid:
    """The heat map of the page's model."""

    def __init__(self, page: Page) -> None:
        self.page = page
        gr.Markdown("## How A responds to signal floor and noise ceiling")
        with gr.Row(elem_id="sensitivity"):
            self.buttons = Buttons("Measure the grid", "grid")
            self.words = gr.Markdown(
                "Recall@20 for 25 pairs of values, on the validation part if there is one, else on the test part.",
                elem_classes="words",
            )
        self.plot = plot_area("Response to signal floor and noise ceiling", "grid-plot", visible=False)

    def wire(self) -> None:
        """Connects the events."""
        self.buttons.wire(self.page, self.measured, {self.page.tab_states["Compare"]}, [self.words, self.plot])

    def measured(self, values: Values) -> Iterator[Parts]:
        """The heat map, cell by cell, until it is complete, stopped, or the page is closed."""
        buttons = self.buttons
        try:
            query = self.page.listed("Compare", values)
            grid = measuring.grid(query)
            n = prod(map(len, grid.values()))
            others = {name: value for name, value in query.settings.items() if name not in grid}
            described = comparison.describe(replace(query, settings=others))
            data = literal(open_dataset(query.dataset).dataset.title)
            alike = "; the noise ceiling has no effect without noise" if len(grid["sigma_max"]) == 1 else ""
            yield {self.words: f"Measuring the first of {n} pairs …", **buttons.measuring(True)}
            for cells in measuring.sensitivity(query):
                best = max(cells, key=lambda cell: cell["recall@20"])
                lowest = min(cell["recall@20"] for cell in cells)
                words = (
                    f"{described} · {data}: {len(cells)} of {n} pairs measured{alike}. Best: "
                    f"signal floor {best['alpha_min']:g} and noise ceiling {best['sigma_max']:g}, with recall@20 "
                    f"{best['recall@20']:.4f}; lowest {lowest:.4f}."
                )
                figure = gr.Plot(charts.heat_map(cells, "alpha_min", "sigma_max"), visible=True)
                yield {self.words: words, self.plot: figure, **buttons.measuring(len(cells) < n)}
        except SDiffError as error:
            yield {self.words: escape(public_message(error)), **buttons.stopped()}
