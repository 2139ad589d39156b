"""Files that were once read wrong without a word are read right, or refused by row or in a sentence."""

import duckdb
import pytest

from sdiff.base.errors import SDiffError
from sdiff.data.datasets import load_dataset
from sdiff.data.interactions import Vocabulary
from sdiff.data.items import read_items
from sdiff.data.readers import read_interactions
from sdiff.data.report import FaultyRows
from sdiff.data.roles import suggested_names
from sdiff.data.tables.dialect import Layout
from tests.data.test_files import read, write
from tests.data.test_readers import pairs


def described(tmp_path, items, ids, **options):
    return read_items(write(tmp_path / "items.csv", items), Vocabulary(tuple(ids)), **options)


@pytest.mark.parametrize(
    ("first", "last", "rows"),
    [
        ('10,i10,"bad', '400,i400,good"', "{0},i{0},good"),
        ('10,"bad,i10', '400,good",i400', "{0},good,i{0}"),
        ('10,i10,"bad,5', '400,i400,good",4', "{0},i{0},good,3"),
    ],
)
def test_a_stray_mark_in_any_text_costs_one_row(tmp_path, first, last, rows):
    lines = [rows.format(n) for n in range(1, 501)]
    lines[9], lines[399] = first, last
    header = ["user", *("review" if "good" in name else "item" for name in rows.split(",")[1:3]), "stars"]
    text = "\n".join([",".join(header[: 1 + rows.count(",")]), *lines]) + "\n"
    found, report = read(tmp_path, text, skip_faulty=True)
    assert (report.rows, len(found)) == (500, 499) and [fault.row for fault in report.faults.first] == [11]
    prose = ['1,a,"Great film\nloved it, really\nand, again, too"', "2,b,x"]
    assert len(read(tmp_path, "user,item,review\n" + "\n".join(prose) + "\n")[0]) == 2


def test_values_in_marks_far_down_lose_them_unless_others_have_marks_of_their_own(tmp_path):
    text = "user\titem\n" + "1\ta\n" * 30_000 + '2\t"say ""hi"""\n'
    assert 'say "hi"' in read(tmp_path, text, "x.tsv")[0].items.ids
    assert '"say ""hi"""' in read(tmp_path, text + '3\t6" pipe\n', "x.tsv")[0].items.ids


@pytest.mark.parametrize(
    "table",
    [
        "id,title\n1,X\n2,Y\n",
        "id,name,url\n1,X,u\n2,Y,v\n",
        "id,imdb_id,original_title,title\n1,tt1,A,X\n2,tt2,B,Y\n",
        "book_id,isbn,title\n1,99,X\n2,98,Y\n",
        "movie_title,id\nX,1\nY,2\n",
        "1::X::Drama|War|Crime\n2::Y::Drama\n",
        '1,X,Drama|War|Crime\n2,Y,"a"\n',
    ],
)
def test_the_ids_of_an_items_table_are_in_the_column_that_has_them(tmp_path, table):
    layout = Layout() if table[0].isalpha() else Layout(("item", "title", "genres"))
    assert described(tmp_path, table, "12", layout=layout).title == ["X", "Y"]


def test_an_id_that_is_the_title_of_another_item_is_no_reason_to_take_titles_for_ids(tmp_path):
    assert described(tmp_path, "id,title\n300,Heat\n1984,Up\n7,300\n", ["300", "1984", "7"]).title == [
        "Heat",
        "Up",
        "300",
    ]


def test_words_for_missing_values_are_neither_titles_nor_genres(tmp_path):
    items = described(tmp_path, "id,title,genres,year\n1,nan,\\N,1341100800\n2,X,Drama,20010203\n", "12")
    assert items.title == ["Item 1", "X"] and items.genres == ["", "Drama"] and items.year == [0, 2001]
    assert items.titles and items.titles.found == 1


def test_the_cause_is_given_if_only_some_items_have_no_title(tmp_path):
    ids = [f"{n:03}" for n in range(90, 110)]
    table = "id,title\n" + "".join(f"{n},Film {n}\n" for n in range(90, 110))
    note = described(tmp_path, table, ids).titles.note
    assert "leading zeros" in note and described(tmp_path, "id,x\n1,a\n", "1").titles.note.endswith(
        "items_title=COLUMN"
    )


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("1,a,1577836800\n2,b,1577836801\n", "1,b,1577836800000\n", "read as seconds, those in .*as milliseconds"),
        (
            "1,a,1577836800\n2,b,1577836801\n",
            "1.0,b,1577836800\n",
            "users.*because their ids differ by a decimal point",
        ),
        ("1,a,1577836800\n2,b,1577836801\n", "7,b,1577836800\n", "None of the users"),
        ("1,A,1577836800\n2,B,1577836801\n", "1,b,1577836800\n", "items.*differ in upper and lower case"),
    ],
)
def test_parts_of_a_split_that_do_not_fit_together_are_refused(tmp_path, train, test, message):
    for name, rows in (("train", train), ("test", test)):
        write(tmp_path / f"{name}.csv", "user,item,timestamp\n" + rows)
    with pytest.raises(SDiffError, match=message):
        load_dataset(str(tmp_path))


def test_dates_of_held_out_parts_are_read_like_those_of_train(tmp_path):
    write(tmp_path / "train.csv", "user,item,date\n" + "".join(f"1,i{n},{n}/02/2020\n" for n in range(10, 20)))
    write(tmp_path / "test.csv", "user,item,date\n1,i3,05/02/2020\n")
    assert load_dataset(str(tmp_path)).split.test.timestamps.tolist() == [1580860800.0]


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        (
            '{"user": 1, "item": 2}\n{bad\n{"user": 1, "item": 3},\n',
            "x.jsonl",
            "row 2: it is not valid JSON; row 3: it",
        ),
        ("user,item\n1,a\nUSER,ITEM\n", "x.csv", "row 3: the header is repeated"),
        ("user,item\n1,9.78E+12\n", "x.csv", "rounded by a spreadsheet"),
        ("user,item\n1,7\n2,7.0\n", "x.csv", "is 7.0, but another row has 7"),
        ("user,item\n1,('a', 'b')\n", "x.tsv", "a list or an object"),
        ('user,item\n1,"{a,b}"\n', "x.csv", "a list or an object"),
        ("user,item,time\n1,a,2020-03-29 02:30:00 BST\n", "x.csv", "timestamp is '2020-03-29 02:30:00 BST'"),
        ("user,item,time\n1,a,nonsense\n", "x.csv", "Set their format, as in timestamp_format="),
    ],
)
def test_what_cannot_be_right_is_reported_by_row(tmp_path, text, name, reason):
    with pytest.raises(FaultyRows) as caught:
        read(tmp_path, text.replace(",(", "\t(").replace("user,item\n1\t", "user\titem\n1\t"), name)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("kunde,artikel\n1,7\n2,8\n", {"names": "user,item"}, "has a header, kunde, artikel"),
        ("user~item\n1~2\n", {}, "name it, such as [?]delimiter=~"),
        ("user_id:token\titem_id:token_seq\n1\ta b c\n", {}, "holds lists"),
        ("user,item,time\n1,a,01022020\n2,b,03042020\n", {}, "can be read in several ways"),
    ],
)
def test_tables_that_would_be_read_wrong_are_refused(tmp_path, text, options, message):
    with pytest.raises(SDiffError, match=message):
        read(tmp_path, text, "x.inter" if "token" in text else "x.csv", **options)


def test_days_before_years_may_be_written_without_marks(tmp_path):
    found, report = read(tmp_path, "user,item,time\n1,a,31012020\n1,b,01022020\n")
    assert report.times == "%d%m%Y" and pairs(found) == {"1": ["a", "b"]}


def test_a_few_faulty_dates_at_the_start_do_not_hide_the_format_of_the_others(tmp_path):
    rows = [f"{n},a,{'x' if n < 100 else '13.02.2020'}" for n in range(1000)]
    _, report = read(tmp_path, "user,item,date\n" + "\n".join(rows) + "\n", skip_faulty=True)
    assert (report.faults.count, report.times) == (100, "%d.%m.%Y")


def test_fields_of_objects_in_json_are_columns(tmp_path):
    text = '{"user": {"id": "K1", "land": "DE"}, "product": {"sku": "007"}, "at": {"$date": "2020-01-02"}}\n'
    found, report = read(
        tmp_path, text * 2 + '{"user": {"id": "K2"}, "product": {"sku": "8"}}\n', "x.jsonl", timestamp="-"
    )
    assert pairs(found) == {"K1": ["007"], "K2": ["8"]} and report.columns == {"user": "user.id", "item": "product.sku"}
    assert read(tmp_path, '{"user": 1, "it\\"em": 2}\n', "x.jsonl", item='it"em')[0].items.ids == ("2",)


def test_later_parts_have_the_columns_of_the_first(tmp_path):
    first, second = tmp_path / "part-0.csv", tmp_path / "part-1.csv"
    write(first, "user,item\n1,a\n")
    second.write_bytes(b"\xef\xbb\xbfuser,item\n2,b\n")
    assert pairs(load_dataset(str(tmp_path)).split.train) == {"1": ["a"], "2": ["b"]}
    write(second, "item,user\nb,2\n")
    with pytest.raises(SDiffError, match="other columns"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Größe schön über", "latin-1"),
        ("Crème brûlée à la carte où", "latin-1"),
        ("rødgrød på ål", "latin-1"),
        ("coração não português", "latin-1"),
        ("Žluťoučký kůň", "cp1250"),
        ("zażółć gęślą jaźń", "cp1250"),
        ("árvíztűrő tükörfúrógép", "cp1250"),
        ("Ελληνικά γράμματα", "cp1253"),
        ("שלום עולם", "cp1255"),
    ],
)
def test_the_proposed_encoding_has_the_letters_of_the_language(tmp_path, text, encoding):
    rows = "user,item\n" + "".join(f"{n},{text} {n}\n" for n in range(50))
    path = tmp_path / "x.csv"
    path.write_bytes(rows.encode(encoding if encoding != "latin-1" else "cp1252"))
    with pytest.raises(FaultyRows, match=rf"encoding={encoding}, if .* is right\)\.$"):
        read_interactions(path)


def test_ids_are_stripped_of_any_white_space(tmp_path):
    assert read(tmp_path, "user,item\nu1,a\nu1\u00a0,a\n\ufeffu1,b\nu1\t,c\n")[0].users.ids == ("u1",)


def test_a_stream_of_arrow_data_is_read_once_and_whole():
    pytest.importorskip("pyarrow")
    rows = duckdb.sql("SELECT i % 50 AS user, i AS item, i AS timestamp FROM range(30000) t(i)")
    reader = rows.arrow() if hasattr(rows.arrow(), "read_all") else rows.fetch_record_batch()
    assert len(read_interactions(reader)[0]) == 30_000


def test_columns_of_lists_are_not_proposed_as_items():
    rows = [
        ["1", "U1", "11/11/2019 9:05:58 AM", "N1 N2", "N5-1 N6-0"],
        ["2", "U2", "11/12/2019 9:05:58 AM", "N3 N2", "N5-1 N7-0"],
    ]
    assert suggested_names([*rows, ["3", *rows[1][1:]]]) == ("row", "user", "timestamp", "column4", "column5")
