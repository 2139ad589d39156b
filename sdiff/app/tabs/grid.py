"""Measurements that can be stopped, and one of them: how recall responds to the signal floor and the noise ceiling."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from math import prod
from typing import Any

import gradio as gr

from sdiff.app import comparison, experiment_figures, measuring
from sdiff.app.controls import Parts, Values
from sdiff.app.page import Page, plot_area
from sdiff.app.words import literal, public_message
from sdiff.base.errors import SDiffError

MEASURE: dict[str, Any] = measuring.LINE | dict(api_visibility="private")


class Buttons:
    """A button that starts a measurement, and one that stops it."""

    def __init__(self, label: str, elem_id: str) -> None:
        self.start = gr.Button(label, size="sm", scale=0, min_width=180, elem_id=elem_id)
        self.stop = gr.Button("Stop", size="sm", scale=0, min_width=90, interactive=False, elem_id=f"{elem_id}-stop")

    def wire(self, measure: Any, inputs: Any, outputs: list[Any]) -> None:
        """Connects the buttons to a generator that updates `outputs` and calls `measuring`."""
        both = [self.start, self.stop]
        run = self.start.click(measure, inputs, [*outputs, *both], show_progress="hidden", **MEASURE)
        self.stop.click(self.stopped, None, both, cancels=run, queue=False, api_visibility="private")

    def measuring(self, on: bool) -> Parts:
        return {self.start: gr.Button(interactive=not on), self.stop: gr.Button(interactive=on)}

    def stopped(self) -> Parts:
        """The buttons after a measurement was stopped."""
        return self.measuring(False)


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
        self.buttons.wire(self.measured, {self.page.tab_states["Compare"]}, [self.words, self.plot])

    def measured(self, values: Values) -> Iterator[Parts]:
        """The heat map, cell by cell, until it is complete, stopped, or the page is closed."""
        buttons = self.buttons
        try:
            query = self.page.listed("Compare", values)
            grid = measuring.grid(query)
            n = prod(map(len, grid.values()))
            alike = "; the noise ceiling has no effect without noise" if len(grid["sigma_max"]) == 1 else ""
            yield {self.words: f"Measuring the first of {n} pairs …", **buttons.measuring(True)}
            for cells in measuring.sensitivity(query):
                best = max(cells, key=lambda cell: cell["recall@20"])
                lowest = min(cell["recall@20"] for cell in cells)
                words = (
                    f"{literal(comparison.title(query.model))}: {len(cells)} of {n} pairs measured{alike}. Best: "
                    f"signal floor {best['alpha_min']:g} and noise ceiling {best['sigma_max']:g}, with recall@20 "
                    f"{best['recall@20']:.4f}; lowest {lowest:.4f}."
                )
                figure = gr.Plot(experiment_figures.heat_map(cells, "alpha_min", "sigma_max"), visible=True)
                yield {self.words: words, self.plot: figure, **buttons.measuring(len(cells) < n)}
        except SDiffError as error:
            yield {self.words: escape(public_message(error)), **buttons.stopped()}
