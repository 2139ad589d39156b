"""What all tabs share of the page: whose list by which model is asked for, and how events follow one another."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import gradio as gr

from sdiff.app import handlers
from sdiff.app.controls import Controls, Values, changed
from sdiff.app.query import Query
from sdiff.app.state import INSTANT, serve
from sdiff.app.words import guarded
from sdiff.base.errors import SDiffError

# All lists of all sessions pass one queue in order, so that the last click is the last to be shown.
IN_ORDER: dict[str, Any] = dict(
    show_progress="minimal", concurrency_id="lists", concurrency_limit=1, api_visibility="private"
)
QUIETLY: dict[str, Any] = IN_ORDER | dict(show_progress="hidden")
PICKS: dict[handlers.Pick, str] = {"random": "Random user", "heavy": "Heavy user", "light": "Light user"}


class Page:
    """The subject of all tabs, the controls beside them, and what the page remembers between its events.

    The page itself keeps that: gradio forgets a session that was away for an hour, or after which many others came.
    """

    controls: Controls  # which stand beside the tabs: the layout sets them

    def __init__(self) -> None:
        with gr.Row(elem_id="pickers", equal_height=True):
            self.dataset = gr.Dropdown(handlers.choices([]), value="demo", label="Data set", scale=2, min_width=220)
            self.checkpoint = gr.Dropdown(
                handlers.models("demo"), label="Model", scale=2, min_width=220, elem_id="checkpoint"
            )
            self.user = gr.Textbox(label="User id", max_lines=1, scale=1, min_width=120, elem_id="user")
            with gr.Column(scale=2, min_width=260), gr.Row(elem_id="picks"):
                self.picks = {pick: gr.Button(text, min_width=70) for pick, text in PICKS.items()}
        with gr.Row(elem_id="status", visible=False) as self.status:
            self.words = gr.Markdown()
            self.fetch = gr.Button("Download", size="sm", scale=0, min_width=140)
            self.cancel = gr.Button("Cancel", size="sm", scale=0, min_width=140, elem_id="cancel-opening")
        # The data set and the model that are open, whatever the pickers show at this moment.
        self.opened = gr.JSON(["demo", INSTANT], visible=False, elem_id="opened")
        self.cards = gr.Markdown(elem_id="cards")
        # A data set, its user, and the ids of the history instead of that user's own, oldest first.
        self.edited = gr.JSON(visible=False, elem_id="edited")
        # What the page's script is told after each list: the address that brings it back, and the checkpoint's values.
        self.list_state = gr.Textbox(visible=False, elem_id="told")
        # The tab that is open, as the script says.
        self.view = gr.Textbox("Recommend", visible="hidden", elem_id="view-name")
        # Of each tab the list that it goes with. What belongs to a list is made once, while its tab is open.
        self.tab_states = {
            tab: gr.Textbox("", visible=False, elem_id=f"due-{tab}") for tab in ("Recommend", "Spectrum", "Compare")
        }
        self.text = gr.Textbox(visible=False)  # what is copied or saved

    @property
    def inputs(self) -> set[Any]:
        """The inputs of an event whose handler makes a `query` of them."""
        return {self.opened, self.user, self.edited, *self.controls.inputs}

    def query(self, values: Values) -> Query:
        """What the page asks for at an event: what is opened, as its controls say. Raises SDiffError."""
        panel, (dataset, model) = self.controls, values[self.opened]
        user, edited = values[self.user].strip(), values[self.edited]
        first, last = values[panel.first_year], values[panel.last_year]
        if None not in (first, last):
            first, last = sorted((first, last))
        return Query(
            dataset,
            model,
            user,
            history=edited[2] if edited and edited[:2] == [dataset, user] else None,
            settings=changed(panel.settings, values, serve(dataset, model)[1].config),
            seed=int(values[panel.seed] or 0),
            k=int(values[panel.k]),
            seen=values[panel.seen],
            genres=list(values[panel.genres]),
            first_year=first,
            last_year=last,
        )

    def wire(self) -> None:
        """Tells the script of each list, and the tab that is open that its turn has come."""
        self.list_state.change(None, self.list_state, js="text => window.setPage(text)")
        keep = f"(told, view, ...due) => {list(self.tab_states)}.map((tab, i) => tab === view ? told : due[i])"
        due = [*self.tab_states.values()]
        gr.on([self.list_state.change, self.view.change], None, [self.list_state, self.view, *due], due, js=keep)

    def on_new_list(
        self, tab: str, handler: Callable[..., Any], outputs: list[Any], inputs: Iterable[Any] = (), events: Any = ()
    ) -> None:
        """What a tab shows beside the list follows each list, and is made when the tab is opened.

        Not as trigger_mode="always_last": two triggers at once would start each other again for ever.
        """

        @functools.wraps(handler)
        def quiet(values: Values) -> Any:
            try:
                return handler(values)
            except SDiffError:  # the list has said so
                return gr.skip()

        # No list waits for it.
        beside: dict[str, Any] = QUIETLY | dict(trigger_mode="multiple", concurrency_id="beside")
        gr.on([self.tab_states[tab].change, *events], quiet, {*inputs, *self.inputs}, outputs, **beside)

    def take_away(self, button: gr.Button, make: Callable[[Query], str], js: str) -> None:
        """A button that gives what is made of the query to a function of the page's script."""

        @guarded
        @functools.wraps(make)
        def made(values: Values) -> str:
            return make(self.query(values))

        button.click(made, self.inputs, self.text, **QUIETLY).success(None, self.text, js=js)
