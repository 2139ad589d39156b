"""The running app in a real browser: skipped, with the reason, where no browser or no Playwright is installed."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import ROOT, running_app, tools

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_app(ROOT, os.environ) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
    if CHROMIUM is None:
        pytest.skip("needs a browser: install Debian's chromium")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, url):
    """A fresh session whose console must stay free of errors and which asks no other host for anything."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on(
        "request", lambda r: None if re.match(r"(http://127\.0\.0\.1|data:|blob:)", r.url) else problems.append(r.url)
    )
    page.goto(url)
    page.wait_for_selector("#recommended tbody tr")
    yield page
    context.close()
    assert not problems


def titles(page) -> list[str]:
    return page.locator("#recommended tbody .title").all_inner_texts()


def changed(page, before: list[str], seconds: float = 15) -> list[str]:
    """The list as soon as it differs from `before`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (now := titles(page)) and now != before:
            return now
        page.wait_for_timeout(100)
    raise AssertionError("the list did not change")


def open_tab(page, name: str) -> None:
    """By its tab, or on a phone from the menu that holds what does not fit."""
    tab = page.get_by_role("tab", name=name)
    if not tab.is_visible():
        page.locator(".overflow-menu > button").click()
        tab = page.locator(".overflow-dropdown button", has_text=name)
    tab.click()


def move(page, slider: str, value: float) -> None:
    """Moves a slider as a hand does: the value, then the release of the pointer."""
    handle = page.locator(f"#{slider} input[type=range]")
    while handle.input_value() != str(value):  # one that has only just unfolded may still fall back
        handle.fill(str(value))
        page.wait_for_timeout(200)
    handle.dispatch_event("pointerup")


def test_the_first_page_shows_a_history_and_a_list_without_a_click(page):
    assert len(titles(page)) == 20
    assert page.locator("#history tbody tr").count() >= 10
    assert "recommended" in page.locator("#summary").inner_text()
    page.wait_for_selector("#snr .js-plotly-plot")
    page.wait_for_selector("#energy .js-plotly-plot")


def test_moving_a_slider_changes_the_list_says_so_and_reset_brings_it_back(page):
    first = titles(page)
    move(page, "guidance", 4)
    moved = changed(page, first)
    assert "guidance 0.0 → 4" in page.locator("#changed").inner_text()
    page.get_by_role("button", name="Reset to the checkpoint's values").click()
    assert changed(page, moved) == first


def test_the_keyboard_moves_a_slider_and_its_number_box_like_the_pointer(page):
    first = titles(page)
    page.locator("#guidance input[type=range]").focus()
    for _ in range(8):
        page.keyboard.press("PageUp")
    changed(page, first)
    box = page.locator("#guidance input[type=number]")
    reached = box.input_value()
    page.get_by_text(re.compile(rf"guidance 0.0 → {re.escape(reached)}\d*\.")).wait_for()  # every key is answered
    moved = titles(page)
    box.fill("0")
    box.press("Enter")
    assert changed(page, moved) == first


def test_the_memory_can_be_made_longer_where_the_model_has_one(page):
    first = titles(page)
    move(page, "half_life", 15)
    changed(page, first)
    assert "half_life 1.4 → 15" in page.locator("#changed").inner_text()
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name="instant").click()
    page.locator("#half_life").wait_for(state="hidden")


def test_fast_clicks_end_with_the_list_of_the_user_in_the_box(page):
    for _ in range(6):
        page.get_by_role("button", name="Random user").click()
        page.wait_for_timeout(60)
    page.wait_for_timeout(4000)
    shown = page.locator("#user").locator("input, textarea").first.input_value()
    assert page.locator("#summary").inner_text().startswith(f"User {shown} has")


def test_the_length_of_the_list_follows_its_slider(page):
    first = titles(page)
    page.get_by_role("button", name="More settings").click()
    move(page, "k", 7)
    assert changed(page, first) == first[:7]


def test_any_user_can_be_asked_for_and_an_unknown_one_is_said(page):
    first = titles(page)
    user = page.get_by_label("User id")
    user.fill("7")
    user.press("Enter")
    shown = changed(page, first)
    assert "User 7 has" in page.locator("#summary").inner_text()
    user.fill("nobody")
    user.press("Enter")
    page.get_by_text("Unknown user nobody").wait_for()
    assert titles(page) == shown, "what was on the page stays"
    page.get_by_role("button", name="Heavy").click()
    changed(page, shown)


def test_the_spectrum_tab_shows_its_plots(page):
    open_tab(page, "Spectrum")
    for plot in ("eigenvalues", "schedules", "maps"):
        page.wait_for_selector(f"#{plot} .js-plotly-plot .main-svg")


def test_two_sessions_do_not_mix(page, browser, url):
    first = titles(page)
    other = browser.new_context().new_page()
    other.goto(url)
    other.wait_for_selector("#recommended tbody tr")
    assert titles(other) == first
    move(other, "guidance", 4)
    changed(other, first)
    page.get_by_label("User id").press("Enter")
    page.wait_for_timeout(1500)
    assert titles(page) == first
    assert page.locator("#guidance input[type=range]").input_value() == "0"
    other.context.close()


def test_a_model_is_trained_stopped_kept_and_used(page):
    open_tab(page, "Train")
    page.locator("#model-name input, #model-name textarea").first.fill("by-a-visitor")
    page.locator("#train-settings input, #train-settings textarea").first.fill("K=16 hidden=32 eval_every=1")
    page.locator("#epochs input").fill("100000")
    page.get_by_role("button", name="Start training").click()
    page.get_by_text(re.compile(r"best validation recall@20 [\d.]+ at epoch")).wait_for(timeout=30_000)
    page.locator("#curves .scatterlayer .trace").first.wait_for(state="attached")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_text(re.compile("saved as by-a-visitor")).wait_for(timeout=30_000)
    open_tab(page, "Recommend")
    page.wait_for_function("document.querySelector('#checkpoint input').value == 'by-a-visitor'")
    open_tab(page, "Spectrum")
    page.get_by_text("16 frequencies are kept").wait_for()


def test_a_second_training_waits_and_says_so_and_both_can_be_stopped(page, browser, url):
    other = browser.new_context().new_page()
    other.goto(url)
    other.wait_for_selector("#recommended tbody tr")
    for session, name in ((page, "goes-first"), (other, "waits")):
        open_tab(session, "Train")
        session.locator("#model-name").locator("input, textarea").first.fill(name)
        session.locator("#train-settings").locator("input, textarea").first.fill("K=16 hidden=32 eval_every=1")
        session.locator("#epochs input").fill("100000")
        session.get_by_role("button", name="Start training").click()
        if session is page:
            page.get_by_text(re.compile("best validation recall@20")).wait_for(timeout=30_000)
    other.get_by_text("Waiting for the training before this one").wait_for()
    other.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_text("saved as goes-first").wait_for(timeout=30_000)
    other.get_by_text(re.compile("Stopped after 1 epoch .* saved as waits")).wait_for(timeout=30_000)
    page.wait_for_timeout(500)  # nothing comes after the last words
    assert page.get_by_text("saved as goes-first").is_visible()
    other.context.close()


def test_what_if_a_history_were_another_and_the_true_one_again(page):
    first = titles(page)
    newest = page.locator("#history tbody tr .title").first.inner_text()
    page.locator("#history button").first.click()
    without = changed(page, first)
    assert "(0 added, 1 removed)" in page.locator("#summary").inner_text()
    assert page.locator("#history tbody tr .title").first.inner_text() != newest
    assert page.locator("#recommended small.up, #recommended small.down").count()
    page.locator("#add").locator("input, textarea").first.fill("effigy hollow")
    page.get_by_role("button", name="Add Effigy of the Hollow", exact=True).click()
    added = changed(page, without)
    assert page.locator("#history tbody tr .title").first.inner_text().startswith("Effigy of the Hollow")
    page.locator("#addable .list").wait_for(state="detached")
    move(page, "guidance", 4)
    changed(page, added)
    assert "(1 added, 1 removed)" in page.locator("#summary").inner_text(), "a slider keeps the history"
    page.get_by_role("button", name="Reset to the checkpoint's values").click()
    page.locator("#changed").filter(has_text="All settings are as in training").wait_for()
    page.get_by_role("button", name="True history").click()
    page.locator("#summary").filter(has_text=re.compile(r"User \d+ has")).wait_for()
    assert titles(page) == first
    page.get_by_role("button", name="Empty").click()
    changed(page, first)
    assert page.locator("#history tbody tr").count() == 0
    page.get_by_role("button", name="Heavy").click()
    page.locator("#summary").filter(has_text=re.compile(r"User \d+ has")).wait_for()


def test_why_an_item_is_there(page):
    third = page.locator("#recommended tbody tr").nth(2)
    title = third.locator(".title").evaluate("node => node.firstChild.textContent").strip()
    third.get_by_role("button", name=f"Why {title}").click()
    page.locator("#why h2").filter(has_text=f"Why {title}?").wait_for()
    for table in page.locator("#why table").all():
        *parts, score = [float(text) for text in table.locator(".number").all_inner_texts()]
        assert sum(parts) == pytest.approx(score, abs=0.006), "as far as three digits tell"
    page.get_by_role("button", name="Random user").click()
    page.locator("#why h2").wait_for(state="detached")


def test_an_address_brings_all_of_it_back_in_another_session(page, browser):
    first = titles(page)
    page.locator("#history button").nth(2).click()
    without = changed(page, first)
    move(page, "guidance", 3)
    moved = changed(page, without)
    page.get_by_role("button", name="Only some items").click()
    move(page, "first-year", 1980)
    changed(page, moved)
    open_tab(page, "Spectrum")
    page.wait_for_function("location.search.includes('from=1980') && location.search.includes('view=Spectrum')")
    other = browser.new_context().new_page()
    other.goto(page.url)
    other.wait_for_selector("#eigenvalues .js-plotly-plot")
    other.wait_for_selector("#recommended tbody tr", state="attached")
    assert titles(other) == titles(page)
    open_tab(other, "Recommend")
    assert "(0 added, 1 removed)" in other.locator("#summary").inner_text()
    assert other.locator("#guidance input[type=range]").input_value() == "3"
    assert other.locator("#first-year input[type=range]").input_value() == "1980"
    other.context.close()


def test_an_address_that_is_wrong_is_said_and_the_rest_is_opened(browser, url):
    page = browser.new_context().new_page()
    page.goto(f"{url}?user=7&model=gone&guidance=99&item=nothing&genre=None&k=3")
    page.get_by_text("There is no checkpoint 'gone' any more").wait_for()
    page.locator("#summary").filter(has_text="User 7 has").wait_for()
    assert len(titles(page)) == 3
    page.goto(f"{url}?dataset=nowhere")
    page.get_by_text("Unknown data set 'nowhere'").wait_for()
    page.wait_for_selector("#recommended tbody tr")
    page.context.close()


def test_a_list_can_be_kept_to_a_genre_and_to_years(page):
    first = titles(page)
    page.get_by_role("button", name="Only some items").click()
    page.locator("#genres input").click()
    page.locator("#genres").get_by_role("option", name="Comedy", exact=True).click()
    comedies = changed(page, first)
    assert all("Comedy" in text for text in page.locator("#recommended tbody .genres").all_inner_texts())
    page.keyboard.press("Escape")
    move(page, "first-year", 2000)
    changed(page, comedies)
    assert all(int(year) >= 2000 for year in page.locator("#recommended tbody small").all_inner_texts())
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name="demo-paper").click()
    page.locator("#summary").filter(has_text="The filter lets").wait_for()


def test_own_data_is_uploaded_mapped_checked_read_and_still_there_later(page, url, tmp_path):
    visits = "".join(f"{u},{(u + i * i) % 12},{1.6e9 + 60 * i:.0f}\n" for u in range(20) for i in range(8))
    table = tmp_path / "visits.csv"
    table.write_text(f"visitor,item,time\n{visits}7,,1600000000\n")
    open_tab(page, "Data")
    page.locator("#facts dd").filter(has_text="37,374").wait_for()
    page.wait_for_selector("#degrees .js-plotly-plot")
    page.locator("#found caption").filter(has_text="Most popular").wait_for()
    page.locator("#find input, #find textarea").first.fill("nebla seventen")
    page.locator("#found .title").filter(has_text="Nebula Seventeen II").first.wait_for()
    page.set_input_files("#own-table input[type=file]", table)
    page.locator("#preview caption").filter(has_text="visits.csv").wait_for()
    assert page.locator("#own-item input").input_value() == "item"
    page.locator("#own-read").click()
    page.get_by_text("Say which column holds the users").wait_for()
    page.locator("#own-user input").click()
    page.locator("#own-user").get_by_role("option", name="visitor", exact=True).click()
    page.locator("#own-read").click()
    page.locator("#own-said td").filter(has_text="item is empty").wait_for()
    page.get_by_label("Leave out rows that cannot be used").check()
    page.locator("#own-read").click()
    page.locator("#facts dd").filter(has_text="1 faulty").wait_for()
    open_tab(page, "Recommend")
    page.locator("#summary").filter(has_text=re.compile(r"User \d+ has [1-8] items")).wait_for()
    page.wait_for_selector("#recommended tbody tr")
    assert "filter" not in page.locator("#summary").inner_text(), "without years nothing is filtered by them"
    page.wait_for_function("location.search.includes('visits')")
    again = page.context.new_page()
    again.goto(page.url)
    again.locator("#cards").filter(has_text="20 users").wait_for()
    later = page.context.new_page()
    later.goto(url)
    later.locator("#cards").filter(has_text="900 users").wait_for()
    later.get_by_label("Data set").click()
    later.get_by_role("option", name="visits (yours)").click()
    later.locator("#cards").filter(has_text="20 users").wait_for()


def test_a_set_that_is_not_here_is_offered_with_its_terms(page):
    first = titles(page)
    page.get_by_label("Data set").click()
    page.get_by_role("option", name="MovieLens 32M (not here)").click()
    page.locator("#absent").filter(has_text="MovieLens 32M is not here yet. Its terms: research use").wait_for()
    assert page.get_by_role("button", name="Download").is_visible() and titles(page) == first
    page.get_by_role("button", name="Random user").click()
    changed(page, first)


def test_the_list_is_an_api_endpoint_with_typed_rows(url):
    from gradio_client import Client

    client = Client(url, verbose=False)
    rows = client.predict(user="7", k=3, settings='{"guidance": 0.5}', api_name="/recommend")
    assert [row["rank"] for row in rows] == [1, 2, 3] and all(row["title"] for row in rows)
    with pytest.raises(Exception, match="Unknown user nobody"):
        client.predict(user="nobody", api_name="/recommend")


def test_every_endpoint_answers_and_is_a_tool_too(url):
    from gradio_client import Client

    ask = Client(url, verbose=False).predict
    assert next(row for row in ask(api_name="/list_datasets") if row["key"] == "demo")["available"]
    assert ask(api_name="/list_checkpoints")[0]["name"] == "demo"
    [found] = ask(question="nebla seventen iii", limit=5, api_name="/search_items")
    rows = ask(k=5, history=[found["id"]], api_name="/recommend")
    assert any("Nebula Seventeen" in row["title"] for row in rows)
    parts = ask(item=rows[0]["id"], history=[found["id"]], api_name="/explain")
    assert sum(value for _, value in parts["by_item"]) == pytest.approx(parts["score"], abs=1e-4)
    view = ask(user="7", settings='{"tau": 2}', api_name="/spectrum")
    assert len(view["eigenvalues"]) == 128 and view["tau"] == 2 and view["snr_at_tau"]["vp"][0] is None
    with pytest.raises(Exception, match="settings is no JSON"):
        ask(settings="{", api_name="/recommend")
    names = {"list_datasets", "list_checkpoints", "recommend", "search_items", "explain", "compare", "spectrum"}
    with ThreadPoolExecutor() as apart:  # from Playwright's event loop
        assert set(apart.submit(asyncio.run, tools(url)).result()) == names


@pytest.mark.parametrize("width", [390, 1920])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_scrolls_sideways(browser, url, width, theme):
    context = browser.new_context(viewport={"width": width, "height": 844})
    page = context.new_page()
    page.goto(f"{url}?__theme={theme}")
    page.wait_for_selector("#recommended tbody tr")
    for tab in ("Recommend", "Spectrum", "Data", "Experiments", "Train", "Recommend"):
        open_tab(page, tab)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
        if tab == "Train":  # what is drawn in a hidden tab takes any width
            page.get_by_role("button", name="Light user").click()
            page.wait_for_timeout(2000)
    for part in ("#view", "#lists", "#snr .js-plotly-plot"):
        assert page.locator(part).bounding_box()["width"] <= width, part
    context.close()


def test_the_experiments_tab_shows_the_run_that_is_picked(page):
    open_tab(page, "Experiments")
    page.locator("#experiment input").click()
    page.get_by_role("option").filter(has_text="Table 3").click()
    page.locator("#experiment-table caption").filter(has_text="3 rows").wait_for()
    assert page.locator("#experiment-table tbody tr").count() == 3
    assert "reproduce table3" in page.locator("#experiment-source").inner_text()
    page.wait_for_selector("#experiment-plot .js-plotly-plot")
    page.locator("#experiment input").click()
    page.get_by_role("option").filter(has_text="Recall by length").click()
    page.locator("#experiment-source").filter(has_text="--preset paper").wait_for()
    page.get_by_label("Data set and preset").click()
    page.get_by_role("option").filter(has_text="tuned").click()
    page.locator("#experiment-source").filter(has_text="groups --dataset ml-1m-diffrec --preset tuned").wait_for()
