"""Files of the kinds that fresh eyes brought: each is read right, or refused with a reason."""

from __future__ import annotations

import json
import re

import pytest

from sdiff.base.errors import SDiffError
from sdiff.cli.main import main
from sdiff.data.datasets import frame_dataset, load_dataset
from sdiff.data.reading import Reading
from sdiff.data.summary import summarize
from sdiff.serving.recommender import Recommender
from tests.data.test_files import read, write
from tests.data.test_readers import pairs


def in_order(found):
    """The items of the first user, oldest first."""
    return [found.items.ids[i] for i in found.history(0)]


def days(found):
    return [round(time / 86400) for time in sorted(found.timestamps)]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["43831", "43832.5", "43833"], [18262, 18264, 18264]),  # days of a spreadsheet: 2020-01-01 ...
        (["637134336000000000", "637135200000000000"], [18262, 18263]),  # ticks of .NET
        (["31012020", "1022020", "5032020"], [18292, 18293, 18326]),  # without the zero of 01022020
        (["2020010100", "2020010200", "2020010300"], [18262, 18263, 18264]),
        (["20200101100000123", "20200102100000123"], [18262, 18263]),
    ],
)
def test_times_of_spreadsheets_and_programs_are_dates(tmp_path, times, expected):
    text = "user,item,time\n" + "".join(f"1,i{n},{time}\n" for n, time in enumerate(times))
    found, _ = read(tmp_path, text)
    assert in_order(found) == [f"i{n}" for n in range(len(times))] and days(found) == expected


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        (["2020-01-01", "9999-12-31"], "timestamp is '9999-12-31'"),
        (["2020-01-01", "1900-01-01"], "timestamp is '1900-01-01'"),
        (["1580553660", "1.58E+09"], "timestamp is 1.58E.09, rounded by a spreadsheet"),
        (["31012020", "01022020", "05032020", *["01022020"] * 9, "99999999"], "timestamp is '99999999'"),
    ],
)
def test_times_that_stand_for_none_or_are_rounded_are_invalid(tmp_path, times, reason):
    text = "user,item,time\n" + "".join(f"1,i{n},{time}\n" for n, time in enumerate(times))
    with pytest.raises(SDiffError, match=f"1 of {len(times)} rows are invalid.*{reason}"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'user','item'\n'1','a'\n'2','it''s'\n", {"1": ["a"], "2": ["it's"]}),
        ('user,ISBN\n1,="0439023483"\n2,="007"\n', {"1": ["0439023483"], "2": ["007"]}),
        ("# user id, item id\nuser,item\n1,a\n2,b\n", {"1": ["a"], "2": ["b"]}),
        ("# made by x, y\nuser,item\n1,a\n2,b\n", {"1": ["a"], "2": ["b"]}),
        ("x", None),
    ],
)
def test_marks_around_values_and_comments_before_a_header_are_left_out(tmp_path, text, expected):
    if expected is None:
        with pytest.raises(SDiffError, match="no column user"):
            read(tmp_path, text)
    else:
        assert pairs(read(tmp_path, text)[0]) == expected


def test_a_first_row_that_counts_the_columns_is_a_header(tmp_path):
    text = "0,1,2,3\n5,7,1580553660,4\n6,8,1580553670,3\n"
    assert pairs(read(tmp_path, text, names="user,item,timestamp,rating")[0]) == {"5": ["7"], "6": ["8"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("user,item\n------,------\n1,a\n", "a line of a drawn table"),
        ("user,item\n#REF!,a\n1,a\n", "stands for a missing value"),
        ("user,item\n-,a\n1,a\n", "stands for a missing value"),
        ("user;ean\n1;9,78E+12\n2;9,78E+12\n", "rounded by a spreadsheet"),
    ],
)
def test_what_is_no_id_is_invalid(tmp_path, text, reason):
    with pytest.raises(SDiffError, match=reason):
        read(tmp_path, text)


@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_a_field_of_json_without_a_name_is_left_out_and_names_that_differ_in_case_are_refused(tmp_path, name):
    path = write(tmp_path / name, json.dumps({"": 0, "user": 1, "item": "a"}) + "\n")
    assert pairs(load_dataset(str(path)).split.known()) == {"1": ["a"]}
    path = write(tmp_path / name, json.dumps({"user": 1, "item": "a", "Item": "q"}) + "\n")
    with pytest.raises(SDiffError, match="more than one column 'item'"):
        load_dataset(str(path))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("user,item\n1,a\n", "User,Item\n2,b\n", {"1": ["a"], "2": ["b"]}),
        ("user,item\n1,a\n", '"user","item"\n2,b\n', {"1": ["a"], "2": ["b"]}),
        ("user,item\n1,a\n", "\nsep=,\nuser,item\n2,b\n", {"1": ["a"], "2": ["b"]}),
        ("user,item\n1,a\n", "2,b\n", {"1": ["a"], "2": ["b"]}),
        ("user,item\n1,a\n", "uid,iid\n2,b\n", "other columns"),
        ("user,item,rating\n1,a,5\n", "item,user,score\nb,2,5\n", "other columns"),
    ],
)
def test_each_part_of_a_table_may_have_the_header_and_no_other_one(tmp_path, first, second, expected):
    write(tmp_path / "part-0.csv", first)
    write(tmp_path / "part-1.csv", second)
    if isinstance(expected, str):
        with pytest.raises(SDiffError, match=expected):
            load_dataset(f"{tmp_path}?core=1")
    else:
        assert pairs(load_dataset(f"{tmp_path}?core=1").split.known()) == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["interactions.csv", "interactions-00000-of-00001.csv"], "and shards of it"),
        (["train-00000-of-00001.csv", "train-00000-of-00003.csv", "train-00001-of-00003.csv"], "must have exactly 3"),
        (["train-0-of-2.csv", "train-00000-of-00002.csv"], "must have exactly 2"),
        (["purchases-00000-of-00001.csv", "ratings-00000-of-00001.csv"], "several tables of interactions"),
        (["train-00000-of-00001.csv", "validation-00000-of-00001.csv"], "several tables of interactions"),
        (["interactions.csv", "interactions.tsv"], "several tables of interactions"),
        (["interactions.csv", "items-00000-of-00001.csv"], "several files of items"),
    ],
)
def test_a_folder_whose_tables_are_not_clear_is_refused(tmp_path, names, message):
    for name in names:
        write(tmp_path / name, "user,item\n1,a\n2,b\n")
    with pytest.raises(SDiffError, match=message):
        load_dataset(f"{tmp_path}?core=1")


def test_notes_about_tables_are_no_tables_and_items_may_be_in_capitals(tmp_path):
    write(tmp_path / "interactions.csv", "user,item\n1,a\n2,b\n")
    write(tmp_path / "Items.csv", "item,title\na,\na,Heat\nb,Up\n")
    write(tmp_path / "items.README", "about the items")
    dataset = load_dataset(f"{tmp_path}?core=1")
    assert dataset.items.title == ["Heat", "Up"], "a row without a title does not hide another"


@pytest.mark.parametrize("other", ["2.0", "02"])
def test_ids_that_one_part_of_a_split_writes_in_another_way_are_refused(tmp_path, other):
    write(tmp_path / "train.csv", "user,item\n1,a\n2,b\n3,c\n")
    write(tmp_path / "test.csv", f"user,item\n1,b\n{other},a\n")
    with pytest.raises(SDiffError, match=f"1 users in .*test.csv, such as .*{other}.*, are not in .*train.csv"):
        load_dataset(str(tmp_path))


def test_pairs_that_a_global_split_drops_are_counted(tmp_path):
    rows = [*(("u", item, n) for n, item in enumerate("abcdefgh", start=1)), ("v", "a", 9), ("v", "z", 10)]
    path = write(tmp_path / "x.csv", "user,item,timestamp\n" + "".join(f"{u},{i},{t}\n" for u, i, t in rows))
    dataset = load_dataset(f"{path}?core=1&split=global")
    left_out = len(rows) - len(dataset.split.known())
    assert summarize(dataset).left_out["of users without a training part"] == left_out == 2


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("user,item,Kauf\n1,a,2020-01-01\n2,b,2020-02-01\n", "Kauf seems to hold dates, which are not used"),
        (
            "user,item\n28,a\n0028,b\n7,c\n",
            "1 of the 3 users may be other spellings .* by leading zeros",
        ),
        ("user,item\na@x.com,1\nA@x.com,2\nb,3\n", "1 of the 3 users .* in upper and lower case"),
        ("user,item,note\n1,a,2020-01-01\n2,b,soon\n", None),
        ("user,item\n0028,a\n7,b\n", None),
    ],
)
def test_what_may_be_wrong_is_noted(tmp_path, text, note):
    notes = summarize(load_dataset(f"{write(tmp_path / 'x.csv', text)}?core=1")).notes
    assert len(notes) == (note is not None)
    if note:
        (found,) = notes
        assert re.search(note, found)


@pytest.mark.parametrize(
    ("word", "encoding"), [("牛乳パック", "shift_jis"), ("ハム", "euc_jp"), ("Größe", "latin-1"), ("Привет", "cp1251")]
)
def test_a_proposed_encoding_comes_with_an_example(tmp_path, word, encoding):
    path = tmp_path / "x.csv"
    path.write_bytes(("user,item\n" + "".join(f"{n},{word} {n}\n" for n in range(20))).encode(encoding))
    with pytest.raises(SDiffError, match=f"encoding={encoding}, if '.*{word}.*' is right"):
        load_dataset(f"{path}?core=1")
    path.write_bytes(("kunde,größe\n" + "".join(f"{n},{word} {n}\n" for n in range(20))).encode(encoding, "ignore"))
    if encoding == "latin-1":
        with pytest.raises(SDiffError, match="its columns' names cannot be read: set encoding=latin-1"):
            load_dataset(f"{path}?core=1")


def test_columns_of_a_frame_may_be_numbers_or_of_odd_types(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({0: [u for u in range(9) for _ in range(4)], 1: [n for n in range(4)] * 9})
    model = Recommender.fit(frame, user=0, item=1, preset="instant")
    assert set(model.items.ids) == {"0", "1", "2", "3"}, "the name of a column is no header among the rows"
    frame = pandas.DataFrame({"user": [1, 2], "item": ["a", "b"], "month": pandas.period_range("2020-01", periods=2)})
    with pytest.raises(SDiffError, match=r"The columns month \(period\[.*\]\) of the data frame have a type"):
        frame_dataset(frame, Reading())


@pytest.mark.parametrize("preset", ["instant", "filter", "gfcf"])
def test_a_history_that_nothing_connects_with_other_items_is_answered_by_popularity(tmp_path, preset, capsys):
    rows = [(f"u{u}", f"p{(u + n) % 7}") for u in range(20) for n in range(1 + u % 4)] + [("u99", "p99")]
    path = write(tmp_path / "log.csv", "user,item\n" + "".join(f"{u},{i}\n" for u, i in rows))
    words = ["train", "--dataset", f"{path}?core=1", "--preset", preset, "--out", str(tmp_path / "run")]
    assert main([*words, "--set", "K=6"] if preset == "instant" else words) == 0
    model = Recommender.load(tmp_path / "run")
    counts = dict(zip(model.items.ids, model.checkpoint.item_counts.tolist(), strict=True))
    listed = model.recommend(["p99"], 7)
    assert listed.scores == sorted((n for id, n in counts.items() if id != "p99"), reverse=True)
    assert model.recommend(["p0"], 7).scores != listed.scores
    capsys.readouterr()
    assert main(["recommend", "--checkpoint", str(tmp_path / "run"), "--history", "p99"]) == 0
    assert "nothing connects the history with other items: these are the most popular" in capsys.readouterr().err


@pytest.mark.parametrize("delimiter", ["||", "~~", "::"])
def test_a_delimiter_of_several_characters_may_enclose_values_in_quotation_marks(tmp_path, delimiter):
    def text(*rows):
        return "".join(delimiter.join(row) + "\n" for row in [("user", "item", "note"), *rows])

    plain = [(f"u{n}", f"i{n}", "x") for n in range(3000)]
    quoted = [tuple(f'"{cell}"' for cell in row) for row in plain]
    for rows in (plain, quoted):
        found, _ = read(tmp_path, text(*rows), delimiter=delimiter)
        assert len(found) == 3000 and "i7" in found.items.ids
    quoted[10] = ('"u10"', f'"a{delimiter}b"', '"x"')
    assert f"a{delimiter}b" in read(tmp_path, text(*quoted), delimiter=delimiter)[0].items.ids
    quoted[10] = ('"u10"', '"i10', '"x"')
    found, report = read(tmp_path, text(*quoted), delimiter=delimiter, skip_faulty=True)
    assert len(found) == 2999 and report.rows == 3000
    plain[10] = ("u10", 'i10"', '"x')
    assert len(read(tmp_path, text(*plain), delimiter=delimiter)[0]) == 3000, "no row is swallowed"
    plain[10] = ("u10", '"i10"', "x")
    with pytest.raises(SDiffError, match='item is "i10", with its quotation marks'):
        read(tmp_path, text(*plain), delimiter=delimiter)


def test_titles_in_a_held_out_part_count_too(tmp_path):
    write(tmp_path / "train.csv", "user,item,title\n1,a,Heat\n2,a,Heat\n")
    write(tmp_path / "test.csv", "user,item,title\n1,b,Up\n2,b,Up\n")
    assert load_dataset(str(tmp_path)).items.title == ["Heat", "Up"]


def test_a_stream_of_arrow_keeps_its_titles():
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"user": ["1", "2"], "item": ["a", "b"], "title": ["Heat", "Up"]})
    assert frame_dataset(table.to_reader(), Reading(items_title="title")).items.title == ["Heat", "Up"]


def test_ids_of_items_are_stripped_like_those_of_interactions(tmp_path):
    write(tmp_path / "interactions.csv", "user,item\n1,a\n2,b\n")
    write(tmp_path / "items.csv", "item,title\na\t,Heat\n\u00a0b,Up\n")
    assert load_dataset(f"{tmp_path}?core=1").items.title == ["Heat", "Up"]


def test_an_array_of_objects_is_json_whatever_the_file_is_called(tmp_path):
    path = write(tmp_path / "log.txt", json.dumps([{"user": 1, "item": "a"}, {"user": 2, "item": "b"}], indent=1))
    assert pairs(load_dataset(f"{path}?core=1").split.known()) == {"1": ["a"], "2": ["b"]}


def test_parts_are_for_users_of_the_data_set(capsys):
    words = ["recommend", "--checkpoint", "demo", "--history", "1", "--parts", "train"]
    assert main(words) == 2 and "leave it out with --history" in capsys.readouterr().err
