"""What docs/security.md promises: what strangers send is refused or shown as text, and reaches nothing else."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import zipfile
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from threading import Event
from urllib.parse import urlencode

import duckdb
import gradio as gr
import pytest

from sdiff import fetch as fetching
from sdiff.checkpoint import Checkpoint
from sdiff.errors import SDiffError
from sdiff.fetch import Archive, fetch
from sdiff.readers import Reading
from sdiff.tables import database
from sdiff.ui import (
    api,
    handlers,
    listing,
    lists,
    state,
    take_away,
    training_handlers,
    uploads,
)
from sdiff.ui.query import Query
from sdiff.ui.state import INSTANT
from sdiff.ui.words import told
from tests.conftest import ROOT

NASTY = ("<script>hacked=1</script>", "<img src=x onerror=hacked=1>", "=HYPERLINK(1)", "\"'><b>", "**[x](http://x)**")
REFUSED = (SDiffError, gr.Error)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A runs folder, and beside it what would open if a name led there: a checkpoint and a table."""
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(ROOT / "checkpoints" / "demo", root / "outside")
    (root / "outside" / "interactions.csv").write_text("user,item\n" + "".join(f"{u},{u % 5}\n" for u in range(50)))
    (root / "runs" / "uploads" / "0123456789abcdef").mkdir(parents=True)
    return root


@pytest.fixture
def outside(root, monkeypatch):
    monkeypatch.setenv("SDIFF_RUNS_DIR", str(root / "runs"))
    return root / "outside"


def tree(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def unpacked(name: str, **extra) -> None:
    """A download whose archive holds what is wanted under another name."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, extra.get("mode", 0) << 16
        file.writestr(info, extra.get("content", "x"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            fetching, "_download", lambda client, archive, part, note, progress: part.write_bytes(packed.getvalue())
        )
        fetch(Archive("https://x/x.zip", 1 << 20, {"ratings.csv": "ratings.csv"}), state.runs_dir() / "set")


def weights_named(file: str) -> None:
    """A checkpoint that says its weights are another file, with that one's own checksum."""
    folder = state.runs_dir() / "stranger"
    shutil.copytree(ROOT / "checkpoints" / "demo", folder, dirs_exist_ok=True)
    [weights] = folder.glob("model-*")
    weights.unlink()
    card = json.loads((folder / "config.json").read_text())
    card["weights"]["file"] = file.format(weights.name)
    (folder / "config.json").write_text(json.dumps(card))
    try:
        Checkpoint.load(folder)
    finally:
        shutil.rmtree(folder)


def linked(target: str) -> None:
    folder = state.runs_dir() / "stranger"
    folder.mkdir()
    (folder / "config.json").symlink_to(target)
    try:
        Checkpoint.load(folder)
    finally:
        shutil.rmtree(folder)


UPWARDS = ("../outside", "../../outside", "..", ".", "/etc", "a/b", "..\\outside", "outside/../../outside", "x\0y", "~")
OWN = "own:0123456789abcdef"
KEYS = (
    *(
        "../outside",
        "/etc/passwd",
        "own:../outside/x",
        "own:0123456789abcdef/../../../outside",
        "own:0123456789abcdef/..",
    ),
    *("own:0123456789abcdef/../outside?user=user", f"{OWN}/a/b", f"{OWN}/x\n/../y", f"{OWN}/x\0"),
    *("own:0123456789ABCDEF/x", "own:/x", "hf:owner/name", "file:///etc/passwd", "demo?items=/etc/passwd"),
    "assets/demo/interactions.csv",
)


def listed(key: str, model: str = INSTANT) -> None:
    handlers.recommend(Query.parse([("dataset", key), ("model", model), ("user", "1")]))


def trained(key: str, name: str) -> None:
    list(training_handlers.train(key, "paper", 1, 0, "", name, Event()))


LINKS = ("/dev/zero", "/etc/passwd", "../../outside/interactions.csv")
ATTEMPTS = [
    *(("name of a new model", partial(state.new_run, name)) for name in (*UPWARDS, "", ".hidden", "x" * 41)),
    *(("name of a model", partial(listed, "demo", name)) for name in UPWARDS),
    *(("key of a data set", partial(state.open_dataset, key)) for key in KEYS),
    *(("address", partial(listed, key)) for key in KEYS),
    *(("training on", partial(trained, key, "x")) for key in KEYS),
    *(("training of", partial(trained, "demo", name)) for name in UPWARDS),
    ("/list_checkpoints", lambda: api.list_checkpoints("../outside")),
    ("/recommend", lambda: api.recommend(dataset="../outside")),
    ("/recommend", lambda: api.recommend(checkpoint="../outside")),
    ("/recommend", lambda: api.recommend(user="../outside")),
    ("/recommend", lambda: api.recommend(history=["../outside"])),
    ("/recommend", lambda: api.recommend(settings='{"items": "/etc/passwd"}')),
    ("/search_items", lambda: api.search_items("own:0123456789abcdef/../../../outside")),
    ("/explain", lambda: api.explain(item="../outside")),
    ("/explain", lambda: api.explain(checkpoint="/etc")),
    ("/compare", lambda: api.compare(other="../outside")),
    ("/spectrum", lambda: api.spectrum(checkpoint="../outside")),
    ("/spectrum", lambda: api.spectrum(dataset="/etc/passwd")),
    *(("weights", partial(weights_named, file)) for file in ("../../outside/{}", "/dev/zero", "..", "", "../{}")),
    *(("linked card", partial(linked, to)) for to in LINKS),
    *(("archive", partial(unpacked, name)) for name in ("../ratings.csv", "/ratings.csv", "x/../ratings.csv")),
    ("archive", lambda: unpacked("ratings.csv", mode=0o120777, content="/etc/passwd")),
]


def test_there_are_enough_attempts():
    assert len(ATTEMPTS) >= 40


@pytest.mark.parametrize(("what", "attempt"), ATTEMPTS, ids=lambda value: value if isinstance(value, str) else "")
def test_no_name_key_address_or_archive_leads_outside(outside, what, attempt):
    before = tree(outside.parent)
    with pytest.raises(REFUSED) as refusal:
        attempt()
    assert "root:" not in str(refusal.value) and len(str(refusal.value)) < 1000
    found = {path: time for path, time in tree(outside.parent).items() if ".downloads" not in path.parts}
    assert {path: time for path, time in found.items() if path.is_file()}.items() <= before.items(), "written"


def test_the_reader_of_a_table_can_reach_no_other_file(tmp_path):
    table, other = tmp_path / "a.csv", tmp_path / "b.csv"
    table.write_text("x\n1\n"), other.write_text("x\n2\n")
    with database(table) as con:
        assert con.execute("SELECT * FROM read_csv(?)", [str(table)]).fetchall() == [(1,)]
        for query in (
            f"FROM read_csv('{other}')",
            "FROM read_text('/etc/passwd')",
            f"COPY (SELECT 1) TO '{tmp_path / 'c.csv'}'",
            f"ATTACH '{tmp_path / 'd.duckdb'}'",
            "INSTALL httpfs",
            "SET enable_external_access = true",
        ):
            with pytest.raises(duckdb.Error):
                con.execute(query)
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "b.csv"}


def test_a_text_that_is_put_into_sql_is_quoted_whatever_it_holds(tmp_path):
    for number, text in enumerate(
        ("'", '"', "''; DROP TABLE pairs; --", '"); SELECT 1; --', "\\", "$$", "{x}", "%s", "; --")
    ):
        table = tmp_path / f"{number} {text.replace('/', '')}.csv"
        with table.open("w", newline="") as file:
            csv.writer(file).writerows(
                [("user", "item", text), *((f"u{n}{text}", f"i{n % 4}{text}", text) for n in range(20))]
            )
        key = uploads.keep(table, table, Reading(), tmp_path / "kept")
        found = uploads.load(key, tmp_path / "kept")
        assert found.split.users.ids[0].endswith(text) and found.items.extra[text.lower()] == [text] * 4


TAGS = {"div", "table", "caption", "thead", "tbody", "tr", "th", "td", "span", "small", "button", "h2"}


class Tags(HTMLParser):
    """The tags and attributes of a page, and its text."""

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
    """The key of an upload in which every text is nasty, and one of its users."""
    folder = tmp_path_factory.mktemp("nasty")
    table, titles = folder / "<b>=1.csv", folder / "titles.csv"
    with table.open("w", newline="") as file:
        users, items = ([text + str(n) for text in NASTY for n in range(2)] for _ in range(2))
        rows = [(user, items[(u + n) % 10]) for u, user in enumerate(users) for n in range(6)]
        csv.writer(file).writerows([("user", "item"), *rows])
    with titles.open("w", newline="") as file:
        head = ("item", "title", "genres", "=1+1<i>")
        csv.writer(file).writerows([head, *((item, item, item, item) for item in items)])
    return uploads.keep(table, titles, Reading(), state.uploads_dir()), users


def test_texts_of_data_are_shown_as_text(nasty):
    key, users = nasty
    for user in users:
        query = Query(key, INSTANT, user)
        found, why = handlers.recommend(query), handlers.why(query, users[0])
        catalog = state.open_dataset(key).catalog
        pages = [
            lists.history_table(found.history),
            lists.recommended_table(found.recommendations, None, found.past),
            lists.addable_table(found.history),
            lists.items_table(catalog.rows(range(10)), users[0]),
            lists.moving_table(users[0], found.recommendations, None, users[0]),
            lists.why_panel(why.title, why.unit, why.score, why.by_item, why.by_frequency),
            lists.plain_table(users[0], users, [users]),
            listing.find((key, INSTANT), "hacked"),
        ]
        for page in map(Tags, pages):
            assert page.tags <= {
                *["div", "table", "caption", "thead", "tbody", "tr", "th", "td", "span", "small", "button", "h2"]
            }
            assert not {name for name in page.attributes if name.startswith("on") or name in ("src", "href")}
        assert NASTY[0] + "0" in Tags(pages[3]).text
        assert not re.search(r"(?<!\\)[<*\[]", found.summary.split("has ")[0].removeprefix("**User ").rstrip("* "))


def test_a_browser_runs_nothing_of_it(nasty, visit):
    key, users = nasty
    for user in (users[2], users[8]):
        page = visit("?" + urlencode({"dataset": key, "model": INSTANT, "user": user}))
        page.wait_for_function("user => document.querySelector('#summary').innerText.includes(user)", arg=user)
        assert NASTY[0] + "0" in page.locator("#lists").inner_text()
        assert page.evaluate("typeof window.hacked") == "undefined"
        assert page.locator("#views :is(img[src='x'], a[href*='//x'])").count() == 0


def test_no_cell_of_a_csv_is_a_formula(nasty):
    key, users = nasty
    rows = list(csv.reader(io.StringIO(take_away.list_csv(Query(key, INSTANT, users[0], seen=True)))))
    cells = [cell for row in rows for cell in row]
    assert "'=1+1<i>" in rows[0] and any(cell.startswith("'=HYPERLINK") for cell in cells)
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "@", "\t", "\r")]


def test_the_script_writes_no_text_of_data_as_html():
    script = (ROOT / "assets" / "app.js").read_text(encoding="utf-8")
    written = re.findall(r"(?:innerHTML|outerHTML)\s*=\s*([^;]+);|insertAdjacentHTML|document\.write|\beval\(", script)
    assert written and all(re.fullmatch(r"\s*'[^'$]*'(\s*\+\s*'[^'$]*')*\s*", text) for text in written)


def test_what_is_shown_of_an_error_has_no_path_of_this_machine(outside):
    words = told(
        SDiffError(f"Cannot read {outside}/my file.csv, {ROOT}/runs/x or /home/me/y.csv: see https://x.org/a/b.")
    )
    assert words == "Cannot read outside/my file.csv, x or y.csv: see https://x.org/a/b." or str(outside) not in words
    assert str(ROOT) not in words and "/home" not in words and "https://x.org/a/b" in words


def test_errors_reach_visitors_by_that_one_way():
    for path in sorted((ROOT / "sdiff" / "ui").glob("*.py")):
        shown = re.findall(r"(?:Warning|Info|Error|escape|_message)\(str\(error\)", path.read_text(encoding="utf-8"))
        assert not shown, path.name


@pytest.mark.parametrize(
    ("endpoint", "given", "said"),
    [
        ("recommend", {"k": 0}, "k must be a whole number between 1 and 10,000"),
        ("recommend", {"k": 10**400}, "k must be"),
        ("recommend", {"k": "20"}, "k must be"),
        ("recommend", {"k": None}, "k must be"),
        ("recommend", {"k": True}, "k must be"),
        ("recommend", {"k": float("nan")}, "k must be"),
        ("recommend", {"seed": -1}, "seed must be"),
        ("recommend", {"seed": 2**64}, "seed must be"),
        ("recommend", {"user": None}, "user must be a text"),
        ("recommend", {"user": ["1"]}, "user must be a text"),
        ("recommend", {"user": "x" * 10_000}, "user is longer than 2,000"),
        ("recommend", {"dataset": {"a": 1}}, "dataset must be a text"),
        ("recommend", {"checkpoint": 1.5}, "model must be a text"),
        ("recommend", {"history": "1"}, "history must be a list"),
        ("recommend", {"history": [[1]]}, "each of history must be a text"),
        ("recommend", {"history": ["1"] * 200_000}, "history has more than"),
        ("recommend", {"settings": "[" * 1500}, "settings is no JSON"),
        ("recommend", {"settings": "[]"}, "settings must be a JSON object"),
        ("recommend", {"settings": {"T": 1}}, "settings must be a text"),
        ("recommend", {"settings": '{"T": 1e999}'}, "T must be"),
        ("recommend", {"settings": f'{{"T": {10**400}}}'}, "T must be"),
        ("recommend", {"settings": '{"T": NaN}'}, "T must be"),
        ("recommend", {"settings": '{"T": [1]}'}, "T must be"),
        ("recommend", {"settings": '{"schedule": {}}'}, "schedule must be one of"),
        ("recommend", {"settings": '{"K": 100000}'}, "K is fixed"),
        ("search_items", {"limit": -5}, "limit must be"),
        ("search_items", {"limit": 1e9}, "limit must be"),
        ("search_items", {"question": 5.5}, "question must be a text"),
        ("search_items", {"question": "x" * 10**6}, "question is longer"),
        ("explain", {"item": None}, "item must be a text"),
        ("compare", {"other": []}, "model must be a text"),
        ("compare", {"other": "demo", "other_settings": '{"T": -1}'}, "T must be"),
        ("spectrum", {"seed": 1.5}, "seed must be"),
        ("list_checkpoints", {"dataset": None}, "dataset must be a text"),
    ],
)
def test_an_endpoint_says_what_is_wrong_with_a_value(endpoint, given, said):
    with pytest.raises(gr.Error, match=re.escape(said)) as refusal:
        getattr(api, endpoint)(**given)
    assert len(refusal.value.message) < 500 and "Traceback" not in refusal.value.message


def test_whole_numbers_may_be_written_as_javascript_does():
    assert api.recommend(user=1, k=3.0, history=[1, "2"]) == api.recommend(user="1", k=3, history=["1", "2"])
