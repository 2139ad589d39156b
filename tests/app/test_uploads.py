"""Uploaded tables: understood, checked, opened and stored, with no access to other files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import duckdb
import numpy as np
import pytest

from sdiff.app.handlers import openings, pickers, ranking, spectral
from sdiff.app.query import Query
from sdiff.app.selection import download
from sdiff.app.state import INSTANT, open_dataset
from sdiff.app.tabs.data import describe
from sdiff.app.uploads import store
from sdiff.app.uploads.mapping import NONE
from sdiff.app.views import lists
from sdiff.base.errors import SDiffError
from sdiff.base.paths import ASSETS, uploads_dir
from sdiff.data import datasets
from sdiff.data.datasets import load_dataset
from sdiff.data.reading import Reading
from sdiff.data.registry import REGISTRY
from sdiff.data.roles import PAIR
from tests.conftest import last, run
from tests.form import Form

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture
def form() -> Form:
    return Form()


@pytest.fixture
def log(tmp_path) -> Path:
    """24 users, 12 items, 8 rated and timestamped interactions per user; the last row is invalid."""
    rng = np.random.default_rng(0)
    rows = [(u, i, rng.integers(1, 6)) for u in range(24) for i in rng.permutation(12)[:8]]
    text = "".join(f"v{u},thing {i},{stars},{1.6e9 + n:.0f}\n" for n, (u, i, stars) in enumerate(rows))
    path = tmp_path / "my visits: 2024.csv"
    path.write_text(f"visitor,item,stars,time\n{text}v1,thing 1,many,1600000000\n")
    return path


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


def test_a_new_file_is_understood_and_all_its_columns_can_be_chosen(log, form):
    form.drop(log)
    assert "my visits: 2024.csv" in form.start and "separated by commas, the first row is the header" in form.start
    assert "1600000000 is 13 September 2020, 12:26" in form.start
    assert [form[role] for role in PAIR] == ["visitor", "item", "stars", "time"]
    columns = [(name, name) for name in ("visitor", "item", "stars", "time")]
    assert form.choices("user") == [("(choose)", ""), *columns]
    assert form.choices("rating") == [("(none)", "-"), *columns]
    assert not form.own._look_at_table({**form.values, form.own.table: None})[form.own.form].visible


def test_a_file_that_is_not_a_table_is_refused_by_its_original_name(tmp_path, form):
    path = tmp_path / "film.xlsx"
    path.write_bytes(b"PK\x03\x04")
    form.drop(path)
    for text in (form.start, form.check(), form.open()[1]):
        assert 'class="ask">film.xlsx is a spreadsheet or an archive' in text


def test_a_table_is_read_with_the_form_options_and_opens_like_any_data_set(log, form):
    key, said = form.drop(log).set(rating=NONE).open()
    found = open_dataset(key).dataset
    assert "192 interactions, 24 users, 12 items" in said
    assert len(found.split.users) == 24 and found.title == "my visits_ 2024"
    model = pickers.models(key)
    assert model == [INSTANT]
    assert len(ranking.recommend(Query(key, INSTANT, "v3", k=3)).recommendations) == 3
    facts, figure, *_ = describe(key)
    assert "<dd>24</dd>" in facts and "1 repeated" in facts and "2020-09-13" in facts
    assert "user: visitor, item: item, timestamp: time (seconds)" in facts
    assert sum(figure.data[0].y) == 24 and sum(figure.data[1].y) == 12


def test_invalid_rows_are_listed_before_and_after_opening_and_skipped_on_request(log, form):
    form.drop(log).set(min_rating="3")
    for text in (form.check(), form.open()[1]):
        assert "my visits: 2024.csv: 1 invalid row<" in text and "194" in text and "&#x27;many&#x27;" in text
        assert "tick “Skip invalid rows”" in text
    form.set(skip_faulty=True)
    assert "1 invalid, " in form.check() and "below the minimum rating" in form.check()
    key, _ = form.open()
    report = open_dataset(key).dataset.report
    assert [fault.row for fault in report.faults.first] == [194] and report.below_rating > 0
    facts = describe(key)[0]
    assert "1 invalid, " in facts and "&#x27;many&#x27;" in facts


def test_what_is_lost_is_counted_by_reason_before_opening(tmp_path, form):
    rows = "".join(f"{u},{(u + i) % 5}\n" for u in range(5) for i in range(3))
    path = written(tmp_path / "x.csv", f"user,item\n{rows}0,0\nuser,item\nNULL,3\n7,\n8,1,2\n9,4\n")
    text = form.drop(path).set(core=2).check()
    assert "<strong>15 interactions, 5 users, 5 items</strong> of 21 rows" in text
    assert "Left out: 4 invalid, 1 repeated, 1 outside the k-core. Items have no titles" in text
    for row, reason in ((18, "the header is repeated"), (19, "missing value"), (20, "item is empty"), (21, "3 values")):
        assert f">{row}</td>" in text and reason in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"user": ""}, "Choose the columns of users and items"),
        ({"min_rating": "much"}, "min_rating must be a number, not &#x27;much&#x27;"),
        ({"min_rating": "nan"}, "min_rating must be a number, not &#x27;nan&#x27;"),
        ({"core": 0}, "core must be a whole number between 1 and"),
        ({"names": "user,,item"}, "names must be different column names, none of them empty"),
        ({"core": 100}, "no interactions left after the rating and 100-core filters"),
        ({"timestamp": NONE, "split": "chronological"}, "needs a timestamp column"),
        ({"rating": NONE, "min_rating": "3"}, "no column rating for min_rating"),
        ({"timestamp_format": "%Q"}, "timestamp_format must be like"),
    ],
)
def test_an_invalid_form_is_refused_with_advice(log, form, options, said):
    form.drop(log).set(**options)
    form.values |= {form.own.fields[name]: value for name, value in options.items()}
    for text in (form.check(), form.open()[1]):
        assert said in text and str(log.parent) not in text and str(uploads_dir()) not in text
    assert form.open()[0] == ""


def test_without_a_file_nothing_is_read(form):
    assert form.check() == "" and form.open() == ("", "<p>Choose a file first.</p>")


def test_a_likely_encoding_is_proposed_and_can_be_corrected(tmp_path, form):
    rows = "".join(f"Amélie {u},L’été {i}\n" for u in range(9) for i in range(5))
    form.drop(written(tmp_path / "old.csv", "user,item\n" + rows, "cp1252"))
    assert (
        (likely := form["encoding"]) in ("cp1250", "cp1252")  # which have these letters in the same places
        and f"not in UTF-8. It is read as {likely}" in form.start
        and "L’été 0" in form.start
    )
    assert form.updates[form.own.layout].open, "the field is shown"
    assert "Amélie 3" in open_dataset(form.open()[0]).dataset.split.users
    form.set(encoding="")
    assert f"It is likely in {likely}" in form.start and "it is not in UTF-8" in form.check()
    assert "L’йtй 0" in form.set(encoding="cp1251").start


def test_an_encoding_and_names_are_not_proposed_without_need(tmp_path, form):
    cut = "user,item\n" + "1,aa\n" * 13105 + "é,b\n"  # the é is cut at the end of the start that is examined
    form.drop(written(tmp_path / "x.csv", cut))
    assert form["encoding"] == "" and "not in" not in form.start
    form.drop(written(tmp_path / "y.csv", "kunde,artikel,0\n1,7,3\n2,8,1\n"))
    assert form["names"] == "" and ("kunde", "kunde") in form.choices("user")


def test_names_that_are_proposed_do_not_take_a_time_for_the_item(tmp_path, form):
    rows = "".join(f"user_{n % 3}\t2009-05-0{n + 1}T23:08:57Z\tartist {n}\tDeep Dish\n" for n in range(9))
    form.drop(written(tmp_path / "x.tsv", rows))
    assert form["names"] == "user,timestamp,item,column4" and "3 users, 9 items" in form.check()


def test_a_file_without_a_header_gets_names_and_loses_no_row(tmp_path, form):
    rows = "".join(f"{u},{(u + i) % 5},{1577840400 + i}\n" for u in range(6) for i in range(3))
    form.drop(written(tmp_path / "x.csv", rows))
    assert form["names"] == "user,item,timestamp" and "seems to be data, not a header" in form.start
    assert "1577840400 is 1 January 2020, 01:00" in form.start and "18 interactions" in form.check()
    form.set(names="item,user,timestamp")
    assert [form[role] for role in ("user", "item")] == ["user", "item"] and "5 users, 6 items" in form.check()
    assert "of 17 rows" in form.set(names="", user="0", item="0 (2)").check(), "the first row is the header"


def test_days_and_months_that_can_be_exchanged_are_asked_for_with_examples(tmp_path, form):
    rows = "".join(f"{u},{i},0{i + 1}/0{u + 1}/2020\n" for u in range(4) for i in range(4))
    form.drop(written(tmp_path / "x.csv", "user,item,date\n" + rows))
    assert form["timestamp_format"] == "" and "choose one" in form.start
    assert form.choices("timestamp_format")[:3] == [
        ("(choose)", ""),
        ("02/01/2020 is 2 January 2020", "%d/%m/%Y"),
        ("02/01/2020 is 1 February 2020", "%m/%d/%Y"),
    ]
    for text in (form.check(), form.open()[1]):
        assert "can be read in several ways" in text
    form.set(timestamp_format="%m/%d/%Y")
    assert "choose one" not in form.start and "1 February 2020" in form.start
    assert len(form.choices("timestamp_format")) > 2, "the other one can still be chosen"
    assert open_dataset(form.open()[0]).dataset.report.times == "%m/%d/%Y"


def test_another_delimiter_is_tried_and_taken_back(tmp_path, form):
    rows = "".join(f"{u};{i};{u % 5};1577840400\n" for u in range(4) for i in range(4))
    form.drop(written(tmp_path / "x.csv", "user;item;rating;timestamp\n" + rows)).set(delimiter=",")
    assert form["user"] == "" and "Choose the columns" in form.check()
    assert [form.set(delimiter="")[role] for role in PAIR] == [*PAIR] and "16 interactions" in form.check()


def test_an_edit_does_not_touch_the_other_fields(log, form):
    """Another edit may be under way."""
    form.drop(log)
    fields = {*form.own.fields.values()}
    assert not fields & form.own._look(form.values).keys()
    assert fields & form.own._look_at_times(form.values).keys() == {form.own.fields["timestamp_format"]}


@pytest.fixture
def pairs(tmp_path) -> Path:
    """A log of 9 users and 6 items with ids of books."""
    rows = "".join(f"{u},00{i}\n" for u in range(9) for i in range(6) if (u + i) % 3)
    return written(tmp_path / "pairs.csv", "user,ISBN\n" + rows)


def test_a_file_of_titles_has_columns_and_options_of_its_own(tmp_path, pairs, form):
    rows = "".join(f"00{i};Café {i};Novel, Crime;19{i}0\n" for i in range(6))
    books = written(tmp_path / "books.csv", "number;Label;Kind;Printed\n" + rows, "cp1252")
    form.drop(pairs, books)
    assert form["items_encoding"] in ("latin-1", "cp1252") and "Café 3" in form.titles and "semicolons" in form.titles
    assert form.choices("items_id") == [("(choose)", ""), *((c, c) for c in ("number", "label", "kind", "printed"))]
    assert "Choose the column of item ids in books.csv" in form.check()
    form.set(items_id="number", items_title="label", items_genres="kind", items_year="printed")
    assert "6 of 6 items have a title" in form.check()
    key, _ = form.open()
    items = open_dataset(key).dataset.items
    assert items.title[1] == "Café 1" and items.genres[1] == "Novel|Crime" and items.year[1] == 1910
    assert "6 of 6 items have a title" in describe(key)[0]


def test_titles_without_a_header_get_names(tmp_path, pairs, form):
    form.drop(pairs, written(tmp_path / "books.txt", "".join(f"00{i}\tBook {i}\n" for i in range(6))))
    assert form["items_names"] == "item,title" and "6 of 6 items have a title" in form.check()


def test_ids_that_match_no_title_are_reported_with_the_cause_before_opening(tmp_path, pairs, form):
    form.drop(pairs, written(tmp_path / "books.csv", "ISBN,title\n" + "".join(f"{i},Book {i}\n" for i in range(6))))
    for text in (form.check(), form.open()[1]):
        assert "0 of 6 items have a title in books.csv: the ids differ by leading zeros" in text
    assert "36 interactions" in form.check(), "the interactions are read all the same"


def test_errors_name_the_file_that_they_are_about(tmp_path, pairs, form):
    form.drop(pairs, written(tmp_path / "books.csv", "ISBN,title\n001,One\n,Two\n002,Three,4\n"))
    for text in (form.check(), form.open()[1]):
        assert "books.csv: 2 invalid rows" in text and "pairs.csv" not in text
    (tmp_path / "books.xlsx").write_bytes(b"PK\x03\x04")
    form.drop(items=tmp_path / "books.xlsx")
    assert "books.xlsx is a spreadsheet" in form.titles and "user · User" in form.start
    assert "books.xlsx is a spreadsheet" in form.open()[1]


def test_columns_of_the_log_describe_the_items_and_those_that_do_not_are_named(tmp_path, form):
    text = "".join(f"{u},{i},Book {i},Review {u}\n" for u in range(4) for i in range(4))
    form.drop(written(tmp_path / "x.csv", "user,item,title,category\n" + text))
    assert (form["items_title"], form["items_genres"]) == ("title", "category") and "title · Title" in form.start
    said = form.check()
    assert "4 of 4 items have a title" in said
    assert "category is not used for genres: it differs between the rows of an item" in said
    assert open_dataset(form.open()[0]).dataset.items.title[2] == "Book 2"
    assert "Items have no titles" in form.set(items_title=NONE).check()


def test_what_is_detected_is_not_in_the_key(tmp_path, form):
    table = tmp_path / "pairs.tsv.gz"
    rows = (b"%d\t%d\n" % (u, i) for u in range(20) for i in range(10) if (u + i) % 3)
    table.write_bytes(gzip.compress(b"".join(rows)))
    titles = written(tmp_path / "titles.csv", "item,title\n1,<b>Heat\n")
    key, _ = form.drop(table, titles).open()
    assert open_dataset(key).dataset.items.title[1] == "<b>Heat" and key.endswith("/pairs?names=user%2Citem")
    assert "&lt;b&gt;Heat" in form.titles


def test_the_sample_to_download_is_understood_as_a_whole(form):
    form.drop(ASSETS / "sample.csv")
    assert [form[name] for name in PAIR] == ["customer_id", "sku", "stars", "bought_at"]
    assert (form["items_title"], form["items_genres"]) == ("product_name", "category")
    key, _ = form.open()
    assert "?" not in key and {*open_dataset(key).dataset.items.genres} == {"Desk", "Garden", "Kitchen"}


def test_the_key_of_an_upload_depends_on_its_content(log):
    root = uploads_dir()
    form = {"user": "visitor", "rating": "-"}
    first, again = (store.keep(log, None, Reading(**form), root).key for _ in range(2))
    assert first == again == store.key_of(log, None, Reading(**form))
    log.write_text(log.read_text() + "v1,thing 2,3,1600000001\n")
    assert store.keep(log, None, Reading(**form), root).key != first


@pytest.mark.parametrize(
    "key",
    [
        "/etc/passwd",
        "own:0123456789abcdef/../../../etc",
        "own:0123456789abcdef/..",
        "own:0123456789abcdef/a/b",
        "own:../x/y",
        "hf:owner/name",
        "assets/demo/interactions.csv",
    ],
)
def test_no_key_leaves_the_folder(key):
    with pytest.raises(SDiffError, match="Unknown data set"):
        run(openings.wait_until_open(key))
    assert store.choices([key], uploads_dir()) == []


def test_an_option_cannot_name_a_file_and_a_deleted_upload_is_reported(log, form):
    key, _ = form.drop(log).open()
    with pytest.raises(SDiffError, match="together with the interactions"):
        run(openings.wait_until_open(key + "?items=/etc/passwd"))
    assert store.choices([key, "own:0123456789abcdef/gone"], uploads_dir()) == [("my visits_ 2024 (yours)", key)]
    with pytest.raises(SDiffError, match="gone no longer exists: upload it again"):
        run(openings.wait_until_open("own:0123456789abcdef/gone"))


def test_an_uploaded_table_is_opened_and_remembered(log, form, opening):
    key, _ = form.drop(log).open()
    parts = last(opening.open_own(key, ["demo", INSTANT], ["own:0123456789abcdef/gone"]))
    uploaded, picker, user = (parts[part] for part in (opening.uploaded, opening.page.dataset, opening.page.user))
    assert (
        uploaded == ["own:0123456789abcdef/gone", key]
        and picker.value == key
        and user in open_dataset(key).dataset.split.users
    )
    assert picker.choices[0] == ("my visits_ 2024 (yours)", key) and picker.choices[1][1] == "ml-latest-small"


def test_a_missing_data_set_is_offered_and_opened_after_its_download(opening, tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_DATA_DIR", str(tmp_path))
    assert [key for _, key in pickers.choices([])] == ["ml-latest-small", "demo"], "those that are here"
    assert {"lastfm", "steam"} < {key for _, key in pickers.missing_choices()}
    opened, page = ["demo", INSTANT], opening.page
    shown = page.dataset, opening.wanted, page.status, page.words
    picker, wanted, row, offer = map(last(opening.open_dataset("lastfm", opened, [])).get, shown)
    assert (picker.value, wanted, row.visible) == ("demo", "lastfm", True) and "non-commercial use" in offer
    with pytest.warns(UserWarning, match="steam is not available locally"):
        picker, wanted, row, _ = map(last(opening.open_dataset("steam", opened, [])).get, shown)
    assert (picker.value, wanted, row.visible) == ("demo", "", False), "it cannot be downloaded automatically"

    def fetch(archive, folder, progress):
        folder.mkdir(parents=True)
        progress(5, None), progress(10, 10)
        split = load_dataset("demo").split
        pairs = (
            (u, i)
            for part in (split.train, split.valid, split.test)
            for u, i in zip(part.rows, part.indices, strict=True)
        )
        rows = "".join(f"{u}\t{i}\t1\n" for u, i in pairs)
        (folder / "user_artists.dat").write_text(f"userID\tartistID\tweight\n{rows}")
        (folder / "artists.dat").write_text("id\tname\n1\tThe Band\n")

    monkeypatch.setattr(datasets, "fetch", fetch)
    seen: list[float] = []
    download("lastfm", lambda share, desc: seen.append(share))
    parts = last(opening.open_dataset("lastfm", opened, []))
    picker, wanted, row, offer = map(parts.get, shown)
    assert (picker.value, wanted, row.visible, offer) == ("lastfm", "", False, "")
    assert parts[page.opened] == ["lastfm", INSTANT]
    assert parts[page.user] in open_dataset("lastfm").dataset.split.users and seen == [0, 1]
    assert ("Last.fm, HetRec 2011: artists", "lastfm") in picker.choices
    assert "lastfm" not in [key for _, key in pickers.missing_choices()]
    assert REGISTRY["lastfm"].missing == []


@pytest.mark.parametrize(
    ("pairs", "left"),
    [
        ([(u, 0) for u in range(9)], 0),  # one item that every user has seen
        ([(0, i) for i in range(9)], 3),  # one user
        ([(0, 0)], 0),
        ([(u, i) for u in range(9) for i in range(2)], 1),
    ],
)
def test_tiny_tables_open_and_a_user_who_has_seen_everything_gets_an_empty_list(opening, form, tmp_path, pairs, left):
    table = tmp_path / "small.csv"
    table.write_text("user,item\n" + "".join(f"{u},{i}\n" for u, i in pairs))
    key, _ = form.drop(table).open()
    parts = last(opening.open_own(key, ["demo", INSTANT], []))
    assert parts[opening.page.dataset].value == key
    shown = ranking.recommend(Query(key, INSTANT, user := parts[opening.page.user], k=5))
    assert len(shown.recommendations) == left and f"{left} " in shown.summary.partition(".")[2]
    assert ("No item is left" in lists.recommended_table(shown.recommendations)) == (left == 0)
    view = spectral.spectral_view(Query(key, INSTANT, user))
    assert "without noise" in view.words["snr"] and "nan" not in view.words["snr"] and describe(key)[0]


def test_a_compression_bomb_is_refused_before_it_is_read(tmp_path, monkeypatch):
    rows, plain, packed = tmp_path / "rows.parquet", tmp_path / "plain.csv", tmp_path / "packed.csv.gz"
    cells = tmp_path / "cells.parquet"
    duckdb.sql(f"COPY (SELECT i AS user, repeat('i', 1_000_000) || i AS item FROM range(3) t(i)) TO '{cells}'")
    duckdb.sql(f"COPY (SELECT 'u' AS user, 'i' AS item FROM range(30_000_000)) TO '{rows}' (CODEC 'zstd')")
    plain.write_text("user,item\n" + "1,1\n" * 3000)
    packed.write_bytes(gzip.compress(b"user,item\n" + b"1" * (3 << 20)))
    for name in ("load_dataset", "read_interactions"):
        monkeypatch.setattr(store, name, lambda *_: pytest.fail("it is read"))

    def refused(table: Path, said: str) -> bool:
        return said in Form().drop(table).check()

    assert rows.stat().st_size < 1 << 20 and refused(rows, "30,000,000 rows")
    monkeypatch.setattr(store, "UNPACKED", 2 << 20)
    assert refused(packed, "more than 2 MB uncompressed") and refused(cells, "more than 2 MB uncompressed")
    monkeypatch.setattr(store, "ROWS", 1000)
    assert refused(plain, "3,001 rows") and "3,001 rows" in Form().drop(plain).open()[1]
    assert not list(uploads_dir().rglob("*rows*"))
    for name in ("packed.csv.ZST", "packed.csv"):
        (tmp_path / name).write_bytes(b"\x28\xb5\x2f\xfd" + b"0" * 100)
        with pytest.raises(SDiffError, match="zstd"):
            store.keep(tmp_path / name, None, Reading(), uploads_dir())


def test_a_preview_truncates_long_cells_and_tables_have_at_most_1000_columns(tmp_path, form):
    table = tmp_path / "wide.jsonl"
    table.write_text(json.dumps({"user": "u" * 5000, "item": "i"}) + "\n")
    start = form.drop(table).start
    assert "u" * 200 in start and "u" * 201 not in start
    table.write_text(json.dumps({f"c{n}": n for n in range(1001)}) + "\n")
    assert "1,001 columns" in form.drop(table).start
