"""Tiny data sets with known answers, and shared fixtures."""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the tests' models are too small for more
os.environ["SDIFF_DATASET"] = "demo"  # which has known users and titles, and opens fastest

import numpy as np
import pytest
import torch
from hypothesis import settings

from sdiff.config import Config
from sdiff.data.interactions import Interactions, Split, Vocabulary
from sdiff.data.splits import chronological_split
from sdiff.method.spectrum import SpectralBasis, spectral_basis

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
T = TypeVar("T")
CPU = torch.device("cpu")
# Trains in a second; all other settings are those of the paper.
SMALL = Config(K=12, hidden=64, epochs=30, eval_every=5, batch_size=20, lr=3e-3)

settings.register_profile("quick", max_examples=45, deadline=None, derandomize=True, database=None)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=180)
settings.load_profile("quick")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a background job, and child processes inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Isolates tests from the cache and the models of the user."""
    os.environ["SDIFF_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["SDIFF_RUNS_DIR"] = str(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Executes runs of the app in this process, so that tests can patch them."""
    monkeypatch.setattr(
        "sdiff.app.processes.runs.in_subprocess", lambda generator, *arguments, **_: generator(*arguments)
    )


@pytest.fixture(scope="session")
def tastes() -> Interactions:
    """60 users of 3 tastes over 30 items, 10 items to a taste: each user saw 8 of the own 10, in a random order.

    The right answer is known by construction: the two unseen items of a user's own taste rank first.
    """
    rng = np.random.default_rng(7)
    users = np.repeat(np.arange(60), 8)
    items = np.concatenate([rng.permutation(10)[:8] + 10 * (user % 3) for user in range(60)])
    times = np.arange(len(users), dtype=float)
    return Interactions.from_pairs(vocabulary("u", 60), vocabulary("i", 30), users, items, times)


@pytest.fixture(scope="session")
def split(tastes: Interactions) -> Split:
    return chronological_split(tastes)


@pytest.fixture(scope="session")
def random_interactions() -> Interactions:
    """80 users and 50 items without structure; item 49 and user 79 have no interactions."""
    rng = np.random.default_rng(3)
    matrix = rng.random((80, 50)) < 0.15
    matrix[:, 49] = matrix[79, :] = False
    users, items = matrix.nonzero()
    return Interactions.from_pairs(vocabulary("u", 80), vocabulary("i", 50), users, items)


@pytest.fixture(scope="session")
def basis(tastes: Interactions) -> SpectralBasis:
    return spectral_basis(tastes, 12)


@pytest.fixture(scope="session")
def walks() -> Split:
    """300 users walk eight steps around a ring of 20 items: only the last item determines the next one."""
    users = torch.arange(300).repeat_interleave(10).numpy()
    items = (torch.randint(20, (300, 1), generator=torch.Generator().manual_seed(0)) + torch.arange(10)).flatten() % 20
    walks = Interactions.from_pairs(vocabulary("u", 300), vocabulary("i", 20), users, items.numpy(), ordered=True)
    step = torch.arange(10).repeat(300).numpy()
    return Split(walks.where(step < 8), walks.where(step == 8), walks.where(step == 9))


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    from benchmarks.app import running_app  # imports gradio, which would slow down other tests and their ranks

    with running_app(ROOT, os.environ) as (address, *_):
        yield address


@pytest.fixture(scope="session")
def demo():
    """The page with all its checks, not served."""
    from sdiff.app import layout, server

    demo = layout.build()
    server.prepare(demo)
    demo.queue(max_size=64, default_concurrency_limit=2, api_open=False)
    demo.root_path = ""
    return demo


@pytest.fixture(scope="session")
def opening():
    """An `Opening` on its own page."""
    import gradio as gr

    from sdiff.app.controls import Controls
    from sdiff.app.page import Page
    from sdiff.app.selection import Opening

    with gr.Blocks():
        page = Page()
        page.controls = Controls()
        return Opening(page, [gr.HTML(), gr.HTML(), gr.Markdown()])


@pytest.fixture(scope="session")
def client(demo):
    """A client of the app in this process. Exceptions of the server are raised here."""
    from gradio.routes import App
    from starlette.testclient import TestClient

    from sdiff.app import server

    app = App.create_app(demo, app_kwargs={"lifespan": server.guarded}, mcp_server=True)
    with TestClient(app, base_url="http://127.0.0.1:7860") as client:
        client.get("/gradio_api/startup-events")
        yield client


@pytest.fixture(scope="session")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
    if CHROMIUM is None:
        pytest.skip("needs a browser: install Debian's chromium")
    with api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--process-per-site"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def profile(browser, url):
    """The browser context of all pages. Its first page keeps a renderer process alive that compiles the scripts of the
    app once, so that other pages open in a third of the time."""
    context = browser.new_context()
    context.set_default_timeout(60_000)
    context.add_init_script(path=ROOT / "tests" / "rest.js")
    context.new_page().goto(f"{url}health")
    yield context
    context.close()


@pytest.fixture
def visit(request, profile, url):
    """Opens a URL in a new session. Fails on console errors and on requests to other hosts. The page is as wide as a
    desktop, unless an indirect parameter is given."""
    [holder] = profile.pages
    holder.evaluate("localStorage.clear(); localStorage.setItem('sdiff-tour', '1')")  # not the first visit
    problems: list[str] = []

    def opened(query: str = ""):
        page = profile.new_page()
        page.set_viewport_size({"width": getattr(request, "param", 1440), "height": 900})
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on(
            "request",
            lambda r: None if re.match(r"(http://127\.0\.0\.1|data:|blob:)", r.url) else problems.append(r.url),
        )
        page.goto(url + query)
        page.wait_for_selector("#recommended tbody tr", state="attached")
        page.wait_for_selector("#guidance button.trained", state="attached")  # the page's script has run
        return page

    yield opened
    try:
        for page in profile.pages[1:]:
            page.wait_for_function("window.atRest()")
        found = list(problems)  # before the pages close: an answer that is cut off is an error on the console
    finally:
        for page in profile.pages[1:]:
            page.close()
        profile.clear_permissions()
    assert not found


@pytest.fixture
def page(visit):
    """The page on a first visit."""
    return visit()


def printed(script: str) -> str:
    """The output of a script that runs next to app.py."""
    with chdir(ROOT), redirect_stdout(io.StringIO()) as out:
        exec(script, {})
    return out.getvalue()


def vocabulary(prefix: str, n: int) -> Vocabulary:
    return Vocabulary(tuple(f"{prefix}{i}" for i in range(n)))


def real_data(folder: str) -> Path:
    """The folder of a real data set. Skips the test if it is missing."""
    root = os.environ.get("SDIFF_DATA_DIR")
    if not root or not (Path(root) / folder).is_dir():
        pytest.skip(f"needs the real data set {folder}: set SDIFF_DATA_DIR to the folder that holds it")
    return Path(root) / folder


def last(steps: AsyncIterator[T]) -> T:
    """The last value of an async generator."""

    async def listed() -> list[T]:
        return [step async for step in steps]

    return run(listed())[-1]


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, run in its own thread because Playwright's event loop occupies this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def same(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are bit-identical."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


async def tools(url: str) -> list[str]:
    """Names of the tools of the MCP server. Checks that each has a description."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async with (
        streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, *_),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        found = (await session.list_tools()).tools
        assert all(tool.description and "Args" not in tool.description for tool in found)
        return [tool.name for tool in found]
