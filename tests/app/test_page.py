"""The page in a real browser: the list and its controls. Skipped without a browser."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from tests.conftest import printed
from tests.page import WIDTHS, changed, fill, move, open_controls, open_tab, reload, settle, titles


@WIDTHS
def test_the_first_page_shows_a_history_and_a_list(page):
    assert len(titles(page)) == 20
    assert page.locator("#history tbody tr").count() >= 10
    assert "recommended" in page.locator("#summary").inner_text()
    page.wait_for_selector("#snr .js-plotly-plot")
    page.wait_for_selector("#energy .js-plotly-plot")


@pytest.mark.slow
def test_the_keyboard_moves_a_slider_and_its_number_box_like_the_pointer(page):
    first = titles(page)
    page.locator("#guidance input[type=range]").focus()
    for _ in range(8):
        page.keyboard.press("PageUp")
    changed(page, first)
    box = page.locator("#guidance input[type=number]")
    reached = box.input_value()
    page.get_by_text(re.compile(rf"Guidance 0 → {re.escape(reached)}")).wait_for()  # every key is answered
    moved = titles(page)
    box.fill("0")
    box.press("Enter")
    assert changed(page, moved) == first


@pytest.mark.slow
def test_the_half_life_can_be_changed_if_the_model_has_one(page):
    first = titles(page)
    move(page, "half_life", 15)
    changed(page, first)
    assert "Recency half-life 1.4 → 15: " in page.locator("#changed").inner_text()
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name="Instant").click()
    page.locator("#half_life").wait_for(state="hidden")


@pytest.mark.slow
def test_fast_clicks_end_with_the_list_of_the_selected_user(page):
    for _ in range(6):
        page.get_by_role("button", name="Random user").click()
        page.wait_for_timeout(60)
    settle(page)
    shown = page.locator("#user").locator("input, textarea").first.input_value()
    assert page.locator("#summary").inner_text().startswith(f"User {shown} has")


@WIDTHS
def test_any_user_can_be_selected_and_an_unknown_one_is_refused(page):
    first = titles(page)
    user = page.get_by_label("User id")
    user.fill("7")
    user.press("Enter")
    shown = changed(page, first)
    assert "User 7 has" in page.locator("#summary").inner_text()
    user.fill("nobody")
    user.press("Enter")
    page.get_by_text("Unknown user nobody").wait_for()
    page.wait_for_function("document.querySelector('#user input, #user textarea').value == '7'")
    assert titles(page) == shown, "the page keeps its content"
    user.fill("8")
    user.press("Tab")
    shown = changed(page, shown)
    assert "User 8 has" in page.locator("#summary").inner_text()
    page.get_by_role("button", name="Heavy").click()
    changed(page, shown)


@pytest.mark.slow
def test_sessions_are_independent(page, visit):
    first = titles(page)
    other = visit()
    assert titles(other) == first
    move(other, "guidance", 4)
    changed(other, first)
    page.get_by_label("User id").press("Enter")
    settle(page)
    assert titles(page) == first
    assert page.locator("#guidance input[type=range]").input_value() == "0"


@pytest.mark.slow
@WIDTHS
def test_an_edited_history_changes_the_list_and_can_be_restored(page):
    first = titles(page)
    newest = page.locator("#history tbody tr .title").first.inner_text()
    page.locator("#history button[data-item]").first.click()
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
    page.get_by_role("button", name="Back to the model's own settings").click()
    page.locator("#changed").filter(has_text=re.compile(r"^\s*Edited history: ")).wait_for()
    page.get_by_role("button", name="Original history").click()
    page.locator("#summary").filter(has_text=re.compile(r"User \d+ has")).wait_for()
    assert titles(page) == first
    page.get_by_role("button", name="Empty").click()
    changed(page, first)
    assert page.locator("#history tbody tr").count() == 0
    page.get_by_role("button", name="Heavy").click()
    page.locator("#summary").filter(has_text=re.compile(r"User \d+ has")).wait_for()


@WIDTHS
def test_an_item_can_be_explained(page):
    third = page.locator("#recommended tbody tr").nth(2)
    third.get_by_role("button", name=re.compile("^Why ")).click()
    why = third.locator("xpath=following-sibling::tr[1]")
    why.get_by_text(re.compile(r"^Because of .+\.$")).wait_for()
    why.get_by_text("The exact sum").click()
    for table in why.locator("details table").all():
        *parts, score = [float(text) for text in table.locator(".number").all_inner_texts()]
        assert sum(parts) == pytest.approx(score, abs=0.006), "within three digits"
    third.get_by_role("button", name=re.compile("^Why ")).click()
    page.locator("tr.why").wait_for(state="detached")
    third.get_by_role("button", name=re.compile("^Why ")).click()
    page.locator("tr.why").wait_for()
    page.get_by_role("button", name="Random user").click()
    page.locator("tr.why").wait_for(state="detached")


@WIDTHS
@pytest.mark.slow
def test_a_url_restores_the_page_in_another_session(page, visit):
    first = titles(page)
    page.locator("#history button[data-item]").nth(2).click()
    without = changed(page, first)
    move(page, "guidance", 3)
    moved = changed(page, without)
    page.get_by_role("button", name="Filter items").click()
    fill(page, "first-year", 1980)
    changed(page, moved)
    open_tab(page, "Diffusion")
    page.wait_for_function("location.search.includes('from=1980') && location.search.includes('view=Diffusion')")
    other = visit("?" + urlsplit(page.url).query)
    other.wait_for_selector("#schedules .js-plotly-plot")
    assert titles(other) == titles(page)
    open_tab(other, "Recommend")
    assert "(0 added, 1 removed)" in other.locator("#summary").inner_text()
    assert other.locator("#guidance input[type=range]").input_value() == "3"
    assert other.locator("#first-year input").input_value() == "1980"


@pytest.mark.slow
def test_back_and_forward_lead_to_the_former_and_the_next_user(page):
    first = titles(page)
    page.get_by_label("User id").fill("7")
    page.get_by_label("User id").press("Enter")
    second = changed(page, first)
    move(page, "guidance", 3)
    moved = changed(page, second)
    page.go_back()
    page.wait_for_selector("#recommended tbody tr")
    settle(page)
    assert titles(page) == first, "a control is no step of its own"
    page.go_forward()
    page.locator("#summary").filter(has_text="User 7 has").wait_for()
    settle(page)
    assert titles(page) == moved


@pytest.mark.slow
def test_an_invalid_url_parameter_is_reported_and_the_rest_is_opened(visit, url):
    page = visit("?user=7&model=gone&guidance=99&item=nothing&genre=None&k=3")
    for said in ("There is no checkpoint 'gone'", "This data set has no genre None"):
        page.get_by_text(said).wait_for()
    page.locator("#summary").filter(has_text="User 7 has").wait_for()
    assert len(titles(page)) == 3
    settle(page)
    page.goto(f"{url}?dataset=nowhere")
    page.get_by_text("Unknown data set 'nowhere'").wait_for()
    page.wait_for_selector("#recommended tbody tr")
    settle(page)


@pytest.mark.slow
def test_a_list_can_be_filtered_by_genre_and_years(page):
    first = titles(page)
    page.get_by_role("button", name="Filter items").click()
    page.locator("#genres input").click()
    page.locator("#genres").get_by_role("option", name="Comedy", exact=True).click()
    comedies = changed(page, first)
    shown = page.locator("#recommended tbody .genres").all_inner_texts()
    assert shown and all("Comedy" in text for text in shown)
    page.keyboard.press("Escape")
    fill(page, "first-year", 2000)
    changed(page, comedies)
    years = page.locator("#recommended tbody small").all_inner_texts()
    assert years and all(int(year) >= 2000 for year in years)
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name="demo-paper").click()
    page.locator("#summary").filter(has_text="that pass the filters").wait_for()
    filtered = titles(page)
    chips = page.locator("#recommended .chip")
    assert chips.all_inner_texts() == ["Comedy ×", "from 2000 ×"]
    chips.first.click()
    changed(page, filtered)
    settle(page)
    assert chips.all_inner_texts() == ["from 2000 ×"] and not page.locator("#genres .token").count()
    chips.first.click()
    chips.first.wait_for(state="detached")
    settle(page)
    assert page.locator("#first-year input").input_value() == "" and "from=" not in page.url


@pytest.mark.parametrize("visit", [390, pytest.param(1920, marks=pytest.mark.slow)], indirect=True)
def test_nothing_scrolls_sideways(page):
    width = page.viewport_size["width"]
    for tab in ("Recommend", "Diffusion", "Waves", "Compare", "Data", "Experiments", "Train", "Recommend"):
        open_tab(page, tab)
        settle(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
        if tab == "Train":  # plots in a hidden tab have an arbitrary width
            page.get_by_role("button", name="Light user").click()
            settle(page)
    for part in ("#view", "#lists", "#snr .js-plotly-plot"):
        assert page.locator(part).bounding_box()["width"] <= width, part


@WIDTHS
def test_a_changed_control_updates_the_list_and_can_be_reset_alone_or_with_all(page):
    first = titles(page)
    open_controls(page)
    move(page, "guidance", 4)
    moved = changed(page, first)
    assert "Guidance 0 → 4: " in page.locator("#changed").inner_text()
    back = page.locator("#guidance button.trained")
    back.get_by_text("back to 0").wait_for()
    assert page.locator("#controls .block.moved").count() == 1
    assert page.locator("#alpha_min button.trained").inner_text() == "model: 0"
    for picker in ("#pickers input", "#checkpoint input"):  # gradio reports a choice whenever a dropdown is left
        page.locator(picker).first.click()
        page.locator("#summary").click()
    settle(page)
    assert titles(page) == moved and page.locator("#guidance input[type=range]").input_value() == "4"
    open_controls(page)
    back.click()
    assert changed(page, moved) == first
    page.locator("#guidance button.trained").get_by_text("model: 0").wait_for()
    move(page, "guidance", 4)
    assert changed(page, first) == moved
    page.get_by_role("button", name="Back to the model's own settings").click()
    assert changed(page, moved) == first


@pytest.mark.slow
def test_the_list_length_follows_its_slider_and_seen_items_can_be_included(page):
    first = titles(page)
    page.get_by_role("button", name="More settings").click()
    for name in ("tau", "seed"):
        page.locator(f"#{name} button.trained").get_by_text("model: ").wait_for()
    page.get_by_label("Include seen items").check()
    changed(page, first)
    known = page.locator("#recommended tr", has=page.get_by_text("in the history"))
    past = set(page.locator("#history tbody .title").all_inner_texts())
    assert known.count() and set(known.locator(".title").all_inner_texts()) <= past
    page.wait_for_function("location.search.includes('seen=1')")
    page.get_by_label("Include seen items").uncheck()
    page.wait_for_function("!location.search.includes('seen=1')")
    assert titles(page) == first
    move(page, "k", 7)
    assert changed(page, first) == first[:7]


def test_the_list_is_saved_as_csv_and_the_link_and_a_working_script_are_copied(page):
    shown = page.locator("#recommended tbody tr")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    head, *rows = download.value.path().read_text(encoding="utf-8").splitlines()
    assert head.startswith("rank,item,title") and len(rows) == shown.count()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link").click()
    page.get_by_role("status").filter(has_text="The link is copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    page.get_by_role("button", name="Copy as Python").click()
    page.get_by_role("status").filter(has_text="The script is copied").wait_for()
    script = page.evaluate("navigator.clipboard.readText()")
    found = [line.split("\t")[2] for line in printed(script).splitlines()]
    assert [title.startswith(same) for title, same in zip(titles(page), found, strict=True)] == [True] * 20


@pytest.mark.slow
def test_without_a_clipboard_the_script_is_shown(page):
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.get_by_role("button", name="Copy as Python").click()
    dialog = page.get_by_role("dialog")
    assert "Recommender.load" in dialog.get_by_label("To copy").input_value()
    dialog.get_by_role("button", name="Close").click()
    dialog.wait_for(state="detached")


@pytest.mark.slow
def test_a_redrawn_plot_keeps_its_zoom(page):
    plot = page.locator("#snr .nsewdrag")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 80, steps=5)
    page.mouse.up()
    shown = "document.querySelector('#snr .js-plotly-plot').layout.xaxis.range"
    zoomed = page.evaluate(shown)
    assert zoomed[1] - zoomed[0] < 100
    before = page.locator("#snr path.js-line").first.get_attribute("d")
    move(page, "sigma_max", 0.1)
    page.wait_for_function(
        "before => document.querySelector('#snr path.js-line').getAttribute('d') != before", arg=before
    )
    assert page.evaluate(shown) == zoomed


@pytest.mark.slow
@WIDTHS
def test_the_tour_is_offered_only_on_the_first_visit(profile, visit):
    profile.pages[0].evaluate("localStorage.clear()")
    page = visit()
    settle(page)
    page.get_by_role("button", name="One-minute tour").click()
    popover = page.locator(".driver-popover")
    told = []
    for step in range(1, 7):
        popover.filter(has_text=f"{step} of 6").wait_for()
        page.wait_for_timeout(400)  # until the animation ends
        told.append(popover.locator("header").inner_text())
        assert popover.bounding_box()["x"] >= 0
        page.keyboard.press("ArrowRight")
    popover.wait_for(state="detached")
    assert told[0] == "Whose list" and told[-1] == "Save or share" and len(set(told)) == 6
    reload(page)
    page.wait_for_selector("#recommended tbody tr")
    settle(page)
    assert page.locator("#invitation").count() == 0
    page.get_by_role("button", name="Tour").click()
    popover.wait_for()
    page.keyboard.press("Escape")
    popover.wait_for(state="detached")
    settle(page)


@pytest.mark.parametrize("visit", [390], indirect=True)
def test_on_a_phone_the_first_screen_shows_five_rows_and_a_swipe_reaches_every_tab(page):
    page.set_viewport_size({"width": 390, "height": 844})
    free = 844 - page.locator("#sheet").bounding_box()["height"]
    fifth = page.locator("#recommended tbody tr").nth(4).bounding_box()
    assert fifth["y"] + fifth["height"] <= free
    strip = page.locator("#views [role=tablist]").bounding_box()
    assert strip["height"] < 50 and strip["width"] <= 390
    assert page.locator("#views [role=tab]").count() == 7
    last = page.get_by_role("tab", name="Train")
    last.click()
    page.wait_for_function("document.documentElement.dataset.view === 'Train'")
    box = last.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390


@pytest.mark.slow
@pytest.mark.parametrize("visit", [390], indirect=True)
def test_on_a_phone_the_controls_leave_what_they_change_in_sight_and_close_on_a_tap_outside(page):
    slider, handle = page.locator("#guidance"), page.locator("#sheet")
    assert handle.get_attribute("aria-expanded") == "false" and not slider.is_visible()
    handle.click()
    slider.wait_for()
    assert handle.get_attribute("aria-expanded") == "true"
    first = titles(page)
    move(page, "guidance", 4)
    changed(page, first)
    handle.filter(has_text="Controls · 1 changed").wait_for()
    page.locator("#noise").scroll_into_view_if_needed()  # within the controls
    top = page.locator("#controls").bounding_box()["y"]
    rows = page.locator("#recommended tbody tr")
    page.wait_for_function("document.querySelector('#recommended').getBoundingClientRect().top < 100")
    boxes = [rows.nth(n).bounding_box() for n in range(3)]
    assert all(box["y"] >= 0 and box["y"] + box["height"] <= top for box in boxes)
    said = page.locator("#changed").bounding_box()
    assert top <= said["y"] and said["y"] + said["height"] < page.viewport_size["height"] - 100
    rows.first.click(position={"x": 5, "y": 5})
    slider.wait_for(state="hidden")


@pytest.mark.slow
def test_an_emptied_number_box_is_restored_and_a_value_too_high_is_clamped(page):
    settle(page)
    first = titles(page)
    box = page.locator("#half_life input[type=number]")
    box.fill("")
    box.press("Tab")
    settle(page)
    assert box.input_value() == "1.4" and titles(page) == first
    box.fill("500")
    box.press("Enter")
    changed(page, first)
    assert box.input_value() == "20"
    assert not [text for text in page.locator(".toast-wrap").all_inner_texts() if "Error" in text]


@pytest.mark.slow
@WIDTHS
def test_a_model_is_chosen_by_keyboard(page):
    first = titles(page)
    page.locator("#checkpoint input").click()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    changed(page, first)
    page.wait_for_function("location.search.includes('model=demo-paper')")


@pytest.mark.slow
def test_a_setting_out_of_range_and_an_invalid_number_do_not_affect_the_rest(visit):
    page = visit("?user=7&model=demo-paper&guidance=10&k=many")
    page.get_by_text("k must be a whole number").wait_for()
    page.locator("#summary").filter(has_text="User 7 has").wait_for()
    page.locator("#changed").filter(has_text="Guidance 0.02 → 10").wait_for()
    assert page.locator("#checkpoint input").input_value().endswith("demo-paper")


def test_the_page_comes_with_its_first_list(visit):
    page = visit()
    config = page.evaluate("window.gradio_config.components.map(part => [part.props.elem_id, part.props.value])")
    sent = {id: value for id, value in config if id}
    assert all(title.splitlines()[0].split(" 19")[0].split(" 20")[0] in sent["recommended"] for title in titles(page))
    assert sent["list-state"] and sent["due-Recommend"] == sent["list-state"] and '"data"' in sent["energy"]["plot"]
    page.wait_for_selector("#energy .js-plotly-plot")
    page.wait_for_function("document.querySelector('#guidance button.trained')?.textContent === 'model: 0'")
    settle(page)
    requests = page.evaluate("performance.getEntriesByType('resource').map(each => each.name)")
    assert sum("/queue/join" in each for each in requests) == 2, "tabs that were not opened ask for nothing"


@WIDTHS
def test_a_history_of_ones_own_is_made_by_clicks_and_its_link_restores_it(page, visit):
    first = titles(page)
    page.get_by_role("button", name="Start from your own taste").click()
    page.locator("#shelves .cover").nth(3).click()
    one = changed(page, first)
    page.locator("#summary").filter(has_text="Your own history: 1 item in the history").wait_for()
    assert page.locator("#user input, #user textarea").first.input_value() == ""
    page.get_by_role("button", name="Take all").nth(1).click()
    many = changed(page, one)
    page.locator("#summary").filter(has_text="Your own history: 9 items").wait_for()
    settle(page)
    other = visit("?" + urlsplit(page.url).query)
    other.locator("#summary").filter(has_text="Your own history: 9 items").wait_for()
    assert titles(other) == many
    page.get_by_role("button", name="Random user").click()
    page.locator("#summary").filter(has_text=re.compile(r"User \d+ has")).wait_for()


@WIDTHS
def test_a_title_opens_the_items_page_and_its_neighbours_can_be_added(page):
    first = titles(page)
    title = page.locator("#recommended button.open").nth(1)
    name = title.evaluate("node => node.firstChild.textContent").strip()
    title.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("heading", name=re.compile(re.escape(name))).wait_for()
    dialog.get_by_text(re.compile(r"\d+ of 900 people")).wait_for()
    neighbour = dialog.locator("tbody .title").first.inner_text()
    dialog.locator("button[data-item]").first.click()
    dialog.wait_for(state="hidden")
    changed(page, first)
    assert page.locator("#history tbody .title").first.inner_text() == neighbour


@pytest.mark.slow
def test_a_list_can_be_shown_as_cards_and_stays_so(page):
    cover = page.locator("#recommended .cover").first
    assert not cover.is_visible()
    page.get_by_role("button", name="List / cards").click()
    cover.wait_for()
    first = titles(page)
    page.get_by_role("button", name="Heavy").click()
    changed(page, first)
    cover.wait_for()
    page.get_by_role("button", name="List / cards").click()
    cover.wait_for(state="hidden")


@pytest.mark.slow
def test_a_control_without_effect_is_switched_off_with_the_reason(page):
    assert page.locator("#sigma_max input[type=range]").is_enabled()
    move(page, "noise", 0)
    page.locator("#sigma_max").get_by_text("No noise is added").wait_for()
    assert page.locator("#sigma_max input[type=range]").is_disabled()
    page.get_by_role("button", name="More settings").click()
    page.locator("#seed").get_by_text("No noise is added").wait_for()
    page.wait_for_function("document.querySelector('#seed input').disabled")
    move(page, "noise", 0.5)
    page.locator("#sigma_max").get_by_text("model: ").wait_for()
    assert page.locator("#sigma_max input[type=range]").is_enabled()


@pytest.mark.slow
def test_a_parameter_of_somebody_else_in_the_url_changes_nothing(visit):
    page = visit("?utm_source=letter")
    page.wait_for_function("document.querySelector('#guidance button.trained')?.textContent === 'model: 0'")
    assert page.locator("#body").evaluate("part => getComputedStyle(part).opacity") == "1"


@pytest.mark.slow
def test_each_of_two_fast_questions_is_answered_below_its_own_row(page):
    buttons = page.locator("#recommended td > button[data-item]")
    asked = [buttons.nth(n).get_attribute("data-item") for n in (0, 3)]
    for n in (0, 3):
        buttons.nth(n).click()
    settle(page)
    page.locator("tr.why").wait_for()
    answered = page.locator("tr.why [data-of]").get_attribute("data-of")
    above = page.locator("tr.why").locator("xpath=preceding-sibling::tr[1]").locator("button[data-item]")
    assert answered == above.get_attribute("data-item") and answered in asked
