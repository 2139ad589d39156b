"""Opens data sets and models on the page, and updates all components that depend on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr
from anyio.to_thread import run_sync

from sdiff.app import state
from sdiff.app.controls import Parts, adjustable, at
from sdiff.app.handlers import openings, pickers
from sdiff.app.labels import literal
from sdiff.app.messages import attempt, guarded, warn
from sdiff.app.page import IN_ORDER, QUIETLY, Page
from sdiff.app.processes import runs
from sdiff.app.query import KEYS, LONGEST, NUMBERS, Query
from sdiff.app.server import gate, journal
from sdiff.app.state import INSTANT, serve
from sdiff.app.uploads import store
from sdiff.app.views.progress import opening_bar
from sdiff.base.errors import SDiffError
from sdiff.data import datasets
from sdiff.data.registry import REGISTRY


class Opening:
    """Opens the data set and model chosen at the top of the page. `emptied`: components to clear after a change."""

    def __init__(self, page: Page, emptied: Iterable[Any]) -> None:
        self.page, self.emptied = page, [*emptied]
        self.wanted = gr.Textbox(visible=False)  # the data set that the download button fetches
        self.picked = gr.Textbox(visible="hidden", elem_id="picked")  # time of the last choice, set by the script
        # Keys of the uploads made in this browser.
        self.uploaded = gr.BrowserState([], storage_key="sdiff-uploads", secret="sdiff")

    def wire(
        self, load: Any, read: Any, key: gr.Textbox, published: gr.Dropdown, trained: gr.Textbox, use: Any
    ) -> tuple[list[Any], Any]:
        """Connects the events. Returns those that open a data set or a model, first that of a loaded page, and one
        after which there is another model to choose.

        Args:
            load: the event of a loaded page.
            read: the event of an uploaded table that was read.
            key: the key of that upload.
            published: the data sets that can be downloaded.
            trained: the name of the last trained model.
            use: the event that opens it.
        """
        page, panel = self.page, self.page.controls
        settings = [*panel.settings.values()]
        model = [page.opened, page.checkpoint, page.cards, panel.seed, *settings]
        row = [page.status, page.words, page.fetch, page.cancel]
        filters = [panel.only, panel.genres, panel.first_year, panel.last_year]
        shown = [page.dataset, page.user, self.wanted, *row, *filters, *model, *self.emptied]
        # The page comes with the first list.
        load(None, page.list_state, js="text => window.setFirstPage(text)")
        first = [*shown, panel.k, panel.seen, page.edited, self.uploaded]
        known = [page.opened, self.uploaded]
        # Opening takes long; visitors wait without a thread.
        loaded = load(self.open_page, known, first, **openings.EVENTS)
        page.dataset.input(None, page.dataset, js="key => window.pick(key)")
        selected = self.picked.change(self.open_dataset, [page.dataset, *known], shown, **openings.EVENTS)
        alone: dict[str, Any] = dict(concurrency_id="download", show_progress_on=[page.words], api_visibility="private")
        fetch = page.fetch.click(download, self.wanted, None, **alone)
        fetched = fetch.success(self.open_dataset, [self.wanted, *known], shown, **openings.EVENTS)
        asked = published.select(self.open_dataset, [published, *known], shown, **openings.EVENTS)
        own = read.success(self.open_own, [key, *known], [self.uploaded, *shown], **openings.EVENTS)
        # Cancel first: a late update of an opening would overwrite the restored page.
        back = page.cancel.click(None, cancels=[loaded, selected, fetched, asked, own]).then(
            self.cancel, [page.list_state, *known], shown, **openings.EVENTS
        )
        slowly: dict[str, Any] = IN_ORDER | dict(show_progress="full", show_progress_on=[page.cards])
        both = [page.opened, page.checkpoint]
        models = [
            page.checkpoint.input(self.choose_checkpoint, both, model, **slowly),
            panel.reset.click(self.open_checkpoint, both, model, **slowly),
            use(self.use_trained, [trained, page.opened], model, **IN_ORDER),
        ]
        offered = trained.change(self.offer_models, page.opened, page.checkpoint, **QUIETLY)
        return [loaded, selected, fetched, asked, own, back, *models], offered

    async def open_page(self, request: gr.Request, opened: list[str], uploaded: list[str]) -> AsyncIterator[Parts]:
        """Opens the page's URL. Parts that cannot be opened are reported; the others are opened."""
        pairs, page, panel = request.query_params.multi_items(), self.page, self.page.controls
        if page.list_state.value and not any(name in KEYS for name, _ in pairs):
            # The page came with its list (`first_list`). What was clicked since then stays.
            yield {
                page.dataset: gr.Dropdown(pickers.choices(uploaded)),
                page.checkpoint: gr.Dropdown(pickers.model_choices(opened[0])),
                panel.first_year: None,  # which the page would take for 0
                panel.last_year: None,
            }
            runs.warm_up()
            return
        words = [pair for pair in pairs if pair[0] not in NUMBERS]
        query = attempt(lambda: Query.parse(pairs), None) or attempt(lambda: Query.parse(words), Query())
        if query.dataset not in REGISTRY and query.dataset not in uploaded:
            uploaded = [*uploaded, query.dataset]
        try:
            async for stage in openings.opening(query.dataset):
                yield self._busy(query.dataset, stage)
            known = state.open_dataset(query.dataset).dataset.split.items
            history = attempt(lambda: known.encode(query.history or ()) is not None and query.history, None)
            query = adjustable(replace(query, history=history))
            parts = await run_sync(self.shown, query, uploaded)
        except SDiffError as error:
            warn(error)
            query = Query(opened[0])
            parts, history = await run_sync(self.shown, query, uploaded), None
        yield parts | {
            panel.seed: query.seed,
            panel.k: max(1, min(query.k, LONGEST)),
            panel.seen: query.seen,
            page.edited: None if history is None else [query.dataset, parts[page.user], history],
            self.uploaded: uploaded,
        }
        runs.warm_up()

    async def open_dataset(self, dataset: str, opened: list[str], uploaded: list[str]) -> AsyncIterator[Parts]:
        """Opens a data set and updates the page.

        If it cannot be opened, the page stays on the previous data set. Missing files are offered for download.
        """
        try:
            query = Query(dataset)
            async for stage in openings.opening(dataset):
                yield self._busy(dataset, stage)
            yield await run_sync(self.shown, query, uploaded)
        except SDiffError as error:
            source = REGISTRY.get(dataset)
            missing = dataset if source and source.missing and source.archives and not gate.read_only() else ""
            offer = (
                f"**{source.title}** is not downloaded yet. Its terms: {source.terms}." if source and missing else ""
            )
            if not missing:
                warn(error)
            yield {**self._as_before(opened, uploaded), **self._status(offer, fetch=True), self.wanted: missing}

    async def cancel(self, shown: str, opened: list[str], uploaded: list[str]) -> AsyncIterator[Parts]:
        """Restores the page as it was before an opening. If nothing was open yet, opens the default data set."""
        if shown:
            yield self._as_before(opened, uploaded)
        else:
            async for parts in self.open_dataset(opened[0], opened, uploaded):
                yield parts

    async def open_own(self, key: str, opened: list[str], uploaded: list[str]) -> AsyncIterator[Parts]:
        """Opens an upload and stores its key in the browser. The key is empty if the table could not be read."""
        if not key:
            yield gr.skip()  # gradio empties the outputs of a generator that yields nothing
            return
        uploaded = list(dict.fromkeys([*uploaded, key]))
        async for parts in self.open_dataset(key, opened, uploaded):
            yield parts | {self.uploaded: uploaded}

    def choose_checkpoint(self, opened: list[str], checkpoint: str) -> Parts:
        """Opens a model that was chosen. Gradio also sends a dropdown that was only left: then the controls stay."""
        return gr.skip() if checkpoint == opened[1] else self.open_checkpoint(opened, checkpoint)

    def open_checkpoint(self, opened: list[str], checkpoint: str) -> Parts:
        """Opens a model: the cards of data set and model, and the controls at the checkpoint's values, with seed 0.

        If it cannot be opened, the previous model stays, or else the closed-form model, which needs no file.
        """
        dataset, page = opened[0], self.page
        try:
            config = serve(dataset, checkpoint)[1].config
        except SDiffError as error:
            if checkpoint == INSTANT:
                raise
            warn(error)
            return self.open_checkpoint(opened, INSTANT if checkpoint == opened[1] else opened[1])
        cards = f"**Data** {pickers.data_card(dataset)}  \n**Model** {pickers.model_card(dataset, checkpoint)}"
        return {
            page.opened: [dataset, checkpoint],
            page.checkpoint: gr.Dropdown(choices=pickers.model_choices(dataset), value=checkpoint),
            page.cards: cards,
            page.controls.seed: gr.Number(0),
            **at(config, page.controls.settings),
        }

    def offer_models(self, opened: list[str]) -> Parts:
        """The choice of models after one was trained. The open one stays."""
        return {self.page.checkpoint: gr.Dropdown(pickers.model_choices(opened[0]), value=opened[1])}

    @guarded
    def use_trained(self, trained: str, opened: list[str]) -> Parts:
        """Opens a model that was just trained."""
        if trained not in pickers.models(opened[0]):
            raise SDiffError(f"{trained} was trained on another data set: choose that one at the top first.")
        return self.open_checkpoint(opened, trained)

    def _busy(self, dataset: str, stage: openings.Stage) -> Parts:
        """The page while a data set is opened: progress and a cancel button."""
        title = REGISTRY[dataset].title if dataset in REGISTRY else store.title_of(dataset)
        words = f"Opening **{literal(title)}**: {opening_bar(stage)}"
        return {self.page.dataset: gr.Dropdown(interactive=False), **self._status(words, cancel=True)}

    def _as_before(self, opened: list[str], uploaded: list[str]) -> Parts:
        """Resets the picker to the open data set, and hides the status row."""
        picker = gr.Dropdown(pickers.choices(uploaded), value=opened[0], interactive=True)
        return {self.page.dataset: picker, **self._status()}

    def _status(self, words: str = "", *, fetch: bool = False, cancel: bool = False) -> Parts:
        """Updates the status row below the pickers: its text and buttons. Clears the data set to download."""
        page, shown = self.page, bool(words)
        return {
            self.wanted: "",
            page.status: gr.Row(visible=shown),
            page.words: words,
            page.fetch: gr.Button(visible=shown and fetch),
            page.cancel: gr.Button(visible=shown and cancel),
        }

    def shown(self, query: Query, uploaded: list[str]) -> Parts:
        """The page of a query. The lists are cleared until new ones arrive.

        Raises:
            SDiffError: the data set cannot be opened. Other errors are reported on the page.
        """
        dataset, user = query.dataset, query.user
        if user and not attempt(lambda: state.open_dataset(dataset).history(user) is not None, False):
            user = ""
        if not user and (query.user or query.history is None):  # else it is a custom history
            user = pickers.pick_user(dataset, "typical")
        first = pickers.models(dataset)[0]
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
        """The filters supported by the data set's metadata, with the values of the query."""
        panel, catalog = self.page.controls, state.open_dataset(query.dataset).catalog
        genres, years = catalog.genres(), catalog.years()
        chosen = [genre for genre in query.genres if genre in genres]
        if unknown := ", ".join(genre for genre in query.genres if genre not in genres):
            gr.Warning(escape(f"This data set has no genre {unknown:.200}: the filter is ignored."), duration=15)
        years_chosen = query.first_year, query.last_year
        boxes = (
            gr.Number(year, placeholder=str(bound), visible=years is not None)
            for year, bound in zip(years_chosen, years or ("", ""), strict=True)
        )
        return {
            panel.only: gr.Accordion(visible=bool(genres or years), open=bool(chosen) or years_chosen != (None, None)),
            panel.genres: gr.Dropdown(genres, value=chosen, multiselect=True, visible=bool(genres)),
            **dict(zip((panel.first_year, panel.last_year), boxes, strict=True)),
        }


def download(wanted: str, progress: gr.Progress = gr.Progress()) -> None:  # noqa: B008
    """Downloads the files of a data set, unless the app is read-only."""
    journal.note(data=wanted)

    def shown(done: int, total: int | None) -> None:
        of = f" of {total / 1e6:.1f}" if total else ""
        progress(done / total if total else 0, desc=f"Downloading {wanted}: {done / 1e6:.1f}{of} MB")

    try:
        gate.require_writable()
        datasets.download(wanted, shown)
    except SDiffError as error:
        warn(error)
