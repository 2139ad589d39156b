"""The Waves tab: what each graph frequency separates, which ones carry a history, and a map of the items."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from sdiff.app.controls import Parts, Values
from sdiff.app.handlers import waves
from sdiff.app.labels import literal
from sdiff.app.page import Page, plot_area
from sdiff.app.views import figures, lists
from sdiff.results.style import GENRE_COLOURS

INTRO = """## The waves of this history
Items that the same people choose are neighbours in a graph. A wave gives each item a height. Slow waves change
little from neighbour to neighbour, so they separate large groups of items; each is named by what is found at its two
ends. A history is a sum of waves."""
FIRST = (2, 3)  # the waves of the map at the start: the first one only says how widely an item is seen


class WavesTab:
    """The waves that carry a history, a map of the items on two of them, and the eigenvalues."""

    def __init__(self, page: Page) -> None:
        self.page = page
        gr.Markdown(INTRO, elem_classes="words")
        with gr.Row(elem_id="carried"):
            with gr.Column(scale=3, min_width=310):
                self.words = gr.Markdown(elem_classes="words")
                self.amplitudes = plot_area("Waves of the history", "amplitudes")
            with gr.Column(scale=2, min_width=310):
                self.strongest = gr.HTML(elem_id="strongest", padding=False)
        gr.Markdown("## A map of all items\nEach point is an item. Its position is its height on two waves.")
        with gr.Row(elem_id="axes"):
            look: dict[str, Any] = dict(precision=0, min_width=120)  # a number out of range is moved into it
            self.axes = [
                gr.Number(number, label=label, elem_id=f"wave-{axis}", **look)
                for number, label, axis in zip(FIRST, ("Wave from left to right", "Wave upwards"), "xy", strict=True)
            ]
        self.map_words = gr.Markdown(elem_classes="words", elem_id="map-words")
        self.filters = gr.HTML(elem_id="map-filters", padding=False)
        self.map = plot_area("Map of the items", "map")
        self.drawn = gr.Textbox(visible=False)  # checksum of the map on the page
        self.marks = gr.Textbox(visible=False)  # for the script: what is marked on it, as JSON
        gr.Markdown("## How fast each wave is: the eigenvalues of the graph")
        self.eigenvalues = plot_area("Eigenvalues", "eigenvalues")
        self.eigenvalues_words = gr.Markdown(elem_classes="words")

    def wire(self) -> None:
        """Connects the events: everything is updated after each new list, and the map also by its two waves."""
        shown = [self.words, self.amplitudes, self.strongest, self.eigenvalues, self.eigenvalues_words]
        self.page.on_new_list("Waves", self.carried, shown)
        events = [event for axis in self.axes for event in (axis.submit, axis.blur)]
        mapped = [self.map, self.map_words, self.filters, self.drawn, self.marks, *self.axes]
        self.page.on_new_list("Waves", self.mapped, mapped, [self.drawn, *self.axes], events)
        self.marks.change(None, self.marks, js="text => window.tellMarks(text)")

    def carried(self, values: Values) -> Parts:
        """The waves of the history."""
        found = waves.carried(self.page.listed("Waves", values))
        names, lam = [wave.name for wave in found.waves], [wave.lam for wave in found.waves]
        still = sum(value == 0 for value in lam)
        return {
            self.words: "The history is empty, so it has no waves."
            if not found.kept
            else f"These {len(names)} waves hold **{found.kept:.0%}** of the history. Bars are signed: up and "
            "down are the two ends of a wave. Hover for names; click a bar to draw the map along it.",
            self.amplitudes: figures.amplitudes(found.amplitude, names),
            self.strongest: lists.waves_table(found.waves, found.amplitude, found.share),
            self.eigenvalues: figures.eigenvalues(lam, names),
            self.eigenvalues_words: "The eigenvalue λ tells how fast a wave changes along the graph: here from "
            f"{lam[0]:.2f} to {lam[-1]:.2f}. "
            + (f"The {still} slowest have λ = 0, so VP neither damps them nor adds noise." if still > 1 else ""),
        }

    def mapped(self, values: Values) -> Parts:
        """The map on two waves, unless the page has it already, and what is marked on it."""
        query = self.page.listed("Waves", values)
        numbers = [int(values[axis] or first) for axis, first in zip(self.axes, FIRST, strict=True)]
        found = waves.item_map(query, numbers[0], numbers[1], len(GENRE_COLOURS))
        across, up = found.waves
        new = found.checksum != values[self.drawn]
        return {
            **({self.map: figures.item_map(found), self.drawn: found.checksum} if new else {}),
            self.marks: json.dumps(waves.marks(query) | {"waves": [across.number, up.number]}),
            self.filters: lists.filters(query),
            self.map_words: f"From left to right, wave {across.number}: **{literal(across.name)}**. Upwards, wave "
            f"{up.number}: **{literal(up.name)}**. Black dots are the history, rings are the list. Click an item to "
            "open its page.",
            **{axis: wave.number for axis, wave in zip(self.axes, found.waves, strict=True)},  # within the range
        }
