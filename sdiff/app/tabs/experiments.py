"""The Experiments tab: what each run with results shows, its figure, its table and its command."""

from __future__ import annotations

from typing import Any

import gradio as gr

from sdiff.app.labels import preset_label
from sdiff.app.views import tables
from sdiff.data.registry import REGISTRY
from sdiff.results import charts, documents

METRICS = "R: recall, N: NDCG, of lists of 10 or 20 on the test part; valid: on the validation part"


def experiments_tab() -> None:
    """Builds the tab from the result files at the start of the app."""
    titles = experiments()
    if not titles:
        gr.Markdown("There are no results yet. `sdiff reproduce --help` shows how to run experiments.")
        return
    first = titles[0][1]
    runs = _runs(first)
    with gr.Row():
        experiment = gr.Dropdown(titles, value=first, label="Experiment", scale=3, min_width=260, elem_id="experiment")
        run = gr.Dropdown(runs, value=runs[0][1], label="Data set and model", scale=2, min_width=220)
    words, figure, label, table, source = _read(first, runs[0][1])
    quiet: dict[str, Any] = dict(show_progress="hidden", api_visibility="private")
    shown = [
        gr.Markdown(words, elem_id="experiment-words"),
        gr.Plot(figure, label=label, show_label=False, elem_id="experiment-plot"),
        gr.HTML(table, elem_id="experiment-table", padding=False),
        gr.Markdown(source, elem_classes="words", elem_id="experiment-source"),
    ]
    experiment.input(_open, [experiment], [run, *shown], **quiet)
    run.input(_show, [experiment, run], shown, **quiet)


def experiments() -> list[tuple[str, str]]:
    """(title, name) of each experiment with results, in the order of `documents.WORDS`."""
    order = list(documents.WORDS["experiments"])
    return sorted(documents.titles(), key=lambda title: order.index(title[1]))


def _runs(name: str) -> list[tuple[str, str]]:
    """(description, label) of the runs of an experiment."""
    described = []
    for label in documents.runs(name):
        key, _, preset = label.partition(", ")
        title = REGISTRY[key].title if key in REGISTRY else key
        described.append((f"{title} · {preset_label(preset)}" if preset else title, label))
    return described


def _open(name: str) -> tuple[Any, ...]:
    runs = _runs(name)
    return gr.Dropdown(runs, value=runs[0][1]), *_show(name, runs[0][1])


def _show(name: str, label: str) -> tuple[Any, ...]:
    words, figure, title, table, source = _read(name, label)
    return words, gr.Plot(figure, label=title), table, source


def _read(name: str, label: str) -> tuple[str, Any, str, str, str]:
    """Words, figure, name of the figure, table and origin of a run."""
    run = documents.read_run(name, label)
    cells = [[charts.called(first), *others] for first, *others in run.cells]
    head = [charts.AXES.get(name, name) for name in run.head]
    table = tables.plain_table(f"{len(cells)} rows · {METRICS}", head, cells) if cells else ""
    figure = charts.picture(run.rows, run.paper, **run.figure)
    return run.words, figure, f"{run.title}, {label}", table, f"Made by {run.source}"
