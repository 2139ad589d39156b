"""What the page's events do: from the values of its controls to new values for its components."""

from __future__ import annotations

import functools
from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from sdiff import datasets
from sdiff.catalog import Filter
from sdiff.config import BOUNDS, Config
from sdiff.errors import SDiffError
from sdiff.registry import REGISTRY
from sdiff.ui import figures, handlers, lists, spectral_handlers, state, uploads
from sdiff.ui.data_tab import describe
from sdiff.ui.links import LONGEST, Link
from sdiff.ui.state import INSTANT, serve, uploads_dir

# name -> (label, hint, range, step): what can be moved without training again, Section 3.2 and Algorithm 2
SLIDERS = {
    "half_life": (
        "Recency half-life h",
        "items back from the newest that halve the weight; 0: all alike",
        (0, 20),
        0.1,
    ),
    "guidance": ("Guidance s", "how strongly the list leans on this history", (0, 5), 0.01),
    "alpha_min": ("Signal floor αₘᵢₙ", "what even the highest frequency keeps", BOUNDS["alpha_min"], 0.01),
    "sigma_max": ("Noise ceiling σₘₐₓ", "the most noise that any frequency gets", BOUNDS["sigma_max"], 0.01),
    "tau": ("Diffusion time τ", "how far the history is smoothed along the graph", (0.1, 3), 0.1),
    "T": ("Reverse steps T", "how many times it is denoised", (1, 20), 1),
}


Edited = tuple[str, str, list[str]]  # a data set, its user, and the ids of the history instead, oldest first
ADDABLE = 6  # items found


def guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose SDiffError becomes a message on the page; everything on it stays as it was."""

    @functools.wraps(handler)
    def run(*values: Any) -> Any:
        try:
            return handler(*values)
        except SDiffError as error:
            gr.Warning(escape(str(error)), duration=15)
            return gr.skip()

    return run


def open_page(request: gr.Request, opened: tuple[str, str], uploaded: list[str]) -> tuple[Any, ...]:
    """What the page's address asks for; what of it cannot be had is said, and the rest is opened."""
    link = _said(lambda: Link.parse(request.query_params.multi_items()), Link())
    if link.dataset not in REGISTRY and link.dataset not in uploaded:
        uploaded = [*uploaded, link.dataset]
    page = _said(lambda: _page(link, uploaded), ())
    if not page:
        link = Link(opened[0])
        page = _page(link, uploaded)
    known = state.open_dataset(link.dataset).dataset.split.items
    history = _said(lambda: known.encode(link.history or ()) is not None and link.history, None)
    edited = None if history is None else (link.dataset, page[1], history)
    return *page, link.seed, max(1, min(link.k, LONGEST)), edited, uploaded


@guarded
def open_dataset(dataset: str, opened: tuple[str, str], uploaded: list[str]) -> tuple[Any, ...]:
    """Everything that follows from the data set; one whose files are missing leaves the page on the one before."""
    try:
        return _page(Link(dataset), uploaded)
    except SDiffError as error:
        if dataset == opened[0]:
            raise
        source = REGISTRY.get(dataset)
        to_get = dataset if source and source.missing and source.archives else ""
        offer = f"**{source.title}** is not here yet. Its terms: {source.terms}." if source and to_get else ""
        if not to_get:
            gr.Warning(escape(str(error)), duration=15)
        rest = [gr.skip()] * (8 + len(SLIDERS))
        before = gr.Dropdown(choices(uploaded), value=opened[0])
        return before, gr.skip(), to_get, gr.Row(visible=bool(to_get)), offer, *rest


def _page(link: Link, uploaded: list[str]) -> tuple[Any, ...]:
    """The page of a link. Raises SDiffError where its data set cannot be opened; what else is wrong is said."""
    dataset, user = link.dataset, handlers.pick_user(link.dataset, "typical")
    if link.user:
        user = _said(lambda: handlers.history_of(dataset, link.user) is not None and link.user, user)
    first = handlers.models(dataset)[0]
    now, *model = open_checkpoint(dataset, link.model or first, (dataset, first if link.model else INSTANT))
    if link.settings:
        config = serve(*now)[1].config
        model[2:] = _values(_said(lambda: config.at_inference(link.settings), config))
    picker = gr.Dropdown(choices(uploaded), value=dataset)
    return picker, user, "", gr.Row(visible=False), "", *_filters(link), now, *model


def _said(attempt: Callable[[], Any], otherwise: Any) -> Any:
    """What comes of an attempt; where it fails, that is said on the page."""
    try:
        return attempt()
    except SDiffError as error:
        gr.Warning(escape(str(error)), duration=15)
        return otherwise


def _filters(link: Link) -> tuple[Any, ...]:
    """The filters that a data set's metadata allows: as the link has them, else letting everything through."""
    catalog = state.open_dataset(link.dataset).catalog
    genres, years = catalog.genres(), catalog.years()
    low, high = years or (0, 1)
    wished = (low if link.first_year is None else link.first_year, high if link.last_year is None else link.last_year)
    sliders = (
        gr.Slider(minimum=low, maximum=high, value=min(max(year, low), high), visible=bool(years)) for year in wished
    )
    chosen = [genre for genre in link.genres if genre in genres]
    return (
        gr.Accordion(visible=bool(genres or years), open=bool(chosen) or wished != (low, high)),
        gr.Dropdown(genres, value=chosen, multiselect=True, visible=bool(genres)),
        *sliders,
    )


@guarded
def download(
    wanted: str,
    opened: tuple[str, str],
    uploaded: list[str],
    progress: gr.Progress = gr.Progress(),  # noqa: B008
) -> tuple[Any, ...]:
    """Fetches the data set that was asked for, and opens it."""

    def shown(done: int, total: int | None) -> None:
        of = f" of {total / 1e6:.1f}" if total else ""
        progress(done / total if total else 0, desc=f"Downloading {wanted}: {done / 1e6:.1f}{of} MB")

    datasets.download(wanted, shown)
    return open_dataset(wanted, opened, uploaded)


@guarded
def open_own(key: str, opened: tuple[str, str], uploaded: list[str]) -> Any:
    """Opens what was uploaded, and remembers it in the visitor's browser; without a key nothing could be read."""
    if not key:
        return gr.skip()
    uploaded = list(dict.fromkeys([*uploaded, key]))
    return uploaded, *open_dataset(key, opened, uploaded)


@guarded
def card(opened: tuple[str, str]) -> tuple[Any, ...]:
    return describe(opened[0])


def open_checkpoint(dataset: str, checkpoint: str, opened: tuple[str, str]) -> tuple[Any, ...]:
    """The cards of data set and model, and the controls at the checkpoint's values; a damaged one is not kept."""
    try:
        config = serve(dataset, checkpoint)[1].config
    except SDiffError as error:
        gr.Warning(escape(str(error)), duration=15)
        checkpoint = opened[1]
        config = serve(dataset, checkpoint)[1].config
    cards = f"**Data** {handlers.data_card(dataset)}  \n**Model** {handlers.model_card(dataset, checkpoint)}"
    picker = gr.Dropdown(choices=handlers.models(dataset), value=checkpoint)
    return (dataset, checkpoint), picker, cards, *_values(config)


def _values(config: Config) -> tuple[Any, ...]:
    """Of the sliders and the switch for noise."""
    recency, *values = (getattr(config, name) for name in SLIDERS)
    sliders = gr.Slider(value=recency, visible=recency > 0), *values  # a model that ignores the order has no memory
    return *sliders, config.noise


@guarded
def use_trained(dataset: str, trained: str, opened: tuple[str, str]) -> tuple[Any, ...]:
    """A model that was just trained here becomes the one on the page, if its data set still is."""
    return open_checkpoint(dataset, trained if trained in handlers.models(dataset) else opened[1], opened)


@guarded
def pick(pick: handlers.Pick, dataset: str, checkpoint: str, user: str, *rest: Any) -> tuple[Any, ...]:
    """Another user and the list in one answer, so that the two always belong together."""
    picked = handlers.pick_user(dataset, pick)
    return picked, *_listing(dataset, checkpoint, picked, *rest)


@guarded
def remove(event: gr.EventData, dataset: str, checkpoint: str, user: str, edited: Edited | None, *rest: Any) -> Any:
    """The history without the item that was pressed, and the list that follows from it."""
    history = [id for id in _history(edited, dataset, user) if id != event.item]
    return _changed(history, dataset, checkpoint, user, *rest)


@guarded
def add(event: gr.EventData, dataset: str, checkpoint: str, user: str, edited: Edited | None, *rest: Any) -> Any:
    """The history with the item that was pressed as its newest."""
    history = [id for id in _history(edited, dataset, user) if id != event.item]
    return _changed([*history, event.item], dataset, checkpoint, user, *rest)


@guarded
def empty(dataset: str, checkpoint: str, user: str, edited: Edited | None, *rest: Any) -> Any:
    return _changed([], dataset, checkpoint, user, *rest)


@guarded
def restore(dataset: str, checkpoint: str, user: str, edited: Edited | None, *rest: Any) -> Any:
    return _changed(None, dataset, checkpoint, user, *rest)


def _changed(history: list[str] | None, dataset: str, checkpoint: str, user: str, *rest: Any) -> tuple[Any, ...]:
    edited = None if history is None else (dataset, user.strip(), history)
    return edited, "", *_listing(dataset, checkpoint, user, edited, *rest)


def _history(edited: Edited | None, dataset: str, user: str) -> list[str]:
    changed = _edits(edited, dataset, user)
    return handlers.history_of(dataset, user) if changed is None else changed


@guarded
def why(event: gr.EventData, dataset: str, checkpoint: str, user: str, edited: Edited | None, *settings: Any) -> Any:
    """What speaks for the item that was pressed, until the next list comes."""
    *values, seed = settings
    history = _edits(edited, dataset, user)
    found = handlers.why(dataset, checkpoint, user, event.item, _named(values), int(seed or 0), history)
    return lists.why_panel(found.title, found.unit, found.score, found.by_item, found.by_frequency)


def find(dataset: str, question: str) -> str:
    """Items that may be meant, to be added to the history."""
    if not question.strip():
        return ""
    catalog = state.open_dataset(dataset).catalog
    return lists.addable_table(catalog.rows(catalog.search(question, ADDABLE)))


def _edits(edited: Edited | None, dataset: str, user: str) -> list[str] | None:
    """The changed history, if it is of this user."""
    return edited[2] if edited and edited[:2] == (dataset, user.strip()) else None


def _listing(dataset: str, checkpoint: str, user: str, edited: Edited | None, *settings: Any) -> tuple[Any, ...]:
    *values, seed, k, genres, first, last = settings
    bounds = state.open_dataset(dataset).catalog.years() or (first, last)  # without years the sliders are not shown
    years = (year if year != bound else None for year, bound in zip((first, last), bounds, strict=True))
    wanted = Filter(tuple(genres), *years)
    history = _edits(edited, dataset, user)
    shown = handlers.recommend(dataset, checkpoint, user, _named(values), int(k), int(seed or 0), wanted, history)
    recommended = lists.recommended_table(shown.recommendations, shown.moves)
    restore = gr.Button(interactive=shown.moves is not None)
    config = serve(dataset, checkpoint)[1].config
    moved = {name: value for name, value in _named(values).items() if value != getattr(config, name)}
    only = (list(genres), wanted.first_year, wanted.last_year)
    link = Link(dataset, checkpoint, user.strip(), history, moved, int(seed or 0), int(k), *only)
    return lists.history_table(shown.history), recommended, shown.summary, shown.changed, restore, "", link.query()


recommend = guarded(_listing)


def plots(dataset: str, checkpoint: str, user: str, edited: Edited | None, *settings: Any) -> tuple[Any, ...]:
    *values, seed = settings
    history = _edits(edited, dataset, user)
    try:
        view = spectral_handlers.spectral_view(dataset, checkpoint, user, _named(values), int(seed or 0), history)
    except SDiffError:  # the list has said so
        return (gr.skip(),) * 8
    drawn = (
        figures.snr_by_frequency(view.lam, view.snr_at_tau, view.tau),
        figures.eigenvalues(view.lam),
        figures.band_energy(view.bands, *view.energy),
        figures.schedules(view.times, view.shown_lam.tolist(), view.schedules),
        figures.snr_maps(view.times, view.mapped, view.maps),
    )
    snr, eigen, energy, *rest = drawn
    words = view.words
    return snr, words["snr"], eigen, words["eigenvalues"], energy, words["energy"], *rest


def _named(values: list[Any]) -> dict[str, Any]:
    return dict(zip((*SLIDERS, "noise"), values, strict=True))


def choices(uploaded: list[str]) -> list[tuple[str, str]]:
    registered = [(source.title + (" (not here)" if source.missing else ""), key) for key, source in REGISTRY.items()]
    return [*uploads.choices(uploaded, uploads_dir()), *registered]
