"""The Recommend tab: a history, its list, and explanations of items."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import gradio as gr

from sdiff.app import state
from sdiff.app.controls import Parts, Values
from sdiff.app.handlers import explanations, item_pages, measuring, pickers, ranking, spectral
from sdiff.app.labels import SOLVED
from sdiff.app.messages import attempt, guarded, warn
from sdiff.app.page import IN_ORDER, QUIETLY, Page, plot_area, query_of
from sdiff.app.query import Query
from sdiff.app.settings import without_effect
from sdiff.app.tabs import take_away
from sdiff.app.views import figures, lists, tables
from sdiff.base.errors import SDiffError

FURTHER = """<p><button type="button" data-view="Diffusion" data-play>Play the diffusion</button>
<button type="button" data-view="Waves">See the waves and the map</button></p>"""
ADDABLE = 6  # maximum number of items found
# Buttons in a list send the id of their item.
PRESSED = """element.addEventListener("click", ({ target }) => {
  const button = target.closest("button[data-item]");
  if (button) trigger("click", { item: button.dataset.item });
})"""


class RecommendTab:
    """The history and its editor, the list, and the plots beside it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        with gr.Row(elem_id="view"):
            with gr.Column(scale=7, min_width=310):
                self.summary = gr.Markdown(elem_id="summary")
                with gr.Accordion("Start from your own taste", open=False, elem_id="own-taste") as self.taste:
                    gr.Markdown("Click what you like. The list is updated after each click.", elem_classes="words")
                    self.shelves = gr.HTML(elem_id="shelves", padding=False, js_on_load=PRESSED)
                with gr.Row(elem_id="lists"):
                    with gr.Column(scale=2, min_width=200, elem_id="past"):
                        self.question = gr.Textbox(
                            show_label=False,
                            label="Add an item to the history",
                            placeholder="What if? Add an item by title …",
                            max_lines=1,
                            container=False,
                            elem_id="add",
                        )
                        with gr.Row(elem_id="edits"):
                            self.true_button = gr.Button("Original history", size="sm", min_width=80, interactive=False)
                            self.empty_button = gr.Button("Empty", size="sm", min_width=80)
                        self.addable = gr.HTML(elem_id="addable", padding=False, js_on_load=PRESSED)
                        self.history = gr.HTML(elem_id="history", padding=False, js_on_load=PRESSED)
                    with gr.Column(scale=3, min_width=300):
                        self.recommended = gr.HTML(elem_id="recommended", padding=False, js_on_load=PRESSED)
                        with gr.Row(elem_id="take"):
                            self.csv = gr.Button("Save as CSV", size="sm", min_width=100, elem_id="csv")
                            self.python = gr.Button("Copy as Python", size="sm", min_width=100, elem_id="python")
                            self.link = gr.Button("Copy link", size="sm", min_width=100, elem_id="link")
            with gr.Column(scale=3, min_width=300, elem_id="plots"):
                gr.Markdown("## Across users")
                self.everybody = gr.HTML(elem_id="everybody", padding=False)
                self.solved = gr.Markdown(visible=False, elem_classes="words")  # in place of the plots of the noise
                with gr.Column() as self.noised:
                    gr.Markdown("## Signal and noise of each wave")
                    self.snr = plot_area("Signal-to-noise ratio by wave", "snr")
                    self.snr_words = gr.Markdown(elem_classes="words")
                    gr.Markdown("## This history, noised and restored")
                    self.energy = plot_area("The history noised and restored", "energy")
                    self.energy_words = gr.Markdown(elem_classes="words")
                self.further = gr.HTML(FURTHER, elem_id="further", padding=False)
        # The page's script puts them below the row they explain, and into a dialog.
        self.why_panel = gr.HTML(elem_id="why", padding=False)
        self.item = gr.HTML(elem_id="item", padding=False, js_on_load=PRESSED)
        self.picked = gr.Textbox(visible="hidden", elem_id="picked-item")
        self.unwanted = gr.Textbox(visible="hidden", elem_id="unwanted-filter")

    @property
    def emptied(self) -> list[Any]:
        """What belongs to a data set, and is cleared when another one is opened."""
        return [self.history, self.recommended, self.summary, self.addable, self.everybody]

    def wire(self, opened: Iterable[Any]) -> None:
        """Connects the events. `opened`: those that open a data set or a model; the first is that of a loaded page."""
        page = self.page
        listed = [self.history, self.recommended, self.summary, page.controls.changed, self.true_button]
        listed += [self.why_panel, page.list_state]
        taste = [self.taste, self.shelves]
        loaded, *others = opened
        loaded.success(self.begin, {page.list_state, *page.inputs}, listed, **QUIETLY)
        for event in others:
            event.success(self.recommend, page.inputs, listed, **IN_ORDER)
        for pick, button in page.picks.items():
            button.click(functools.partial(self.pick, pick), page.inputs, [page.user, *taste, *listed], **IN_ORDER)
        # The shelves still show items of the previous data set.
        gr.on([page.opened.change], self._put_away, None, taste, **QUIETLY)
        for press, change in (
            (self.history.click, self.remove),
            (self.addable.click, self.add),
            (self.item.click, self.add),
            (self.shelves.click, self.take),
            (self.empty_button.click, self.empty),
            (self.true_button.click, self.restore),
        ):
            press(change, page.inputs, [page.edited, page.user, self.question, self.shelves, *listed], **IN_ORDER)
        typed = [page.user.submit, page.user.blur]
        gr.on(typed, self.call, {page.list_state, *page.inputs}, [page.user, *taste, *listed], **IN_ORDER)
        panel = page.controls
        gr.on(panel.moved, self.recommend, page.inputs, listed, trigger_mode="always_last", **IN_ORDER)
        filtered = [panel.genres, panel.first_year, panel.last_year, *listed]
        self.unwanted.change(self.unfilter, {self.unwanted, *page.inputs}, filtered, **IN_ORDER)
        page.on_new_list("Recommend", self.across, [self.everybody])
        plots = [self.solved, self.noised, self.snr, self.snr_words, self.energy, self.energy_words]
        page.on_new_list("Recommend", self.plots, plots)
        why = self.recommended.click(self.why, page.inputs, self.why_panel, trigger_mode="multiple", **IN_ORDER)
        why.then(None, js="() => window.showWhy()")
        opened_item = self.picked.change(self.facts, {self.picked, *page.inputs}, self.item, **IN_ORDER)
        opened_item.success(None, js="() => window.showItem()")
        self.taste.expand(self.show_shelves, page.inputs, self.shelves, **QUIETLY)
        search: dict[str, Any] = dict(trigger_mode="always_last", show_progress="hidden", api_visibility="private")
        self.question.change(find, [page.opened, self.question], self.addable, **search)
        page.take_away(self.csv, take_away.list_csv, "text => window.saveText(text, 'recommendations.csv')")
        copy = "text => window.copyText(text, 'The script is copied: run it where sdiff is installed.')"
        page.take_away(self.python, take_away.python, copy)
        self.link.click(None, js="() => window.copyText(location.href, 'The link is copied.')")

    @guarded
    def recommend(self, values: Values) -> Parts:
        return self.shown(self.page.query(values))

    def begin(self, values: Values) -> Parts:
        """The first list, unless the page came with it."""
        return gr.skip() if values[self.page.list_state] else self.recommend(values)

    @guarded
    def pick(self, pick: pickers.Pick, values: Values) -> Parts:
        """Picks another user. Returns user and list in one update, so that they always match."""
        user = pickers.pick_user(values[self.page.opened][0], pick)
        query = self.page.query(values | {self.page.user: user})
        return {self.page.user: query.user, **self._put_away(), **self.shown(query)}

    def call(self, values: Values) -> Parts:
        """The list of the user whose id was entered. An unknown id is reported, and the previous one restored."""
        previous = ""
        with suppress(SDiffError):  # there may be no list yet
            previous = query_of(values[self.page.list_state]).user
        try:
            query = self.page.query(values)
            if query.user == previous:
                return gr.skip()
            return {self.page.user: query.user, **self._put_away(), **self.shown(query)}
        except SDiffError as error:
            warn(error)
            return {self.page.user: previous}

    @guarded
    def remove(self, event: gr.EventData, values: Values) -> Parts:
        """Removes the pressed item from the history, and updates the list."""
        query = self.page.query(values)
        return self._edited(query, [id for id in ranking.history_of(query) if id != event.item])

    @guarded
    def add(self, event: gr.EventData, values: Values) -> Parts:
        """Adds the pressed item to the history as the newest one, and updates the list."""
        query = self.page.query(values)
        return self._edited(query, [*(id for id in ranking.history_of(query) if id != event.item), event.item])

    @guarded
    def take(self, event: gr.EventData, values: Values) -> Parts:
        """Adds an item or a whole shelf of them to a custom history. An item that is in it is removed."""
        query = self.page.query(values)
        own = _own(query)
        if event.item in own:
            history = [id for id in own if id != event.item]
        else:
            taken = [event.item]
            for n, (_, rows) in enumerate(item_pages.shelves(query.dataset)):
                if event.item == f"{lists.SHELF}{n}":
                    taken = [row.id for row in rows][::-1]
            history = [*(id for id in own if id not in taken), *taken]
        return {self.page.user: "", **self._edited(replace(query, user=""), history)}

    @guarded
    def empty(self, values: Values) -> Parts:
        return self._edited(self.page.query(values), [])

    @guarded
    def restore(self, values: Values) -> Parts:
        return self._edited(self.page.query(values), None)

    @guarded
    def unfilter(self, values: Values) -> Parts:
        """Removes a filter whose button in a list was pressed. The script sends the time with it, as for an item."""
        query, panel = self.page.query(values), self.page.controls
        filter, _, _ = values[self.unwanted].rpartition(" ")
        if filter in ("from", "to"):
            query = replace(query, **{{"from": "first_year", "to": "last_year"}[filter]: None})
        else:
            query = replace(query, genres=[genre for genre in query.genres if f"genre:{genre}" != filter])
        years = {panel.first_year: query.first_year, panel.last_year: query.last_year}
        return {panel.genres: query.genres, **years, **self.shown(query)}

    def _edited(self, query: Query, history: list[str] | None) -> Parts:
        edited = None if history is None else [query.dataset, query.user, history]
        query = replace(query, history=history)
        return {self.page.edited: edited, self.question: "", self.shelves: _shelves(query), **self.shown(query)}

    @guarded
    def show_shelves(self, values: Values) -> str:
        """Well-known items to choose from."""
        return _shelves(self.page.query(values))

    def _put_away(self) -> Parts:
        """The shelves while no custom history is shown."""
        return {self.taste: gr.Accordion(open=False), self.shelves: ""}

    def shown(self, query: Query) -> Parts:
        """The list of a query, and its state for the page's script. Clears the explanation. Raises SDiffError."""
        listing = ranking.recommend(query)
        config = state.serve(query.dataset, query.model)[1].config
        trained = {"seed": 0} | {name: getattr(config, name) for name in self.page.controls.settings}
        return {
            self.history: lists.history_table(listing.history, listing.ordered),
            self.recommended: lists.recommended_table(
                listing.recommendations, listing.moves, listing.past, lists.filters(query)
            ),
            self.summary: listing.summary,
            self.page.controls.changed: listing.changed,
            self.true_button: gr.Button(interactive=query.history is not None and bool(query.user)),
            self.why_panel: "",
            self.page.list_state: json.dumps(
                {
                    "address": query.encode(),
                    "trained": trained,
                    "idle": without_effect(config.at_inference(query.settings)),
                }
            ),
        }

    def why(self, event: gr.EventData, values: Values) -> str:
        """Explains the score of the pressed item. The next list clears the explanation."""
        return attempt(lambda: lists.why_panel(explanations.why(self.page.query(values), event.item)), "")

    def facts(self, values: Values) -> str:
        """The page of the item that was clicked. The script sends the time with it, so that each click is a change."""
        item, _, _ = values[self.picked].rpartition(" ")
        return attempt(lambda: lists.item_page(item_pages.item_facts(self.page.query(values), item)), "")

    def across(self, values: Values) -> str:
        """What the settings do to the lists of many users."""
        return for_everybody(self.page.listed("Recommend", values))

    def plots(self, values: Values) -> Parts:
        """The plots beside the list."""
        return self.drawn(self.page.listed("Recommend", values))

    def drawn(self, query: Query) -> Parts:
        """The plots of a query, or why there are none. Raises SDiffError."""
        diffuses = spectral.diffuses(query)
        parts: Parts = {
            self.solved: gr.Markdown(SOLVED, visible=not diffuses),
            self.noised: gr.Column(visible=diffuses),
        }
        if not diffuses:
            return parts
        view = spectral.spectral_view(query)
        return parts | {
            self.snr: figures.snr_by_frequency(view.lam, view.snr_at_tau, view.tau, view.names),
            self.snr_words: view.words["snr"],
            self.energy: figures.band_energy(view.bands, *view.energy, view.names),
            self.energy_words: view.words["energy"],
        }


def for_everybody(query: Query) -> str:
    """What the settings do to the lists of many users."""
    rows, words = measuring.across_users(query)
    return tables.plain_table(words, ["", "own", "now"], rows)


def _own(query: Query) -> list[str]:
    """The items of a custom history; empty for that of a user."""
    return [] if query.user or query.history is None else query.history


def _shelves(query: Query) -> str:
    """Well-known items to choose from. Those in a custom history are marked."""
    return lists.taste_grid(item_pages.shelves(query.dataset), {*_own(query)})


def find(opened: list[str], question: str) -> str:
    """Searches items to add to the history."""
    if not question.strip():
        return ""
    catalog = state.open_dataset(opened[0]).catalog
    return lists.addable_table(catalog.rows(catalog.search(question, ADDABLE)))
