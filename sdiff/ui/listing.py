"""What the first view and the plots show of a history: what changes it, and what follows from it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from sdiff.catalog import Filter
from sdiff.errors import SDiffError
from sdiff.ui import figures, handlers, lists, spectral_handlers, state
from sdiff.ui.controls import SLIDERS, guarded
from sdiff.ui.links import Link
from sdiff.ui.state import serve

# The data set and the model that the page has opened, whatever its pickers show at this moment.
Opened = tuple[str, str]
Edited = tuple[str, str, list[str]]  # a data set, its user, and the ids of the history instead, oldest first
ADDABLE = 6  # items found


@guarded
def pick(pick: handlers.Pick, opened: Opened, user: str, *rest: Any) -> tuple[Any, ...]:
    """Another user and the list in one answer, so that the two always belong together."""
    picked = handlers.pick_user(opened[0], pick)
    return picked, *_listing(opened, picked, *rest)


@guarded
def remove(event: gr.EventData, opened: Opened, user: str, edited: Edited | None, *rest: Any) -> Any:
    """The history without the item that was pressed, and the list that follows from it."""
    history = [id for id in _history(edited, opened[0], user) if id != event.item]
    return _changed(history, opened, user, *rest)


@guarded
def add(event: gr.EventData, opened: Opened, user: str, edited: Edited | None, *rest: Any) -> Any:
    """The history with the item that was pressed as its newest."""
    history = [id for id in _history(edited, opened[0], user) if id != event.item]
    return _changed([*history, event.item], opened, user, *rest)


@guarded
def empty(opened: Opened, user: str, edited: Edited | None, *rest: Any) -> Any:
    return _changed([], opened, user, *rest)


@guarded
def restore(opened: Opened, user: str, edited: Edited | None, *rest: Any) -> Any:
    return _changed(None, opened, user, *rest)


def _changed(history: list[str] | None, opened: Opened, user: str, *rest: Any) -> tuple[Any, ...]:
    edited = None if history is None else (opened[0], user.strip(), history)
    return edited, "", *_listing(opened, user, edited, *rest)


def _history(edited: Edited | None, dataset: str, user: str) -> list[str]:
    changed = _edits(edited, dataset, user)
    return handlers.history_of(dataset, user) if changed is None else changed


@guarded
def why(event: gr.EventData, opened: Opened, user: str, edited: Edited | None, *settings: Any) -> Any:
    """What speaks for the item that was pressed, until the next list comes."""
    *values, seed = settings
    history = _edits(edited, opened[0], user)
    found = handlers.why(*opened, user, event.item, _named(values), int(seed or 0), history)
    return lists.why_panel(found.title, found.unit, found.score, found.by_item, found.by_frequency)


def find(opened: Opened, question: str) -> str:
    """Items that may be meant, to be added to the history."""
    if not question.strip():
        return ""
    catalog = state.open_dataset(opened[0]).catalog
    return lists.addable_table(catalog.rows(catalog.search(question, ADDABLE)))


def _edits(edited: Edited | None, dataset: str, user: str) -> list[str] | None:
    """The changed history, if it is of this user."""
    return edited[2] if edited and edited[:2] == (dataset, user.strip()) else None


def _listing(opened: Opened, user: str, edited: Edited | None, *settings: Any) -> tuple[Any, ...]:
    dataset, *_ = opened
    *values, seed, k, genres, first, last = settings
    bounds = state.open_dataset(dataset).catalog.years() or (first, last)  # without years the sliders are not shown
    years = (year if year != bound else None for year, bound in zip((first, last), bounds, strict=True))
    wanted = Filter(tuple(genres), *years)
    history = _edits(edited, dataset, user)
    shown = handlers.recommend(*opened, user, _named(values), int(k), int(seed or 0), wanted, history)
    recommended = lists.recommended_table(shown.recommendations, shown.moves)
    restore = gr.Button(interactive=shown.moves is not None)
    config = serve(*opened)[1].config
    moved = {name: value for name, value in _named(values).items() if value != getattr(config, name)}
    only = (list(genres), wanted.first_year, wanted.last_year)
    link = Link(*opened, user.strip(), history, moved, int(seed or 0), int(k), *only)
    return lists.history_table(shown.history), recommended, shown.summary, shown.changed, restore, "", link.query()


recommend = guarded(_listing)


def plots(opened: Opened, user: str, edited: Edited | None, *settings: Any) -> tuple[Any, ...]:
    *values, seed = settings
    history = _edits(edited, opened[0], user)
    try:
        view = spectral_handlers.spectral_view(*opened, user, _named(values), int(seed or 0), history)
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
