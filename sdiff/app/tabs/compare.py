"""The Compare tab: what the page shows, A, beside another model or other settings, B."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html import escape
from math import prod
from typing import Any, NamedTuple
from urllib.parse import urlencode

import gradio as gr

from sdiff.app import experiment_figures, lists
from sdiff.app.controls import SLIDERS, guarded, named, said, slider, values
from sdiff.app.query import Query
from sdiff.app.state import serve
from sdiff.app.tabs import compare_handlers
from sdiff.app.tabs.listing import Opened, asked
from sdiff.app.words import told
from sdiff.base.errors import SDiffError
from sdiff.config import HELP, INFERENCE_KEYS
from sdiff.evaluation.evaluate import Part

SIDE = "b-"  # how in the address what is B's begins


class CompareTab(NamedTuple):
    """What the page wires together: B's model and settings, what is shown of both, and the measuring."""

    model: gr.Dropdown
    panel: gr.Accordion
    settings: list[Any]
    reset: gr.Button
    shown: list[Any]
    part: gr.Radio
    button: gr.Button
    measured: gr.HTML
    start: gr.Button
    stop: gr.Button
    grid: list[Any]


def compare_tab() -> CompareTab:
    """Builds the tab."""
    words = gr.Markdown("Choose what to compare with.", elem_id="compare-words")
    with gr.Row(elem_id="sides"):
        with gr.Column(min_width=310):
            gr.Markdown("## A · as on this page")
            a_words = gr.Markdown(elem_classes="words", elem_id="a-words")
        with gr.Column(min_width=310):
            with gr.Row(elem_id="b-pick"):
                gr.Markdown("## B ·")
                model = gr.Dropdown([], label="Model of B", elem_id="b-model", scale=9, min_width=160, container=False)
            b_words = gr.Markdown(elem_classes="words", elem_id="b-words")
    with gr.Accordion("Settings of B", open=False, elem_id="b-panel") as panel:
        with gr.Row():
            sliders = [slider(name, SIDE) for name in SLIDERS]
            noise = gr.Checkbox(label="Sampling noise", info=HELP["noise"], elem_id=f"{SIDE}noise", min_width=160)
        reset = gr.Button("Reset to the checkpoint's values", size="sm", elem_id="b-reset")
    with gr.Row(elem_id="both"):
        a_list = gr.HTML(elem_id="a-list", padding=False, min_width=310)
        b_list = gr.HTML(elem_id="b-list", padding=False, min_width=310)
    with gr.Row(elem_id="measuring"):
        part = gr.Radio(
            [("validation part", "valid"), ("test part", "test")],
            value="valid",
            label="Measure both on",
            scale=2,
            min_width=240,
        )
        button = gr.Button("Measure", variant="primary", scale=0, min_width=140, elem_id="measure")
    measured = gr.HTML(elem_id="measured", padding=False)
    gr.Markdown("## How A answers to αₘᵢₙ and σₘₐₓ")
    with gr.Row(elem_id="sensitivity"):
        start = gr.Button("Measure the grid", size="sm", scale=0, min_width=160, elem_id="grid")
        stop = gr.Button("Stop", size="sm", scale=0, min_width=90, interactive=False)
        grid_words = gr.Markdown(
            "Recall@20 for 25 pairs of values, on the validation part if there is one, else on the test part.",
            elem_classes="words",
        )
    grid_plot = gr.Plot(visible=False, show_label=False, elem_id="grid-plot", container=False)
    grid = [grid_words, grid_plot, start, stop]
    side = gr.Textbox(visible=False)
    side.change(None, side, js="text => window.setSide(text)")
    shown = [words, a_words, a_list, b_words, b_list, side]
    return CompareTab(model, panel, [*sliders, noise], reset, shown, part, button, measured, start, stop, grid)


def open_sides(request: gr.Request, opened: Opened, model: str) -> tuple[Any, ...]:
    """B's choices for the data set that is open, and its panel; at first they are the address's, or another model than
    A's."""
    choices, linked = compare_handlers.sides(opened[0]), _linked(request)
    if not model and linked.model not in ("", *choices):
        gr.Warning(escape(f"There is no model {linked.model:.200} to compare with here: choose another."), duration=15)
    wished = (model, linked.model, *(name for name in choices if name != opened[1]))
    chosen = next(name for name in wished if name in choices)
    panel = settings_of(request, opened, chosen) if not model else [gr.skip()] * (2 + len(SLIDERS))
    return gr.Dropdown(choices, value=chosen), *panel  # at once, before a comparison tells the address something else


def settings_of(request: gr.Request, opened: Opened, model: str) -> tuple[Any, ...]:
    """B's panel at the address's values where that is of this model, else at its checkpoint's; a reference has none."""
    if model in compare_handlers.REFERENCES:
        return gr.Accordion(visible=False), *(gr.skip() for _ in (*SLIDERS, "noise"))
    config, linked = serve(opened[0], model)[1].config, _linked(request)
    if linked.model == model:
        config = said(lambda: config.at_inference(linked.settings), config)
    return gr.Accordion(visible=True), *values(config)


def trained_settings(opened: Opened, model: str) -> tuple[Any, ...]:
    """B's settings at its checkpoint's values."""
    return values(serve(opened[0], model)[1].config)


def _linked(request: gr.Request) -> Query:
    """Model and settings of B as the address has them."""
    pairs = [(name.removeprefix(SIDE), value) for name, value in request.query_params.items() if name.startswith(SIDE)]
    return said(lambda: Query.parse(pair for pair in pairs if pair[0] in ("model", *INFERENCE_KEYS)), Query())


@guarded
def compare(view: str, model: str, *rest: Any) -> Any:
    """Both lists, while they can be seen, and what the address has to hold of B."""
    if view != "Compare" or not model:  # the other side is chosen once a data set is open
        return gr.skip()
    a, b = _sides(model, *rest)
    found = compare_handlers.compare(a, b)
    tables = [
        lists.moving_table(f"{side} · top {len(rows)}", rows, shifts, than)
        for side, rows, shifts, than in zip("AB", found.lists, found.shifts, "BA", strict=True)
    ]
    side = urlencode({SIDE + name: value for name, value in {"model": b.model, **b.settings}.items()})
    return found.words, compare_handlers.described(a), tables[0], compare_handlers.described(b), tables[1], side


@guarded
def measure(part: Part, model: str, *rest: Any) -> Any:
    """What both reach over many users."""
    rows, words = compare_handlers.measure(*_sides(model, *rest), part)
    return lists.plain_table(words, ["measure", "A", "B", "B − A", "what it says"], rows)


def sensitivity(*page: Any) -> Iterator[tuple[Any, ...]]:
    """The heat map cell by cell; a stop, or the page's end, ends it where it is."""
    busy, idle = ((gr.Button(interactive=not on), gr.Button(interactive=on)) for on in (True, False))
    cells: list[dict[str, float]] = []
    try:
        query = asked(*page)
        grid = compare_handlers.grid(query)
        n = prod(map(len, grid.values()))
        alike = "; σₘₐₓ changes nothing without noise" if len(grid["sigma_max"]) == 1 else ""
        yield f"Measuring the first of {n} pairs …", gr.skip(), *busy
        for cells in compare_handlers.sensitivity(query):
            best = max(cells, key=lambda cell: cell["recall@20"])
            lowest = min(cell["recall@20"] for cell in cells)
            words = (
                f"{query.model}: {len(cells)} of {n} pairs measured{alike}. Best: αₘᵢₙ = {best['alpha_min']:g} and "
                f"σₘₐₓ = {best['sigma_max']:g} with recall@20 {best['recall@20']:.4f}; lowest {lowest:.4f}."
            )
            figure = experiment_figures.heat_map(cells, "alpha_min", "sigma_max")
            yield words, gr.Plot(figure, visible=True), *(busy if len(cells) < n else idle)
    except SDiffError as error:
        yield escape(told(error)), gr.skip(), *idle


def stopped() -> tuple[Any, ...]:
    """The buttons once a grid was stopped."""
    return gr.Button(interactive=True), gr.Button(interactive=False)


def _sides(model: str, *rest: Any) -> tuple[Query, Query]:
    n = len(SLIDERS) + 1
    a = asked(*rest[n:])
    if model in compare_handlers.REFERENCES:
        return a, replace(a, model=model, settings={})
    trained = serve(a.dataset, model)[1].config
    moved = {name: value for name, value in named(list(rest[:n])).items() if value != getattr(trained, name)}
    return a, replace(a, model=model, settings=moved)
