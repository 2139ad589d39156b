"""The leaderboard of the Compare tab: all models of the data set as a table and two plots."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from html import escape
from typing import Any

import gradio as gr

from sdiff.app.controls import Parts, Values
from sdiff.app.handlers import comparison, leaderboard, measuring
from sdiff.app.handlers.leaderboard import Standing
from sdiff.app.labels import RECALL, literal
from sdiff.app.page import Page, plot_area
from sdiff.app.server import gate
from sdiff.app.server.public import public_message
from sdiff.app.state import open_dataset
from sdiff.app.tabs.grid import Buttons
from sdiff.app.views import tables
from sdiff.app.views.tables import Cell, Head
from sdiff.base.errors import SDiffError
from sdiff.results import charts

HERE, WRITTEN = "measured here", "from its training"
COSTS = {"training, s": "training time", "size, MB": "size on disk"}
HEADS = (
    Head("Model", "", "what it is, its name, and when it was trained", number=False),
    Head("Recall@20, validation", HERE, f"{RECALL}, for the same users of the validation part"),
    Head("Recall@20, test", HERE, f"{RECALL}, for the same users of the test part"),
    Head("Coverage", HERE, measuring.HINTS["coverage"]),
    Head("Novelty, bits", HERE, measuring.HINTS["novelty"]),
    Head("Recall@20, validation", WRITTEN, "as recorded in training, over all users of the validation part"),
    Head("Recall@20, test", WRITTEN, "as recorded in training, over all users of the test part"),
    Head("Training, s", WRITTEN, "time of all epochs, on the machine that trained it"),
    Head("Size, MB", "on disk", "of the files of the model"),
)


class Leaderboard:
    """The table of all models, accuracy against cost, and training curves."""

    def __init__(self, page: Page) -> None:
        self.page = page
        gr.Markdown("## All models of this data set")
        with gr.Row(elem_id="leaderboard"):
            self.buttons = Buttons("Measure all models", "board")
            self.words = gr.Markdown(elem_classes="words", elem_id="board-words")
        self.table = gr.HTML(elem_id="board-table", padding=False, js_on_load=tables.SORT)
        with gr.Row(elem_id="board-plots"):
            with gr.Column(min_width=310):
                gr.Markdown("## Accuracy against cost")
                self.cost = gr.Radio(
                    [(label, cost) for cost, label in COSTS.items()],
                    value="training, s",
                    label="Cost",
                    elem_id="cost",
                )
                self.cost_words = gr.Markdown(elem_classes="words", elem_id="cost-words")
                self.cost_plot = plot_area("Accuracy against cost", "cost-plot", visible=False)
            with gr.Column(min_width=310):
                gr.Markdown("## Training curves")
                self.curve_words = gr.Markdown(elem_classes="words", elem_id="curve-words")
                self.curves = plot_area("Validation recall by epoch", "board-curves", visible=False)
        self.state = gr.Textbox(visible=False)  # checksum of what the leaderboard shows; empty if it is out of date

    def wire(self) -> None:
        """Connects the events."""
        page, shown = self.page, [self.words, self.table, self.cost_words, self.cost_plot, self.curve_words]
        shown += [self.curves, self.state]
        self.buttons.wire(page, self.measured, {page.opened}, [self.state])
        inputs = {page.opened, page.view, self.cost, self.state}
        # The view, because a model may have been trained since the tab was left.
        events = [self.state.change, self.cost.change, page.view.change]
        page.on_new_list("Compare", self.known, shown, inputs, events)

    def known(self, values: Values) -> Parts:
        """What is known of the models without measuring them, if the tab is open and does not show it yet."""
        if values[self.page.view] != "Compare":
            return gr.skip()
        dataset, cost = values[self.page.opened][0], values[self.cost]
        try:
            parts = self._standings(dataset, next(leaderboard.leaderboard(dataset)), cost)
        except SDiffError as error:  # nothing is held out
            parts = self._standings(dataset, [], cost) | {self.words: escape(public_message(error))}
        return gr.skip() if parts[self.state] == values[self.state] else parts

    def measured(self, values: Values) -> Iterator[Parts]:
        """Measures the models one by one, until all are, it is stopped, or the page is closed.

        `known` shows the results: the data set or the cost on the page may have changed since the start.
        """
        try:
            for standings in leaderboard.leaderboard(values[self.page.opened][0]):
                left = any(row.measured is None and not row.error for row in standings)
                yield {self.state: "", **self.buttons.measuring(left)}
        except SDiffError:  # `known` says why
            yield {self.state: "", **self.buttons.stopped()}

    def _standings(self, dataset: str, standings: list[Standing], cost: str) -> Parts:
        """The leaderboard as a table, two plots and sentences."""
        done = sum(row.measured is not None for row in standings)
        words = f"{done} of {len(standings)} are measured: lists of 20 for at most {measuring.SAMPLE:,} users of each "
        words += f"part, the same for all models (seed 0).{' The best model is first.' * (done > 0)} "
        words += "Click a column header to sort by it."
        if any(row.foreign for row in standings):
            words += " A model that was trained on another split may know held-out items of this one."
        title = open_dataset(dataset).dataset.title
        points = [row for row in map(_point, standings) if row and (row[cost] or 0) > 0]
        figures = self._cost(points, cost) | self._curves(standings)
        table = tables.sortable_table(f"Models of {title}", HEADS, [_cells(row) for row in standings])
        state = zlib.crc32(f"{dataset} {cost} {standings}".encode())
        return {self.words: words, self.table: table, **figures, self.state: str(state)}

    def _cost(self, points: list[dict[str, Any]], cost: str) -> Parts:
        if len(points) < 2:
            words = f"A plot needs at least two measured models whose {COSTS[cost]} is known."
            return {self.cost_words: words, self.cost_plot: gr.Plot(visible=False)}
        best, cheapest = max(points, key=lambda row: row["recall@20"]), min(points, key=lambda row: row[cost])
        words = f"**{literal(best['model'])}** is the most accurate, with {best['recall@20']:.4f}; "
        words += f"**{literal(cheapest['model'])}** costs least, with {cheapest['recall@20']:.4f}."
        figure = charts.points(points, cost, "recall@20", "model")
        return {self.cost_words: words, self.cost_plot: gr.Plot(figure, visible=True)}

    def _curves(self, standings: list[Standing]) -> Parts:
        rows = [
            {"model": comparison.title(row.model, short=True), "epoch": epoch, "recall@20": recall}
            for row in standings
            if len(row.curve) > 1
            for epoch, recall in row.curve
        ]
        if not rows:
            words = "No model of this data set has recorded its training curve."
            words += "" if gate.read_only() else " Models that you train here do."
            return {self.curve_words: words, self.curves: gr.Plot(visible=False)}
        best = max(rows, key=lambda row: row["recall@20"])
        words = "Validation recall@20 over all users by epoch. The highest point is "
        words += f"{best['recall@20']:.4f}, of **{literal(best['model'])}** at epoch {best['epoch']}."
        figure = charts.lines(rows, "epoch", group="model")
        return {self.curve_words: words, self.curves: gr.Plot(figure, visible=True)}


def _cells(row: Standing) -> list[Cell]:
    """The cells of a row of the leaderboard, for `HEADS`."""
    measured = row.measured or {}

    def number(value: float | None, form: str = ".4f") -> Cell:
        return Cell("–" if value is None else format(value, form), value)

    seconds, megabytes = row.seconds, None if row.size is None else row.size / 1e6
    return [
        Cell(comparison.title(row.model), comparison.title(row.model), row.error or row.origin),
        number(measured.get("valid")),
        number(measured.get("test")),
        number(measured.get("coverage"), ".1%"),
        number(measured.get("novelty"), ".2f"),
        number(row.recorded.get("valid")),
        number(row.recorded.get("test")),
        number(seconds, ",.1f" if seconds is None or seconds >= 1 else ".2g"),
        number(megabytes, ",.1f"),
    ]


def _point(row: Standing) -> dict[str, Any] | None:
    """A model in the plot of accuracy against cost; None if it was not measured."""
    if row.measured is None:
        return None
    recall = row.measured.get("valid", row.measured.get("test"))
    title = comparison.title(row.model, short=True)
    megabytes = None if row.size is None else row.size / 1e6
    return {"model": title, "recall@20": recall, "training, s": row.seconds, "size, MB": megabytes}
