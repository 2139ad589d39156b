"""The Data tab: the card of the data set on the page, and the way to one's own."""

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
SHOWN = 200  # faulty rows in the list
FOUND = 10  # items
LABELS = {"user": "User", "item": "Item", "rating": "Rating", "timestamp": "Time"}


class DataTab:
    """The card of the data set that is open, and the form for a table; `key` is that of what was read, empty if it
    could not be."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.key = gr.Textbox(visible=False)
        with gr.Row():
            with gr.Column(scale=2, min_width=310):
                gr.Markdown("## The data set on this page")
                self.facts = gr.HTML(elem_id="facts", padding=False)
                self.plot = gr.Plot(show_label=False, elem_id="degrees")
                self.question = gr.Textbox(
                    label="Find an item", placeholder="words of its title, or its id", max_lines=1, elem_id="find"
                )
                self.found = gr.HTML(elem_id="found", padding=False)
            if shut := gate.read_only():
                with gr.Column(scale=3, min_width=310):
                    gr.Markdown(gate.READ_ONLY_MESSAGE, elem_classes="words")
            with gr.Column(scale=3, min_width=310, visible=not shut):
                gr.Markdown(
                    "## Your own data\nA table with a row for each interaction; it stays with you and this machine."
                )
                self._table_form()
                self._reading_form()
                with gr.Row():
                    self.button = gr.Button("Read and open", variant="primary", elem_id="own-read")
                    self.cancel = gr.Button("Cancel", visible=False, elem_id="own-cancel")
                self.said = gr.HTML(elem_id="own-said", padding=False)

    def _table_form(self) -> None:
        """The files, how their text is to be read, and the first rows."""
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
        """What the columns hold, and which rows count."""
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
        """The form is checked as it is filled in. Returns the event that has read a table."""
        quietly: dict[str, Any] = dict(show_progress="hidden", api_visibility="private")
        gr.on(
            [self.table.upload, self.table.clear, self.names.submit, self.names.blur, self.encoding.select],
            preview_upload,
            [self.table, self.names, self.encoding],
            [self.preview, *self.roles, self.said],
            **quietly,
        )
        # not .input, which a paste by mouse does not fire
        self.question.change(
            lambda opened, question: find(opened[0], question),
            [self.page.opened, self.question],
            self.found,
            trigger_mode="always_last",
            **quietly,
        )
        form = [self.table, self.items, self.names, self.encoding, *self.roles]
        form += [self.min_rating, self.core, self.split, self.skip]
        read = self.button.click(read_upload, form, [self.key, self.said, self.cancel], **openings.EVENTS)
        self.cancel.click(None, cancels=[read]).then(
            lambda: (_message("Cancelled."), gr.Button(visible=False)), None, [self.said, self.cancel], **quietly
        )
        return read

    def follow(self, opened: Iterable[Any]) -> None:
        """The card follows the events that open a data set."""
        for event in opened:
            event.success(self.card, self.page.opened, [self.facts, self.plot, self.question, self.found], **QUIETLY)

    @guarded
    def card(self, opened: list[str]) -> tuple[str, Any, str, str]:
        return describe(opened[0])


def describe(dataset: str) -> tuple[str, Any, str, str]:
    """The card of a data set: its facts, how many interactions users and items have, no question, the popular items."""
    opened = open_dataset(dataset).dataset
    found = summarize(opened)
    left_out = ", ".join(f"{n:,} {reason}" for reason, n in found.left_out.items() if n)
    facts = {
        "Users": f"{found.users:,}",
        "Items": f"{found.items:,}",
        "Interactions": f"{found.interactions:,}",
        "Density": f"{found.density:.2%}",
        "Median history": f"{found.median_history:g} items",
        "Most popular fifth": f"{found.head_share:.0%} of all interactions",
        "From, to": f"{found.from_day} – {found.to_day}" if found.from_day else "no times",
        "Rows left out": left_out or "none" if opened.report else "",
        "Terms": opened.terms,
        "Source": REGISTRY[dataset].origin if dataset in REGISTRY else "",
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items() if text)
    html = f"<dl><dt>Title</dt><dd>{escape(opened.title)}</dd>{rows}</dl>"
    return html, figures.degrees(found.user_degrees, found.item_degrees), "", find(dataset, "")


def find(dataset: str, question: str) -> str:
    """The items that a question may mean, those that most users have seen first among equals."""
    catalog = open_dataset(dataset).catalog
    rows = catalog.rows(catalog.search(question, FOUND))
    return lists.items_table(rows, "Found" if question.strip() else "Most popular")


def preview_upload(table: str | None, names: str, encoding: str) -> tuple[Any, ...]:
    """The first rows of an upload, and for each role the columns to choose from, with the likeliest one chosen."""
    nothing = [gr.Dropdown([NONE], value=NONE)] * len(PAIR)
    if not table:
        return "", *nothing, ""
    try:
        gate.require_writable()
        found = _peek(table, names, encoding)
    except SDiffError as error:
        return "", *nothing, _message(public_message(error), table)
    roles = [gr.Dropdown([NONE, *found.columns], value=found.roles.get(role, NONE)) for role in PAIR]
    return lists.plain_table(f"{Path(table).name} · first rows", found.columns, found.rows), *roles, ""


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
    """The key of the data set that comes of an upload, or "", and what became of its rows; meanwhile, how far it is,
    and the button that cancels it."""
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
            names=names,  # pyright: ignore[reportArgumentType] (Reading takes it as text, too)
            encoding=encoding,
            min_rating=min_rating.strip() or None,  # pyright: ignore[reportArgumentType] (as text, too)
            core=1 if core is None else core,
            split=split,
            skip_faulty=skip,
        )
        tables = Path(table), Path(items) if items else None
        key, root = await run_sync(uploads.key_of, *tables, reading), uploads_dir()
        undo = None if uploads.is_kept(key, root) else partial(uploads.discard, key, root)
        async for stage in openings.join_opening(key, partial(uploads.keep, *tables, reading, root), undo):
            yield "", f"<p>{escape(Path(table).name)}: {stage.html()}</p>", cancel
        found = await run_sync(summarize, state.open_dataset(key).dataset)
    except FaultyRows as error:
        rows = [[str(fault.row), fault.reason] for fault in error.faults[:SHOWN]]
        n = len(error.faults)
        caption = f"{n:,} faulty row{'s' * (n > 1)}" + (f", the first {SHOWN}" if n > SHOWN else "")
        advice = f"{n:,} row{'s cannot' if n > 1 else ' cannot'} be used. Mend the file, or have them left out."
        yield "", _message(advice) + lists.plain_table(caption, ["Row", "What is wrong"], rows), no_cancel
    except SDiffError as error:
        yield "", _message(public_message(error), table), no_cancel
    else:
        size = f"interactions {found.interactions:,}, users {found.users:,}, items {found.items:,}"
        yield key, _message(f"Open on this page: {size}. Recommend has a first list."), no_cancel


def _roles(table: str, names: str, encoding: str, columns: Sequence[str]) -> dict[str, str]:
    """The columns that the form says, of each role the one that is not guessed anyhow. Raises SDiffError."""
    guessed = _peek(table, names, encoding).roles
    if NONE in columns[:2]:
        raise SDiffError("Say which column holds the users and which one the items.")
    return {
        role: "" if column == guessed.get(role, NONE) else column.replace(NONE, "-")
        for role, column in zip(PAIR, columns, strict=True)
    }


def _peek(table: str, names: Any, encoding: str) -> Preview:
    return preview(Path(table), Reading(names=names, encoding=encoding).layout)


def _message(text: str, table: str = "") -> str:
    """Text, in which a table is called by its name."""
    return f"<p>{escape(text.replace(table, Path(table).name) if table else text)}</p>"
