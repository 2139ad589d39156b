"""State and wiring that all tabs share: data set, model, user, and updates after each new list."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import gradio as gr

from sdiff.app.controls import Controls, Values, changed
from sdiff.app.handlers import pickers
from sdiff.app.labels import TABS
from sdiff.app.messages import guarded
from sdiff.app.query import Query
from sdiff.app.state import INSTANT, serve
from sdiff.base.errors import SDiffError
from sdiff.data.registry import EMBEDDED
from sdiff.training.validate import parse_json

# Lists of all sessions are computed in order, one at a time, so that the result of the last click is shown last.
IN_ORDER: dict[str, Any] = dict(
    show_progress="minimal", concurrency_id="lists", concurrency_limit=1, api_visibility="private"
)
QUIETLY: dict[str, Any] = IN_ORDER | dict(show_progress="hidden")
PICKS: dict[pickers.Pick, str] = {"random": "Random user", "heavy": "Heavy user", "light": "Light user"}


class Page:
    """Pickers, controls and state of the page.

    The state is stored in the browser, because gradio drops sessions after an hour of absence or when there are many.
    """

    controls: Controls  # set by `layout.build`

    def __init__(self) -> None:
        with gr.Row(elem_id="pickers", equal_height=True):
            self.dataset = gr.Dropdown(pickers.choices([]), value=EMBEDDED[0], label="Data set", scale=2, min_width=220)
            self.checkpoint = gr.Dropdown(
                pickers.model_choices(EMBEDDED[0]), label="Model", scale=2, min_width=220, elem_id="checkpoint"
            )
            self.user = gr.Textbox(label="User id", max_lines=1, scale=1, min_width=120, elem_id="user")
            with gr.Column(scale=2, min_width=260), gr.Row(elem_id="picks"):
                self.picks = {pick: gr.Button(text, min_width=70) for pick, text in PICKS.items()}
        with gr.Row(elem_id="status", visible=False) as self.status:
            self.words = gr.Markdown()
            self.fetch = gr.Button("Download", size="sm", scale=0, min_width=140)
            self.cancel = gr.Button("Cancel", size="sm", scale=0, min_width=140, elem_id="cancel-opening")
        # The open data set and model. The pickers may already show others.
        self.opened = gr.JSON([EMBEDDED[0], INSTANT], visible=False, elem_id="opened")
        self.cards = gr.Markdown(elem_id="cards")
        # Data set, user, and the item ids that replace the user's history, oldest first.
        self.edited = gr.JSON(visible=False, elem_id="edited")
        # JSON for the page's script after each list: the URL of the list, and the checkpoint's settings.
        self.list_state = gr.Textbox(visible=False, elem_id="list-state")
        # The open tab, set by the script.
        self.view = gr.Textbox("Recommend", visible="hidden", elem_id="view-name")
        # By tab: the `list_state` it shows. It changes while the tab is open, so each tab is computed once per list.
        self.tab_states = {tab: gr.Textbox("", visible=False, elem_id=f"due-{tab}") for tab in TABS}
        self.text = gr.Textbox(visible=False)  # text to copy or save

    @property
    def inputs(self) -> set[Any]:
        """Inputs of events whose handlers call `query`."""
        return {self.opened, self.user, self.edited, *self.controls.inputs}

    def query(self, values: Values) -> Query:
        """The query that the page's inputs describe. Raises SDiffError for invalid values."""
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
        """Passes each new list to the script, and marks the open tab for an update."""
        self.list_state.change(None, self.list_state, js="text => window.setPage(text)")
        keep = f"(state, view, ...due) => {list(self.tab_states)}.map((tab, i) => tab === view ? state : due[i])"
        due = [*self.tab_states.values()]
        gr.on([self.list_state.change, self.view.change], None, [self.list_state, self.view, *due], due, js=keep)

    def on_new_list(
        self, tab: str, handler: Callable[..., Any], outputs: list[Any], inputs: Iterable[Any] = (), events: Any = ()
    ) -> dict[str, Any]:
        """Runs a handler after each new list while its tab is open, and else when the tab is opened; also after the
        `events` of the tab itself. Returns the options of other events whose answers must keep their order with it.

        It does not use trigger_mode="always_last", with which two simultaneous triggers restart each other forever.
        """

        @functools.wraps(handler)
        def quiet(*values: Any) -> Any:
            try:
                return handler(*values)
            except SDiffError:  # there is no list, which has been reported
                return gr.skip()

        # A queue of its own, so that neither lists nor other handlers wait.
        state, queue = self.tab_states[tab], f"beside {tab} {handler.__name__}"
        beside: dict[str, Any] = QUIETLY | dict(trigger_mode="multiple", concurrency_id=queue)
        gr.on([state.change, *events], quiet, {state, *inputs}, outputs, **beside)
        return beside

    def listed(self, tab: str, values: Values) -> Query:
        """The query of the list that a tab shows; the controls may have changed since. Raises SDiffError."""
        return query_of(values[self.tab_states[tab]])

    def take_away(self, button: gr.Button, make: Callable[[Query], str], js: str) -> None:
        """Connects a button: makes a text from the list's query and passes it to a function of the page's script."""

        @guarded
        @functools.wraps(make)
        def made(list_state: str) -> str:
            return make(query_of(list_state))

        button.click(made, self.list_state, self.text, **QUIETLY).success(None, self.text, js=js)


def query_of(list_state: str) -> Query:
    """The query of the list on the page, from the state that the page sends back. Raises SDiffError if malformed."""
    try:
        return Query.decode(parse_json(list_state)["address"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise SDiffError("The page has no list yet.") from None


def plot_area(label: str, elem_id: str, visible: bool = True) -> gr.Plot:
    """A place for a plot without frame and heading. `label` names the files that it is saved to."""
    return gr.Plot(label=label, show_label=False, elem_id=elem_id, container=False, visible=visible)
