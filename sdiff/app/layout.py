"""The page: what stands where, and which event calls what."""

from __future__ import annotations

import functools
from typing import Any

import gradio as gr
from gradio.events import api as endpoint

from sdiff.app import api, gate, handlers, health, journal, opening, openings, server
from sdiff.app.controls import control_panel
from sdiff.app.server import limits
from sdiff.app.state import INSTANT
from sdiff.app.tabs import compare as compare_tab
from sdiff.app.tabs import listing
from sdiff.app.tabs import spectrum as spectrum_tab
from sdiff.app.tabs.data import data_tab
from sdiff.app.tabs.experiments import experiments_tab
from sdiff.app.tabs.recommend import recommend_tab
from sdiff.app.tabs.train import train_tab
from sdiff.app.theme import theme
from sdiff.base.paths import ASSETS

INTRO = (ASSETS / "intro.md").read_text(encoding="utf-8")
# Each thread that computes keeps a team of OpenMP threads and an arena of memory: enough for the runs that wait their
# turn asleep (training_handlers.Line) and for all that answers meanwhile.
THREADS = 16
SESSIONS = 250  # of pages and of programs whose widgets gradio keeps in memory
SCRIPTS = [
    f"window.tour = {(ASSETS / 'tour.json').read_text(encoding='utf-8')};",
    *((ASSETS / name).read_text(encoding="utf-8") for name in ("vendor/driver.js", "app.js")),
]


def build() -> gr.Blocks:
    """The whole app, not yet launched."""
    with gr.Blocks(title="S-Diff", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as demo:
        tour = '<button type="button" id="start-tour">Tour</button>'
        gr.HTML(f'<header id="masthead"><h1>S-Diff</h1><p>{INTRO}</p>{tour}</header>', padding=False)
        with gr.Row(elem_id="pickers", equal_height=True):
            dataset = gr.Dropdown(opening.choices([]), value="demo", label="Data set", scale=2, min_width=220)
            checkpoint = gr.Dropdown(
                handlers.models("demo"), label="Model", scale=2, min_width=220, elem_id="checkpoint"
            )
            user = gr.Textbox(label="User id", max_lines=1, scale=1, min_width=120, elem_id="user")
            with gr.Column(scale=2, min_width=260), gr.Row(elem_id="picks"):
                picks = {
                    pick: gr.Button(text, min_width=70)
                    for pick, text in (("random", "Random user"), ("heavy", "Heavy user"), ("light", "Light user"))
                }
        with gr.Row(elem_id="status", visible=False) as status:
            words = gr.Markdown()
            fetch = gr.Button("Download", size="sm", scale=0, min_width=140)
            cancel = gr.Button("Cancel", size="sm", scale=0, min_width=140, elem_id="cancel-opening")
        # What is on the page is kept by the page: gradio forgets a session that was away for an hour, or after which
        # `SESSIONS` others came.
        opened = gr.JSON(
            ["demo", INSTANT], visible=False, elem_id="opened"
        )  # to go back to when something else cannot be opened
        cards = gr.Markdown(elem_id="cards")
        with gr.Row(elem_id="body"):
            with gr.Column(scale=0, min_width=260, elem_id="controls"):
                controls = control_panel()
            with gr.Column(min_width=310, elem_id="views"), gr.Tabs():
                with gr.Tab("Recommend"):
                    shown = recommend_tab()
                with gr.Tab("Spectrum"):
                    spectrum = spectrum_tab.spectrum_tab()
                with gr.Tab("Compare"):
                    other = compare_tab.compare_tab()
                with gr.Tab("Data"):
                    own = data_tab(opened)
                with gr.Tab("Experiments"):
                    experiments_tab()
                with gr.Tab("Train"):
                    trained = train_tab(opened)

        for function in api.ENDPOINTS:  # before any event, whose handler may be called alike
            endpoint(api.served(function), api_name=function.__name__, concurrency_limit=api.WAITING)
        # What the page's script is told after each list: the address that brings it back, and the checkpoint's values.
        told = gr.Textbox(visible=False, elem_id="told")
        told.change(None, told, js="text => window.setPage(text)")
        # The tab that is open, as the script says.
        view = gr.Textbox("Recommend", visible="hidden", elem_id="view-name")
        # Of each tab the list that it goes with. What belongs to a list is made once, while its tab is open.
        due = {tab: gr.Textbox("", visible=False, elem_id=f"due-{tab}") for tab in ("Recommend", "Spectrum", "Compare")}
        keep = f"(told, view, ...due) => {list(due)}.map((tab, i) => tab === view ? told : due[i])"
        gr.on([told.change, view.change], None, [told, view, *due.values()], [*due.values()], js=keep)
        text = gr.Textbox(visible=False)  # what is copied or saved
        edited = gr.JSON(visible=False, elem_id="edited")  # a history instead of a user's own
        wanted = gr.Textbox(visible=False)  # the data set that would have to be downloaded first
        uploaded = gr.BrowserState([], storage_key="sdiff-uploads", secret="sdiff")  # keys: whose browser, whose data

        filters = [controls.genres, *controls.years]
        asked = [opened, user, edited, *controls.settings, controls.seed, controls.k, controls.seen, *filters]
        listed = [shown.history, shown.recommended, shown.summary, controls.changed, shown.restore, shown.why, told]
        # All lists of all sessions pass one queue in order, so that the last click is the last to be shown.
        in_order: dict[str, Any] = dict(concurrency_id="lists", concurrency_limit=1, api_visibility="private")
        quietly: dict[str, Any] = dict(show_progress="hidden", **in_order)
        slowly: dict[str, Any] = dict(show_progress_on=[cards], **in_order)

        def then_list(event: Any) -> None:
            event.success(listing.recommend, asked, listed, show_progress="minimal", **in_order)

        def follows(tab: str, events: list[Any], handler: Any, inputs: list[Any], outputs: list[Any]) -> None:
            """What a tab shows beside the list follows each list, and is made when the tab is opened.

            Not as trigger_mode="always_last": two triggers at once would start each other again for ever.
            """
            beside: dict[str, Any] = quietly | dict(
                trigger_mode="multiple", concurrency_id="beside"
            )  # no list waits for it
            gr.on([due[tab].change, *events], handler, [*inputs, *asked], outputs, **beside)

        # What is opened: a data set, a model. Data sets take long, and their visitors wait without a thread.
        model = [opened, checkpoint, cards, *controls.settings]
        page = [dataset, user, wanted, status, words, fetch, cancel, controls.only, *filters, *model]
        page += [shown.history, shown.recommended, shown.summary]
        first = [*page, controls.seed, controls.k, controls.seen, edited, uploaded]
        loaded = demo.load(opening.open_page, [opened, uploaded], first, **openings.EVENTS)
        picked = gr.Textbox(visible="hidden", elem_id="picked")  # when the last choice was made, as the script says
        dataset.input(None, dataset, js="key => window.pick(key)")
        selected = picked.change(opening.open_dataset, [dataset, opened, uploaded], page, **openings.EVENTS)
        download = fetch.click(
            opening.download,
            wanted,
            None,
            concurrency_id="download",
            show_progress_on=[words],
            api_visibility="private",
        ).success(opening.open_dataset, [wanted, opened, uploaded], page, **openings.EVENTS)
        read = own.read.success(opening.open_own, [own.key, opened, uploaded], [uploaded, *page], **openings.EVENTS)
        # The openings end first: one more word of theirs would come after the page is back as it was.
        back = cancel.click(None, cancels=[loaded, selected, download, read]).then(
            opening.cancel, [told, opened, uploaded], page, **openings.EVENTS
        )
        chosen = gr.on(
            [checkpoint.input, controls.reset.click], opening.open_checkpoint, [opened, checkpoint], model, **slowly
        )
        taken = trained.change(opening.use_trained, [trained, opened], model, **quietly)
        for event in (loaded, selected, download, read, back, chosen, taken):
            then_list(event)
            sides = [other.model, other.panel, *other.settings]
            event.success(compare_tab.open_sides, [opened, other.model], sides, **quietly)
        for event in (loaded, selected, download, read, back):
            event.success(opening.card, opened, own.card, **quietly)

        # What changes the list: another user, another history, a control.
        for pick, button in picks.items():
            handler = functools.partial(listing.pick, pick)
            button.click(handler, asked, [user, *listed], show_progress="minimal", **in_order)
        for press, change in (
            (shown.history.click, listing.remove),
            (shown.addable.click, listing.add),
            (shown.empty.click, listing.empty),
            (shown.restore.click, listing.restore),
        ):
            press(change, asked, [edited, shown.add, *listed], show_progress="minimal", **in_order)
        gr.on(
            [user.submit, user.blur], listing.call, [told, *asked], [user, *listed], show_progress="minimal", **in_order
        )
        gr.on(
            controls.moved,
            listing.recommend,
            asked,
            listed,
            show_progress="minimal",
            trigger_mode="always_last",
            **in_order,
        )

        # What each tab shows beside it.
        follows("Recommend", [], listing.plots, [], shown.plots)
        follows("Spectrum", [], spectrum_tab.schedules, [], spectrum.schedules)
        follows("Spectrum", [spectrum.step.release], spectrum_tab.reverse, [spectrum.step], spectrum.reverse)
        spectrum.play.click(
            spectrum_tab.play, asked, spectrum.reverse, show_progress="hidden", api_visibility="private"
        )
        shown.recommended.click(listing.why, asked, shown.why, show_progress="minimal", **in_order).then(
            None, js="() => document.querySelector('#why').scrollIntoView({ block: 'nearest', behavior: 'smooth' })"
        )
        shown.add.change(
            listing.find,
            [opened, shown.add],
            shown.addable,
            trigger_mode="always_last",
            show_progress="hidden",
            api_visibility="private",
        )
        b = [other.model, *other.settings]
        moved = [*(slider.release for slider in other.settings[:-1]), other.settings[-1].input]
        follows("Compare", moved, compare_tab.compare, [view, *b], other.shown)
        other.model.change(
            compare_tab.settings_of, [opened, other.model], [other.panel, *other.settings], **quietly
        ).success(compare_tab.compare, [view, *b, *asked], other.shown, **quietly)
        other.reset.click(compare_tab.trained_settings, [opened, other.model], other.settings, **quietly).success(
            compare_tab.compare, [view, *b, *asked], other.shown, **quietly
        )
        other.button.click(
            compare_tab.measure,
            [other.part, *b, *asked],
            other.measured,
            concurrency_id="measure",
            concurrency_limit=1,
            api_visibility="private",
        )
        grid = other.start.click(
            compare_tab.sensitivity,
            asked,
            other.grid,
            show_progress="hidden",
            concurrency_id="measure",
            concurrency_limit=1,
            api_visibility="private",
        )
        other.stop.click(compare_tab.stopped, None, other.grid[2:], cancels=grid, queue=False, api_visibility="private")
        for button, handler, name in (
            (shown.csv, listing.csv, "recommendations.csv"),
            (spectrum.csv, spectrum_tab.csv, "spectrum.csv"),
        ):
            button.click(handler, asked, text, **quietly).success(
                None, text, js=f"text => window.saveText(text, {name!r})"
            )
        shown.python.click(listing.python, asked, text, **quietly).success(
            None, text, js="text => window.copyText(text, 'The script is copied: run it beside app.py.')"
        )
    journal.observe(demo)
    return demo


def launch(demo: gr.Blocks, verbose: bool) -> None:
    """Serves the app on `$GRADIO_SERVER_NAME`:`$GRADIO_SERVER_PORT` (this machine alone, port 7860 on, by default);
    with `verbose` every event is written to stderr.

    Raises:
        SDiffError: `$SDIFF_AUTH` is not user:password.
    """
    who = gate.credentials()
    journal.begin(verbose)
    server.prepare(demo)
    api.answer_mcp_in_json()
    # Nothing passes by the queue, and who waits in it is told every other second: told after each answer, a long
    # queue would grow by the telling.
    demo.queue(max_size=64, default_concurrency_limit=2, status_update_rate=2, api_open=False).launch(
        theme=theme(),
        css_paths=[ASSETS / "vendor" / "driver.css", ASSETS / "app.css"],
        head="".join(f"<script>{script}</script>" for script in SCRIPTS),
        footer_links=["api", "settings"],
        ssr_mode=False,
        enable_monitoring=False,
        run_history=False,
        num_workers=0,
        show_error=False,
        max_file_size=limits.FILE,
        state_session_capacity=SESSIONS,
        max_threads=THREADS,
        mcp_server=who is None,  # gradio's asks for no password
        auth=who,
        auth_message="S-Diff. Whoever runs this app gives out its name and password.",
        app_kwargs={"lifespan": server.guarded, "routes": [health.ROUTE]},
    )
