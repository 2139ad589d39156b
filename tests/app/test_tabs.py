"""The other tabs in a real browser. Skipped without a browser."""

from __future__ import annotations

import csv
import io
import re

import pytest

from sdiff.app.tabs.experiments import experiments
from sdiff.data.registry import REGISTRY
from sdiff.results import documents
from sdiff.results.charts import called
from tests.page import WIDTHS, changed, move, open_tab, reload, settle, titles

ENDLESS = "K=16 hidden=32 eval_every=1 patience=100000"  # long enough for a slow page to stop it


def test_the_tabs_of_the_method_show_their_plots(page):
    plots = {"Diffusion": ("film-energy", "schedules", "maps"), "Waves": ("amplitudes", "map", "eigenvalues")}
    open_tab(page, "Diffusion")
    page.wait_for_selector("#maps .js-plotly-plot .main-svg")
    page.evaluate(
        """() => {
            const plot = document.querySelector('#maps .js-plotly-plot');
            plot.emit('plotly_click', { points: [{ x: 0.5, y: 7, data: plot.data[0] }] });
        }"""
    )
    page.locator("#map-words").filter(has_text="From left to right, wave 7:").wait_for()  # on the tab's first visit
    for tab in plots:
        open_tab(page, tab)
        for plot in plots[tab]:
            page.wait_for_selector(f"#{plot} .js-plotly-plot .main-svg")


def train(page, name: str, settings: str = ENDLESS, epochs: int = 100_000) -> None:
    """Starts a run of a single model."""
    open_tab(page, "Train")
    page.get_by_role("button", name="Train a single model").click()
    page.locator("#model-name").locator("input, textarea").first.fill(name)
    page.locator("#train-settings").locator("input, textarea").first.fill(settings)
    page.locator("#epochs input").fill(str(epochs))
    page.get_by_role("button", name="Train this model").click()


@WIDTHS
def test_a_model_can_be_trained_stopped_saved_and_used(page):
    name = f"by-a-visitor-{page.viewport_size['width']}"
    open_tab(page, "Train")
    assert page.locator("#curves").is_hidden(), "there are no empty axes"
    train(page, name)
    page.locator("#train-status time").first.wait_for()
    page.get_by_text(re.compile(r"best validation recall@20 [\d.]+ at epoch")).wait_for(timeout=30_000)
    page.locator("#curves .scatterlayer .trace").first.wait_for(state="attached")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_text(re.compile(f"saved as {name}")).wait_for(timeout=30_000)
    page.get_by_text(re.compile(r"recall@20 0\.\d+ on validation, against 0\.\d+ for popularity")).wait_for()
    use = page.get_by_role("button", name="Use this model: see its list")
    use.wait_for()
    settle(page)
    page.wait_for_function("document.querySelector('#train-status').getBoundingClientRect().top > -1")
    assert page.locator("#checkpoint input").input_value().endswith("· demo"), "the open model stays"
    page.locator("#checkpoint input").click()
    page.get_by_role("option", name=name).wait_for()
    page.keyboard.press("Escape")
    use.click()
    page.locator("#recommended tbody tr").first.wait_for()
    page.wait_for_function(f"document.querySelector('#checkpoint input').value.endsWith('{name}')")
    open_tab(page, "Waves")
    page.get_by_text("These 16 waves hold").wait_for()


@pytest.mark.slow
def test_clocks_count_between_the_updates_of_a_run(page):
    open_tab(page, "Train")
    settle(page)
    page.evaluate(
        """document.querySelector('#train-status').insertAdjacentHTML('beforeend',
            '<time data-seconds="58.5">58 s</time><time data-seconds="62" data-down>1 min 2 s</time>')"""
    )
    clocks = page.locator("#train-status time")
    page.wait_for_function("/^1 min/.test(document.querySelector('#train-status time').textContent)")
    times = [re.fullmatch(r"(?:(\d) min )?(\d+) s", text) for text in clocks.all_inner_texts()]
    up, down = (60 * int(found[1] or 0) + int(found[2]) for found in times if found)
    assert abs((up - 58.5) - (62 - down)) < 2, "one counts up by what the other counts down"
    clocks.first.evaluate("clock => { clock.dataset.seconds = '7' }")  # as by the next update, in the same element
    page.wait_for_function("/^\\d s$/.test(document.querySelector('#train-status time').textContent)")


@pytest.mark.slow
def test_auto_shows_what_it_tries_and_offers_its_best_model(page):
    open_tab(page, "Train")
    page.locator("#minutes input").fill("0.2")
    assert page.locator("#epochs").is_hidden() and page.locator("#train-settings").is_hidden()
    page.locator("#model-name input, #model-name textarea").first.fill("the-best")
    page.get_by_role("button", name="Train the best model").click()
    page.get_by_text("Best on validation is").wait_for(timeout=120_000)
    page.get_by_role("cell", name="GF-CF").wait_for()
    page.get_by_role("button", name="Use this model: see its list").click()
    page.wait_for_function("document.querySelector('#checkpoint input').value.endsWith('the-best')")


@pytest.mark.slow
def test_a_second_run_waits_with_a_message_and_both_can_be_stopped(page, browser, url):
    other = browser.new_context().new_page()  # of another browser: one opens six connections to a host, and no more
    other.goto(url)
    other.wait_for_selector("#recommended tbody tr")
    for session, name in ((page, "goes-first"), (other, "waits")):
        train(session, name)
        if session is page:
            page.get_by_text(re.compile("best validation recall@20")).wait_for(timeout=30_000)
    other.get_by_text("one other run will be trained before this one").wait_for()
    other.get_by_text("starts within").wait_for()
    other.get_by_role("button", name="Stop", exact=True).click()
    other.get_by_text("Stopped before it began: nothing was trained.").wait_for()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_text("saved as goes-first").wait_for(timeout=30_000)
    page.wait_for_timeout(500)  # nothing follows the last message
    assert page.get_by_text("saved as goes-first").is_visible()
    other.context.close()


@WIDTHS
def test_own_data_can_be_uploaded_mapped_checked_and_opened(page, tmp_path):
    visits = "".join(f"{u},{(u + i * i) % 12},{1.6e9 + 60 * i:.0f}\n" for u in range(20) for i in range(8))
    table = tmp_path / "visits.csv"
    table.write_text(f"who,item,time\n{visits}7,,1600000000\n")
    open_tab(page, "Data")
    page.locator("#facts dd").filter(has_text="37,374").wait_for()
    page.wait_for_selector("#degrees .js-plotly-plot")
    page.locator("#found caption").filter(has_text="Most popular").wait_for()
    page.locator("#find input, #find textarea").first.fill("nebla seventen")
    page.locator("#found .title").filter(has_text="Nebula Seventeen II").first.wait_for()
    page.set_input_files("#own-table input[type=file]", table)
    page.locator("#preview caption").filter(has_text="visits.csv").wait_for()
    page.locator("#preview p").filter(has_text="1600000000 is 13 September 2020, 12:26").wait_for()
    assert page.locator("#own-item input").input_value() == "item"
    page.locator("#own-report .ask").filter(has_text="Choose the columns of users and items").wait_for()
    choose(page, "own-user", "who")
    page.locator("#own-report td").filter(has_text="item is empty").wait_for()
    page.locator("#own-report p").filter(has_text="20 users, 12 items of 161 rows. Left out: 1 invalid").wait_for()
    page.locator("#own-read").click()
    page.locator("#own-message p").filter(has_text="Fix these rows").wait_for()
    page.get_by_label("Skip invalid rows").check()
    page.locator("#own-read").click()
    page.locator("#facts dd").filter(has_text="1 invalid").wait_for()
    page.locator("#facts summary").click()
    page.locator("#facts td").filter(has_text="item is empty").wait_for()
    open_tab(page, "Recommend")
    page.locator("#summary").filter(has_text=re.compile(r"User \d+ has [1-8] items")).wait_for()
    page.wait_for_selector("#recommended tbody tr")
    assert "filter" not in page.locator("#summary").inner_text(), "without years there is no filter by year"
    page.wait_for_function("location.search.includes('visits')")


@pytest.mark.slow
@WIDTHS
def test_files_that_have_to_be_corrected_are_corrected_in_the_form(page, tmp_path):
    """Dates to be asked for, titles in another encoding with a key of another name, and a delimiter taken back."""
    rows = "".join(f"{u};00{i};0{i + 1}/0{u + 1}/2020\n" for u in range(6) for i in range(6) if (u + i) % 3)
    (tmp_path / "log.csv").write_text(f"user;item;date\n{rows}")
    titles = "".join(f"{i};Café {i};Novel\n" for i in range(6))
    (tmp_path / "books.csv").write_bytes(f"number;Label;Kind\n{titles}".encode("latin-1"))
    open_tab(page, "Data")
    with page.expect_download() as sample:
        page.locator("#own-sample button").click()
    assert sample.value.suggested_filename == "sample.csv"
    page.set_input_files("#own-table input[type=file]", tmp_path / "log.csv")
    page.locator("#preview .ask").filter(has_text="choose one").wait_for()
    page.locator("#own-report .ask").filter(has_text="can be read in several ways").wait_for()
    choose(page, "own-timestamp-format", "02/01/2020 is 2 January 2020")
    page.locator("#own-report p").filter(has_text="24 interactions, 6 users, 6 items").wait_for()
    page.set_input_files("#own-items input[type=file]", tmp_path / "books.csv")
    page.locator("#items-preview .ask").filter(has_text="It is read as latin-1").wait_for()
    page.locator("#items-preview td").filter(has_text="Café 3").wait_for()
    choose(page, "own-items-id", "number")
    page.locator("#own-report .ask").filter(has_text="0 of 6 items have a title in books.csv").wait_for()
    page.locator("#own-items .icon-button-wrapper button, #own-items button[aria-label*='lear']").first.click()
    page.locator("#items-preview .hint").wait_for()
    (tmp_path / "books.csv").write_bytes(f"number;Label;Kind\n{titles}".replace("\n", "\n00").encode("latin-1")[:-2])
    page.set_input_files("#own-items input[type=file]", tmp_path / "books.csv")
    page.locator("#items-preview td").filter(has_text="Café 3").wait_for()
    choose(page, "own-items-id", "number")
    choose(page, "own-items-title", "label")
    page.locator("#own-report p").filter(has_text="6 of 6 items have a title").wait_for()
    page.locator("#own-read").click()
    page.locator("#facts dd").filter(has_text="6 of 6 items have a title").wait_for()
    page.locator("#found .title").filter(has_text="Café").first.wait_for()


@pytest.mark.slow
def test_an_upload_can_be_cancelled_while_it_is_read(page, tmp_path):
    table = tmp_path / "long.csv"
    table.write_text(
        "user,item\n" + "".join(f"{u},{(u * u + 97 * i) % 9000}\n" for u in range(20_000) for i in range(25))
    )
    open_tab(page, "Data")
    page.set_input_files("#own-table input[type=file]", table)
    page.locator("#preview caption").filter(has_text="long.csv").wait_for()
    page.locator("#own-read").click()
    page.locator("#own-cancel").click()
    page.locator("#own-message").filter(has_text="Cancelled").wait_for()
    page.locator("#own-cancel").wait_for(state="hidden")
    settle(page)
    assert page.locator("#cards").filter(has_text="900 users").count(), "the page stays on its data set"


@pytest.mark.slow
def test_own_data_is_available_on_a_later_visit(page, url, tmp_path):
    table = tmp_path / "visits.csv"
    table.write_text("user,item\n" + "".join(f"{u},{(u + i * i) % 12}\n" for u in range(20) for i in range(8)))
    open_tab(page, "Data")
    page.set_input_files("#own-table input[type=file]", table)
    page.locator("#preview caption").filter(has_text="visits.csv").wait_for()
    page.locator("#own-read").click()
    page.locator("#cards").filter(has_text="20 users").wait_for()
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


@pytest.mark.slow
def test_a_missing_data_set_is_offered_for_download_with_its_terms(page):
    first = titles(page)
    open_tab(page, "Data")
    page.get_by_role("button", name="More published data sets").click()
    choose(page, "published", "MovieLens 32M")
    page.locator("#status").filter(has_text="MovieLens 32M is not downloaded yet. Its terms: research use").wait_for()
    assert page.get_by_role("button", name="Download", exact=True).is_visible() and titles(page) == first
    page.get_by_role("button", name="Random user").click()
    changed(page, first)


def test_the_experiments_tab_shows_the_selected_run(page):
    open_tab(page, "Experiments")
    page.locator("#experiment input").click()
    page.get_by_role("option").filter(has_text="Table 3:").click()
    page.locator("#experiment-table caption").filter(has_text="3 rows").wait_for()
    assert page.locator("#experiment-table tbody tr").count() == 3
    assert "reproduce table3" in page.locator("#experiment-source").inner_text()
    page.wait_for_selector("#experiment-plot .js-plotly-plot")
    page.locator("#experiment input").click()
    page.get_by_role("option").filter(has_text="Recall by history length").click()
    page.locator("#experiment-source").filter(has_text="reproduce groups").wait_for()
    page.locator("#experiment-words").filter(has_text="The preset paper").wait_for()
    first, second = documents.runs("groups")[:2]
    key, preset = second.split(", ")
    page.get_by_label("Data set and model").click()
    page.get_by_role("option").filter(has_text=REGISTRY[key].title).click()
    page.locator("#experiment-source").filter(has_text=f"groups --dataset {key} --preset {preset}").wait_for()
    assert first != second


@pytest.mark.slow
@WIDTHS
def test_the_diffusion_can_be_scrubbed_and_played_and_its_moment_is_in_the_address(visit):
    page = visit("?model=demo-paper&user=7&view=Spectrum")  # the former name of the tab
    shown = page.locator("#film section:visible")
    shown.get_by_text("Step 5 of 5, t = 0.").wait_for()
    plot = "document.querySelector('#film-energy .js-plotly-plot')"
    visible = f"{plot}.data.filter(trace => trace.visible !== false).map(trace => trace.meta ?? 'history').join()"
    page.wait_for_function(f"{plot}?.data && {visible} === 'history,6,6,6'")
    last = listed(page, "#film section:visible .list:first-child")
    page.locator("#frame").fill("1")
    shown.get_by_text("Noised, t = 1.").wait_for()
    page.wait_for_function(f"{visible} === 'history,1,1,1'")
    assert listed(page, "#film section:visible .list:first-child") != last
    reload(page)
    shown.get_by_text("Noised, t = 1.").wait_for()
    page.get_by_role("button", name="Play", exact=True).click()
    shown.get_by_text("Step 2 of 5").wait_for()
    shown.get_by_text("Step 5 of 5").wait_for()
    assert listed(page, "#film section:visible .list:first-child") == last
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the plots' data as CSV").click()
    assert download.value.path().read_text(encoding="utf-8").startswith("plot,series,t,frequency,lambda,value")
    open_tab(page, "Recommend")
    assert titles(page)[:10] == last, "the list of the last step is the final list"
    open_tab(page, "Diffusion")
    move(page, "T", 3)
    shown.get_by_text("Step 3 of 3").wait_for()
    assert page.locator("#frame").get_attribute("max") == "4"


@WIDTHS
def test_two_models_can_be_compared_and_evaluated(page):
    open_tab(page, "Compare")
    page.wait_for_selector("#b-list tbody tr")
    first = listed(page, "#a-list")
    choose(page, "b-model", "linear graph filter (baseline)")
    page.locator("#b-words").filter(has_text="linear graph filter (baseline) · has no settings").wait_for()
    assert page.locator("#b-panel").is_hidden()
    choose(page, "b-model", "Temporal: learned, order-aware · demo")
    page.locator("#compare-words").filter(has_text="20 of 20 items in common, in the same order").wait_for()
    assert listed(page, "#b-list") == first
    page.get_by_role("button", name="Settings of B").click()
    move(page, "b-half_life", 15)
    page.locator("#b-words").filter(has_text="Recency half-life 1.4 → 15").wait_for()
    assert listed(page, "#b-list") != first == listed(page, "#a-list")
    page.locator("#b-model input").click()
    page.locator("#compare-words").click()  # leaves the dropdown, which gradio reports as a choice
    settle(page)
    assert page.locator("#b-half_life input[type=range]").input_value() == "15"
    page.get_by_role("button", name="Measure", exact=True).click()
    page.locator("#measured tbody tr").nth(5).wait_for()
    recall = [float(text) for text in page.locator("#measured tbody tr").first.locator("td").all_inner_texts()[1:3]]
    assert recall[0] > recall[1], "a longer half-life has a lower recall"
    page.get_by_role("button", name="Random user").click()
    page.wait_for_function("first => document.querySelector('#a-list .title').innerText != first", arg=first[0])


@pytest.mark.slow
@WIDTHS
def test_a_third_list_can_be_chosen_and_is_restored_by_the_url(visit):
    page = visit("?view=Compare&b-model=instant")
    page.wait_for_selector("#b-list tbody tr")
    assert page.locator("#c-list").count() == 0 or page.locator("#c-list").is_hidden()
    assert page.locator("#c-panel").count() == 0 or page.locator("#c-panel").is_hidden()
    choose(page, "c-model", "Paper: the paper's settings to the letter · demo-paper")
    page.wait_for_selector("#c-list tbody tr")
    page.locator("#compare-words").filter(has_text="A and C have").wait_for()
    page.wait_for_function("new URLSearchParams(location.search).get('c-model') === 'demo-paper'")
    shown = listed(page, "#c-list")
    assert len(shown) == len(listed(page, "#a-list")) == 20 and shown != listed(page, "#b-list")
    page.get_by_role("button", name="Measure", exact=True).click()
    page.locator("#measured th").filter(has_text="C − A").wait_for()
    reload(page)
    page.wait_for_selector("#c-list tbody tr")
    assert listed(page, "#c-list") == shown
    choose(page, "c-model", "no third list")
    page.locator("#c-list").wait_for(state="hidden")
    page.wait_for_function("new URLSearchParams(location.search).get('c-model') === null")
    settle(page)


@pytest.mark.slow
def test_the_leaderboard_is_measured_sorted_in_the_browser_and_kept(visit):
    page = visit("?view=Compare")
    page.wait_for_selector("#board-table tbody tr")
    page.locator("#board").click()
    page.locator("#board-words").filter(has_text=re.compile(r"(\d+) of \1 are measured")).wait_for()

    def column(n: int) -> list[str]:
        cells = page.locator(f"#board-table tbody tr td:nth-child({n})")
        return cells.evaluate_all("all => all.map(cell => cell.dataset.value)")

    def press(n: int) -> str:
        page.locator(f"#board-table th:nth-child({n}) button").click()
        return page.locator(f"#board-table th:nth-child({n})").get_attribute("aria-sort")

    recalls = [float(value) for value in column(2)]
    assert recalls == sorted(recalls, reverse=True) and len(recalls) >= 5
    assert press(3) == "descending"
    recalls = [float(value) for value in column(3)]
    assert recalls == sorted(recalls, reverse=True)
    assert press(8) == "descending" and press(8) == "ascending"
    known = [float(value) for value in column(8) if value]
    assert known == sorted(known) and column(8)[len(known) :] == [""] * (len(recalls) - len(known)), "unknown ones last"
    assert press(1) == "ascending"
    names = ["Instant: ", "linear graph filter (baseline)", "most popular items (baseline)", "Paper: ", "Temporal: "]
    starts = [name for text in column(1) for name in names if text.startswith(name)]
    assert list(dict.fromkeys(starts)) == names
    page.wait_for_selector("#cost-plot .js-plotly-plot")
    reload(page)
    page.locator("#board-words").filter(has_text=re.compile(r"(\d+) of \1 are measured")).wait_for()
    settle(page)


@pytest.mark.slow
def test_the_url_restores_both_sides(visit):
    page = visit("?view=Compare&b-model=demo&b-half_life=15")
    page.locator("#b-words").filter(has_text="Recency half-life 1.4 → 15").wait_for()
    page.get_by_role("button", name="Settings of B").click()
    page.locator("#b-reset").click()
    page.locator("#compare-words").filter(has_text="20 of 20 items in common, in the same order").wait_for()
    page.wait_for_function("new URLSearchParams(location.search).get('b-half_life') === null")
    move(page, "b-guidance", 2)
    page.wait_for_function("new URLSearchParams(location.search).get('b-guidance') === '2'")
    page.locator("#b-words").filter(has_text="→ 2").wait_for()
    shown = listed(page, "#b-list")
    reload(page)
    page.locator("#b-words").filter(has_text="→ 2").wait_for()
    assert listed(page, "#b-list") == shown
    settle(page)
    page.goto(page.url.replace("b-model=demo", "b-model=gone"))
    page.get_by_text("There is no model gone to compare with here").wait_for()
    page.wait_for_selector("#b-list tbody tr")


@pytest.mark.slow
def test_the_url_names_the_sides_of_its_own_data_set(visit):
    def changed_to(title: str, key: str) -> str | None:
        page.get_by_label("Data set", exact=True).click()
        page.get_by_role("option", name=title).click()
        page.wait_for_function("key => new URLSearchParams(location.search).get('dataset') === key", arg=key)
        return page.evaluate("new URLSearchParams(location.search).get('b-model')")

    page = visit("?view=Compare&b-model=demo-paper")
    page.wait_for_selector("#b-list tbody tr")
    page.wait_for_function("new URLSearchParams(location.search).get('b-model') === 'demo-paper'")
    open_tab(page, "Recommend")
    settle(page)
    assert changed_to("MovieLens latest small", "ml-latest-small") is None
    settle(page)
    assert changed_to("Demo", "demo") == "demo-paper"


@pytest.mark.slow
def test_the_sensitivity_grid_is_evaluated_for_the_model_on_the_page(visit):
    page = visit("?model=demo-paper&view=Compare")
    page.wait_for_selector("#b-list tbody tr")
    page.locator("#grid").click()
    page.get_by_text("25 of 25 pairs measured").wait_for(timeout=60_000)
    page.wait_for_selector("#grid-plot .js-plotly-plot .heatmaplayer")


def listed(page, where: str) -> list[str]:
    return page.locator(f"{where} tbody .title").all_inner_texts()


def choose(page, dropdown: str, option: str) -> None:
    page.locator(f"#{dropdown} input").click()
    page.locator(f"#{dropdown}").get_by_role("option", name=option, exact=True).click()


@pytest.mark.slow
def test_an_idle_page_sends_no_request(visit):
    page = visit("?model=demo-paper&view=Compare")
    page.wait_for_selector("#b-list tbody tr")
    page.get_by_role("button", name="Random user").click()
    settle(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "queue/join" in request.url else None)
    page.wait_for_timeout(2000)
    assert not asked


POINTS = "(n, { x, y, z }) => n + (z ? z.length * z[0].length : Math.max(x?.length ?? 0, y?.length ?? 0))"


def exported(page, plot: str, format: str) -> tuple[str, bytes]:
    """Name and content of the file that a button of a plot saves, by keyboard."""
    page.wait_for_selector(f"#{plot} .js-plotly-plot .main-svg", state="attached")
    button = page.locator(f"#{plot} .exports").get_by_role("button", name=format.upper())
    button.focus()
    with page.expect_download() as download:
        button.press("Enter")
    return download.value.suggested_filename, download.value.path().read_bytes()


def points(csv_text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text.decode())))


@pytest.mark.slow
def test_a_plot_is_saved_as_png_svg_and_csv_under_its_name(page):
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    open_tab(page, "Experiments")
    page.wait_for_selector("#experiment-plot .js-plotly-plot")
    _, name = experiments()[0]
    run = documents.read_run(name, documents.runs(name)[0])
    (png, picture), (svg, drawing), (table, data) = (
        exported(page, "experiment-plot", format) for format in ("png", "svg", "csv")
    )
    assert re.fullmatch(r"table-1-s-diff-and-the-baselines-ml-1m-diffrec\.png", png)
    assert (svg, table) == (png.replace(".png", ".svg"), png.replace(".png", ".csv"))
    assert picture.startswith(b"\x89PNG") and b"<svg" in drawing
    assert re.search(rb'<rect x="0" y="0"[^>]*fill: rgb\(255, 255, 255\); fill-opacity: 1', drawing), "on white"
    recall = {called(row["model"]): row["test"]["recall@20"] for row in run.rows}
    rows = points(data)
    assert {row["y"]: float(row["recall@20"]) for row in rows if row["series"] != "printed in the paper"} == recall
    assert len(rows) == len(recall) + len([row for row in run.rows if "recall@20" in run.paper.get(row["model"], {})])
    assert not errors, "a picture is drawn from a copy of the plot outside of the page's blocks"


@pytest.mark.slow
def test_a_text_in_the_data_of_a_plot_is_no_formula(page):
    open_tab(page, "Recommend")
    page.wait_for_selector("#snr .js-plotly-plot")
    texts = ["=1+1", "+1+1", "-x", "@x", "\t=1", '=a,"b"', "plain"]
    page.evaluate(
        """async texts => {
            const plot = document.querySelector('#snr .js-plotly-plot');
            await Plotly.react(plot, [{ x: texts, y: texts.map((_, i) => -i), name: '=series', type: 'bar' }], {});
        }""",
        texts,
    )
    rows = points(exported(page, "snr", "csv")[1])
    assert [row["x"] for row in rows] == [*("'" + text for text in texts[:-1]), "plain"]
    assert [float(row["y"]) for row in rows] == [-i for i in range(len(texts))], "a negative number is no formula"
    assert {row["series"] for row in rows} == {"'=series"}


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_plot_can_be_saved_in_all_formats(visit, theme):
    page = visit(f"?__theme={theme}&model=demo-paper&user=7")
    seen = set()
    for tab in ("Recommend", "Diffusion", "Waves", "Data", "Experiments"):
        open_tab(page, tab)
        settle(page)
        page.locator(".js-plotly-plot:visible").first.wait_for()
        for block in page.locator(".block:has(> .exports):visible").all():
            plot = block.get_attribute("id")
            seen.add(plot)
            assert exported(page, plot, "png")[1].startswith(b"\x89PNG")
            drawing = exported(page, plot, "svg")[1]
            assert b"rgb(255, 255, 255); fill-opacity: 1" in drawing and b"rgb(42, 63, 95)" in drawing, "dark on white"
            n = page.locator(f"#{plot} .js-plotly-plot").evaluate(f"plot => plot._fullData.reduce({POINTS}, 0)")
            assert len(points(exported(page, plot, "csv")[1])) == n > 0
    assert {"snr", "energy", "film-energy", "map", "eigenvalues", "maps", "degrees", "experiment-plot"} <= seen


@pytest.mark.slow
def test_on_a_touch_screen_the_buttons_of_a_plot_are_always_visible(browser, url):
    context = browser.new_context(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{url}?view=Experiments")
    exports = page.locator("#experiment-plot .exports")
    exports.wait_for()
    assert exports.evaluate("group => getComputedStyle(group).opacity") == "1"
    context.close()


@pytest.mark.slow
@WIDTHS
def test_a_title_opens_the_items_page_in_every_tab_with_lists(visit):
    page = visit("?model=demo-paper&user=7")
    dialog = page.get_by_role("dialog")
    for tab, where in (("Diffusion", "#film section:visible"), ("Waves", "#strongest"), ("Compare", "#b-list")):
        open_tab(page, tab)
        title = page.locator(f"{where} button.open").first
        name = title.evaluate("node => node.firstChild.textContent").strip().removesuffix(",")
        title.click()
        dialog.get_by_role("heading", name=re.compile(re.escape(name))).wait_for()
        near = dialog.locator("tbody button.open").first
        name = near.evaluate("node => node.firstChild.textContent").strip()
        near.click()
        dialog.get_by_role("heading", name=re.compile(re.escape(name))).wait_for()
        dialog.get_by_role("button", name="Close").click()
        dialog.wait_for(state="hidden")


@pytest.mark.slow
def test_a_new_list_moves_the_marks_on_the_map_that_is_already_drawn(page):
    open_tab(page, "Waves")
    plot = "document.querySelector('#map .js-plotly-plot')"
    ids = """where => [...document.querySelectorAll(`${where} tbody [data-open]`)].map(each => each.dataset.open)"""
    marked = f"{plot}?.data?.slice(-2).map(trace => [...(trace.ids ?? [])].sort().join())"

    def shown() -> str:
        listed, history = (",".join(sorted({*page.evaluate(ids, where)})) for where in ("#recommended", "#history"))
        return f"JSON.stringify({marked}) === JSON.stringify({[listed, history]})"

    page.wait_for_function(shown())
    page.evaluate(f"{plot}.dataset.mine = 'yes'")
    before = shown()
    page.get_by_role("button", name="Random user").click()
    settle(page)
    assert shown() != before
    page.wait_for_function(shown())
    assert page.evaluate(f"{plot}.dataset.mine") == "yes", "the map was not sent again"


@pytest.mark.slow
def test_the_url_restores_the_waves_of_the_map(page, visit):
    open_tab(page, "Waves")
    page.wait_for_selector("#map .js-plotly-plot .main-svg")
    settle(page)
    page.locator("#wave-y input").fill("5")
    page.locator("#wave-y input").press("Enter")
    page.wait_for_function("new URLSearchParams(location.search).get('map') === '2,5'")
    other = visit("?" + page.url.partition("?")[2])
    other.locator("#map-words").filter(has_text="Upwards, wave 5").wait_for()
    assert other.locator("#wave-y input").input_value() == "5"
