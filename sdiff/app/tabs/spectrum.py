"""The Spectrum tab: reverse process step by step, eigenvalues, and noise schedules."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from sdiff.app import figures, lists, spectral
from sdiff.app.controls import Parts, Values
from sdiff.app.page import Page
from sdiff.app.tabs import take_away
from sdiff.app.words import warn
from sdiff.base.errors import SDiffError

PACE = 0.8  # seconds per step during playback


class SpectrumTab:
    """A step of the reverse process, chosen by slider or played, and plots that do not depend on it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        gr.Markdown("## The reverse process, step by step")
        with gr.Row(elem_id="reverse-process"):
            with gr.Column(scale=3, min_width=310):
                with gr.Row(elem_id="steps"):
                    look: dict[str, Any] = dict(label="Step", info="1 … T, from t = τ down", scale=3, buttons=[])
                    self.step = gr.Slider(1, 20, 20, step=1, precision=0, elem_id="step", **look)
                    self.play_button = gr.Button("Play", size="sm", scale=0, min_width=90, elem_id="play")
                self.words = gr.Markdown(elem_id="reverse-words")
                self.bands = gr.Plot(show_label=False, elem_id="reverse-energy", container=False)
                self.path = gr.Plot(show_label=False, elem_id="reverse-path", container=False)
            with gr.Column(scale=2, min_width=310):
                self.listed = gr.HTML(elem_id="reverse-list", padding=False)
        gr.Markdown("## Eigenvalues of the item graph")
        self.eigenvalues = gr.Plot(show_label=False, elem_id="eigenvalues", container=False)
        self.eigenvalues_words = gr.Markdown(elem_classes="words")
        gr.Markdown("## Signal α and noise σ over time, for low to high frequencies")
        self.alpha_sigma = gr.Plot(show_label=False, elem_id="schedules", container=False)
        self.alpha_sigma_words = gr.Markdown(elem_classes="words")
        gr.Markdown("## Signal-to-noise ratio over time and frequency")
        self.maps = gr.Plot(show_label=False, elem_id="maps", container=False)
        self.maps_words = gr.Markdown(elem_classes="words")
        self.csv = gr.Button("Save the plots' data as CSV", size="sm", elem_id="spectrum-csv")

    def wire(self) -> None:
        """Connects the events: all plots are updated after each new list, and the step also by its slider."""
        plots = [self.eigenvalues, self.alpha_sigma, self.maps]
        words = [self.eigenvalues_words, self.alpha_sigma_words, self.maps_words]
        self.page.on_new_list("Spectrum", self.schedules, [*plots, *words])
        step = [self.step, self.play_button, self.words, self.bands, self.path, self.listed]
        self.page.on_new_list("Spectrum", self.reverse, step, [self.step], [self.step.release])
        self.play_button.click(self.play, self.page.inputs, step, show_progress="hidden", api_visibility="private")
        self.page.take_away(self.csv, take_away.spectrum_csv, "text => window.saveText(text, 'spectrum.csv')")

    def schedules(self, values: Values) -> Parts:
        """Spectrum and schedules."""
        view = spectral.schedule_view(self.page.query(values))
        return {
            self.eigenvalues: figures.eigenvalues(view.lam),
            self.eigenvalues_words: view.words["eigenvalues"],
            self.alpha_sigma: figures.schedules(view.times, view.shown_lam.tolist(), view.schedules),
            self.alpha_sigma_words: view.words["schedules"],
            self.maps: figures.snr_maps(view.times, view.mapped, view.maps),
            self.maps_words: view.words["maps"],
        }

    def reverse(self, values: Values) -> Parts:
        """One step of the reverse process."""
        return self.shown(spectral.reverse_process(self.page.query(values), values[self.step]))

    def play(self, values: Values) -> Iterator[Parts]:
        """Plays all steps."""
        try:
            query, step, steps = self.page.query(values), 0, 1
            while step < steps:
                view = spectral.reverse_process(query, step + 1)
                step, steps = view.step, len(view.times)
                yield self.shown(view)
                time.sleep(PACE if step < steps else 0)
        except SDiffError as error:
            warn(error)

    def shown(self, view: spectral.Reverse) -> Parts:
        """The components of a step. The slider's maximum is the number of steps."""
        steps = len(view.times)
        energy = figures.band_energy(view.bands, *view.energy, names=("history", "v_t", "estimate of v_0"))
        path = figures.reverse_path(view.times, view.overlap, view.hits, view.step)
        return {
            self.step: gr.Slider(value=view.step, maximum=max(steps, 2), visible=steps > 1),
            self.play_button: gr.Button(visible=steps > 1),
            self.words: view.words,
            self.bands: energy,
            self.path: gr.Plot(path, visible=steps > 1),
            self.listed: lists.moving_table(
                f"List of the estimate at step {view.step}", view.rows, view.moves, "step before"
            ),
        }
