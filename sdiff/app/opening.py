"""What opens data sets and models: from what was chosen to everything on the page that follows from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from html import escape
from typing import Any

import gradio as gr
from anyio.to_thread import run_sync

from sdiff.app import gate, handlers, journal, openings, runs, state, uploads
from sdiff.app.controls import Parts, at
from sdiff.app.page import IN_ORDER, QUIETLY, Page
from sdiff.app.query import LONGEST, NUMBERS, Query
from sdiff.app.state import INSTANT, serve
from sdiff.app.words import attempt, guarded, literal, warn
from sdiff.base.errors import SDiffError
from sdiff.data import datasets
from sdiff.data.registry import REGISTRY


class Opening:
    """Opens what is chosen at the head of a page. `emptied`: parts that show what was open before."""

    def __init__(self, page: Page, emptied: Iterable[Any]) -> None:
        self.page, self.emptied = page, [*emptied]
        self.wanted = gr.Textbox(visible=False)  # the data set that would have to be downloaded first
        self.picked = gr.Textbox(visible="hidden", elem_id="picked")  # when one was chosen last, as the script says
        self.uploaded = gr.BrowserState(
            [], storage_key="sdiff-uploads", secret="sdiff"
        )  # keys: whose browser, whose data

    def wire(self, load: Any, read: Any, key: gr.Textbox, trained: gr.Textbox) -> tuple[list[Any], list[Any]]:
        """Returns the events that open data sets, and those that open a model of the data set that is open.

        load, read, key, trained: the event of a page that begins, that of a table that was read, the key of that, and
        the name of a model that was just trained.
        """
        page, panel = self.page, self.page.controls
        settings = [*panel.settings.values()]
        model = [page.opened, page.checkpoint, page.cards, *settings]
        row = [page.status, page.words, page.fetch, page.cancel]
        filters = [panel.only, panel.genres, panel.first_year, panel.last_year]
        shown = [page.dataset, page.user, self.wanted, *row, *filters, *model, *self.emptied]
        first = [*shown, panel.seed, panel.k, panel.seen, page.edited, self.uploaded]
        known = [page.opened, self.uploaded]
        # Data sets take long, and their visitors wait without a thread.
        loaded = load(self.open_page, known, first, **openings.EVENTS)
        page.dataset.input(None, page.dataset, js="key => window.pick(key)")
        selected = self.picked.change(self.open_dataset, [page.dataset, *known], shown, **openings.EVENTS)
        alone: dict[str, Any] = dict(concurrency_id="download", show_progress_on=[page.words], api_visibility="private")
        fetch = page.fetch.click(download, self.wanted, None, **alone)
        fetched = fetch.success(self.open_dataset, [self.wanted, *known], shown, **openings.EVENTS)
        own = read.success(self.open_own, [key, *known], [self.uploaded, *shown], **openings.EVENTS)
        # The openings end first: one more word of theirs would come after the page is back as it was.
        back = page.cancel.click(None, cancels=[loaded, selected, fetched, own]).then(
            self.cancel, [page.list_state, *known], shown, **openings.EVENTS
        )
        slowly: dict[str, Any] = IN_ORDER | dict(show_progress="full", show_progress_on=[page.cards])
        chosen = [page.checkpoint.input, panel.reset.click]
        models = [
            gr.on(chosen, self.open_checkpoint, [page.opened, page.checkpoint], model, **slowly),
            trained.change(self.use_trained, [trained, page.opened], model, **QUIETLY),
        ]
        return [loaded, selected, fetched, own, back], models

    async def open_page(self, request: gr.Request, opened: list[str], uploaded: list[str]) -> AsyncIterator[Parts]:
        """Opens what the page's address asks for. What of it cannot be had is reported, and the rest is opened."""
        pairs = request.query_params.multi_items()
        words = [pair for pair in pairs if pair[0] not in NUMBERS]
        query = attempt(lambda: Query.parse(pairs), None) or attempt(lambda: Query.parse(words), Query())
        if query.dataset not in REGISTRY and query.dataset not in uploaded:
            uploaded = [*uploaded, query.dataset]
        try:
            async for stage in openings.opening(query.dataset):
                yield self._busy(query.dataset, stage)
            parts = await run_sync(self._opened, query, uploaded)
        except SDiffError as error:
            warn(error)
            query = Query(opened[0])
            parts = await run_sync(self._opened, query, uploaded)
        known = state.open_dataset(query.dataset).dataset.split.items
        history = attempt(lambda: known.encode(query.history or ()) is not None and query.history, None)
        page, panel = self.page, self.page.controls
        yield parts | {
            panel.seed: query.seed,
            panel.k: max(1, min(query.k, LONGEST)),
            panel.seen: query.seen,
            page.edited: None if history is None else [query.dataset, parts[page.user], history],
            self.uploaded: uploaded,
        }
        runs.warm_up()

    async def open_dataset(self, dataset: str, opened: list[str], uploaded: list[str]) -> AsyncIterator[Parts]:
        """Opens a data set and everything that follows from it. One that cannot be opened leaves the page on the one
        before; where only its files are missing, they are offered for download."""
        try:
            query = Query(dataset)
            async for stage in openings.opening(dataset):
                yield self._busy(dataset, stage)
            yield await run_sync(self._opened, query, uploaded)
        except SDiffError as error:
            source = REGISTRY.get(dataset)
            to_get = dataset if source and source.missing and source.archives and not gate.read_only() else ""
            offer = f"**{source.title}** is not here yet. Its terms: {source.terms}." if source and to_get else ""
            if not to_get:
                warn(error)
            yield {**self._as_before(opened, uploaded), **self._status(offer, fetch=True), self.wanted: to_get}

    async def cancel(self, shown: str, opened: list[str], uploaded: list[str]) -> AsyncIterator[Parts]:
        """The page as it was before something was being opened; where nothing was, the set that is there from the
        start."""
        if shown:
            yield self._as_before(opened, uploaded)
        else:
            async for parts in self.open_dataset(opened[0], opened, uploaded):
                yield parts

    async def open_own(self, key: str, opened: list[str], uploaded: list[str]) -> AsyncIterator[Parts]:
        """Opens what was uploaded, and keeps its key in the visitor's browser; without a key nothing could be read."""
        if not key:
            yield gr.skip()  # gradio empties the outputs of a generator that yields nothing
            return
        uploaded = list(dict.fromkeys([*uploaded, key]))
        async for parts in self.open_dataset(key, opened, uploaded):
            yield parts | {self.uploaded: uploaded}

    def open_checkpoint(self, opened: list[str], checkpoint: str) -> Parts:
        """The cards of the open data set and of a model, and the controls at the checkpoint's values. One that cannot
        be opened leaves the one before, or where that is gone as well, the one that needs no file."""
        dataset, page = opened[0], self.page
        try:
            config = serve(dataset, checkpoint)[1].config
        except SDiffError as error:
            if checkpoint == INSTANT:
                raise
            warn(error)
            return self.open_checkpoint(opened, INSTANT if checkpoint == opened[1] else opened[1])
        cards = f"**Data** {handlers.data_card(dataset)}  \n**Model** {handlers.model_card(dataset, checkpoint)}"
        return {
            page.opened: [dataset, checkpoint],
            page.checkpoint: gr.Dropdown(choices=handlers.models(dataset), value=checkpoint),
            page.cards: cards,
            **at(config, page.controls.settings),
        }

    @guarded
    def use_trained(self, trained: str, opened: list[str]) -> Parts:
        """A model that was just trained becomes the one on the page, if that still shows the data set it is of."""
        return self.open_checkpoint(opened, trained if trained in handlers.models(opened[0]) else opened[1])

    def _busy(self, dataset: str, stage: openings.Stage) -> Parts:
        """The page while a data set is being opened: how far that is, and a way out."""
        title = REGISTRY[dataset].title if dataset in REGISTRY else uploads.title_of(dataset)
        words = f"Opening **{literal(title)}**: {stage.html()}"
        return {self.page.dataset: gr.Dropdown(interactive=False), **self._status(words, cancel=True)}

    def _as_before(self, opened: list[str], uploaded: list[str]) -> Parts:
        """The pickers on what is open, and no status row."""
        picker = gr.Dropdown(handlers.choices(uploaded), value=opened[0], interactive=True)
        return {self.page.dataset: picker, **self._status()}

    def _status(self, words: str = "", *, fetch: bool = False, cancel: bool = False) -> Parts:
        """The row below the pickers: its words, and its buttons; nothing is wanted."""
        page, shown = self.page, bool(words)
        return {
            self.wanted: "",
            page.status: gr.Row(visible=shown),
            page.words: words,
            page.fetch: gr.Button(visible=shown and fetch),
            page.cancel: gr.Button(visible=shown and cancel),
        }

    def _opened(self, query: Query, uploaded: list[str]) -> Parts:
        """The page of a query. The lists, which belong to what was open before, are emptied until their own come.

        Raises:
            SDiffError: its data set cannot be opened. What else is wrong is reported on the page.
        """
        dataset, user = query.dataset, handlers.pick_user(query.dataset, "typical")
        if query.user:
            user = attempt(lambda: state.open_dataset(dataset).history(query.user) is not None and query.user, user)
        first = handlers.models(dataset)[0]
        parts = self.open_checkpoint([dataset, first if query.model else INSTANT], query.model or first)
        if query.settings:
            config = serve(*parts[self.page.opened])[1].config
            now = attempt(lambda: config.at_inference(query.settings), config)
            parts |= at(now, self.page.controls.settings)
        return {
            **self._as_before([dataset], uploaded),
            self.page.user: user,
            **self._filters(query),
            **parts,
            **dict.fromkeys(self.emptied, ""),
        }

    def _filters(self, query: Query) -> Parts:
        """The filters that a data set's metadata allows, as the query has them."""
        panel, catalog = self.page.controls, state.open_dataset(query.dataset).catalog
        genres, years = catalog.genres(), catalog.years()
        chosen = [genre for genre in query.genres if genre in genres]
        if unknown := ", ".join(genre for genre in query.genres if genre not in genres):
            gr.Warning(escape(f"This data set has no genre {unknown:.200}: the list is not kept to it."), duration=15)
        asked = query.first_year, query.last_year
        boxes = (
            gr.Number(year, placeholder=str(bound), visible=years is not None)
            for year, bound in zip(asked, years or ("", ""), strict=True)
        )
        return {
            panel.only: gr.Accordion(visible=bool(genres or years), open=bool(chosen) or asked != (None, None)),
            panel.genres: gr.Dropdown(genres, value=chosen, multiselect=True, visible=bool(genres)),
            **dict(zip((panel.first_year, panel.last_year), boxes, strict=True)),
        }


def download(wanted: str, progress: gr.Progress = gr.Progress()) -> None:  # noqa: B008
    """Fetches the files of the data set that was asked for, unless the app is read-only."""
    journal.note(data=wanted)

    def shown(done: int, total: int | None) -> None:
        of = f" of {total / 1e6:.1f}" if total else ""
        progress(done / total if total else 0, desc=f"Downloading {wanted}: {done / 1e6:.1f}{of} MB")

    try:
        gate.require_writable()
        datasets.download(wanted, shown)
    except SDiffError as error:
        warn(error)
