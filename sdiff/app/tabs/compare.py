"""The Compare tab: the page's list (A) beside the lists of other models or settings (B and C), and all models."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from html import escape
from math import prod
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from sdiff.app import comparison, experiment_figures, lists
from sdiff.app.comparison import Standing
from sdiff.app.controls import SLIDERS, Parts, Settings, Values, at, changed, moves, slider
from sdiff.app.handlers import model_choices
from sdiff.app.lists import Cell, Head
from sdiff.app.page import QUIETLY, Page
from sdiff.app.query import Query
from sdiff.app.state import open_dataset, serve
from sdiff.app.words import attempt, guarded, literal, public_message
from sdiff.base.errors import SDiffError
from sdiff.config import INFERENCE_KEYS

NONE = "-"  # in place of a model: no third list; models have no such name
MEASURE: dict[str, Any] = dict(concurrency_id="measure", concurrency_limit=1, api_visibility="private")
HERE, WRITTEN = "measured here", "from its training"
HEADS = (
    Head("Model", "", "name of the model", number=False),
    Head("Recall@20, validation", HERE, "of lists of 20 for the same users of the validation part"),
    Head("Recall@20, test", HERE, "of lists of 20 for the same users of the test part"),
    Head("Coverage", HERE, comparison.HINTS["coverage"]),
    Head("Novelty, bits", HERE, comparison.HINTS["novelty"]),
    Head("Recall@20, validation", WRITTEN, "as written in the checkpoint, over all users of the validation part"),
    Head("Recall@20, test", WRITTEN, "as written in the checkpoint, over all users of the test part"),
    Head("Training, s", WRITTEN, "time of all epochs, on the machine that trained it"),
    Head("Size, MB", "on disk", "of the files of the checkpoint"),
)


class Side:
    """Side B or C: the widgets for its model, its settings and its list. The keys of its settings in the URL have a
    prefix."""

    def __init__(self, name: str, optional: bool = False) -> None:
        self.name, self.prefix, self.optional = name, f"{name.lower()}-", optional

    def pick(self) -> None:
        """Draws the choice of the model."""
        with gr.Column(min_width=310):
            with gr.Row(elem_id=f"{self.prefix}pick"):
                gr.Markdown(f"## {self.name} ·")
                self.model = gr.Dropdown(
                    [],
                    label=f"Model of {self.name}",
                    elem_id=f"{self.prefix}model",
                    scale=9,
                    min_width=160,
                    container=False,
                )
            self.words = gr.Markdown(elem_classes="words", elem_id=f"{self.prefix}words")

    def fold(self) -> None:
        """Draws the settings."""
        panel_id = f"{self.prefix}panel"
        with gr.Accordion(
            f"Settings of {self.name}", open=False, elem_id=panel_id, visible=not self.optional
        ) as self.panel:
            with gr.Row():
                self.settings: Settings = {name: slider(name, self.prefix) for name in SLIDERS}
            self.reset = gr.Button("Reset to the checkpoint's values", size="sm", elem_id=f"{self.prefix}reset")

    def table(self) -> None:
        """Draws the list."""
        self.list = gr.HTML(elem_id=f"{self.prefix}list", padding=False, min_width=310, visible=not self.optional)

    @property
    def inputs(self) -> set[Any]:
        return {self.model, *self.settings.values()}

    def open(self, request: gr.Request, opened: list[str], model: str) -> Parts:
        """The choices for the open data set, and the settings. Initially from the URL; else another model than A's for
        B, and none for C."""
        choices, linked = [NONE] * self.optional + comparison.sides(opened[0]), self.linked(request)
        if not model and linked.model not in ("", *choices):
            message = f"There is no model {linked.model:.200} to compare with here: choose another."
            gr.Warning(escape(message), duration=15)
        others = (name for name in choices if name != opened[1])
        chosen = next(name for name in (model, linked.model, *others) if name in choices)
        # At once, before a comparison changes the URL.
        panel = {} if model else self.settings_of(request, opened, chosen)
        titles = {name: label for label, name in model_choices(opened[0])} | comparison.TITLES | {NONE: "no third list"}
        named = [(titles.get(name, name), name) for name in choices]
        return {self.model: gr.Dropdown(named, value=chosen), **panel}

    def settings_of(self, request: gr.Request, opened: list[str], model: str) -> Parts:
        """The settings in the URL if they are of this model, else the checkpoint's. Hidden for a baseline, which has no
        settings."""
        if model in ("", NONE, *comparison.BASELINES):
            return {self.panel: gr.Accordion(visible=False)}
        config, linked = serve(opened[0], model)[1].config, self.linked(request)
        if linked.model == model:
            config = attempt(lambda: config.at_inference(linked.settings), config)
        return {self.panel: gr.Accordion(visible=True), **at(config, self.settings)}

    def trained_settings(self, opened: list[str], model: str) -> Parts:
        """Resets the settings to the checkpoint's values."""
        return at(serve(opened[0], model)[1].config, self.settings)

    def query(self, a: Query, values: Values) -> Query | None:
        """The query of this side, beside that of A, or None for no list. Raises SDiffError."""
        model = values[self.model]
        if model in ("", NONE):
            return None
        if model in comparison.BASELINES:
            return replace(a, model=model, settings={})
        trained = serve(a.dataset, model)[1].config
        return replace(a, model=model, settings=changed(self.settings, values, trained))

    def linked(self, request: gr.Request) -> Query:
        """The model and settings in the URL."""
        start = len(self.prefix)
        pairs = [(name[start:], value) for name, value in request.query_params.items() if name.startswith(self.prefix)]
        return attempt(lambda: Query.parse(pair for pair in pairs if pair[0] in ("model", *INFERENCE_KEYS)), Query())


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


class CompareTab:
    """The lists side by side, their measurement, the leaderboard, and the heat map of A."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.words = gr.Markdown("Choose what to compare with.", elem_id="compare-words")
        self.sides = (Side("B"), Side("C", optional=True))
        with gr.Row(elem_id="sides"):
            with gr.Column(min_width=310):
                gr.Markdown("## A · this page")
                self.a_words = gr.Markdown(elem_classes="words", elem_id="a-words")
            for side in self.sides:
                side.pick()
        for side in self.sides:
            side.fold()
        with gr.Row(elem_id="both"):
            self.a_list = gr.HTML(elem_id="a-list", padding=False, min_width=310)
            for side in self.sides:
                side.table()
        with gr.Row(elem_id="measuring"):
            self.part = gr.Radio(
                [("validation part", "valid"), ("test part", "test")],
                value="valid",
                label="Measure these settings on the",
                scale=2,
                min_width=240,
            )
            self.button = gr.Button("Measure", variant="primary", scale=0, min_width=140, elem_id="measure")
        self.measured = gr.HTML(elem_id="measured", padding=False)
        self._draw_leaderboard()
        gr.Markdown("## How A responds to αₘᵢₙ and σₘₐₓ")
        with gr.Row(elem_id="sensitivity"):
            self.grid_buttons = Buttons("Measure the grid", "grid")
            self.grid_words = gr.Markdown(
                "Recall@20 for 25 pairs of values, on the validation part if there is one, else on the test part.",
                elem_classes="words",
            )
        self.grid = gr.Plot(
            label="Response to signal floor and noise ceiling",
            visible=False,
            show_label=False,
            elem_id="grid-plot",
            container=False,
        )
        self.side = gr.Textbox(visible=False)  # the part of the URL that belongs to B and C

    def _draw_leaderboard(self) -> None:
        gr.Markdown("## All models of this data set")
        with gr.Row(elem_id="leaderboard"):
            self.board_buttons = Buttons("Measure all models", "board")
            self.board_words = gr.Markdown(elem_classes="words", elem_id="board-words")
        self.board = gr.HTML(elem_id="board-table", padding=False, js_on_load=lists.SORT)
        with gr.Row(elem_id="board-plots"):
            with gr.Column(min_width=310):
                gr.Markdown("## Accuracy against cost")
                self.cost = gr.Radio(
                    [("training time", "training, s"), ("size on disk", "size, MB")],
                    value="training, s",
                    label="Cost",
                    elem_id="cost",
                )
                self.cost_words = gr.Markdown(elem_classes="words", elem_id="cost-words")
                self.cost_plot = gr.Plot(
                    label="Accuracy against cost", visible=False, show_label=False, elem_id="cost-plot", container=False
                )
            with gr.Column(min_width=310):
                gr.Markdown("## Training curves")
                self.curve_words = gr.Markdown(elem_classes="words", elem_id="curve-words")
                self.curves = gr.Plot(
                    label="Validation recall by epoch",
                    visible=False,
                    show_label=False,
                    elem_id="board-curves",
                    container=False,
                )
        self.board_state = gr.Textbox(visible=False)  # checksum of what the leaderboard shows

    def wire(self, opened: Iterable[Any]) -> None:
        """Connects the events. `opened`: events that open a data set or a model; they update B's and C's choices."""
        page = self.page
        inputs = {*page.inputs, *(part for side in self.sides for part in side.inputs)}
        shown = [self.words, self.a_words, self.a_list, self.side]
        shown += [part for side in self.sides for part in (side.words, side.list)]
        self.side.change(None, self.side, js="text => window.setSide(text)")
        events = [event for side in self.sides for event in moves(side.settings)]
        page.on_new_list("Compare", self.compare, shown, {page.view, *inputs}, events)
        for side in self.sides:
            chosen, panel = [page.opened, side.model], [side.panel, *side.settings.values()]
            for event in opened:
                event.success(side.open, chosen, [side.model, *panel], **QUIETLY)
            for event in (
                side.model.change(side.settings_of, chosen, panel, **QUIETLY),
                side.reset.click(side.trained_settings, chosen, [*side.settings.values()], **QUIETLY),
            ):
                event.success(self.compare, {page.view, *inputs}, shown, **QUIETLY)
        self.button.click(self.measure, {self.part, *inputs}, self.measured, **MEASURE)
        self.grid_buttons.wire(self.sensitivity, page.inputs, [self.grid_words, self.grid])
        board = [self.board_words, self.board, self.cost_words, self.cost_plot, self.curve_words, self.curves]
        board.append(self.board_state)
        self.board_buttons.wire(self.leaderboard, {page.opened, self.cost}, board)
        known = {page.view, self.cost, self.board_state}
        page.on_new_list("Compare", self.known_leaderboard, board, known, [self.cost.change])

    def queries(self, values: Values) -> list[Query]:
        """The queries of A, B and, if chosen, C. Raises SDiffError."""
        a = self.page.query(values)
        return [a, *(query for side in self.sides if (query := side.query(a, values)))]

    @guarded
    def compare(self, values: Values) -> Parts:
        """All lists, if the tab is open, and the part of the URL that belongs to B and C."""
        if values[self.page.view] != "Compare" or not values[self.sides[0].model]:  # no data set is open yet
            return gr.skip()
        queries = self.queries(values)
        result = comparison.compare(queries)
        named = zip(comparison.NAMES, result.lists, result.shifts, strict=False)
        tables = [
            lists.moving_table(f"{name} · top {len(rows)}", rows, shifts, "B" if name == "A" else "A")
            for name, rows, shifts in named
        ]
        parts: Parts = {self.words: result.words, self.a_words: comparison.describe(queries[0]), self.a_list: tables[0]}
        address: dict[str, Any] = {}
        for n, side in enumerate(self.sides, 1):
            if n < len(queries):
                query = queries[n]
                parts |= {side.words: comparison.describe(query), side.list: gr.HTML(tables[n], visible=True)}
                pairs = {"model": query.model, **query.settings}
                address |= {side.prefix + key: value for key, value in pairs.items()}
            else:
                parts |= {side.words: "", side.list: gr.HTML("", visible=False)}
        return parts | {self.side: urlencode(address)}

    @guarded
    def measure(self, values: Values) -> str:
        """Metrics of all sides over many users."""
        head, rows, words = comparison.measure(self.queries(values), values[self.part])
        return lists.plain_table(words, head, rows)

    def known_leaderboard(self, values: Values) -> Parts:
        """What is known of the models without measuring them, if the tab is open and does not show it yet."""
        if values[self.page.view] != "Compare":
            return gr.skip()
        dataset = values[self.page.opened][0]
        parts = self._standings(dataset, next(comparison.leaderboard(dataset)), values[self.cost])
        return gr.skip() if parts[self.board_state] == values[self.board_state] else parts

    def leaderboard(self, values: Values) -> Iterator[Parts]:
        """The leaderboard, model by model, until it is complete, stopped, or the page is closed."""
        dataset, buttons = values[self.page.opened][0], self.board_buttons
        try:
            for standings in comparison.leaderboard(dataset):
                left = any(row.measured is None and not row.error for row in standings)
                yield self._standings(dataset, standings, values[self.cost]) | buttons.measuring(left)
        except SDiffError as error:
            yield {self.board_words: escape(public_message(error)), **buttons.stopped()}

    def _standings(self, dataset: str, standings: list[Standing], cost: str) -> Parts:
        """The leaderboard as a table, two plots and sentences."""
        done = sum(row.measured is not None for row in standings)
        words = f"{done} of {len(standings)} are measured: lists of 20 for at most {comparison.SAMPLE:,} users of each "
        words += "part, the same for all models (seed 0). The best is first; press the head of a column to sort by it."
        if any(row.foreign for row in standings):
            words += " A model that was trained on another split may know held-out items of this one."
        title = open_dataset(dataset).dataset.title
        points = [row for row in map(_point, standings) if row and (row[cost] or 0) > 0]
        figures = self._cost(points, cost) | self._curves(standings)
        table = lists.sortable_table(f"Models of {title}", HEADS, [_cells(row) for row in standings])
        state = zlib.crc32(f"{dataset} {cost} {standings}".encode())
        return {self.board_words: words, self.board: table, **figures, self.board_state: str(state)}

    def _cost(self, points: list[dict[str, Any]], cost: str) -> Parts:
        if len(points) < 3:
            words = f"At least three measured models whose {cost.partition(',')[0]} is known are needed for a plot."
            return {self.cost_words: words, self.cost_plot: gr.Plot(visible=False)}
        best, cheapest = max(points, key=lambda row: row["recall@20"]), min(points, key=lambda row: row[cost])
        words = f"**{literal(best['model'])}** is the most accurate, with {best['recall@20']:.4f}; "
        words += f"**{literal(cheapest['model'])}** costs least, with {cheapest['recall@20']:.4f}."
        figure = experiment_figures.points(points, cost, "recall@20", "model")
        return {self.cost_words: words, self.cost_plot: gr.Plot(figure, visible=True)}

    def _curves(self, standings: list[Standing]) -> Parts:
        rows = [
            {"model": row.model, "epoch": epoch, "recall@20": recall}
            for row in standings
            if len(row.curve) > 1
            for epoch, recall in row.curve
        ]
        if not rows:
            words = "No model of this data set has a training curve: models that are trained from now on keep theirs."
            return {self.curve_words: words, self.curves: gr.Plot(visible=False)}
        best = max(rows, key=lambda row: row["recall@20"])
        words = "Validation recall@20 over all users by epoch. The highest point is "
        words += f"{best['recall@20']:.4f}, of **{literal(best['model'])}** at epoch {best['epoch']}."
        figure = experiment_figures.lines(rows, "epoch", group="model")
        return {self.curve_words: words, self.curves: gr.Plot(figure, visible=True)}

    def sensitivity(self, values: Values) -> Iterator[Parts]:
        """The heat map, cell by cell, until it is complete, stopped, or the page is closed."""
        buttons = self.grid_buttons
        try:
            query = self.page.query(values)
            grid = comparison.grid(query)
            n = prod(map(len, grid.values()))
            alike = "; σₘₐₓ changes nothing without noise" if len(grid["sigma_max"]) == 1 else ""
            yield {self.grid_words: f"Measuring the first of {n} pairs …", **buttons.measuring(True)}
            for cells in comparison.sensitivity(query):
                best = max(cells, key=lambda cell: cell["recall@20"])
                lowest = min(cell["recall@20"] for cell in cells)
                words = (
                    f"{query.model}: {len(cells)} of {n} pairs measured{alike}. Best: αₘᵢₙ = {best['alpha_min']:g} and "
                    f"σₘₐₓ = {best['sigma_max']:g} with recall@20 {best['recall@20']:.4f}; lowest {lowest:.4f}."
                )
                figure = gr.Plot(experiment_figures.heat_map(cells, "alpha_min", "sigma_max"), visible=True)
                yield {self.grid_words: words, self.grid: figure, **buttons.measuring(len(cells) < n)}
        except SDiffError as error:
            yield {self.grid_words: escape(public_message(error)), **buttons.stopped()}


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
    megabytes = None if row.size is None else row.size / 1e6
    return {"model": row.model, "recall@20": recall, "training, s": row.seconds, "size, MB": megabytes}
