"""Builds the page and launches the server."""

from __future__ import annotations

import json

import gradio as gr

from sdiff.app import api, endpoints, first_list, health, server
from sdiff.app.controls import Controls
from sdiff.app.page import Page
from sdiff.app.query import KEYS
from sdiff.app.selection import Opening
from sdiff.app.server import gate, journal, limits, mcp
from sdiff.app.settings import SLIDERS
from sdiff.app.tabs.compare import CompareTab
from sdiff.app.tabs.data import DataTab
from sdiff.app.tabs.diffusion import DiffusionTab
from sdiff.app.tabs.experiments import experiments_tab
from sdiff.app.tabs.recommend import RecommendTab
from sdiff.app.tabs.train import TrainTab
from sdiff.app.tabs.waves import WavesTab
from sdiff.app.theme import theme
from sdiff.base.paths import ASSETS

INTRO = (ASSETS / "intro.md").read_text(encoding="utf-8")
# Enough for waiting training runs, which sleep in a thread (training.RunQueue), and for requests. Not more, because
# each thread that computes keeps a team of OpenMP threads.
THREADS = 16
SESSIONS = 10  # sessions whose components gradio keeps in memory; the pages of older ones work without
SCRIPTS = [
    f"window.queryKeys = {json.dumps(KEYS)};",
    f"window.sources = {json.dumps({name: setting.source for name, setting in SLIDERS.items()}, ensure_ascii=False)};",
    f"window.tour = {(ASSETS / 'tour.json').read_text(encoding='utf-8')};",
    *((ASSETS / name).read_text(encoding="utf-8") for name in ("vendor/driver.js", "app.js")),
]


def build() -> gr.Blocks:
    """Builds the app without launching it."""
    with gr.Blocks(title="S-Diff", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as demo:
        tour = '<button type="button" id="start-tour">Tour</button>'
        gr.HTML(f'<header id="masthead"><h1>S-Diff</h1><p>{INTRO}</p>{tour}</header>', padding=False)
        page = Page()
        with gr.Row(elem_id="body"):
            with gr.Column(scale=0, min_width=260, elem_id="controls"):
                page.controls = Controls()
            with gr.Column(min_width=310, elem_id="views"), gr.Tabs(overflow_behavior="wrap"):
                with gr.Tab("Recommend"):
                    recommend = RecommendTab(page)
                with gr.Tab("Diffusion"):
                    diffusion = DiffusionTab(page)
                with gr.Tab("Waves"):
                    waves = WavesTab(page)
                with gr.Tab("Compare"):
                    compare = CompareTab(page)
                with gr.Tab("Data"):
                    data = DataTab(page)
                with gr.Tab("Experiments"):
                    experiments_tab()
                with gr.Tab("Train"):
                    train = TrainTab(page)
        opening = Opening(page, [*recommend.emptied, page.list_state])

        endpoints.offer(api.ENDPOINTS, api.LONG)  # first, because event handlers may have the same names
        page.wire()
        train.wire()
        data.wire()
        own = data.own
        opened, offered = opening.wire(demo.load, own.wire(), own.key, data.published, train.trained, train.use.click)
        recommend.wire(opened)
        compare.wire(offered)
        diffusion.wire()
        waves.wire()
    lighten(demo, page, recommend)
    first_list.put_on(opening, recommend)
    journal.observe(demo)
    return demo


def lighten(demo: gr.Blocks, page: Page, recommend: RecommendTab) -> None:
    """Bounds the work of the browser: at each message of the server, Gradio's script updates the loading status of all
    components that any event so far has as places of its progress, which by default are all its outputs."""
    places = {"hidden": [page.text], "minimal": [page.controls.changed, recommend.history, recommend.recommended]}
    for fn in demo.fns.values():
        if (fn.show_progress_on is None and page.list_state in fn.outputs) or fn.show_progress == "hidden":
            fn.show_progress_on = places.get(fn.show_progress)


def launch(demo: gr.Blocks, verbose: bool) -> None:
    """Serves the app at `$GRADIO_SERVER_NAME`:`$GRADIO_SERVER_PORT`. By default, at 127.0.0.1 on the first free port
    from 7860 on. With `verbose`, every event is logged to stderr.

    Raises:
        SDiffError: `$SDIFF_AUTH` is not user:password.
    """
    credentials = gate.credentials()
    journal.begin(verbose)
    server.prepare(demo)
    mcp.answer_in_json()
    # All events pass through the queue. Waiting clients get their position every two seconds; updates after each answer
    # would slow down a long queue.
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
        mcp_server=credentials is None,  # gradio's MCP server has no login
        auth=credentials,
        auth_message="S-Diff. Ask the operator of this app for the user name and password.",
        app_kwargs={"lifespan": server.guarded, "routes": [health.ROUTE]},
    )
