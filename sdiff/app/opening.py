"""What opens data sets and models: from what was chosen to everything on the page that follows from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from html import escape
from typing import Any

import gradio as gr
from anyio.to_thread import run_sync

from sdiff.app import gate, handlers, journal, openings, runs, state, uploads
from sdiff.app.controls import SLIDERS, guarded, said, values, warn
from sdiff.app.query import LONGEST, NUMBERS, Query
from sdiff.app.state import INSTANT, serve
from sdiff.app.tabs.data import describe
from sdiff.app.words import literal
from sdiff.base.errors import SDiffError
from sdiff.base.paths import uploads_dir
from sdiff.data import datasets
from sdiff.data.registry import REGISTRY

BESIDE = 11 + len(SLIDERS)  # parts of the page that follow the status row: see `_page`
Parts = tuple[Any, ...]


async def open_page(request: gr.Request, opened: list[str], uploaded: list[str]) -> AsyncIterator[Parts]:
    """Opens what the page's address asks for. What of it cannot be had is reported, and the rest is opened."""
    pairs = request.query_params.multi_items()
    words = [pair for pair in pairs if pair[0] not in NUMBERS]
    query = said(lambda: Query.parse(pairs), None) or said(lambda: Query.parse(words), Query())
    if query.dataset not in REGISTRY and query.dataset not in uploaded:
        uploaded = [*uploaded, query.dataset]
    unknown_yet = (gr.skip(),) * 5
    try:
        async for stage in openings.opening(query.dataset):
            yield *_busy(query.dataset, stage), *unknown_yet
        page = await run_sync(_page, query, uploaded)
    except SDiffError as error:
        warn(error)
        query = Query(opened[0])
        page = await run_sync(_page, query, uploaded)
    known = state.open_dataset(query.dataset).dataset.split.items
    history = said(lambda: known.encode(query.history or ()) is not None and query.history, None)
    edited = None if history is None else [query.dataset, page[1], history]
    yield *page, query.seed, max(1, min(query.k, LONGEST)), query.seen, edited, uploaded
    runs.warm_up()


async def open_dataset(dataset: str, opened: list[str], uploaded: list[str]) -> AsyncIterator[Parts]:
    """Opens a data set and everything that follows from it. One that cannot be opened leaves the page on the one
    before; where only its files are missing, they are offered for download."""
    try:
        query = Query(dataset)
        async for stage in openings.opening(dataset):
            yield _busy(dataset, stage)
        yield await run_sync(_page, query, uploaded)
    except SDiffError as error:
        source = REGISTRY.get(dataset)
        to_get = dataset if source and source.missing and source.archives and not gate.read_only() else ""
        offer = f"**{source.title}** is not here yet. Its terms: {source.terms}." if source and to_get else ""
        if not to_get:
            warn(error)
        before = gr.Dropdown(choices(uploaded), value=opened[0], interactive=True)
        yield before, gr.skip(), to_get, *_status(offer, fetch=True), *(gr.skip(),) * BESIDE


async def cancel(shown: str, opened: list[str], uploaded: list[str]) -> AsyncIterator[Parts]:
    """The page as it was before something was being opened; where nothing was, the set that is there from the start."""
    if shown:
        before = gr.Dropdown(choices(uploaded), value=opened[0], interactive=True)
        yield before, gr.skip(), "", *_status(), *(gr.skip(),) * BESIDE
    else:
        async for page in open_dataset(opened[0], opened, uploaded):
            yield page


def _busy(dataset: str, stage: openings.Stage) -> Parts:
    """The page while a data set is being opened: how far that is, and a way out."""
    title = REGISTRY[dataset].title if dataset in REGISTRY else uploads.title_of(dataset)
    words = f"Opening **{literal(title)}**: {stage.html()}"
    rest = (gr.skip(),) * BESIDE
    return gr.Dropdown(interactive=False), gr.skip(), "", *_status(words, cancel=True), *rest


def _status(words: str = "", *, fetch: bool = False, cancel: bool = False) -> Parts:
    """The row below the pickers: its words, and its buttons."""
    shown = bool(words)
    return gr.Row(visible=shown), words, gr.Button(visible=shown and fetch), gr.Button(visible=shown and cancel)


def _page(query: Query, uploaded: list[str]) -> Parts:
    """The page of a query: its pickers, the status row, and what is `BESIDE` these. The lists, which belong to what was
    open before, are emptied until their own come.

    Raises:
        SDiffError: its data set cannot be opened. What else is wrong is reported on the page.
    """
    dataset, user = query.dataset, handlers.pick_user(query.dataset, "typical")
    if query.user:
        user = said(lambda: state.open_dataset(dataset).history(query.user) is not None and query.user, user)
    first = handlers.models(dataset)[0]
    now, *model = open_checkpoint([dataset, first if query.model else INSTANT], query.model or first)
    if query.settings:
        config = serve(*now)[1].config
        model[2:] = values(said(lambda: config.at_inference(query.settings), config))
    picker = gr.Dropdown(choices(uploaded), value=dataset, interactive=True)
    return picker, user, "", *_status(), *_filters(query), now, *model, *[""] * 3


def _filters(query: Query) -> Parts:
    """The filters that a data set's metadata allows, as the query has them."""
    catalog = state.open_dataset(query.dataset).catalog
    genres, years = catalog.genres(), catalog.years()
    chosen = [genre for genre in query.genres if genre in genres]
    if unknown := ", ".join(genre for genre in query.genres if genre not in genres):
        gr.Warning(escape(f"This data set has no genre {unknown:.200}: the list is not kept to it."), duration=15)
    asked = query.first_year, query.last_year
    boxes = (
        gr.Number(year, placeholder=str(bound), visible=years is not None)
        for year, bound in zip(asked, years or ("", ""), strict=True)
    )
    return (
        gr.Accordion(visible=bool(genres or years), open=bool(chosen) or asked != (None, None)),
        gr.Dropdown(genres, value=chosen, multiselect=True, visible=bool(genres)),
        *boxes,
    )


def download(wanted: str, progress: gr.Progress = gr.Progress()) -> None:  # noqa: B008
    """Fetches the files of the data set that was asked for, unless the app is read-only."""
    journal.note(data=wanted)

    def shown(done: int, total: int | None) -> None:
        of = f" of {total / 1e6:.1f}" if total else ""
        progress(done / total if total else 0, desc=f"Downloading {wanted}: {done / 1e6:.1f}{of} MB")

    try:
        gate.writing()
        datasets.download(wanted, shown)
    except SDiffError as error:
        warn(error)


async def open_own(key: str, opened: list[str], uploaded: list[str]) -> AsyncIterator[Parts]:
    """Opens what was uploaded, and keeps its key in the visitor's browser; without a key nothing could be read."""
    if not key:
        yield (gr.skip(),) * (8 + BESIDE)  # gradio empties the outputs of a generator that yields nothing
        return
    uploaded = list(dict.fromkeys([*uploaded, key]))
    async for page in open_dataset(key, opened, uploaded):
        yield uploaded, *page


@guarded
def card(opened: list[str]) -> Parts:
    return describe(opened[0])


def open_checkpoint(opened: list[str], checkpoint: str) -> Parts:
    """The cards of the open data set and of a model, and the controls at the checkpoint's values. One that cannot be
    opened leaves the one before, or where that is gone as well, the one that needs no file."""
    dataset = opened[0]
    try:
        config = serve(dataset, checkpoint)[1].config
    except SDiffError as error:
        if checkpoint == INSTANT:
            raise
        warn(error)
        return open_checkpoint(opened, INSTANT if checkpoint == opened[1] else opened[1])
    cards = f"**Data** {handlers.data_card(dataset)}  \n**Model** {handlers.model_card(dataset, checkpoint)}"
    picker = gr.Dropdown(choices=handlers.models(dataset), value=checkpoint)
    return [dataset, checkpoint], picker, cards, *values(config)


@guarded
def use_trained(trained: str, opened: list[str]) -> Parts:
    """A model that was just trained becomes the one on the page, if that still shows the data set it is of."""
    return open_checkpoint(opened, trained if trained in handlers.models(opened[0]) else opened[1])


def choices(uploaded: list[str]) -> list[tuple[str, str]]:
    """(title, key) of the visitor's own data sets, then of those that are here or may be fetched."""
    registered = [
        (source.title + (" (not here)" if source.missing else ""), key)
        for key, source in REGISTRY.items()
        if not (source.missing and gate.read_only())
    ]
    return [*uploads.choices(uploaded, uploads_dir()), *registered]
