"""Text from data that looks like markup, scripts, formulas or SQL is displayed and exported as plain text."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest

from sdiff.app import state
from sdiff.app.handlers import explanations, item_pages, ranking, spectral, waves
from sdiff.app.query import Query
from sdiff.app.state import INSTANT
from sdiff.app.tabs import recommend, take_away
from sdiff.app.uploads import store
from sdiff.app.views import lists, tables
from sdiff.base.paths import uploads_dir
from sdiff.data.reading import Reading
from tests.conftest import ROOT

NASTY = ("<script>hacked=1</script>", "<img src=x onerror=hacked=1>", "=HYPERLINK(1)", "\"'><b>", "**[x](http://x)**")


def test_text_in_sql_is_always_quoted(tmp_path):
    for number, text in enumerate(
        ("'", '"', "''; DROP TABLE pairs; --", '"); SELECT 1; --', "\\", "$$", "{x}", "%s", "; --")
    ):
        table = tmp_path / f"{number} {text.replace('/', '')}.csv"
        with table.open("w", newline="") as file:
            csv.writer(file).writerows(
                [("user", "item", text), *((f"u{n}{text}", f"i{n % 4}{text}", text) for n in range(20))]
            )
        key = store.keep(table, table, Reading(), tmp_path / "kept").key
        found = store.load(key, tmp_path / "kept")
        assert found.split.users.ids[0].endswith(text) and found.items.extra[text.lower()] == [text] * 4


TAGS = {
    *("div", "section", "table", "caption", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "p", "h2", "h3"),
    *("span", "small", "strong", "em", "button", "input", "details", "summary"),
}


class Tags(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    """Key of an upload with hostile text everywhere, and one of its users."""
    folder = tmp_path_factory.mktemp("nasty")
    table, titles = folder / "<b>=1.csv", folder / "titles.csv"
    with table.open("w", newline="") as file:
        users, items = ([text + str(n) for text in NASTY for n in range(2)] for _ in range(2))
        rows = [(user, items[(u + n) % 10]) for u, user in enumerate(users) for n in range(6)]
        csv.writer(file).writerows([("user", "item"), *rows])
    with titles.open("w", newline="") as file:
        head = ("item", "title", "genres", "=1+1<i>")
        csv.writer(file).writerows([head, *((item, item, item, item) for item in items)])
    opened = state.opened_here(lambda: store.keep(table, titles, Reading(), uploads_dir()))
    state.keep_open(opened.dataset.key, opened)
    return opened.dataset.key, users


def test_text_from_data_is_escaped(nasty):
    key, users = nasty
    for user in users:
        query = Query(key, INSTANT, user)
        found, why = ranking.recommend(query), explanations.why(query, users[0])
        catalog, carried = state.open_dataset(key).catalog, waves.carried(query)
        pages = [
            lists.history_table(found.history),
            lists.recommended_table(found.recommendations, None, found.past, lists.filters(Query(genres=users))),
            lists.addable_table(found.history),
            lists.items_table(catalog.rows(range(10)), users[0]),
            lists.moving_table(users[0], found.recommendations, None, users[0]),
            lists.why_panel(why),
            lists.item_page(item_pages.item_facts(query, users[0])),
            lists.taste_grid(item_pages.shelves(key)),
            lists.film(spectral.film(query)),
            lists.waves_table(carried.waves, carried.amplitude, carried.share),
            tables.plain_table(users[0], users, [users]),
            recommend.find((key, INSTANT), "hacked"),
        ]
        for page in map(Tags, pages):
            assert page.tags <= TAGS
            assert not {name for name in page.attributes if name.startswith("on") or name in ("src", "href")}
        assert NASTY[0] + "0" in Tags(pages[3]).text
        assert not re.search(r"(?<!\\)[<*\[]", found.summary.split("has ")[0].removeprefix("**User ").rstrip("* "))


@pytest.mark.slow
def test_text_from_data_does_not_run_in_a_browser(nasty, visit):
    key, users = nasty
    for user in (users[2], users[8]):
        page = visit("?" + urlencode({"dataset": key, "model": INSTANT, "user": user}))
        page.wait_for_function("user => document.querySelector('#summary').innerText.includes(user)", arg=user)
        assert NASTY[0] + "0" in page.locator("#lists").inner_text()
        assert page.evaluate("typeof window.hacked") == "undefined"
        assert page.locator("#views :is(img[src='x'], a[href*='//x'])").count() == 0


def test_no_csv_cell_is_a_formula(nasty):
    key, users = nasty
    rows = list(csv.reader(io.StringIO(take_away.list_csv(Query(key, INSTANT, users[0], seen=True)))))
    cells = [cell for row in rows for cell in row]
    assert "'=1+1<i>" in rows[0] and any(cell.startswith("'=HYPERLINK") for cell in cells)
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "@", "\t", "\r")]


def test_the_script_does_not_write_text_from_data_as_html():
    script = (ROOT / "assets" / "app.js").read_text(encoding="utf-8")
    written = re.findall(r"(?:innerHTML|outerHTML)\s*=\s*([^;]+);|insertAdjacentHTML|document\.write|\beval\(", script)
    assert written and all(re.fullmatch(r"\s*'[^'$]*'(\s*\+\s*'[^'$]*')*\s*", text) for text in written)
