"""What a visitor of the app waits for, in a real browser.

    python -m benchmarks.paint --save

Starts app.py and opens it in headless Chromium with an empty cache, a few times, at desktop and phone width. Measures
the seconds from the request to the first paint, to the list and to the plots beside it, and the kilobytes received
until then; after REST more seconds, how many events the page has sent to the server and how long its main thread was
busy, which is what a slow phone waits for; then the seconds from the click on each tab to its last plot or table. A
Gradio page that does nothing is measured in the same way in the same run. Times are medians. The last line is JSON;
--save writes it to benchmarks/results.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from playwright.sync_api import Browser, Request, sync_playwright

from benchmarks.app import running_app
from sdiff.base.device import best_device, device_name
from sdiff.base.errors import SDiffError
from sdiff.base.paths import HOME
from sdiff.data.datasets import load_dataset
from sdiff.data.registry import default_key
from sdiff.experiments.record import report, script_parser, versions

RUNS = 5
REST = 4  # seconds after which a page has asked for all that it asks for by itself
WIDTHS = {"desktop": 1440, "phone": 390}
LIST, PLOTS = "#recommended tbody tr", "#energy .js-plotly-plot .main-svg"
VIEWS = {  # tab -> what is drawn last
    "Diffusion": "#maps .js-plotly-plot .main-svg",
    "Waves": "#eigenvalues .js-plotly-plot .main-svg",
    "Compare": "#b-list tbody tr",
    "Data": "#degrees .js-plotly-plot .main-svg",
}
NOTHING = 'import gradio as gr\n\nwith gr.Blocks() as demo:\n    gr.HTML("<p id=done>done</p>")\ndemo.launch()\n'


def main() -> None:
    parser = script_parser(__doc__)
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SDiffError("This needs a browser: install Chromium.")
    load = round(os.getloadavg()[0], 1)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        Path(folder, "app.py").write_text(NOTHING, encoding="utf-8")
        with running_app(Path(folder), os.environ | {"GRADIO_ANALYTICS_ENABLED": "False"}) as (address, *_):
            nothing = {name: opened(browser, address, width, {"page": "#done"}) for name, width in WIDTHS.items()}
        start = time.perf_counter()
        with running_app(HOME, os.environ) as (address, *_):
            answers = round(time.perf_counter() - start, 1)
            awaited = {"list": LIST, "plots": PLOTS}
            pages = {name: opened(browser, address, width, awaited) for name, width in WIDTHS.items()}
            views = {name: tabs(browser, address, width) for name, width in WIDTHS.items()}
        browser.close()
    result = {
        "command": "python -m benchmarks.paint",
        "dataset": default_key(),
        "data_fingerprint": load_dataset(default_key()).split.fingerprint,
        "versions": versions("gradio", "torch"),
        "device": device_name(best_device()),
        "cores": os.cpu_count(),
        "load before": load,
        "runs": RUNS,
        "seconds from the command to the first answer": answers,
        "page": pages,
        "a Gradio page that does nothing": nothing,
        "seconds from the click on a tab": views,
    }
    for name, value in result.items():
        print(f"{name}: {value}")
    report(result, f"paint-{default_key()}", arguments.save)


def opened(browser: Browser, address: str, width: int, awaited: dict[str, str]) -> dict[str, float]:
    """Seconds to the first paint and to each awaited element, kilobytes received until the last of them, and what the
    page does until it rests."""
    runs = []
    for _ in range(RUNS):
        context = browser.new_context(viewport={"width": width, "height": 900})
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        session.send("Performance.enable")
        sizes: list[float] = []
        events: list[str] = []
        session.on("Network.loadingFinished", partial(_note, sizes))
        page.on("request", partial(_note_event, events))
        start = time.perf_counter()
        page.goto(address, wait_until="commit")
        seconds = {}
        for name, selector in awaited.items():
            page.wait_for_selector(selector, timeout=120_000)
            seconds[name] = time.perf_counter() - start
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0") / 1000
        kilobytes = sum(sizes) / 1000
        page.wait_for_timeout(1000 * REST)
        metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        runs.append(
            {
                "first paint": paint,
                **seconds,
                "kilobytes": kilobytes,
                "events": len(events),
                "busy": metrics["TaskDuration"],
            }
        )
        context.close()
    return {name: round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}


def _note(sizes: list[float], event: dict[str, float]) -> None:
    sizes.append(event["encodedDataLength"])


def _note_event(events: list[str], request: Request) -> None:
    if "/queue/join" in request.url:
        events.append(request.url)


def tabs(browser: Browser, address: str, width: int) -> dict[str, float]:
    """Seconds from the click on each tab to what is drawn last in it."""
    times: dict[str, list[float]] = {view: [] for view in VIEWS}
    for _ in range(RUNS):
        context = browser.new_context(viewport={"width": width, "height": 900})
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector(PLOTS, timeout=120_000)
        for view, selector in VIEWS.items():
            start = time.perf_counter()
            page.evaluate("view => window.openTab(view)", view)
            page.wait_for_selector(selector, timeout=120_000)
            times[view].append(time.perf_counter() - start)
        context.close()
    return {view: round(statistics.median(seconds), 2) for view, seconds in times.items()}


if __name__ == "__main__":
    main()
