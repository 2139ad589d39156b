"""Tables of every kind and quality are read, or refused with a message that says what is wrong and where."""

import gzip
from contextlib import contextmanager

import duckdb
import numpy as np
import pytest

from sdiff.base.errors import SDiffError
from sdiff.data import database
from sdiff.data.interactions import Vocabulary
from sdiff.data.items import read_items
from sdiff.data.preview import preview
from sdiff.data.readers import read_interactions, split_of
from sdiff.data.reading import Reading

ROWS = [("9", "b", 4, 3), ("10", "ä", 5, 1), ("10", "b", 3, 2)]
SKIP = Reading(skip_faulty=True)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def pairs(interactions):
    """{user id: item ids in order}."""
    return {
        id: [interactions.items.ids[i] for i in interactions.history(u)] for u, id in enumerate(interactions.users.ids)
    }


def as_lines(separator, head="user{0}item{0}rating{0}timestamp\n"):
    return head.format(separator) + "".join(separator.join(map(str, row)) + "\n" for row in ROWS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", as_lines(",").encode()),
        ("bom.csv", b"\xef\xbb\xbf" + as_lines(",").encode()),
        ("crlf.csv", as_lines(",").replace("\n", "\r\n").encode()),
        ("utf16.csv", as_lines(",").encode("utf-16")),
        ("semicolon.csv", as_lines(";").encode()),
        ("x.tsv", as_lines("\t").encode()),
        ("colons.dat", as_lines("::").encode()),
        ("x.csv.gz", gzip.compress(as_lines(",").encode(), mtime=0)),
        ("x.inter", as_lines("\t", "user_id:token{0}item_id:token{0}rating:float{0}timestamp:float\n").encode()),
        ("quoted.csv", 'user,item,rating,timestamp\n"9","b","4","3"\n10,ä,5,1\n10,b,3,2\n'.encode()),
        ("spaces.csv", " User , Item ,Rating,Timestamp\n 9 , b ,4,3\n10,ä,5,1\n10, b,3,2\n".encode()),
        (
            "x.jsonl",
            "".join(f'{{"user": {u}, "item": "{i}", "rating": {r}, "ts": {t}}}\n' for u, i, r, t in ROWS).encode(),
        ),
        (
            "x.json",
            ("[" + ", ".join(f'{{"user": {u}, "item": "{i}", "ts": {t}}}' for u, i, _, t in ROWS) + "]").encode(),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_same_table_in_any_format_gives_the_same_interactions(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    found, report = read_interactions(tmp_path / name)
    assert pairs(found) == {"9": ["b"], "10": ["ä", "b"]}
    assert found.timestamps is not None and found.timestamps.tolist() == [3, 1, 2]
    assert (report.rows, report.faults.count) == (3, 0)


def test_parquet_keeps_its_types(tmp_path):
    path = tmp_path / "x.parquet"
    duckdb.sql(f"""
        COPY (SELECT * FROM (VALUES (9007199254740993, 'ä', TIMESTAMP '2024-01-02'), (2, 'b', '2024-01-01'))
            AS t(user_id, item_id, date)) TO '{path}' (FORMAT parquet)""")
    found, _ = read_interactions(path)
    assert pairs(found) == {"2": ["b"], "9007199254740993": ["ä"]}  # beyond the precision of a double


def test_ids_are_text_and_numeric_ids_are_sorted_first(tmp_path):
    big = "170141183460469231731687303715884105727999"  # no integer type holds it
    path = write(tmp_path / "x.csv", f'user,item\n10,"a, b"\n9,007\n9,7\n{big},日本\n9,"say ""hi"""\n')
    found, _ = read_interactions(path)
    assert found.users.ids == ("9", "10", big)
    assert set(found.items.ids) == {"7", "007", "a, b", 'say "hi"', "日本"}


def test_dates_are_timestamps_and_columns_can_be_named(tmp_path):
    path = write(
        tmp_path / "x.csv", "who,movieId,when\n1,5,2024-02-01\n1,6,2024-01-01 10:00:00\n1,7,2024-01-01T09:00Z\n"
    )
    found, _ = read_interactions(path, Reading(user="who", timestamp="When"))
    assert pairs(found) == {"1": ["7", "6", "5"]}
    with pytest.raises(SDiffError, match=r"no column nobody: its columns are who, movieId, when"):
        read_interactions(path, Reading(user="nobody"))


def test_a_table_without_a_header_is_read_with_the_given_names(tmp_path):
    path = write(tmp_path / "x.csv", "1,a\n1,b\n2,a\n")
    found, report = read_interactions(path, Reading(names=("user", "item")))
    assert report.rows == 3 and pairs(found) == {"1": ["a", "b"], "2": ["a"]}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *(({"core": core}, "core must be a whole number between 1 and") for core in (0, -1, "0", 1.5, "2.5", 10**20)),
        *(({"core": core}, "core must be a number, not") for core in ("many", None, True, float("inf"), "nan", [2])),
        *(
            ({"min_rating": least}, "min_rating must be a number, not")
            for least in ("x", "", float("nan"), "-inf", True)
        ),
        *(({"names": names}, "names must be column names") for names in (3, None, ("user", 3), {"user": "item"})),
        *(
            ({"names": names}, "names must be different")
            for names in ("user,", "user,,item", ("a", "A "), ("user", ""))
        ),
        *(({"delimiter": text}, "delimiter must be at most 4 bytes") for text in ("xyzxy", "\n", '"', "\0", "日本")),
        *(
            ({name: 3}, f"{name} must be text")
            for name in ("user", "timestamp", "delimiter", "encoding", "split", "items")
        ),
        *(({"skip_faulty": flag}, "skip_faulty must be true or false") for flag in ("yes", 1, None)),
        ({"split": "weekly"}, "split must be one of chronological, leave-last-out, global, random"),
    ],
    ids=str,
)
def test_an_option_of_the_wrong_type_or_range_is_refused(wrong, message):
    with pytest.raises(SDiffError, match=message):
        Reading(**wrong)


def test_options_are_parsed_from_text_and_survive_the_query():
    typed = Reading(names=("user", "item"), min_rating=4, core=5, skip_faulty=True, delimiter="::", user="-")
    assert typed == Reading(names="user, item", min_rating="4", core="5", skip_faulty="true", delimiter="::", user="-")
    assert Reading.parse(typed.query()) == typed and isinstance(typed.min_rating, float)
    assert Reading(names="") == Reading(names=[]) == Reading.parse("") == Reading()


def test_skipped_rows_are_counted(tmp_path):
    text = (
        "user,item,rating\n"
        + "".join(f"{u},{i},5\n" for u in "12" for i in "ab")
        + "1,a,5\n1,c,1\n2,c,-4\n3,b,5\n3,,5\n"
    )
    found, report = read_interactions(write(tmp_path / "x.csv", text), Reading(min_rating=4, core=2, skip_faulty=True))
    assert pairs(found) == {"1": ["a", "b"], "2": ["a", "b"]}
    assert (report.rows, report.below_rating, report.repeated, report.outside_core) == (9, 2, 1, 1)
    assert [str(fault) for fault in report.faults.first] == ["row 10: item is empty"]


def test_invalid_rows_are_reported_by_number_and_valid_rows_can_be_kept(tmp_path):
    lines = [
        "user,item,rating,timestamp",
        "1,a,5,10",
        "2,b,good,11",
        "3,c",
        "4,d,3,12,13",
        "5,e,nan,14",
        "6,f,4,yesterday",
        ' 7,"un"q",4,15',
        ",g,4,16",
        "9,h,4,17",
    ]
    path = write(tmp_path / "x.csv", "\n".join(lines) + "\n")
    with pytest.raises(SDiffError, match=r"7 of 9 rows are invalid: row 3: rating is 'good', not a number; row 4: "):
        read_interactions(path, Reading(min_rating=1))
    found, report = read_interactions(path, Reading(min_rating=1, skip_faulty=True))
    assert pairs(found) == {"1": ["a"], "9": ["h"]} and report.rows == 9
    assert [str(fault) for fault in report.faults.first] == [
        "row 3: rating is 'good', not a number",
        "row 4: it has 2 values, not 4",
        "row 5: it has 5 values, not 4",
        "row 6: rating is 'nan', not a number",
        "row 7: timestamp is 'yesterday', not seconds or a date",
        "row 8: a quotation mark is not closed or is inside a value",
        "row 9: user is empty",
    ]


def test_mixed_encodings_and_overlong_lines_are_reported_by_row(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"user,item\n1,a\n2,caf\xe9\n3," + b"x" * 5_000_000 + b"\n4,b\n")
    found, report = read_interactions(path, SKIP)
    assert pairs(found) == {"1": ["a"], "4": ["b"]}
    assert [fault.row for fault in report.faults.first] == [3, 4]
    assert "not in UTF-8" in report.faults.first[0].reason and "2 MB" in report.faults.first[1].reason


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_a_line_longer_than_any_buffer_is_reported_by_row(tmp_path, name):
    path = tmp_path / name
    with gzip.open(path, "wb", 1) if path.suffix == ".gz" else path.open("wb") as file:
        file.write(b"user,item\n1,a\n3,")
        for _ in range(70):
            file.write(b"x" * 1_000_000)
        file.write(b"\n4,b\n")
    found, report = read_interactions(path, SKIP)
    assert pairs(found) == {"1": ["a"], "4": ["b"]}
    assert [str(fault) for fault in report.faults.first] == ["row 3: the line is longer than 2 MB"]


def test_a_file_in_another_encoding_is_read_if_the_encoding_is_given(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes("user,item\nJosé,1\n".encode("latin-1"))
    with pytest.raises(SDiffError, match="encoding=latin-1"):
        read_interactions(path)
    assert read_interactions(path, Reading(encoding="latin-1"))[0].users.ids == ("José",)
    with pytest.raises(SDiffError, match="no encoding 'klingon'"):
        read_interactions(path, Reading(encoding="klingon"))


def test_a_line_that_is_not_json_is_reported(tmp_path):
    path = write(tmp_path / "x.jsonl", '{"user": 1, "item": 2}\nnot json\n{"user": 3}\n')
    found, report = read_interactions(path, SKIP)
    assert pairs(found) == {"1": ["2"]} and [fault.row for fault in report.faults.first] == [2, 3]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"", "is empty"),
        ("x.csv", b" \n\n", "is empty"),
        ("x.csv", b"\xef\xbb\xbf", "is empty"),  # only a byte order mark
        ("x.csv", b"user,item\n", "has no rows"),
        ("x.csv", b"user,thing\n1,2\n", "no column item: its columns are user, thing"),
        ("x.csv", b"a,b\n1,2\n", "no column user and no column item"),
        ("x.csv", b"user,item,User\n1,2,3\n", "more than one column 'user'"),
        ("x.csv", bytes(range(256)) * 50, "is binary"),
        ("x.parquet", bytes(range(256)) * 50, "is binary"),
        ("x.parquet", b"PAR1" + b"x" * 100, "Cannot read"),
        ("x.xlsx", b"PK\x03\x04" + b"x" * 100, "export the sheet as CSV"),
        ("x.csv", gzip.compress(b"user,item\n1,2\n", mtime=0), "rename it to end in .gz"),
        ("x.csv.gz", b"user,item\n1,2\n", "not a complete gzip file"),
        ("x.csv", np.random.default_rng(0).bytes(50_000).hex().encode(), "no column user and no column item"),
    ],
)
def test_a_file_that_is_not_a_table_is_refused_with_one_message(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SDiffError, match=message) as caught:
        read_interactions(tmp_path / name)
    assert len(str(caught.value)) < 600


def test_a_preview_does_not_decompress_the_whole_file(tmp_path):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"user,item\n" + b"1,2\n" * 100_000)[:-8] + bytes(8))
    with gzip.open(path) as file, pytest.raises(gzip.BadGzipFile):
        file.read()
    assert preview(path).columns == ["user", "item"]


@pytest.mark.parametrize(
    "damaged",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: whole[:-8] + bytes(4) + whole[-4:],
        lambda whole: whole[:-4] + bytes(4),
        lambda whole: whole + b"more",
        lambda whole: gzip.compress(b"user,item\n")[:-8],
    ],
    ids=["a half", "a byte short", "another checksum", "another length", "more after it", "its header row"],
)
def test_a_truncated_gzip_file_is_refused(damaged, tmp_path):
    rows = np.random.default_rng(0).integers(1000, size=(50_000, 2))
    whole = gzip.compress(("user,item\n" + "".join(f"{u},{i}\n" for u, i in rows)).encode())
    (tmp_path / "x.csv.gz").write_bytes(damaged(whole))
    with pytest.raises(SDiffError, match="not a complete gzip file"):
        read_interactions(tmp_path / "x.csv.gz", SKIP)


def test_titles_with_sql_or_html_are_plain_text(tmp_path):
    titles = ["Robert'); DROP TABLE pairs;--", "<script>alert(1)</script>", "=1+1", "", "Ünïcode 日本", 'quote "']
    rows = "".join(f'{n},"{title.replace(chr(34), chr(34) * 2)}"\n' for n, title in enumerate(titles))
    items = Vocabulary(tuple(map(str, range(len(titles)))))
    found = read_items(write(tmp_path / "items.csv", "item,title\n" + rows), items)
    assert found.title == [title or "Item 3" for title in titles]
    same = write(
        tmp_path / "x.csv", "user,item\n" + "".join(f'1,"{t.replace(chr(34), chr(34) * 2)}"\n' for t in titles if t)
    )
    assert set(read_interactions(same)[0].items.ids) == set(filter(None, titles))


def test_item_metadata_may_have_any_columns(tmp_path):
    path = write(
        tmp_path / "items.csv",
        'item,title,genres,made by,"x""; DROP"\n1,"Matrix, The (1999)",Action|Sci-Fi,A & B,1\n1,again,,,\n3,Up,,,2\n',
    )
    found = read_items(path, Vocabulary(("3", "2", "1")))
    assert found.title == ["Up", "Item 2", "The Matrix"] and found.year == [0, 0, 1999]
    assert found.genres == ["", "", "Action|Sci-Fi"]
    assert found.extra == {"made by": ["", "", "A & B"], 'x"; drop': ["2", "", "1"]}


@pytest.mark.parametrize("rows", ["1,a\n1,b\n1,c\n", "1,a\n2,a\n3,a\n"], ids=["one user", "one item"])
def test_tiny_tables_can_be_split(tmp_path, rows):
    found, _ = read_interactions(write(tmp_path / "x.csv", "user,item\n" + rows))
    split = split_of(found)
    assert len(split.train) + len(split.valid) + len(split.test) == 3 and split.train.lengths.min() >= 1


def test_the_split_is_chronological_with_timestamps_and_random_without(tmp_path):
    rows = [(user, item) for user in range(5) for item in range(20)]
    plain = write(tmp_path / "plain.csv", "user,item\n" + "".join(f"{u},{i}\n" for u, i in rows))
    timed = write(tmp_path / "timed.csv", "user,item,ts\n" + "".join(f"{u},{i},{i}\n" for u, i in rows))
    (drawn, _), (ordered, _) = read_interactions(plain), read_interactions(timed)
    assert split_of(drawn).fingerprint == split_of(drawn).fingerprint
    assert split_of(drawn).test.history(0).tolist() != list(range(16, 20))
    assert split_of(ordered).test.history(0).tolist() == list(range(16, 20))
    assert split_of(ordered, Reading(split="random")).test.history(0).tolist() != list(range(16, 20))


def test_an_empty_k_core_is_refused(tmp_path):
    with pytest.raises(SDiffError, match="no interactions left after the rating and 3-core"):
        read_interactions(write(tmp_path / "x.csv", "user,item\n1,a\n2,b\n"), Reading(core=3))


def test_cells_that_exceed_the_memory_of_a_table_are_refused(tmp_path, monkeypatch):
    table = tmp_path / "x.parquet"
    duckdb.sql(f"COPY (SELECT i AS user, repeat('i', 2_000_000) AS item FROM range(100) t(i)) TO '{table}'")
    monkeypatch.setattr(database, "MEMORY", "40MB")
    with pytest.raises(SDiffError, match="within 40MB: remove long cells"):
        read_interactions(table)


def test_tables_are_read_in_a_notebook_without_ipywidgets(tmp_path, monkeypatch):
    """There DuckDB refuses even to switch its progress bar off."""

    class Notebook:
        def __init__(self, con):
            self.con = con

        def __getattr__(self, name):
            return getattr(self.con, name)

        def execute(self, query, *values):
            if "progress_bar" in query:
                raise duckdb.InvalidInputException("required package 'ipywidgets' is missing")
            return self.con.execute(query, *values)

    connect = database.connect

    @contextmanager
    def connected(*arguments):
        with connect(*arguments) as con:
            yield Notebook(con)

    monkeypatch.setattr(database, "connect", connected)
    (tmp_path / "log.csv").write_text("user,item\n1,2\n1,3\n")
    assert len(read_interactions(tmp_path / "log.csv")[0]) == 2
