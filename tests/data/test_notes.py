"""Notes on what may be wrong, row numbers in reports, and columns that only later rows have."""

from __future__ import annotations

import json

import pytest

from sdiff.base.errors import SDiffError
from sdiff.data.datasets import frame_dataset, load_dataset
from sdiff.data.genres import separated
from sdiff.data.readers import read_interactions
from sdiff.data.reading import Reading
from sdiff.data.report import FaultyRows
from sdiff.data.tables import json_table
from sdiff.data.tables.open import open_table
from tests.data.test_files import read, write


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        (["1,10 11 12", "2,12 14", "3,15 16"], "Most items seem to be lists of ids, such as 10 11 12"),
        (["guest,a", "guest,b", "guest,c", "guest,d", "1,a", "2,b"], "The user guest has 4 of the 6 interactions"),
        (["1,-1", "2,-1", "3,-1", "4,-1", "1,a", "2,b"], "The item -1 has 4 of the 6 interactions"),
        (
            ["a,1", "A,2", "b,1", "B,2"],
            "2 of the 4 users may be other spellings of the rest: they differ only in",
        ),
    ],
)
def test_ids_that_may_be_wrong_are_noted(tmp_path, rows, note):
    _, report = read(tmp_path, "user,item\n" + "\n".join(rows) + "\n")
    [found] = report.notes
    assert found.startswith(note)


@pytest.mark.parametrize(
    "rows", [["1,New York 2", "2,Room 9 a", "3,10"], ["guest,a", "1,a", "2,b"], ["0,a", "1,b", "2,a"]]
)
def test_ordinary_ids_are_not_noted(tmp_path, rows):
    assert read(tmp_path, "user,item\n" + "\n".join(rows) + "\n")[1].notes == ()


@pytest.mark.parametrize(("times", "noted"), [(["2020-01-01", "2020-01-02"], True), (["2020-01-01 10:00"] * 2, False)])
def test_an_unused_time_of_day_is_noted(tmp_path, times, noted):
    text = f"user,item,date,hour\n1,a,{times[0]},10:30\n2,b,{times[1]},9:15 PM\n"
    notes = read(tmp_path, text)[1].notes
    assert notes == (("hour seems to hold the time of day, which is not used: join it to the date.",) if noted else ())
    assert not read(tmp_path, text, timestamp="-")[1].notes
    assert not read(tmp_path, text.replace("hour", "length"))[1].notes, "a duration"


def test_addresses_and_composite_ids_are_not_noted(tmp_path):
    rows = [f"u{n},{n // 10}_{n % 10}1,10.0.0.{n}\n" for n in range(1, 120)]
    assert read(tmp_path, "user,item,address\n" + "".join(rows))[1].notes == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user,item\n1,2\n\n\n,5\n3,4\n", [5]),
        ("\n\nuser,item\n\n1,2\n\n,5\n\n1,2,3\n\n,6\n", [7, 9, 11]),
        ('user,item,description\n1,2,"a\n\nb"\n\n,5,c\n', [4]),  # a row may have several lines, as in a spreadsheet
        ('user,item,title\n1,2,5" nail\n\n,5,c\n', [4]),
        ('user,item,title\n1,2,"a \\"b\\" \\\\"\n\n,5,c\n', [4]),
        (r"user,item,title" + '\n1,2,"a \\"b\\" c"\n\n,5,"\\" "\n', [4]),
        ("user,item\r\n1,2\r\n\r\n,5\r\n", [4]),
        ('{"user": 1, "item": 2}\n\n \n{"user": 1,\n{"item": 4}\n\n{"user": 1, "item": 3}\n', [4, 5]),
    ],
)
def test_rows_are_numbered_as_in_the_file_with_blank_lines(tmp_path, text, expected):
    path = write(tmp_path / ("t.jsonl" if text[0] == "{" else "t.csv"), text)
    with pytest.raises(FaultyRows) as caught:
        read_interactions(path)
    assert [fault.row for fault in caught.value.faults.first] == expected


def test_keys_that_only_late_objects_have_are_columns(tmp_path, monkeypatch):
    monkeypatch.setattr(json_table, "SAMPLED", 2)
    rows = [{"user": n % 2, "item": n} | ({"rating": n} if n > 2 else {}) for n in range(6)]
    path = write(tmp_path / "t.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    _, report = read_interactions(path, Reading(min_rating=4, skip_faulty=True))
    assert (report.faults.count, report.below_rating) == (3, 1)


def test_fields_that_only_late_objects_have_are_columns(tmp_path, monkeypatch):
    monkeypatch.setattr(json_table, "SAMPLED", 1)
    rows = [{"user": {"id": "a"}, "item": "x"}, {"user": {"id": "b", "at": 5}, "item": "y", "deep": {"z": 1}}]
    path = write(tmp_path / "t.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    with open_table(path) as table:
        assert [*table.columns] == ["deep.z", "item", "user.at", "user.id"]
    write(path, '{"user": {"id": 1}, "user.id": 2, "item": 3}\n')
    with pytest.raises(SDiffError, match=r"two fields 'user\.id'"), open_table(path):
        pass


def test_advice_on_times_fits_what_is_wrong(tmp_path):
    with pytest.raises(SDiffError, match="most are seconds") as mixed:
        read(tmp_path, "user,item,time\n1,a,1500000000\n1,b,1500000001\n1,c,1500000000000\n")
    assert "timestamp_format" not in str(mixed.value) and "timestamp=-" in str(mixed.value)
    with pytest.raises(SDiffError, match="not seconds or a date") as one:
        read(tmp_path, "user,item,time\n1,a,2020-01-01\n1,b,2020-01-02\n1,c,yesterday\n")
    assert "timestamp_format" not in str(one.value), "it would make the others invalid"
    with pytest.raises(SDiffError, match=r"timestamp_format=%d/%m/%Y"):
        read(tmp_path, "user,item,time\n1,a,day 3\n1,b,day 4\n1,c,day 5\n")


def test_the_index_of_a_frame_is_mentioned_if_a_column_is_missing():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"user": [1, 2], "item": [3, 4]}).set_index("user")
    with pytest.raises(SDiffError, match=r"no column user.*Its index, user, is no column: use reset_index\(\)"):
        frame_dataset(frame)


def test_ids_that_excel_keeps_as_text_are_the_same_in_both_tables(tmp_path):
    found, _ = read(tmp_path, 'user,item,title\n="1",="a",Heat\n="2",=" b",Alien\n')
    assert found.items.ids == ("a", "b")
    rows = "".join(f'="{user}",="a",Heat\n="{user}",="b",Alien\n' for user in range(3))
    path = write(tmp_path / "x.csv", f"user,item,title\n{rows}")
    assert load_dataset(str(path)).items.title == ["Heat", "Alien"]
    with pytest.raises(SDiffError, match="row 3: user is empty"):
        read(tmp_path, 'user,item\n="1",="a"\n="",="b"\n')


def test_the_column_of_item_ids_is_the_one_with_the_most_items(tmp_path):
    tracks = "".join(f"{n},{n % 5 + 1},Song {n}\n" for n in range(1, 51))
    write(tmp_path / "tracks.csv", f"track_id,artist_id,title\n{tracks}")
    path = write(tmp_path / "plays.csv", "user,track_id\n" + "".join(f"1,{n}\n" for n in range(1, 11)))
    assert load_dataset(f"{path}?items={tmp_path / 'tracks.csv'}").items.title[:2] == ["Song 1", "Song 2"]


def test_one_value_in_brackets_does_not_stop_the_others_from_being_separated():
    genres = ["Action, Drama", "(unknown)", '["Horror", "War"]', "Drama"]
    assert separated(genres) == ["Action|Drama", "(unknown)", "Horror|War", "Drama"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"Science Fiction",Drama}', "Science Fiction|Drama"),
        ('[Sci-Fi,"Film, Noir"]', "Sci-Fi|Film, Noir"),
        ("[L'Amour, D'Art]", "L'Amour|D'Art"),
        ('[{"genre":"A"},{"genre":"B"}]', "A|B"),
        ('[{"name":"A","description":"long"}]', "A"),
        (r'["R\u00e9al", "say \"x\""]', 'Réal|say "x"'),
        (r"['Rock \'n\' Roll', None]", "Rock 'n' Roll"),
        ("{}", ""),
    ],
)
def test_lists_of_genres_are_read_as_they_were_written(text, names):
    assert separated([text]) == [names]


def test_parts_of_dates_and_footers_are_not_times_or_users(tmp_path):
    text = "user,item,year,month,day\n1,5,2019,2,5\n2,6,2020,3,6\n"
    found, report = read(tmp_path, text)
    assert found.timestamps is None and report.notes[0].startswith("The date in year, month and day is not used")
    with pytest.raises(SDiffError, match="row 4: user is Grand total, a sum of other rows"):
        read(tmp_path, "user,item\n1,5\n2,6\nGrand total,2\n")


def test_negative_ratings_and_equal_times_are_noted(tmp_path):
    rows = "".join(f"{n},{n},{'no' if n % 2 else 'yes'},2020-01-01\n" for n in range(10))
    notes = read(tmp_path, f"user,item,liked,date\n{rows}")[1].notes
    assert notes[0].startswith("liked is 0, negative or no in 5 of the first 10 rows") and "the same" in notes[1]
    assert len(read(tmp_path, f"user,item,liked,date\n{rows}", min_rating=1, timestamp="-")[1].notes) == 0


def test_json_files_that_are_arranged_differently_or_hold_columns_are_refused(tmp_path):
    lines = write(tmp_path / "a.json", '{"user":"a","item":"x"}\n{"user":"a","item":"y"}\n')
    array = write(tmp_path / "b.json", '[{"user":"b","item":"x"}]')
    for paths in ((lines, array), (array, lines)):
        with pytest.raises(SDiffError, match="arranged in another way"):
            read_interactions(paths)
    columns = write(tmp_path / "c.json", '{"user":{"0":1,"1":2},"item":{"0":3,"1":4}}')
    with pytest.raises(SDiffError, match="orient='records'"):
        read_interactions(columns)
    many = write(tmp_path / "d.jsonl", "".join(f'{{"user":1,"item":{n},"k{n}":1}}\n' for n in range(1200)))
    with pytest.raises(SDiffError, match="1,202 columns"):
        read_interactions(many)


def test_comments_before_the_headers_of_all_files_are_left_out(tmp_path):
    paths = [write(tmp_path / f"{name}.csv", f"# c\nuser,item,n\n{name},x,1\n") for name in "ab"]
    found, report = read_interactions(tuple(paths))
    assert (len(found), report.rows) == (2, 2)


def test_columns_of_the_same_name_or_without_values_in_a_frame(tmp_path):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    with pytest.raises(SDiffError, match="more than one column of the same name"):
        frame_dataset(pandas.DataFrame([["a", "x", "q"]], columns=["user", "item", "user"]))
    with pytest.raises(SDiffError, match=r"user \(Object\).*cannot be read"):
        frame_dataset(polars.DataFrame({"user": polars.Series(["a", "b"], dtype=polars.Object), "item": ["x", "y"]}))
    frame = polars.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "rating": [None, None]})
    assert len(frame_dataset(frame).split.known()) == 2
