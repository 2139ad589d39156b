"""The Spectrum tab: the reverse process step by step, the eigenvalues, the schedules."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import gradio as gr

from sdiff.app import figures, lists
from sdiff.app.controls import guarded, warn
from sdiff.app.tabs import reverse_handlers, spectral_handlers, take_away
from sdiff.app.tabs.listing import asked
from sdiff.base.errors import SDiffError

PACE = 0.8  # seconds that each step stays when they are played


class SpectrumTab(NamedTuple):
    """What the page wires together: the chosen step, what a step shows, and what the schedules show."""

    step: gr.Slider
    play: gr.Button
    csv: gr.Button
    reverse: list[Any]
    schedules: list[Any]


def spectrum_tab() -> SpectrumTab:
    """Builds the tab."""
    gr.Markdown("## The reverse process, step by step")
    with gr.Row(elem_id="reverse-process"):
        with gr.Column(scale=3, min_width=310):
            with gr.Row(elem_id="steps"):
                step = gr.Slider(
                    1,
                    20,
                    20,
                    step=1,
                    precision=0,
                    label="Step",
                    info="1 … T, from t = τ down",
                    elem_id="step",
                    buttons=[],
                    scale=3,
                )
                play = gr.Button("Play", size="sm", scale=0, min_width=90, elem_id="play")
            reverse_words = gr.Markdown(elem_id="reverse-words")
            band_plot = gr.Plot(show_label=False, elem_id="reverse-energy", container=False)
            path_plot = gr.Plot(show_label=False, elem_id="reverse-path", container=False)
        with gr.Column(scale=2, min_width=310):
            listed = gr.HTML(elem_id="reverse-list", padding=False)
    gr.Markdown("## Eigenvalues of the item graph")
    eigen_plot = gr.Plot(show_label=False, elem_id="eigenvalues", container=False)
    eigen_words = gr.Markdown(elem_classes="words")
    gr.Markdown("## Signal α and noise σ over time, for low to high frequencies")
    schedule_plot = gr.Plot(show_label=False, elem_id="schedules", container=False)
    schedule_words = gr.Markdown(elem_classes="words")
    gr.Markdown("## Signal-to-noise ratio over time and frequency")
    map_plot = gr.Plot(show_label=False, elem_id="maps", container=False)
    map_words = gr.Markdown(elem_classes="words")
    csv = gr.Button("Save the plots' data as CSV", size="sm", elem_id="spectrum-csv")
    return SpectrumTab(
        step,
        play,
        csv,
        [step, play, reverse_words, band_plot, path_plot, listed],
        [eigen_plot, eigen_words, schedule_plot, schedule_words, map_plot, map_words],
    )


def schedules(*page: Any) -> tuple[Any, ...]:
    """Spectrum and schedules."""
    try:
        found = spectral_handlers.schedule_view(asked(*page))
    except SDiffError:  # the list has said so
        return (gr.skip(),) * 6
    drawn = {
        "eigenvalues": figures.eigenvalues(found.lam),
        "schedules": figures.schedules(found.times, found.shown_lam.tolist(), found.schedules),
        "maps": figures.snr_maps(found.times, found.mapped, found.maps),
    }
    return tuple(part for name, figure in drawn.items() for part in (figure, found.words[name]))


def reverse(step: int, *page: Any) -> tuple[Any, ...]:
    """One step of the reverse process."""
    try:
        return _step(reverse_handlers.reverse_process(asked(*page), step))
    except SDiffError:  # the list has said so
        return (gr.skip(),) * 6


def play(*page: Any) -> Iterator[tuple[Any, ...]]:
    """Every step in turn."""
    try:
        query, step, steps = asked(*page), 0, 1
        while step < steps:
            found = reverse_handlers.reverse_process(query, step + 1)
            step, steps = found.step, len(found.times)
            yield _step(found)
            time.sleep(PACE if step < steps else 0)
    except SDiffError as error:
        warn(error)


def _step(found: reverse_handlers.Reverse) -> tuple[Any, ...]:
    steps = len(found.times)
    return (
        gr.Slider(value=found.step, maximum=max(steps, 2), visible=steps > 1),
        gr.Button(visible=steps > 1),
        found.words,
        figures.band_energy(found.bands, *found.energy, names=("history", "v_t", "estimate of v_0")),
        gr.Plot(figures.reverse_path(found.times, found.overlap, found.hits, found.step), visible=steps > 1),
        lists.moving_table(f"List of the estimate at step {found.step}", found.rows, found.moves, "step before"),
    )


@guarded
def csv(*page: Any) -> str:
    return take_away.spectrum_csv(asked(*page))
