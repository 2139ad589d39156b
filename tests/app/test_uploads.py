"""Uploaded tables: stored, previewed, read with the form's options, and no access to other files."""

import gzip
import json
from pathlib import Path

import duckdb
import numpy as np
import pytest

from sdiff.app import handlers, lists, openings, spectral, uploads
from sdiff.app.opening import download
from sdiff.app.query import Query
from sdiff.app.state import INSTANT, open_dataset
from sdiff.app.tabs.data import NONE, describe, preview_upload, read_upload
from sdiff.base.errors import SDiffError
from sdiff.base.paths import uploads_dir
from sdiff.data import datasets
from sdiff.data.datasets import load_dataset
from sdiff.data.readers import Reading
from sdiff.data.registry import REGISTRY
from tests.conftest import last, run

pytestmark = pytest.mark.usefixtures("in_this_process")
FORM = {"min_rating": "", "core": 1, "split": "", "skip": False}


@pytest.fixture
def log(tmp_path) -> Path:
    """24 users, 12 items, 8 rated and timestamped interactions per user; the last row is invalid."""
    rng = np.random.default_rng(0)
    rows = [(u, i, rng.integers(1, 6)) for u in range(24) for i in rng.permutation(12)[:8]]
    text = "".join(f"v{u},thing {i},{stars},{1.6e9 + n:.0f}\n" for n, (u, i, stars) in enumerate(rows))
    path = tmp_path / "my visits: 2024.csv"
    path.write_text(f"visitor,item,stars,time\n{text}v1,thing 1,many,1600000000\n")
    return path


def read(table: Path | None, roles=("visitor", "item", NONE, "time"), names="", items=None, encoding="", **form):
    """The key and the final message of an upload."""
    files = str(table) if table else None, items and str(items)
    return last(read_upload(*files, names, encoding, *roles, *(FORM | form).values()))[:2]


def test_a_preview_guesses_the_columns_and_offers_all_of_them(log):
    table, *roles, said = preview_upload(str(log), "", "")
    assert "my visits: 2024.csv" in table and "thing" in table and said == ""
    assert [role.value for role in roles] == ["visitor", "item", "stars", "time"]
    assert [choice for choice, _ in roles[0].choices] == [NONE, "visitor", "item", "stars", "time"]
    assert preview_upload(None, "", "")[0] == ""


def test_a_file_that_is_not_a_table_is_refused_by_its_original_name(tmp_path):
    path = tmp_path / "film.xlsx"
    path.write_bytes(b"PK\x03\x04")
    assert preview_upload(str(path), "", "")[-1].startswith("<p>film.xlsx is a spreadsheet or an archive")
    assert read(path) == ("", preview_upload(str(path), "", "")[-1])


def test_a_table_is_read_with_the_form_options_and_opens_like_any_data_set(log):
    key, said = read(log)
    found = open_dataset(key).dataset
    assert "interactions 192, users 24, items 12" in said
    assert len(found.split.users) == 24 and found.title == "my visits_ 2024"
    model = handlers.models(key)
    assert model == [INSTANT]
    assert len(handlers.recommend(Query(key, INSTANT, "v3", k=3)).recommendations) == 3
    facts, figure, *_ = describe(key)
    assert "<dd>24</dd>" in facts and "1 repeated" in facts and "2020-09-13" in facts
    assert sum(figure.data[0].y) == 24 and sum(figure.data[1].y) == 12


def test_invalid_rows_are_listed_and_skipped_on_request(log):
    roles = ("visitor", "item", "stars", "time")
    key, said = read(log, roles, min_rating="3")
    assert key == "" and "1 row is invalid" in said and "194" in said and "&#x27;many&#x27;" in said
    key, said = read(log, roles, skip=True, min_rating="3")
    report = open_dataset(key).dataset.report
    assert (
        [fault.row for fault in report.faults] == [194] and report.below_rating > 0 and "1 faulty" in describe(key)[0]
    )


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"table": None}, "Choose a file first"),
        ({"roles": (NONE, "item", NONE, NONE)}, "Choose the columns of users and items"),
        ({"min_rating": "much"}, "min_rating must be a number, not &#x27;much&#x27;"),
        ({"min_rating": "nan"}, "min_rating must be a number, not &#x27;nan&#x27;"),
        ({"core": 0}, "core must be a whole number between 1 and"),
        ({"names": "user,,item"}, "names must be different column names, none of them empty"),
        ({"core": 100}, "no interactions left after the rating and 100-core filters"),
        ({"roles": ("visitor", "item", NONE, NONE), "split": "chronological"}, "needs a timestamp column"),
        ({"min_rating": "3"}, "no column rating for min_rating"),
    ],
)
def test_an_invalid_form_is_refused_with_advice(log, form, said):
    key, message = read(**{"table": log} | form)
    assert key == "" and said in message and str(log.parent) not in message and str(uploads_dir()) not in message


def test_another_encoding_can_be_chosen(tmp_path):
    table = tmp_path / "old.csv"
    table.write_bytes(b"user,item\n" + "".join(f"é{u},ü{i}\n" for u in range(9) for i in range(5)).encode("latin-1"))
    roles = ("user", "item", NONE, NONE)
    assert "45 rows are invalid" in read(table, roles)[1]
    assert "ü0" in preview_upload(str(table), "", "latin-1")[0]
    key, _ = read(table, roles, encoding="latin-1")
    assert "é3" in open_dataset(key).dataset.split.users


def test_a_table_may_come_with_titles_and_column_names(tmp_path):
    table, titles = tmp_path / "pairs.tsv.gz", tmp_path / "titles.csv"
    table.write_bytes(
        gzip.compress(b"".join(b"%d\t%d\n" % (u, i) for u in range(20) for i in range(10) if (u + i) % 3))
    )
    titles.write_text("id,title\n1,Heat\n", encoding="utf-8")
    key, _ = read(table, ("user", "item", NONE, NONE), names="user, item", items=titles)
    assert key == "", "a table of items needs a column item"
    titles.write_text("item,title\n1,<b>Heat\n", encoding="utf-8")
    key, _ = read(table, ("user", "item", NONE, NONE), names="user, item", items=titles)
    assert open_dataset(key).dataset.items.title[1] == "<b>Heat" and key.endswith("/pairs?names=user%2Citem")


def test_the_key_of_an_upload_depends_on_its_content(log):
    root = uploads_dir()
    form = {"user": "visitor", "rating": "-"}
    first, again = (uploads.keep(log, None, Reading(**form), root).key for _ in range(2))
    assert first == again == uploads.key_of(log, None, Reading(**form))
    log.write_text(log.read_text() + "v1,thing 2,3,1600000001\n")
    assert uploads.keep(log, None, Reading(**form), root).key != first


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
    assert uploads.choices([key], uploads_dir()) == []


def test_an_option_cannot_name_a_file_and_a_deleted_upload_is_reported(log):
    key, _ = read(log)
    with pytest.raises(SDiffError, match="together with the interactions"):
        run(openings.wait_until_open(key + "&items=/etc/passwd"))
    assert uploads.choices([key, "own:0123456789abcdef/gone"], uploads_dir()) == [("my visits_ 2024 (yours)", key)]
    with pytest.raises(SDiffError, match="gone no longer exists: upload it again"):
        run(openings.wait_until_open("own:0123456789abcdef/gone"))


def test_an_uploaded_table_is_opened_and_remembered(log, opening):
    key, _ = read(log)
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
def test_tiny_tables_open_and_a_user_who_has_seen_everything_gets_an_empty_list(opening, tmp_path, pairs, left):
    table = tmp_path / "small.csv"
    table.write_text("user,item\n" + "".join(f"{u},{i}\n" for u, i in pairs))
    key, _ = read(table, ("user", "item", NONE, NONE))
    parts = last(opening.open_own(key, ["demo", INSTANT], []))
    assert parts[opening.page.dataset].value == key
    shown = handlers.recommend(Query(key, INSTANT, user := parts[opening.page.user], k=5))
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
    monkeypatch.setattr(uploads, "_read", lambda *_: pytest.fail("it is read"))
    assert rows.stat().st_size < 1 << 20 and "30,000,000 rows" in read(rows, ("user", "item", NONE, NONE))[1]
    monkeypatch.setattr(uploads, "UNPACKED", 2 << 20)
    assert "more than 2 MB uncompressed" in read(packed, ("user", "item", NONE, NONE), names="user,item")[1]
    assert "more than 2 MB uncompressed" in read(cells, ("user", "item", NONE, NONE))[1]
    monkeypatch.setattr(uploads, "ROWS", 1000)
    assert "3,001 rows" in read(plain, ("user", "item", NONE, NONE))[1]
    assert not list(uploads_dir().rglob("*rows*"))
    for name in ("packed.csv.ZST", "packed.csv"):
        (tmp_path / name).write_bytes(b"\x28\xb5\x2f\xfd" + b"0" * 100)
        with pytest.raises(SDiffError, match="zstd"):
            uploads.keep(tmp_path / name, None, Reading(), uploads_dir())


def test_a_preview_truncates_long_cells_and_tables_have_at_most_1000_columns(tmp_path):
    table = tmp_path / "wide.jsonl"
    table.write_text(json.dumps({"user": "u" * 5000, "item": "i"}) + "\n")
    assert "u" * 200 in preview_upload(str(table), "", "")[0] and "u" * 201 not in preview_upload(str(table), "", "")[0]
    table.write_text(json.dumps({f"c{n}": n for n in range(1001)}) + "\n")
    assert "1,001 columns" in preview_upload(str(table), "", "")[-1]
