"""Roles, types and values of columns: recognised, or asked for, and never taken for something else without a word."""

import json

import duckdb
import pytest

from sdiff.base.errors import SDiffError
from sdiff.data import items as metadata
from sdiff.data.datasets import frame_dataset, load_dataset
from sdiff.data.frames import read_frame
from sdiff.data.interactions import Vocabulary
from sdiff.data.items import read_items
from sdiff.data.preview import preview
from sdiff.data.readers import read_interactions
from sdiff.data.reading import Reading
from sdiff.data.report import FaultyRows
from tests.data.test_files import read, times, write
from tests.data.test_readers import pairs

# Roles


@pytest.mark.parametrize(
    ("header", "roles"),
    [
        ("customer,session_id,product,timestamp", ("customer", "product", "timestamp")),
        ("username,device_id,track", ("username", "track", None)),
        ("email,session_id,sku", ("email", "sku", None)),
        ("customer_id,store_id,product,quantity", ("customer_id", "product", None)),
        ("session_id,page,time", ("session_id", "page", "time")),
        ("household_key,store_id,day", ("household_key", "store_id", "day")),
        ("user,item,date,time", ("user", "item", "date")),
        ("user,item,time,day", ("user", "item", "time")),
        ("user_id,video_id,date,hourmin,time_ms", ("user_id", "video_id", "time_ms")),
        ("user,item,event_date,event_time", ("user", "item", "event_date")),
        ("user,item,time,date,timestamp", ("user", "item", "timestamp")),
    ],
)
def test_the_role_goes_to_the_column_that_says_most(tmp_path, header, roles):
    path = write(tmp_path / "x.csv", header + "\n" + ",".join("1" for _ in header.split(",")) + "\n")
    found = preview(path).roles
    assert tuple(found.get(role) for role in ("user", "item", "timestamp")) == roles


def test_a_date_orders_the_rows_although_there_is_a_time_of_day(tmp_path):
    found, report = read(tmp_path, "user,item,date,time\n1,late,20200201,0900\n1,early,20200131,1015\n")
    assert pairs(found) == {"1": ["early", "late"]} and report.times == "%Y%m%d"


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ("user_000001\t2009-05-04T23:08:57Z\tf1b1\tDeep Dish", "user,timestamp,item,column4"),  # Last.fm 1K
        ("0\t2010-10-19T23:55:27Z\t30.23\t-97.79\t22847", "user,timestamp,column3,column4,item"),  # Gowalla
        ("1577840400,u1,i7", "timestamp,user,item"),
        ("u1,4.5,i7,1577840400", "user,rating,item,timestamp"),
        ("76561198000000001,570,12.5", "user,item,rating"),  # not a time, although it has as many digits as one
        ("A1,1384719342,5.0,1341100800", "user,item,rating,timestamp"),
        ("u1,2020-01-31,2020-02-01,i7", "user,timestamp,column3,item"),
        ("1.0,7.0,5.0", "user,item,rating"),
        ("u1,2020-01-31", "user,item"),
    ],
)
def test_names_are_proposed_from_how_the_values_look(tmp_path, row, names):
    path = write(tmp_path / "x.txt", f"{row}\n{row}\n")
    assert preview(path).names == tuple(names.split(","))


def test_a_column_that_counts_the_rows_and_a_time_are_neither_user_nor_item(tmp_path):
    rows = "".join(f"{n}\tU{n}\t11/{n}/2019 9:05:58 AM\tN{n}\n" for n in range(1, 5))
    assert preview(write(tmp_path / "x.tsv", rows)).names == ("row", "user", "timestamp", "item")


# Times


@pytest.mark.parametrize("mark", "/.-")
def test_the_year_may_come_first_with_two_digits(tmp_path, mark):
    dates = [date.replace("/", mark) for date in ("19/05/12", "20/01/31", "21/12/05")]
    read_as = ["2019-05-12T00:00:00+00:00", "2020-01-31T00:00:00+00:00", "2021-12-05T00:00:00+00:00"]
    assert times(tmp_path, dates)[0] == read_as


@pytest.mark.parametrize("mark", "/.-")
def test_two_digits_that_may_be_the_year_or_the_day_are_asked_for(tmp_path, mark):
    dates = [date.replace("/", mark) for date in ("12/05/19", "13/06/18", "14/07/17")]
    with pytest.raises(SDiffError, match="can be read in several ways"):
        times(tmp_path, dates)
    form = mark.join(("%d", "%m", "%y"))
    assert times(tmp_path, dates, timestamp_format=form)[0][0] == "2019-05-12T00:00:00+00:00"


def test_a_way_to_read_dates_is_dropped_if_they_are_to_come_unless_all_are(tmp_path):
    assert times(tmp_path, ["31/01/20", "30/12/19"])[1].times == "%d/%m/%y", "not of 2031 and 2030"
    with pytest.raises(SDiffError, match="can be read in several ways"):
        times(tmp_path, ["05/06/2090", "06/05/2090"])


@pytest.mark.parametrize(
    ("months", "form"),
    [(["12.2019", "01.2020"], "%m.%Y"), (["2019.12", "2020.01"], "%Y.%m"), (["9.2019", "10.2019"], "%m.%Y")],
)
def test_months_with_a_dot_are_no_numbers(tmp_path, months, form):
    found, report = times(tmp_path, months)
    assert found == sorted(found) and found[0][:4] == "2019" and report.times == form


def test_numbers_with_a_fraction_are_not_years(tmp_path):
    found, report = read(tmp_path, "user,item,ts\n1,b,2020.5\n1,a,2020.25\n")
    assert pairs(found) == {"1": ["a", "b"]} and report.times == "seconds"


# Ids


@pytest.mark.parametrize(
    "word", ["none", "NAN", "Null", "(null)", "[NULL]", "undefined", "#NA", "1.#IND", "\u00a0", "\t", "\u2003\u00a0"]
)
def test_missing_values_are_not_ids_however_they_are_spelled(tmp_path, word):
    for row, role in ((f'"{word}",a', "user"), (f'1,"{word}"', "item")):
        with pytest.raises(FaultyRows, match=rf"1 of 3 rows are invalid: row 3: {role} is"):
            read(tmp_path, f"user,item\n1,a\n{row}\n2,a\n")


def test_ids_that_a_column_of_floats_has_rounded_are_invalid(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"user": [76561198000000001, 76561198000000003, None, 7], "item": [1, 2, 3, 4]})
    with pytest.raises(FaultyRows, match=r"3 of 4 rows .* row 1: user is 7\.65.*too large for a column of floats"):
        read_interactions(frame)
    path = tmp_path / "x.parquet"
    duckdb.sql(f"COPY (SELECT 1 AS user, unnest([3e7, 2e7, 16777216])::FLOAT AS item) TO '{path}' (FORMAT parquet)")
    found, report = read_interactions(path, Reading(skip_faulty=True))
    assert found.items.ids == ("16777216",) and report.faults.count == 2
    exact = write(tmp_path / "x.csv", "user,item\n76561198000000001,1\n76561198000000003,1\n")
    assert len(read_interactions(exact)[0].users) == 2


def test_numbers_may_be_names_of_the_columns_of_a_frame():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([[1, "a"], [2, "b"]])
    found, form, *_ = read_frame(frame, Reading(user="0", item="1"))
    assert pairs(found) == {"1": ["a"], "2": ["b"]} and (form.user, form.item) == ("0", "1")


# Types


GENRES = [["Animation", "Children's", "Comedy"], ["Clothing, Shoes", "Women"]]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", "frame"])
def test_genres_may_be_lists_of_any_texts(tmp_path, suffix):
    rows = [{"item": "1", "title": "a", "genres": GENRES[0]}, {"item": "2", "title": "b", "genres": GENRES[1]}]
    origin = write(tmp_path / "x.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    if suffix == "frame":
        origin = pytest.importorskip("pandas").DataFrame(rows)
    elif suffix == ".parquet":
        origin = tmp_path / "x.parquet"
        duckdb.sql(f"COPY (FROM read_json('{tmp_path / 'x.jsonl'}')) TO '{origin}' (FORMAT parquet)")
    assert read_items(origin, Vocabulary(("1", "2"))).genres == ["|".join(genres) for genres in GENRES]


def test_genres_may_be_a_list_of_objects_in_parquet(tmp_path):
    path = tmp_path / "x.parquet"
    value = "[{'id': 18, 'name': 'Drama'}, {'id': 80, 'name': 'Crime'}]"
    duckdb.sql(f"COPY (SELECT 1 AS item, 'Heat' AS title, {value} AS genres) TO '{path}' (FORMAT parquet)")
    assert read_items(path, Vocabulary(("1",))).genres == ["Drama|Crime"]


def test_bytes_are_text_where_they_are_in_utf_8(tmp_path):
    path = tmp_path / "x.parquet"
    values = r"'Am\xC3\xA9lie'::BLOB AS item, '\xFF\xFE'::BLOB AS picture"
    duckdb.sql(f"COPY (SELECT 1 AS user, {values}) TO '{path}' (FORMAT parquet)")
    assert read_interactions(path)[0].items.ids == ("Amélie",)
    assert preview(path).rows == [["1", "Amélie", r"\xFF\xFE"]]


# Titles in the interactions


def test_a_table_without_columns_that_describe_items_is_read_once(tmp_path, monkeypatch):
    path = write(tmp_path / "x.csv", "user,item,rating,timestamp\n1,a,5,1\n2,b,4,2\n")
    described = write(tmp_path / "y.csv", "user,item,title\n1,a,Heat\n2,a,Heat\n")
    opened = []
    original = metadata.open_table
    monkeypatch.setattr(metadata, "open_table", lambda *arguments: opened.append(arguments[0]) or original(*arguments))
    assert load_dataset(str(path)).items.titles is None and opened == []
    assert load_dataset(f"{described}?items_title=-").items.titles is None and opened == []
    assert load_dataset(str(described)).items.title == ["Heat"] and opened == [described]
    with pytest.raises(SDiffError, match="no column label"):
        load_dataset(f"{path}?items_title=label")
    assert frame_dataset(described).items.title == ["Heat"]
