"""The Recommend tab: a history, its list, and what speaks for an item."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr

# A button in a list tells which item it stands beside.
PRESSED = """element.addEventListener("click", ({ target }) => {
  const button = target.closest("button[data-item]");
  if (button) trigger("click", { item: button.dataset.item });
})"""


class RecommendTab(NamedTuple):
    """What the page wires together."""

    summary: gr.Markdown
    add: gr.Textbox
    restore: gr.Button
    empty: gr.Button
    addable: gr.HTML
    history: gr.HTML
    recommended: gr.HTML
    csv: gr.Button
    python: gr.Button
    why: gr.HTML
    plots: list[Any]  # SNR, words, energy, words


def recommend_tab() -> RecommendTab:
    """Builds the tab."""
    with gr.Row(elem_id="view"):
        with gr.Column(scale=7, min_width=310):
            summary = gr.Markdown(elem_id="summary")
            with gr.Row(elem_id="lists"):
                with gr.Column(scale=2, min_width=200, elem_id="past"):
                    add = gr.Textbox(
                        show_label=False,
                        label="Add an item to the history",
                        placeholder="What if? Add by title …",
                        max_lines=1,
                        container=False,
                        elem_id="add",
                    )
                    with gr.Row(elem_id="edits"):
                        restore = gr.Button("True history", size="sm", min_width=80, interactive=False)
                        empty = gr.Button("Empty", size="sm", min_width=80)
                    addable = gr.HTML(elem_id="addable", padding=False, js_on_load=PRESSED)
                    history = gr.HTML(elem_id="history", padding=False, js_on_load=PRESSED)
                with gr.Column(scale=3, min_width=300):
                    recommended = gr.HTML(elem_id="recommended", padding=False, js_on_load=PRESSED)
                    with gr.Row(elem_id="take"):
                        csv = gr.Button("Save as CSV", size="sm", min_width=100, elem_id="csv")
                        python = gr.Button("Copy as Python", size="sm", min_width=100, elem_id="python")
                        gr.Button("Copy link", size="sm", min_width=100, elem_id="link").click(
                            None, js="() => window.copyText(location.href, 'The link is copied.')"
                        )
        with gr.Column(scale=3, min_width=300, elem_id="plots"):
            why = gr.HTML(elem_id="why", padding=False)
            gr.Markdown("## Signal to noise by frequency")
            snr_plot = gr.Plot(show_label=False, elem_id="snr", container=False)
            snr_words = gr.Markdown(elem_classes="words")
            gr.Markdown("## This user's energy by frequency")
            energy_plot = gr.Plot(show_label=False, elem_id="energy", container=False)
            energy_words = gr.Markdown(elem_classes="words")
    plots = [snr_plot, snr_words, energy_plot, energy_words]
    return RecommendTab(summary, add, restore, empty, addable, history, recommended, csv, python, why, plots)
