"""The Data tab: the card of the open data set, published sets to download, and the form for a table of one's own."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from sdiff.app.controls import Parts, Values
from sdiff.app.handlers import pickers
from sdiff.app.page import Page
from sdiff.app.server import gate
from sdiff.app.state import open_dataset
from sdiff.app.tabs.own_data import OwnData
from sdiff.app.uploads.feedback import faults_table
from sdiff.app.views import figures, lists
from sdiff.data.datasets import Dataset
from sdiff.data.registry import REGISTRY
from sdiff.data.summary import summarize

FOUND = 10  # maximum number of items found


class DataTab:
    """The card of the open data set, the published sets that are not here yet, and the form `own`."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.described = gr.Textbox("", visible=False)  # the data set of the card
        with gr.Row():
            with gr.Column(scale=2, min_width=310):
                gr.Markdown("## The data set on this page")
                self.facts = gr.HTML(elem_id="facts", padding=False)
                self.plot = gr.Plot(label="Interactions of users and items", show_label=False, elem_id="degrees")
                self.question = gr.Textbox(
                    "",
                    label="Find an item",
                    placeholder="words of its title, genre and year, or its id",
                    max_lines=1,
                    elem_id="find",
                )
                self.found = gr.HTML(elem_id="found", padding=False)
                with gr.Accordion("More published data sets", open=False, visible=not gate.read_only()):
                    self.published = gr.Dropdown(
                        pickers.missing_choices(),
                        value=None,
                        label="Not downloaded yet",
                        info="You see its terms before the download.",
                        elem_id="published",
                    )
            if read_only := gate.read_only():
                with gr.Column(scale=3, min_width=310):
                    gr.Markdown(gate.READ_ONLY_MESSAGE, elem_classes="words")
            with gr.Column(scale=3, min_width=310, visible=not read_only):
                self.own = OwnData()

    def wire(self) -> None:
        """Connects the search, and the card to the data set."""
        # not .input, which does not fire when text is pasted with the mouse
        self.question.change(
            lambda opened, question: find(opened[0], question),
            [self.page.opened, self.question],
            self.found,
            trigger_mode="always_last",
            show_progress="hidden",
            api_visibility="private",
        )
        shown = [self.facts, self.plot, self.question, self.found, self.published, self.described]
        self.page.on_new_list("Data", self.card, shown, [self.described, self.question])

    def card(self, values: Values) -> Parts:
        """The card of the open data set, unless it is shown already. Raises SDiffError."""
        dataset = self.page.listed("Data", values).dataset
        if values[self.described] == dataset:
            return gr.skip()
        facts, plot = describe(dataset)
        # On the first visit, something may have been typed meanwhile, which stays.
        emptied = {self.question: ""} if values[self.described] else {}
        return {
            self.facts: facts,
            self.plot: plot,
            self.found: find(dataset, "" if emptied else values[self.question]),
            self.published: gr.Dropdown(pickers.missing_choices(), value=None),
            self.described: dataset,
            **emptied,
        }


def describe(dataset: str) -> tuple[str, Any]:
    """Card of a data set: facts, and plot of degrees."""
    opened = open_dataset(dataset).dataset
    summary = summarize(opened)
    left_out = ", ".join(f"{n:,} {reason}" for reason, n in summary.left_out.items() if n)
    facts = {
        "Users": f"{summary.users:,}",
        "Items": f"{summary.items:,}",
        "Interactions": f"{summary.interactions:,}",
        "Density": f"{summary.density:.2%}",
        "Median history": f"{summary.median_history:g} items",
        "Most popular fifth": f"{summary.head_share:.0%} of all interactions",
        "Time range": f"{summary.from_day} – {summary.to_day}" if summary.from_day else "no timestamps",
        "Columns": summary.columns,
        "Titles": summary.titles,
        "Notes": " ".join(summary.notes),
        "Rows left out": left_out or "none" if opened.report else "",
        "Terms": opened.terms,
        "Source": REGISTRY[dataset].origin if dataset in REGISTRY else "",
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items() if text)
    html = f"<dl><dt>Title</dt><dd>{escape(opened.title)}</dd>{rows}</dl>{_invalid_rows(opened)}"
    return html, figures.degrees(summary.user_degrees, summary.item_degrees)


def _invalid_rows(dataset: Dataset) -> str:
    """The rows that were left out because they are invalid, folded away."""
    found = {"Interactions": dataset.report, "Titles": dataset.items.titles}
    tables = "".join(faults_table(name, part.faults) for name, part in found.items() if part and part.faults.count)
    return f"<details><summary>Invalid rows</summary>{tables}</details>" if tables else ""


def find(dataset: str, question: str) -> str:
    """Searches items. Ties are ordered by popularity."""
    catalog = open_dataset(dataset).catalog
    rows = catalog.rows(catalog.search(question, FOUND))
    return lists.items_table(rows, "Found" if question.strip() else "Most popular")
