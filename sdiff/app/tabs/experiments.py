"""The Experiments tab: figure, table and command of each run with results."""

from __future__ import annotations

from typing import Any

import gradio as gr

from sdiff.app import experiment_figures, lists, results


def experiments_tab() -> None:
    """Builds the tab from the result files at the start of the app."""
    titles = results.titles()
    if not titles:
        gr.Markdown("No experiment has been run: `python -m sdiff reproduce --help` tells how.")
        return
    first = titles[0][1]
    labels = results.runs(first)
    with gr.Row():
        experiment = gr.Dropdown(titles, value=first, label="Experiment", scale=3, min_width=260, elem_id="experiment")
        run = gr.Dropdown(labels, value=labels[0], label="Data set and preset", scale=2, min_width=220)
    figure, table, source = _show(first, labels[0])
    plot = gr.Plot(figure, show_label=False, elem_id="experiment-plot")
    rows = gr.HTML(table, elem_id="experiment-table", padding=False)
    origin = gr.Markdown(source, elem_classes="words", elem_id="experiment-source")
    quiet: dict[str, Any] = dict(show_progress="hidden", api_visibility="private")
    experiment.input(_open, [experiment], [run, plot, rows, origin], **quiet)
    run.input(_show, [experiment, run], [plot, rows, origin], **quiet)


def _open(name: str) -> tuple[Any, ...]:
    labels = results.runs(name)
    return gr.Dropdown(labels, value=labels[0]), *_show(name, labels[0])


def _show(name: str, label: str) -> tuple[Any, ...]:
    run = results.read_run(name, label)
    table = lists.plain_table(f"{len(run.cells)} rows", run.head, run.cells) if run.cells else ""
    return experiment_figures.picture(run.rows, run.paper, **run.figure), table, f"Made by {run.source}"
