"""What opens data sets and models: from what was chosen to everything on the page that follows from it."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from sdiff import datasets
from sdiff.errors import SDiffError
from sdiff.registry import REGISTRY
from sdiff.ui import gate, handlers, journal, state, uploads
from sdiff.ui.controls import SLIDERS, guarded, said, values
from sdiff.ui.data_tab import describe
from sdiff.ui.query import LONGEST, NUMBERS, Query
from sdiff.ui.state import INSTANT, serve, uploads_dir
from sdiff.ui.words import told


def open_page(request: gr.Request, opened: list[str], uploaded: list[str]) -> tuple[Any, ...]:
    """What the page's address asks for; what of it cannot be had is said, and the rest is opened."""
    pairs = request.query_params.multi_items()
    words = [pair for pair in pairs if pair[0] not in NUMBERS]
    query = said(lambda: Query.parse(pairs), None) or said(lambda: Query.parse(words), Query())
    if query.dataset not in REGISTRY and query.dataset not in uploaded:
        uploaded = [*uploaded, query.dataset]
    page = said(lambda: _page(query, uploaded), ())
    if not page:
        query = Query(opened[0])
        page = _page(query, uploaded)
    known = state.open_dataset(query.dataset).dataset.split.items
    history = said(lambda: known.encode(query.history or ()) is not None and query.history, None)
    edited = None if history is None else [query.dataset, page[1], history]
    return *page, query.seed, max(1, min(query.k, LONGEST)), query.seen, edited, uploaded


@guarded
def open_dataset(dataset: str, opened: list[str], uploaded: list[str]) -> tuple[Any, ...]:
    """Everything that follows from the data set; one whose files are missing leaves the page on the one before."""
    try:
        return _page(Query(dataset), uploaded)
    except SDiffError as error:
        if dataset == opened[0]:
            raise
        source = REGISTRY.get(dataset)
        to_get = dataset if source and source.missing and source.archives and not gate.read_only() else ""
        offer = f"**{source.title}** is not here yet. Its terms: {source.terms}." if source and to_get else ""
        if not to_get:
            gr.Warning(escape(told(error)), duration=15)
        rest = [gr.skip()] * (8 + len(SLIDERS))
        before = gr.Dropdown(choices(uploaded), value=opened[0])
        return before, gr.skip(), to_get, gr.Row(visible=bool(to_get)), offer, *rest


def _page(query: Query, uploaded: list[str]) -> tuple[Any, ...]:
    """The page of a query. Raises SDiffError where its data set cannot be opened; what else is wrong is said."""
    dataset, user = query.dataset, handlers.pick_user(query.dataset, "typical")
    if query.user:
        user = said(lambda: state.open_dataset(dataset).history(query.user) is not None and query.user, user)
    first = handlers.models(dataset)[0]
    now, *model = open_checkpoint(dataset, query.model or first, [dataset, first if query.model else INSTANT])
    if query.settings:
        config = serve(*now)[1].config
        model[2:] = values(said(lambda: config.at_inference(query.settings), config))
    picker = gr.Dropdown(choices(uploaded), value=dataset)
    return picker, user, "", gr.Row(visible=False), "", *_filters(query), now, *model


def _filters(query: Query) -> tuple[Any, ...]:
    """The filters that a data set's metadata allows: as the query has them, else letting everything through."""
    catalog = state.open_dataset(query.dataset).catalog
    genres, years = catalog.genres(), catalog.years()
    low, high = years or (0, 1)
    asked = ((query.first_year, low), (query.last_year, high))
    wished = tuple(usual if year is None else year for year, usual in asked)
    sliders = (
        gr.Slider(minimum=low, maximum=high, value=min(max(year, low), high), visible=bool(years)) for year in wished
    )
    chosen = [genre for genre in query.genres if genre in genres]
    if unknown := ", ".join(genre for genre in query.genres if genre not in genres):
        gr.Warning(escape(f"This data set has no genre {unknown:.200}: the list is not kept to it."), duration=15)
    return (
        gr.Accordion(visible=bool(genres or years), open=bool(chosen) or wished != (low, high)),
        gr.Dropdown(genres, value=chosen, multiselect=True, visible=bool(genres)),
        *sliders,
    )


@guarded
def download(
    wanted: str,
    opened: list[str],
    uploaded: list[str],
    progress: gr.Progress = gr.Progress(),  # noqa: B008
) -> tuple[Any, ...]:
    """Fetches the data set that was asked for, and opens it, unless the app is read-only."""
    gate.writing()
    journal.note(data=wanted)

    def shown(done: int, total: int | None) -> None:
        of = f" of {total / 1e6:.1f}" if total else ""
        progress(done / total if total else 0, desc=f"Downloading {wanted}: {done / 1e6:.1f}{of} MB")

    datasets.download(wanted, shown)
    return open_dataset(wanted, opened, uploaded)


@guarded
def open_own(key: str, opened: list[str], uploaded: list[str]) -> Any:
    """Opens what was uploaded, and remembers it in the visitor's browser; without a key nothing could be read."""
    if not key:
        return gr.skip()
    uploaded = list(dict.fromkeys([*uploaded, key]))
    return uploaded, *open_dataset(key, opened, uploaded)


@guarded
def card(opened: list[str]) -> tuple[Any, ...]:
    return describe(opened[0])


def open_checkpoint(dataset: str, checkpoint: str, opened: list[str]) -> tuple[Any, ...]:
    """The cards of data set and model, and the controls at the checkpoint's values. One that cannot be opened leaves
    the one before, or where that is gone as well, the one that needs no file."""
    try:
        config = serve(dataset, checkpoint)[1].config
    except SDiffError as error:
        if checkpoint == INSTANT:
            raise
        gr.Warning(escape(told(error)), duration=15)
        return open_checkpoint(dataset, INSTANT if checkpoint == opened[1] else opened[1], opened)
    cards = f"**Data** {handlers.data_card(dataset)}  \n**Model** {handlers.model_card(dataset, checkpoint)}"
    picker = gr.Dropdown(choices=handlers.models(dataset), value=checkpoint)
    return [dataset, checkpoint], picker, cards, *values(config)


@guarded
def use_trained(dataset: str, trained: str, opened: list[str]) -> tuple[Any, ...]:
    """A model that was just trained here becomes the one on the page, if its data set still is."""
    return open_checkpoint(dataset, trained if trained in handlers.models(dataset) else opened[1], opened)


def choices(uploaded: list[str]) -> list[tuple[str, str]]:
    """(title, key) of the visitor's own data sets, then of those that are here or may be fetched."""
    registered = [
        (source.title + (" (not here)" if source.missing else ""), key)
        for key, source in REGISTRY.items()
        if not (source.missing and gate.read_only())
    ]
    return [*uploads.choices(uploaded, uploads_dir()), *registered]
