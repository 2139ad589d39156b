"""The Data tab: the card of the open data set, and the upload form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from anyio.to_thread import run_sync

from sdiff.app import figures, gate, lists, openings, state, uploads
from sdiff.app.page import QUIETLY, Page
from sdiff.app.state import open_dataset
from sdiff.app.words import guarded, public_message
from sdiff.base.errors import SDiffError
from sdiff.base.paths import uploads_dir
from sdiff.data.readers import PAIR, SPLITS, FaultyRows, Preview, Reading, preview
from sdiff.data.registry import REGISTRY
from sdiff.data.summary import summarize

NONE = "(none)"
ENCODINGS = ("latin-1", "utf-16")
SHOWN = 200  # maximum number of invalid rows listed
FOUND = 10  # maximum number of items found
LABELS = {"user": "User", "item": "Item", "rating": "Rating", "timestamp": "Time"}


class DataTab:
    """The card of the open data set, and the upload form. `key`: the key of the last upload, empty if it failed."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.key = gr.Textbox(visible=False)
        with gr.Row():
            with gr.Column(scale=2, min_width=310):
                gr.Markdown("## The data set on this page")
                self.facts = gr.HTML(elem_id="facts", padding=False)
                self.plot = gr.Plot(label="Interactions of users and items", show_label=False, elem_id="degrees")
                self.question = gr.Textbox(
                    label="Find an item", placeholder="words of its title, or its id", max_lines=1, elem_id="find"
                )
                self.found = gr.HTML(elem_id="found", padding=False)
            if read_only := gate.read_only():
                with gr.Column(scale=3, min_width=310):
                    gr.Markdown(gate.READ_ONLY_MESSAGE, elem_classes="words")
            with gr.Column(scale=3, min_width=310, visible=not read_only):
                gr.Markdown(
                    "## Your own data\nA table with a row for each interaction; it stays with you and this machine."
                )
                self._table_form()
                self._reading_form()
                with gr.Row():
                    self.button = gr.Button("Read and open", variant="primary", elem_id="own-read")
                    self.cancel = gr.Button("Cancel", visible=False, elem_id="own-cancel")
                self.message = gr.HTML(elem_id="own-said", padding=False)

    def _table_form(self) -> None:
        """Files, column names, encoding, and a preview of the first rows."""
        with gr.Row():
            self.table = gr.File(label="Interactions: CSV, TSV, JSON lines, Parquet", height=150, elem_id="own-table")
            self.items = gr.File(label="Titles, if there are any: item, title, genres", height=150, elem_id="own-items")
        with gr.Row():
            self.names = gr.Textbox(
                label="Names of the columns, if the file has no header",
                placeholder="user,item,rating",
                scale=3,
                min_width=200,
                elem_id="own-names",
            )
            self.encoding = gr.Dropdown(
                [("UTF-8, or as marked", ""), *((name, name) for name in ENCODINGS)],
                value="",
                label="Encoding",
                min_width=150,
                elem_id="own-encoding",
            )
        self.preview = gr.HTML(elem_id="preview", padding=False)

    def _reading_form(self) -> None:
        """Roles of the columns, filters and split."""
        with gr.Row(elem_id="own-roles"):
            self.roles = [
                gr.Dropdown([NONE], value=NONE, label=LABELS[role], min_width=120, elem_id=f"own-{role}")
                for role in PAIR
            ]
        with gr.Row():
            self.min_rating = gr.Textbox(
                label="Least rating that counts",
                info="none given: every row does",
                max_lines=1,
                min_width=150,
                elem_id="own-min-rating",
            )
            self.core = gr.Number(
                1,
                label="k-core",
                info="users and items with fewer are left out",
                precision=0,
                minimum=1,
                min_width=150,
                elem_id="own-core",
            )
            self.split = gr.Dropdown(
                [("by time, where known", ""), *((name, name) for name in SPLITS)],
                value="",
                label="Split",
                info="what is held out to test",
                min_width=170,
            )
        self.skip = gr.Checkbox(label="Leave out rows that cannot be used", elem_id="own-skip")

    def wire(self) -> Any:
        """Connects the events. Returns the event that reads an upload."""
        quietly: dict[str, Any] = dict(show_progress="hidden", api_visibility="private")
        gr.on(
            [self.table.upload, self.table.clear, self.names.submit, self.names.blur, self.encoding.select],
            preview_upload,
            [self.table, self.names, self.encoding],
            [self.preview, *self.roles, self.message],
            **quietly,
        )
        # not .input, which does not fire when text is pasted with the mouse
        self.question.change(
            lambda opened, question: find(opened[0], question),
            [self.page.opened, self.question],
            self.found,
            trigger_mode="always_last",
            **quietly,
        )
        form = [self.table, self.items, self.names, self.encoding, *self.roles]
        form += [self.min_rating, self.core, self.split, self.skip]
        read = self.button.click(read_upload, form, [self.key, self.message, self.cancel], **openings.EVENTS)
        self.cancel.click(None, cancels=[read]).then(
            lambda: (_message("Cancelled."), gr.Button(visible=False)), None, [self.message, self.cancel], **quietly
        )
        return read

    def follow(self, opened: Iterable[Any]) -> None:
        """Updates the card after the events that open a data set."""
        for event in opened:
            event.success(self.card, self.page.opened, [self.facts, self.plot, self.question, self.found], **QUIETLY)

    @guarded
    def card(self, opened: list[str]) -> tuple[str, Any, str, str]:
        return describe(opened[0])


def describe(dataset: str) -> tuple[str, Any, str, str]:
    """Card of a data set: facts, plot of degrees, empty search field, and most popular items."""
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
        "From, to": f"{summary.from_day} – {summary.to_day}" if summary.from_day else "no times",
        "Rows left out": left_out or "none" if opened.report else "",
        "Terms": opened.terms,
        "Source": REGISTRY[dataset].origin if dataset in REGISTRY else "",
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items() if text)
    html = f"<dl><dt>Title</dt><dd>{escape(opened.title)}</dd>{rows}</dl>"
    return html, figures.degrees(summary.user_degrees, summary.item_degrees), "", find(dataset, "")


def find(dataset: str, question: str) -> str:
    """Searches items. Ties are ordered by popularity."""
    catalog = open_dataset(dataset).catalog
    rows = catalog.rows(catalog.search(question, FOUND))
    return lists.items_table(rows, "Found" if question.strip() else "Most popular")


def preview_upload(table: str | None, names: str, encoding: str) -> tuple[Any, ...]:
    """The first rows of an upload, and the column choices of each role, with the guessed one selected."""
    no_roles = [gr.Dropdown([NONE], value=NONE)] * len(PAIR)
    if not table:
        return "", *no_roles, ""
    try:
        gate.require_writable()
        start = _preview(table, names, encoding)
    except SDiffError as error:
        return "", *no_roles, _message(public_message(error), table)
    roles = [gr.Dropdown([NONE, *start.columns], value=start.roles.get(role, NONE)) for role in PAIR]
    return lists.plain_table(f"{Path(table).name} · first rows", start.columns, start.rows), *roles, ""


async def read_upload(
    table: str | None,
    items: str | None,
    names: str,
    encoding: str,
    user: str,
    item: str,
    rating: str,
    timestamp: str,
    min_rating: str,
    core: int | None,
    split: str,
    skip: bool,
) -> AsyncIterator[tuple[str, str, Any]]:
    """Reads and opens an upload. Yields its key (empty until it is open), a message, and the cancel button."""
    cancel, no_cancel = gr.Button(visible=True), gr.Button(visible=False)
    if not table:
        yield "", _message("Choose a file first."), no_cancel
        return
    try:
        gate.require_writable()
        yield "", _message(f"Looking at {Path(table).name} …"), no_cancel
        roles = await run_sync(_roles, table, names, encoding, (user, item, rating, timestamp))
        reading = Reading(
            **roles,
            names=names,  # pyright: ignore[reportArgumentType] (Reading accepts text)
            encoding=encoding,
            min_rating=min_rating.strip() or None,  # pyright: ignore[reportArgumentType] (accepts text)
            core=1 if core is None else core,
            split=split,
            skip_faulty=skip,
        )
        tables = Path(table), Path(items) if items else None
        key, root = await run_sync(uploads.key_of, *tables, reading), uploads_dir()
        undo = None if uploads.is_kept(key, root) else partial(uploads.discard, key, root)
        async for stage in openings.join_opening(key, partial(uploads.keep, *tables, reading, root), undo):
            yield "", f"<p>{escape(Path(table).name)}: {stage.html()}</p>", cancel
        summary = await run_sync(summarize, state.open_dataset(key).dataset)
    except FaultyRows as error:
        rows = [[str(fault.row), fault.reason] for fault in error.faults[:SHOWN]]
        n = len(error.faults)
        caption = f"{n:,} invalid row{'s' * (n > 1)}" + (f", the first {SHOWN}" if n > SHOWN else "")
        advice = f"{n:,} row{'s are' if n > 1 else ' is'} invalid. Fix the file, or skip the invalid rows."
        yield "", _message(advice) + lists.plain_table(caption, ["Row", "What is wrong"], rows), no_cancel
    except SDiffError as error:
        yield "", _message(public_message(error), table), no_cancel
    else:
        size = f"interactions {summary.interactions:,}, users {summary.users:,}, items {summary.items:,}"
        yield key, _message(f"Open on this page: {size}. Recommend has a first list."), no_cancel


def _roles(table: str, names: str, encoding: str, columns: Sequence[str]) -> dict[str, Any]:
    """The columns chosen in the form, empty for roles where the guess is right. Raises SDiffError."""
    guessed = _preview(table, names, encoding).roles
    if NONE in columns[:2]:
        raise SDiffError("Choose the columns of users and items.")
    return {
        role: "" if column == guessed.get(role, NONE) else column.replace(NONE, "-")
        for role, column in zip(PAIR, columns, strict=True)
    }


def _preview(table: str, names: Any, encoding: str) -> Preview:
    return preview(Path(table), Reading(names=names, encoding=encoding).layout)


def _message(text: str, table: str = "") -> str:
    """A message as HTML. The path of `table` is replaced by its name."""
    return f"<p>{escape(text.replace(table, Path(table).name) if table else text)}</p>"
