"""The Compare tab: the page's list (A) beside the lists of other models or settings (B and C), and all models."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

import gradio as gr

from sdiff.app.controls import Parts, Values, moves
from sdiff.app.handlers import comparison, measuring
from sdiff.app.messages import attempt, guarded
from sdiff.app.page import QUIETLY, Page, query_of
from sdiff.app.query import Query
from sdiff.app.tabs.grid import MEASURE, Grid
from sdiff.app.tabs.leaderboard import Leaderboard
from sdiff.app.tabs.sides import NONE, Side
from sdiff.app.views import lists, tables


class CompareTab:
    """The lists side by side, their measurement, the leaderboard, and the heat map of A."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.words = gr.Markdown(elem_id="compare-words")
        self.sides = (Side("B"), Side("C", optional=True))
        with gr.Row(elem_id="sides"):
            with gr.Column(min_width=310):
                gr.Markdown("## A · current model and settings")
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
        self.leaderboard, self.grid = Leaderboard(page), Grid(page)
        self.side = gr.Textbox(visible=False)  # the part of the URL that belongs to B and C
        self.offered = gr.Textbox("", visible=False)  # the data set whose models B and C offer

    def wire(self, more_models: Any) -> None:
        """Connects the events. `more_models`: one after which there is another model to choose."""
        page = self.page
        inputs = {page.tab_states["Compare"], self.side, *(part for side in self.sides for part in side.inputs)}
        shown = [self.words, self.a_words, self.a_list, self.side]
        shown += [part for side in self.sides for part in side.outputs]
        self.side.change(None, self.side, js="text => window.setSide(text)")
        events = [event for side in self.sides for event in moves(side.settings)]
        order = page.on_new_list("Compare", self.follow, [self.offered, *shown], {self.offered, *inputs}, events)
        order |= dict(trigger_mode="always_last")
        for side in self.sides:
            side.model.input(self.choose, inputs, shown, api_name=f"choose_{side.name}", **order)
            side.reset.click(partial(self.reset, side), inputs, shown, api_name=f"reset_{side.name}", **order)
        models = [side.model for side in self.sides]
        more_models.success(self.offer, page.tab_states["Compare"], models, **QUIETLY)
        self.button.click(self.measure, {self.part, *inputs}, self.measured, **MEASURE)
        self.leaderboard.wire()
        self.grid.wire()

    def queries(self, values: Values) -> list[Query]:
        """The queries of A, B and, if chosen, C. Raises SDiffError."""
        a = self.page.listed("Compare", values)
        return [a, *(query for side in self.sides if (query := side.query(a, values)))]

    def follow(self, request: gr.Request, values: Values) -> Parts:
        """All lists after a new list of A. B and C offer the models of its data set. Raises SDiffError."""
        a = self.page.listed("Compare", values)
        if values[self.offered] == a.dataset:
            return attempt(lambda: self.compare(values, self.chosen(values)), gr.skip())
        new = {self.offered: a.dataset}
        for side in self.sides:
            new |= side.open(request, a, values[side.model])
        return attempt(lambda: self.compare(values, new), new)

    def offer(self, list_state: str) -> Any:
        """The choices of B and C after a model was trained. The chosen ones stay."""
        if not list_state:  # they have not been opened yet
            return gr.skip()
        dataset = query_of(list_state).dataset
        return [gr.update(choices=side.choices(dataset)) for side in self.sides]

    def chosen(self, values: Values) -> Parts:
        """The own settings of the models chosen since the lists on the page, whose sliders still show those of the
        former models. Raises SDiffError."""
        dataset, shown, new = self.page.listed("Compare", values).dataset, dict(parse_qsl(values[self.side])), Parts()
        for side in self.sides:
            if (model := values[side.model] or NONE) != shown.get(f"{side.prefix}model", NONE):
                new |= side.settings_of(dataset, model)
        return new

    @guarded
    def choose(self, values: Values) -> Parts:
        """All lists after another model was chosen for a side. Gradio also sends a dropdown that was only left."""
        new = self.chosen(values)
        return self.compare(values, new) if new else gr.skip()

    @guarded
    def reset(self, side: Side, values: Values) -> Parts:
        """All lists with a side's model at its own settings."""
        own = side.settings_of(self.page.listed("Compare", values).dataset, values[side.model])
        return self.compare(values, self.chosen(values) | own)

    def compare(self, values: Values, new: Parts) -> Parts:
        """All lists after the updates `new`, and the part of the URL that belongs to B and C. Raises SDiffError."""
        queries = self.queries(_after(values, new))
        result = comparison.compare(queries)
        named = zip(comparison.NAMES, result.lists, result.shifts, strict=False)
        filters = lists.filters(queries[0])
        tables = [
            lists.moving_table(f"{name} · top {len(rows)}", rows, shifts, "B" if name == "A" else "A", filters)
            for name, rows, shifts in named
        ]
        parts: Parts = {self.words: result.words, self.a_words: comparison.describe(queries[0]), self.a_list: tables[0]}
        address: dict[str, str] = {}
        for n, side in enumerate(self.sides, 1):
            if n < len(queries):
                query = queries[n]
                parts |= {side.words: comparison.describe(query), side.list: gr.HTML(tables[n], visible=True)}
                parts |= side.effects(query)
                pairs = {"model": query.model} | {name: f"{value:.15g}" for name, value in query.settings.items()}
                address |= {side.prefix + key: value for key, value in pairs.items()}
            else:
                parts |= {side.words: "", side.list: gr.HTML("", visible=False)}
        return parts | {self.side: urlencode(address)} | new

    @guarded
    def measure(self, values: Values) -> str:
        """Metrics of all sides over many users."""
        queries = self.queries(_after(values, self.chosen(values)))
        head, rows, words = measuring.measure(queries, values[self.part])
        return tables.plain_table(words, head, rows)


def _after(values: Values, new: Parts) -> Values:
    """The values of the components after an update."""
    return values | {part: update["value"] for part, update in new.items() if "value" in update}
