"""The Diffusion tab: a history noised and restored, moment by moment, and the noise schedules."""

from __future__ import annotations

import gradio as gr

from sdiff.app.controls import Parts, Values
from sdiff.app.handlers import spectral
from sdiff.app.labels import SOLVED
from sdiff.app.page import Page, plot_area
from sdiff.app.tabs import take_away
from sdiff.app.views import figures, lists

INTRO = """## From history to list: noise in, noise out
Items that the same people choose are neighbours in a graph. A history is a sum of waves over this graph. Diffusion
damps the waves and adds noise; the denoiser then estimates the history again, together with what is missing from it.
**VP** is the method's noise: slow waves, which carry shared taste, stay clear. **VE** gives all waves the same
noise; **DDPM**, the usual kind, also damps them all alike."""


class DiffusionTab:
    """The film of a history's diffusion, and plots of the schedules. The page's script plays the film."""

    def __init__(self, page: Page) -> None:
        self.page = page
        gr.Markdown(INTRO, elem_classes="words")
        self.film = gr.HTML(elem_id="film", padding=False)
        self.energy = plot_area("Energy by wave", "film-energy")
        gr.Markdown("## Signal α and noise σ over time, for slow to fast waves")
        self.alpha_sigma = plot_area("Signal and noise over time", "schedules")
        self.alpha_sigma_words = gr.Markdown(elem_classes="words")
        gr.Markdown("## Signal-to-noise ratio over time and waves (the paper's Figure 3)")
        self.maps = plot_area("Signal-to-noise ratio over time and waves", "maps")
        self.maps_words = gr.Markdown(elem_classes="words")
        self.csv = gr.Button("Save the plots' data as CSV", size="sm", elem_id="spectrum-csv")

    def wire(self) -> None:
        """Connects the events: everything is updated after each new list."""
        plots = [self.alpha_sigma, self.alpha_sigma_words, self.maps, self.maps_words]
        self.page.on_new_list("Diffusion", self.schedules, plots)
        self.page.on_new_list("Diffusion", self.shown, [self.film, self.energy])
        self.film.change(None, js="() => window.showFrame()")
        self.page.take_away(self.csv, take_away.spectrum_csv, "text => window.saveText(text, 'spectrum.csv')")

    def shown(self, values: Values) -> Parts:
        """The film."""
        query = self.page.listed("Diffusion", values)
        if not spectral.diffuses(query):
            return {self.film: f'<p class="empty">{SOLVED}</p>', self.energy: gr.Plot(visible=False)}
        film = spectral.film(query)
        return {
            self.film: lists.film(film, lists.filters(query)),
            self.energy: gr.Plot(
                figures.film(film.bands, film.history, [frame.energy for frame in film.frames], film.names),
                visible=True,
            ),
        }

    def schedules(self, values: Values) -> Parts:
        """Plots of the schedules."""
        view = spectral.schedule_view(self.page.listed("Diffusion", values))
        return {
            self.alpha_sigma: figures.schedules(view.times, view.shown_lam.tolist(), view.schedules),
            self.alpha_sigma_words: view.words["schedules"],
            self.maps: figures.snr_maps(view.times, view.mapped, view.maps),
            self.maps_words: view.words["maps"],
        }
