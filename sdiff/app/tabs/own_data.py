"""The form for a table of one's own: its files, how they are understood, what is lost, and the button that opens it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import closing
from functools import partial
from html import escape
from itertools import chain
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr
from anyio.to_thread import run_sync
from gradio.utils import LRUCache

from sdiff.app import state
from sdiff.app.controls import Parts, Values
from sdiff.app.handlers import openings
from sdiff.app.processes import runs
from sdiff.app.server import gate
from sdiff.app.server.public import public_message
from sdiff.app.uploads import feedback, mapping, store
from sdiff.app.uploads.feedback import ADVICE, DELIMITERS, beginning, faults_table, meaning, paragraph, problem, size
from sdiff.app.uploads.mapping import ITEMS, LABELS, LAYOUT, NONE, UNSET, Options, Understood
from sdiff.app.views.progress import opening_bar
from sdiff.base.errors import SDiffError
from sdiff.base.paths import ASSETS, uploads_dir
from sdiff.data.preview import Preview
from sdiff.data.reading import SPLITS
from sdiff.data.report import FaultyRows
from sdiff.data.roles import PAIR
from sdiff.data.summary import summarize
from sdiff.data.times import NAMES, TimeReading

ENCODINGS = ("cp1252", "latin-1", "cp1250", "cp1251", "gb18030", "big5", "shift_jis", "euc_jp", "euc_kr", "utf-16")
INTRO = (
    "Drop a table with one row per interaction: a user, an item and, if known, a time. A second file with titles is "
    "optional. Both are kept on the machine that runs this app."
)
NO_FILE = "Without a file of titles, columns of the interactions can describe the items."
SAMPLE = (ASSETS / "sample.csv").read_text(encoding="utf-8")
ITEMS_LAYOUT = tuple(f"items_{name}" for name in LAYOUT)
FILTERS = ("min_rating", "core", "split", "skip_faulty")
_checks: LRUCache[str, Event] = LRUCache(200)  # events that end the latest check, by session
UNKNOWN = [("", "")]  # choices as long as there is no file
QUIET: dict[str, Any] = dict(show_progress="hidden", api_visibility="private")


class OwnData:
    """The form. Its fields are the options of `Reading`, by name. `key`: of the last upload, empty if it failed."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.key = gr.Textbox(visible=False)
        gr.Markdown(f"## Your own data\n{INTRO}")
        gr.HTML(
            '<button type="button" onclick="window.saveText(this.nextElementSibling.textContent, '
            f"'sample.csv')\">Download a sample</button><pre hidden>{escape(SAMPLE)}</pre>",
            elem_id="own-sample",
            padding=False,
        )
        with gr.Row():
            self.table = gr.File(label="Interactions", height=150, min_width=240, elem_id="own-table")
            self.items = gr.File(label="Titles (optional)", height=150, min_width=240, elem_id="own-items")
        with gr.Column(visible=False, elem_id="own-form") as self.form:
            self._interactions()
            self._titles()
            self._filters()
            self.report = gr.HTML(elem_id="own-report", padding=False)
            self.fields["skip_faulty"] = gr.Checkbox(label="Skip invalid rows", elem_id="own-skip")
            with gr.Row():
                self.button = gr.Button("Open", variant="primary", elem_id="own-read")
                self.cancel = gr.Button("Cancel", visible=False, elem_id="own-cancel")
        self.message = gr.HTML(elem_id="own-message", padding=False)

    def _interactions(self) -> None:
        gr.Markdown("### Interactions")
        self.start = gr.HTML(elem_id="preview", padding=False)
        with gr.Row(elem_id="own-roles"):
            for role in PAIR:
                self._choice(role, UNKNOWN, LABELS[role], 120)
            self._choice("timestamp_format", UNKNOWN, "Time format", 220, custom=True)
        self.layout = self._layout("", "user,item,rating")

    def _titles(self) -> None:
        gr.Markdown("### Titles")
        self.items_start = gr.HTML(elem_id="items-preview", padding=False)
        with gr.Row(elem_id="own-items-roles"):
            for name in ITEMS:
                self._choice(name, UNKNOWN, LABELS[name], 120)
        self.items_layout = self._layout("items_", "item,title,genres")

    def _layout(self, prefix: str, names: str) -> gr.Accordion:
        """The fields of how a file is written, in an accordion."""
        with gr.Accordion("How the file is written", open=False) as accordion, gr.Row():
            delimiters = [("as found", ""), *((text, sign) for sign, text in DELIMITERS.items())]
            self._choice(f"{prefix}delimiter", delimiters, "Delimiter", 130, custom=True)
            encodings = [("UTF-8 or UTF-16", ""), *((name, name) for name in ENCODINGS)]
            self._choice(f"{prefix}encoding", encodings, "Encoding", 130, custom=True)
            self.fields[f"{prefix}names"] = gr.Textbox(
                label="Column names, if there is no header",
                placeholder=names,
                max_lines=1,
                min_width=220,
                elem_id=_elem_id(f"{prefix}names"),
            )
        return accordion

    def _filters(self) -> None:
        with gr.Accordion("Filters and split", open=False, elem_id="own-filters"), gr.Row():
            self.fields["min_rating"] = gr.Textbox(
                label="Minimum rating",
                info="Empty: every row counts.",
                max_lines=1,
                min_width=150,
                elem_id="own-min-rating",
            )
            self.fields["core"] = gr.Number(
                1,
                label="k-core",
                info="Users and items with fewer interactions are left out.",
                precision=0,
                minimum=1,
                min_width=150,
                elem_id="own-core",
            )
            splits = [("by time, if known", ""), *((name, name) for name in SPLITS)]
            self._choice("split", splits, "Split", 170, info="What is held out for the test.")

    def _choice(
        self,
        name: str,
        choices: Sequence[tuple[str, str]],
        label: str,
        width: int,
        custom: bool = False,
        info: str = "",
    ) -> None:
        look: dict[str, Any] = dict(label=label, info=info or None, min_width=width, elem_id=_elem_id(name))
        self.fields[name] = gr.Dropdown([*choices], value="", allow_custom_value=custom, **look)

    def wire(self) -> Any:
        """Connects the events. Returns the event that opens an upload."""
        inputs = {self.table, self.items, *self.fields.values()}
        filters, layout, items_layout = (self._named(names) for names in (FILTERS, LAYOUT, ITEMS_LAYOUT))
        roles = self._named(["timestamp_format", *(role for role in LABELS if role != "timestamp")])
        shown = [self.start, self.items_start, self.layout, self.items_layout, self.form, self.report, self.message]
        shown += [field for field in self.fields.values() if field not in filters]
        looks = {
            self._look_at_table: [self.table.upload, self.table.clear],
            self._look_at_layout: _edits(layout),
            self._look_at_items: [self.items.upload, self.items.clear],
            self._look_at_items_layout: _edits(items_layout),
            self._look_at_times: [self.fields["timestamp"].input],
            self._look: _edits(roles),
        }
        # An edit counts although an earlier one is still being looked at; they are looked at in order.
        looking = {**QUIET, "trigger_mode": "multiple", "concurrency_id": "looking", "concurrency_limit": 1}
        checking = {**openings.EVENTS, "trigger_mode": "multiple", "concurrency_id": "checking"}
        gr.on(_edits(filters), self._check, inputs, self.report, **checking)
        for look, events in looks.items():
            gr.on(events, look, inputs, shown, **looking).then(self._check, inputs, self.report, **checking)
        read = self.button.click(self._open, inputs, [self.key, self.message, self.cancel], **openings.EVENTS)
        self.cancel.click(None, cancels=[read]).then(
            lambda: (paragraph("Cancelled."), gr.Button(visible=False)), None, [self.message, self.cancel], **QUIET
        )
        return read

    def _look_at_table(self, values: Values) -> Parts:
        """Detects everything about a new table."""
        return self._understood(values, {*PAIR, "timestamp_format", *LAYOUT, *self._described(values)})

    def _look_at_layout(self, values: Values) -> Parts:
        """Detects the columns of a table that is read in another way."""
        return self._understood(values, {*PAIR, "timestamp_format", *self._described(values)})

    def _look_at_items(self, values: Values) -> Parts:
        """Detects everything about a new table of items."""
        return self._understood(values, {*ITEMS, *ITEMS_LAYOUT})

    def _look_at_items_layout(self, values: Values) -> Parts:
        """Detects the columns of a table of items that is read in another way."""
        return self._understood(values, {*ITEMS})

    def _look_at_times(self, values: Values) -> Parts:
        """Detects the format of the times in another column."""
        return self._understood(values, {"timestamp_format"})

    def _look(self, values: Values) -> Parts:
        """Shows how the files are understood with other columns."""
        return self._understood(values, set())

    def _understood(self, values: Values, fresh: set[str]) -> Parts:
        """Previews, and new values of the fields `fresh`, which are detected. An error takes the place of a preview.

        The other fields are not updated, because the visitor may be editing them.
        """
        table, items = self._files(values)
        parts: Parts = {self.form: gr.Column(visible=table is not None), self.report: "", self.message: ""}
        parts |= {self.start: "", self.items_start: "" if items else paragraph(NO_FILE, "hint")}
        if table is None:
            return parts
        options = {name: value for name, value in self._options(values).items() if name not in fresh}
        try:
            gate.require_writable()
            found = mapping.interactions(table, options)
        except SDiffError as error:
            return parts | {self.start: problem(public_message(error))}
        parts |= self._detected(found, fresh, self.layout, LAYOUT)
        try:
            catalog = mapping.titles(items, found, options)
        except SDiffError as error:
            parts[self.start] = beginning(table, found, found.options)
            return parts | {self.items_start: problem(public_message(error))}
        parts |= self._detected(catalog, fresh, self.items_layout, ITEMS_LAYOUT)
        if items:
            parts[self.items_start] = beginning(items, catalog, catalog.options)
        described = {} if items else catalog.options
        return parts | {self.start: beginning(table, found, {**found.options, **described})}

    def _detected(self, found: Understood, fresh: set[str], accordion: gr.Accordion, layout: Sequence[str]) -> Parts:
        """The fields `fresh` of a table: the columns to choose from, and what is detected.

        The accordion of its layout is opened if something is proposed there.
        """
        parts: Parts = {}
        for name in fresh & found.options.keys():
            value, field = found.options[name], self.fields[name]
            if name in LABELS:
                empty = ("(choose)", UNSET) if name in ("user", "item", "items_id") else ("(none)", NONE)
                choices = [empty, *((column, column) for column in found.columns)]
                shown = name != "items_id" or found.start is not None
                parts[field] = gr.Dropdown(choices, value=value, visible=shown)
            elif name == "timestamp_format":
                assert found.start
                parts[field] = _time_formats(found.start, value)
            else:
                parts[field] = value
        if {*layout} <= fresh:
            opened: Parts = {"open": True} if any(found.options[name] for name in layout) else {}
            parts[accordion] = gr.Accordion(visible=found.start is not None, **opened)
        return parts

    def _described(self, values: Values) -> set[str]:
        """The fields that follow from the interactions if there is no table of items."""
        return set() if values[self.items] else {*ITEMS, *ITEMS_LAYOUT}

    async def _check(self, values: Values, request: gr.Request) -> AsyncIterator[str]:
        """Reads all rows, and shows what is lost and why. Ends the session's check of an earlier state of the form."""
        table, items = self._files(values)
        session, abandoned = str(request.session_hash), Event()
        if (earlier := _checks.get(session)) is not None:
            earlier.set()
        _checks[session] = abandoned
        if table is None:
            yield ""
            return
        work = asyncio.ensure_future(run_sync(_checked, table, items, self._options(values), abandoned))
        try:
            while not work.done() and not abandoned.is_set():
                yield paragraph("Checking all rows …")
                await asyncio.wait([work], timeout=openings.TICK)
            if not abandoned.is_set():
                yield work.result()
        finally:
            abandoned.set()

    async def _open(self, values: Values) -> AsyncIterator[tuple[str, str, Any]]:
        """Reads and opens an upload. Yields its key (empty until it is open), a message, and the cancel button."""
        cancel, no_cancel = gr.Button(visible=True), gr.Button(visible=False)
        table, items = self._files(values)
        if table is None:
            yield "", paragraph("Choose a file first."), no_cancel
            return
        try:
            gate.require_writable()
            yield "", paragraph(f"Looking at {table.name} …"), no_cancel
            reading = await run_sync(mapping.reading, table, items, self._options(values))
            key, root = await run_sync(store.key_of, table, items, reading), uploads_dir()
            undo = None if store.is_kept(key, root) else partial(store.discard, key, root)
            async for stage in openings.join_opening(key, partial(store.keep, table, items, reading, root), undo):
                yield "", f"<p>{escape(table.name)}: {opening_bar(stage)}</p>", cancel
            summary = await run_sync(summarize, state.open_dataset(key).dataset)
        except FaultyRows as error:
            name = public_message(SDiffError(error.table))
            yield "", faults_table(name, error.faults) + paragraph(ADVICE), no_cancel
        except SDiffError as error:
            yield "", problem(public_message(error)), no_cancel
        else:
            yield key, paragraph(f"Open on this page: {size(summary)}. See its first list in Recommend."), no_cancel

    def _files(self, values: Values) -> tuple[Path | None, Path | None]:
        table, items = values[self.table], values[self.items]
        return Path(table) if table else None, Path(items) if items else None

    def _options(self, values: Values) -> dict[str, Any]:
        return {name: values[field] for name, field in self.fields.items()}

    def _named(self, names: Iterable[str]) -> list[Any]:
        return [self.fields[name] for name in names]


def _checked(table: Path, items: Path | None, options: Options, abandoned: Event) -> str:
    """What is lost of an upload and why, as HTML."""
    try:
        gate.require_writable()
        reading = mapping.reading(table, items, options)
        process: dict[str, Any] = dict(niceness=openings.NICENESS, abandoned=abandoned)
        arguments = store.check, table, items, reading
        with openings.turn(abandoned), closing(runs.in_subprocess(*arguments, **process)) as steps:
            checked = next(steps)
    except SDiffError as error:
        return problem(public_message(error))
    return feedback.report(checked, {"interactions": table.name} | ({"items": items.name} if items else {}), options)


def _time_formats(start: Preview, chosen: str) -> Any:
    """The formats of the times to choose from, each with an example. None is chosen if there are several."""
    found, ambiguous = start.times, len(start.times) > 1
    first = "(choose)" if ambiguous else f"as found: {_format(found[0])}" if found else ""
    choices = [(first, ""), *((meaning(time), time.format) for time in found if ambiguous)]
    choices += [(f"{name} since 1970", unit) for unit, name in NAMES.items() if unit]
    return gr.Dropdown(choices, value=chosen, visible=bool(found))


def _format(time: TimeReading) -> str:
    units = [name for unit, name in NAMES.items() if unit]
    return f"{time.format} since 1970" if time.format in units else time.format


def _edits(fields: Iterable[Any]) -> list[Any]:
    """The events of fields that a visitor edits."""
    typed = gr.Textbox | gr.Number
    events = ((field.submit, field.blur) if isinstance(field, typed) else (field.input,) for field in fields)
    return [*chain.from_iterable(events)]


def _elem_id(name: str) -> str:
    return f"own-{name.replace('_', '-')}"
