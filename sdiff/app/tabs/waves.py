"""The Waves tab: what each graph frequency separates, which ones carry a history, and a map of the items."""

from __future__ import annotations

from typing import Any

import gradio as gr

from sdiff.app import figures, lists, waves
from sdiff.app.controls import Parts, Values
from sdiff.app.page import Page, plot_area
from sdiff.app.words import literal

INTRO = """## The waves of this history
Items that the same people choose are neighbours in a graph. Its slow waves change little from neighbour to neighbour
and separate the items into large groups; each is named by what stands at its two ends. A history is a sum of waves."""
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
        gr.Markdown("## A map of all items\nEach point is an item; its place is its height on two waves.")
        with gr.Row(elem_id="axes"):
            look: dict[str, Any] = dict(precision=0, minimum=1, min_width=120)
            self.axes = [
                gr.Number(number, label=label, elem_id=f"wave-{axis}", **look)
                for number, label, axis in zip(FIRST, ("Wave from left to right", "Wave upwards"), "xy", strict=True)
            ]
        self.map_words = gr.Markdown(elem_classes="words", elem_id="map-words")
        self.map = plot_area("Map of the items", "map")
        gr.Markdown("## How fast each wave is: the eigenvalues of the graph")
        self.eigenvalues = plot_area("Eigenvalues", "eigenvalues")
        self.eigenvalues_words = gr.Markdown(elem_classes="words")

    def wire(self) -> None:
        """Connects the events: everything is updated after each new list, and the map also by its two waves."""
        shown = [self.words, self.amplitudes, self.strongest, self.eigenvalues, self.eigenvalues_words]
        self.page.on_new_list("Waves", self.carried, shown)
        events = [event for axis in self.axes for event in (axis.submit, axis.blur)]
        self.page.on_new_list("Waves", self.mapped, [self.map, self.map_words, *self.axes], self.axes, events)

    def carried(self, values: Values) -> Parts:
        """The waves of the history."""
        found = waves.carried(self.page.query(values))
        names, lam = [wave.name for wave in found.waves], [wave.lam for wave in found.waves]
        still = sum(value == 0 for value in lam)
        return {
            self.words: f"These {len(names)} waves hold **{found.kept:.0%}** of the history. Bars are signed: up and "
            "down are the two ends of a wave. Hover for names; click a bar to draw the map along it.",
            self.amplitudes: figures.amplitudes(found.amplitude, names),
            self.strongest: lists.waves_table(found.waves, found.amplitude, found.share),
            self.eigenvalues: figures.eigenvalues(lam, names),
            self.eigenvalues_words: f"λ says how fast a wave changes along the graph: {lam[0]:.2f} to {lam[-1]:.2f}. "
            + (f"The {still} slowest have λ = 0: VP neither damps nor noises them." if still > 1 else ""),
        }

    def mapped(self, values: Values) -> Parts:
        """The map on two waves."""
        numbers = [int(values[axis] or first) for axis, first in zip(self.axes, FIRST, strict=True)]
        found = waves.item_map(self.page.query(values), numbers[0], numbers[1], len(figures.GENRE_COLOURS))
        across, up = found.waves
        return {
            self.map: figures.item_map(found),
            self.map_words: f"From left to right, wave {across.number}: **{literal(across.name)}**. Upwards, wave "
            f"{up.number}: **{literal(up.name)}**. Black dots are the history, rings the list. Click an item to see "
            "it.",
            **{axis: wave.number for axis, wave in zip(self.axes, found.waves, strict=True)},  # within the range
        }
