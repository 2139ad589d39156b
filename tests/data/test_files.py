"""Files of the kinds that people have are read right, or refused with a sentence that says what helps."""

import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import duckdb
import numpy as np
import pytest

from sdiff.base.errors import SDiffError
from sdiff.data.datasets import absolute, frame_dataset, load_dataset, located, relative
from sdiff.data.genres import separated
from sdiff.data.interactions import Vocabulary
from sdiff.data.items import read_items
from sdiff.data.preview import preview
from sdiff.data.readers import read_interactions
from sdiff.data.reading import Reading
from sdiff.data.report import FaultyRows
from sdiff.data.summary import summarize
from tests.data.test_readers import pairs

SKIP = Reading(skip_faulty=True)


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(tmp_path, text, name="x.csv", **options):
    return read_interactions(write(tmp_path / name, text), Reading(**options))


def times(tmp_path, values, **options):
    """The times of one user's rows as ISO dates, in the order of the rows, and the report."""
    rows = "".join(f'{n},a,"{value}"\n' for n, value in enumerate(values))
    found, report = read(tmp_path, "user,item,timestamp\n" + rows, **options)
    order = np.argsort([int(id) for id in found.users.ids])
    return [datetime.fromtimestamp(found.timestamps[n], UTC).isoformat() for n in order], report


def day(n, hour=0):
    return f"2020-01-{n:02}T{hour:02}:00:00+00:00"


# Times


@pytest.mark.parametrize(
    ("values", "read_as"),
    [
        (["2020-01-01T10:00:00+05:00", "2020-01-01T06:00:00Z", "2020-01-01T02:00:00-05:00"], [5, 6, 7]),
        (["2020-01-01 10:00:00+05", "2020-01-01 06:00", "2020-01-01 02:00:00 America/New_York"], [5, 6, 7]),
        (["2020-01-01 05:00:00 UTC", "2020-01-01 06:00:00.000", "2020-01-01T07:00:00.000Z"], [5, 6, 7]),
    ],
)
def test_times_with_offsets_and_zones_are_read_in_utc(tmp_path, values, read_as):
    assert times(tmp_path, values)[0] == [day(1, hour) for hour in read_as]


def test_times_do_not_depend_on_the_time_zone_of_the_machine(tmp_path):
    table = tmp_path / "x.parquet"
    duckdb.sql(f"""
        SET TimeZone = 'UTC';
        COPY (SELECT 1 AS user, i AS item, TIMESTAMPTZ '2020-01-01 00:30:00+00' + to_hours(i) AS ts FROM range(3) t(i))
        TO '{table}' (FORMAT parquet)""")
    script = f"""
from pathlib import Path
from sdiff.data.readers import read_interactions
print(read_interactions(Path({str(table)!r}))[0].timestamps.tolist())"""
    environment = os.environ | {"TZ": "Asia/Kolkata"}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    first = datetime(2020, 1, 1, 0, 30, tzinfo=UTC).timestamp()
    assert run.stdout == f"{[first, first + 3600, first + 7200]}\n", run.stderr


@pytest.mark.parametrize(
    "value", ["2020-01-03 10:00 soon", "2020-01-03T10:00:00 Mars/Base", "2020-01-03 nonsense", "2020-13-03"]
)
def test_nonsense_after_a_date_is_reported(tmp_path, value):
    with pytest.raises(FaultyRows, match=r"1 of 4 rows are invalid: row 4: timestamp is"):
        times(tmp_path, [day(1), day(2), value, day(4)])


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ([1577836800, 1577923200], "seconds"),
        ([1577836800.0, 1577923200.0], "seconds"),
        ([1577836800000, 1577923200000], "milliseconds"),
        ([1577836800000000, 1577923200000000], "microseconds"),
        ([1577836800000000000, 1577923200000000000], "nanoseconds"),
        ([20200101, 20200102], "%Y%m%d"),
        ([20200101000000, 20200102000000], "%Y%m%d%H%M%S"),
        ([202001010000, 202001020000], "%Y%m%d%H%M"),
    ],
)
def test_the_unit_of_numbers_is_recognised_and_told(tmp_path, values, unit):
    found, report = times(tmp_path, values)
    assert found == [day(1), day(2)] and report.times == unit


def test_months_and_years_are_times(tmp_path):
    first = ["2020-01-01T00:00:00+00:00", "2021-01-01T00:00:00+00:00"]
    for values in ([2020, 2021], [202001, 202101], ["2020-01", "2021-01"]):
        assert times(tmp_path, values)[0] == first


@pytest.mark.parametrize(
    ("values", "odd"),
    [
        ([1577836800000, 1577836800, 1577836800001], "the number 1577836800, but most are milliseconds"),
        ([1577836800, 1577836801, 1577836800000], "the number 1577836800000, but most are seconds"),
        ([day(1), day(2), 1577836800], "the number 1577836800, but most are dates"),
        ([1577836800, 1577836801, day(2)], "a date, but most are seconds"),
        ([20200101, 20200102, 0], "the number 0, but most are %Y%m%d"),
        ([1577836800, 1577836801, "1e300"], r"the number 1e\+?300, but most are seconds"),
    ],
)
def test_mixed_units_are_reported_by_row(tmp_path, values, odd):
    with pytest.raises(FaultyRows, match=f"1 of 3 rows are invalid: row .: timestamp is {odd}"):
        times(tmp_path, values)


def test_positions_and_zeros_are_times(tmp_path):
    assert times(tmp_path, [3, 1, 2])[0][0] == "1970-01-01T00:00:03+00:00"
    assert times(tmp_path, [0, 1577836800000])[0] == ["1970-01-01T00:00:00+00:00", day(1)]


@pytest.mark.parametrize(
    "form",
    [
        *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m %d, %Y", "%d/%m/%y", "%Y/%m/%d", "%b %d, %Y", "%d %B %Y"),
        *("%d-%b-%Y", "%m/%d/%Y %I:%M:%S %p", "%d/%m/%Y %H:%M", "%a %b %d %H:%M:%S +0000 %Y", "%d %b %Y, %H:%M"),
        *(
            "%Y-%m-%d %H:%M:%S,000",
            "%a %b %d %H:%M:%S UTC %Y",
            "%a, %d %b %Y %H:%M:%S GMT",
            "%d/%b/%Y:%H:%M:%S +0000",
            "%Y%m%dT%H%M%S",
        ),
    ],
)
def test_the_format_of_dates_is_guessed_from_the_column(tmp_path, form):
    days = range(1, 32)
    assert times(tmp_path, [datetime(2020, 1, n).strftime(form) for n in days])[0] == [day(n) for n in days]


def test_days_and_months_that_can_be_exchanged_are_asked_for(tmp_path):
    dates = ["01/02/2020", "02/01/2020", "03/03/2020"]
    with pytest.raises(SDiffError, match=r"set timestamp_format=%d/%m/%Y or timestamp_format=%m/%d/%Y"):
        times(tmp_path, dates)
    assert times(tmp_path, dates, timestamp_format="%m/%d/%Y")[0][0] == day(2)
    assert times(tmp_path, dates, timestamp_format="%d/%m/%Y")[0][1] == day(2)
    assert times(tmp_path, ["01/01/2020", "02/02/2020"])[1].faults.count == 0, "both readings are the same"
    late = ["01/02/2020"] * 3000 + ["31/12/2020"]
    assert times(tmp_path, late)[1].times == "%d/%m/%Y", "the last row decides"


def test_a_preview_gives_an_example_of_each_way_to_read_the_times(tmp_path):
    path = write(tmp_path / "x.csv", "user,item,day,at\n1,a,05/05/2020,1577836800\n1,b,01/02/2020,1577923200\n")
    start = preview(path, Reading(timestamp="day"))
    ways = {(time.format, time.example, time.meaning) for time in start.times}
    assert ways == {("%d/%m/%Y", "01/02/2020", "1 February 2020"), ("%m/%d/%Y", "01/02/2020", "2 January 2020")}
    assert start.time is None, "it has to be chosen"
    chosen = preview(path, Reading(timestamp="day", timestamp_format="%m/%d/%Y"))
    assert chosen.times == start.times and chosen.time.meaning == "2 January 2020"
    numbers = preview(path, Reading(timestamp="at"))
    assert [numbers.time] == [*numbers.times] and (numbers.time.format, numbers.time.meaning) == (
        "seconds",
        "1 January 2020",
    )
    assert preview(path, Reading(timestamp="-")).times == ()


def test_a_format_or_unit_can_be_set_and_a_wrong_one_is_refused(tmp_path):
    assert times(tmp_path, [20200101], timestamp_format="s")[0] == ["1970-08-22T19:08:21+00:00"]
    path = write(tmp_path / "x.csv", "user,item,ts\n1,a,02|01|2020\n")
    assert load_dataset(f"{path}?timestamp_format=%d|%m|%Y").report.times == "%d|%m|%Y"
    with pytest.raises(SDiffError, match="timestamp_format must be like %d/%m/%Y"):
        times(tmp_path, [1], timestamp_format="%Q")
    with pytest.raises(FaultyRows, match="or leave out the times with timestamp=-"):
        times(tmp_path, ["1"], timestamp_format="%d/%m/%Y")


# Ids


@pytest.mark.parametrize("word", ["NULL", "null", "nan", "NaN", "None", "NA", "<NA>", "\\N", "", " "])
@pytest.mark.parametrize("role", ["user", "item"])
def test_words_for_missing_values_are_not_ids(tmp_path, word, role):
    row = f"{word},a" if role == "user" else f"1,{word}"
    with pytest.raises(FaultyRows, match=rf"1 of 3 rows are invalid: row 3: {role} is"):
        read(tmp_path, f"user,item\n1,a\n{row}\n2,a\n")


def test_missing_numbers_in_parquet_are_missing_ids(tmp_path):
    path = tmp_path / "x.parquet"
    duckdb.sql(f"COPY (SELECT unnest([1, 'nan'::DOUBLE, NULL]) AS user, 'a' AS item) TO '{path}' (FORMAT parquet)")
    found, report = read_interactions(path, SKIP)
    assert found.users.ids == ("1",) and [fault.row for fault in report.faults.first] == [2, 3]


@pytest.mark.parametrize("cell", ["[7, 15]", "['a']", '["a"]', "[7]", "[]", "[[1], [2]]", "{'a': 1}", '{"a": 1}', "{}"])
def test_lists_and_objects_are_not_ids(tmp_path, cell):
    escaped = cell.replace('"', '""')
    with pytest.raises(FaultyRows, match="a list or an object"):
        read(tmp_path, f'user,item\n1,"{escaped}"\n')
    value = json.loads(cell.replace("'", '"'))
    with pytest.raises(
        SDiffError, match="its columns are item.a, user" if value == {"a": 1} else "a list or an object"
    ):
        read(tmp_path, json.dumps({"user": 1, "item": value}), "x.jsonl")


def test_nested_columns_of_parquet_are_not_ids(tmp_path):
    path = tmp_path / "x.parquet"
    for value in ("['a', 'b']", "{'a': 1}", "MAP {'a': 1}"):
        duckdb.sql(f"COPY (SELECT 1 AS user, {value} AS item) TO '{path}' (FORMAT parquet)")
        with pytest.raises(FaultyRows, match="a list or an object"):
            read_interactions(path)


def test_titles_and_keys_in_brackets_are_ids(tmp_path):
    ids = ("[REC]", "[PROTOTYPE 2]", "{6f9619ff-8b86}")
    assert read(tmp_path, "user,item\n" + "".join(f"1,{id}\n" for id in ids))[0].items.ids == tuple(sorted(ids))


def test_a_header_repeated_in_the_file_is_reported(tmp_path):
    text = "User,Item,rating\n1,a,1\nUser,Item,rating\n2,b,1\n"
    with pytest.raises(FaultyRows, match="row 3: user is the name of the column"):
        read(tmp_path, text)
    assert pairs(read(tmp_path, text, skip_faulty=True)[0]) == {"1": ["a"], "2": ["b"]}


# Quotation marks


@pytest.mark.parametrize("row", ['9,"z,4', '"9,z,4', '9,z,"4', '9,"z"y,4'])
@pytest.mark.parametrize("quoted", [False, True], ids=["plain", "all quoted"])
def test_a_stray_quotation_mark_costs_one_row(tmp_path, row, quoted):
    cells = '"{}","i{}","5"\n' if quoted else "{},i{},5\n"
    lines = ["user,item,rating\n", *(cells.format(n, n) for n in range(3000))]
    lines[1500] = row + "\n"
    lines[2500] = row + "\n"
    found, report = read(tmp_path, "".join(lines), skip_faulty=True)
    assert len(found) == 2998 and report.rows == 3000
    assert [str(fault) for fault in report.faults.first] == [
        f"row {n}: a quotation mark is not closed or is inside a value" for n in (1501, 2501)
    ]


def test_a_quotation_mark_that_closes_much_later_hides_no_rows(tmp_path):
    rows = [f"{n},i{n},5\n" for n in range(500)]
    rows[10], rows[400] = '10,"i10,5\n', '400,i400",5\n'
    found, report = read(tmp_path, "user,item,rating\n" + "".join(rows), skip_faulty=True)
    assert len(found) == 499 and [fault.row for fault in report.faults.first] == [12]
    assert "400" in found.users.ids


def test_text_of_several_lines_is_one_value(tmp_path):
    text = 'user,item,review\n1,a,"good\n\nbut ""long"""\n2,b,"x\ny"\n3,"c,z\n4,d,fine\n'
    found, report = read(tmp_path, text, skip_faulty=True)
    assert pairs(found) == {"1": ["a"], "2": ["b"], "4": ["d"]}
    assert [str(fault) for fault in report.faults.first] == [
        "row 4: a quotation mark is not closed or is inside a value"  # the rows before it have several lines
    ]


@pytest.mark.parametrize("delimiter", ["\t", "|", ";", ","])
def test_quoted_values_lose_their_marks_under_any_delimiter(tmp_path, delimiter):
    text = f"user{delimiter}item\n" + "".join(f'"u{n}"{delimiter}"a"\n' for n in range(3))
    assert pairs(read(tmp_path, text)[0]) == {"u0": ["a"], "u1": ["a"], "u2": ["a"]}


def test_marks_that_belong_to_a_value_are_kept(tmp_path):
    text = 'user\titem\n1\t"Weird Al" Yankovic\n2\tDead "Can" Dance\n3\t5" disk\n'
    assert set(read(tmp_path, text)[0].items.ids) == {'"Weird Al" Yankovic', 'Dead "Can" Dance', '5" disk'}


def test_backslashes_may_precede_quotation_marks(tmp_path):
    text = 'user;item\n"1";"the \\"best\\" of"\n"2";"b"\n'
    assert set(read(tmp_path, text)[0].items.ids) == {'the "best" of', "b"}


# Formats, names and encodings


@pytest.mark.parametrize(
    "text",
    [
        ",user,item\n0,1,a\n1,2,b\n",
        "user,item,\n1,a,\n2,b,\n",
        "user,item\n1,a,\n2,b,\n",
        "user,item,\n1,a\n2,b\n",
        '"user" "item"\n"1" "1" "a"\n"2" "2" "b"\n',  # as by R's write.table
        "user item\n1 a\n2 b\n",
        "user   item\n1      a\n2      b\n",
        "user\t\titem\n1\ta\n2\t\t\tb\n",
        "user,item\r\n1,a\r\n2,b\n",
        "user,item\n1,a\r\n2,b\n",
        "user,item\r1,a\r2,b\r",
        "\n \nuser,item\n\n1,a\n\n2,b\n\n",
        "sep=;\nuser;item\n1;a\n2;b\n",
    ],
)
def test_small_irregularities_do_not_matter(tmp_path, text):
    assert pairs(read(tmp_path, text, "x.txt")[0]) == {"1": ["a"], "2": ["b"]}


def test_a_recbole_file_may_be_separated_by_commas(tmp_path):
    text = "user_id:token,item_id:token\n1,a\n2,b\n"
    assert pairs(read(tmp_path, text, "x.inter")[0]) == {"1": ["a"], "2": ["b"]}


def test_a_delimiter_can_be_written_as_an_escape():
    assert Reading.parse("delimiter=\\t").delimiter == "\t" == Reading(delimiter="\t").delimiter


@pytest.mark.parametrize("encoding", ["cp1252", "latin1", "ISO-8859-1", "utf8", "cp1251", "gbk", "utf-16", "utf-16-le"])
def test_any_encoding_of_python_can_be_named(tmp_path, encoding):
    name = {"gbk": "中文", "cp1251": "Кино"}.get(encoding, "Amélie")
    found, _ = read(tmp_path, f"user,item\n1,{name}\n".encode(encoding), encoding=encoding)
    assert found.items.ids == (name,)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_recognised_without_a_byte_order_mark(tmp_path, encoding):
    assert read(tmp_path, "user,item\n1,é\n".encode(encoding))[0].items.ids == ("é",)


FILMS = {
    "cp1252": "L’été meurtrier, Amélie, Les Misérables, Così fan tutte, Señora – ¡Ay, Carmela!, Über Straße",
    "gb18030": "让子弹飞 霸王别姬 大话西游 活着 无间道 卧虎藏龙 英雄 花样年华 红高粱 一个都不能少 功夫 疯狂的石头",
    "cp1251": "Ирония судьбы, Бриллиантовая рука, Служебный роман, Иван Васильевич меняет профессию, Москва слезам",
    "shift_jis": "千と千尋の神隠し もののけ姫 となりのトトロ 七人の侍 東京物語 おくりびと そして父になる",
}


@pytest.mark.parametrize("encoding", FILMS)
def test_the_likely_encoding_is_proposed(tmp_path, encoding):
    rows = "".join(f"{n},{name}\n" for n, name in enumerate(FILMS[encoding].replace(",", "").split()))
    path = write(tmp_path / "x.csv", ("user,item\n" + rows).encode(encoding))
    with pytest.raises(FaultyRows, match=f"encoding={encoding}"):
        read_interactions(path)
    assert preview(path).proposed_encoding == encoding


def test_an_encoding_that_does_not_fit_is_reported(tmp_path):
    with pytest.raises(SDiffError, match="encoding"):
        read(tmp_path, "user,item\n1,é\n2,b\n".encode("latin-1"), encoding="gbk", skip_faulty=False)
    with pytest.raises(SDiffError, match="no encoding 'base64'"):
        read(tmp_path, "user,item\n1,b\n", encoding="base64")


@pytest.mark.parametrize("name", ["g[1].csv", "a*b.csv", "what?.csv", "[x]/y.csv", "g[1].parquet", "g[1].jsonl"])
def test_names_of_files_are_not_patterns(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    for other, item in ((tmp_path / "g1.csv", "wrong"), (path, "right")):
        if other.suffix == ".parquet":
            duckdb.sql(f"COPY (SELECT 1 AS user, '{item}' AS item) TO '{tmp_path / 'x'}' (FORMAT parquet)")
            (tmp_path / "x").rename(other)
        else:
            write(other, f'{{"user": 1, "item": "{item}"}}' if other.suffix == ".jsonl" else f"user,item\n1,{item}\n")
    assert load_dataset(str(path)).split.items.ids == ("right",)
    assert load_dataset(f"{path}?core=1").split.items.ids == ("right",)


@pytest.mark.parametrize(
    ("name", "start", "advice"),
    [
        ("x.csv.zst", b"\x28\xb5\x2f\xfd", "zstd: unpack it"),
        ("x.csv.bz2", b"BZh91AY", "bzip2: unpack it"),
        ("x.csv.xz", b"\xfd7zXZ\x00", "xz: unpack it"),
        ("x.7z", b"7z\xbc\xaf\x27\x1c", "extract the table"),
        ("x.tar.gz", gzip.compress(b"x.csv".ljust(257, b"\0") + b"ustar" + bytes(300), mtime=0), "extract the table"),
        ("x.tar", b"x.csv".ljust(257, b"\0") + b"ustar" + bytes(300), "extract the table"),
    ],
)
def test_other_compressed_files_are_refused_with_advice(tmp_path, name, start, advice):
    with pytest.raises(SDiffError, match=advice):
        read(tmp_path, start if name.endswith(".tar.gz") else start + b"\1" * 50, name)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_preview_reads_only_the_start(tmp_path, suffix):
    header, row = ("user,item\n", "{0},{0}\n") if suffix == "csv" else ("", '{{"user": {0}, "item": {0}}}\n')
    packed = gzip.compress((header + "".join(map(row.format, range(20_000)))).encode())
    found = preview(write(tmp_path / f"x.{suffix}.gz", packed[:-8]))  # without its end
    assert found.roles == {"user": "user", "item": "item"} and len(found.rows) == 6


OBJECTS = [{"user": 1, "item": "a"}, {"user": 2, "item": "b"}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.json", json.dumps(OBJECTS)),
        ("x.json", json.dumps(OBJECTS, indent=2)),
        ("x.json", "\n".join(json.dumps(each, indent=1) for each in OBJECTS)),
        ("x.json", "".join(map(json.dumps, OBJECTS))),
        ("x.json", "\ufeff" + "\n".join(map(json.dumps, OBJECTS))),
        ("x.txt", "\n".join(map(json.dumps, OBJECTS))),
        ("x.json", "user,item\n1,a\n2,b\n"),
    ],
)
def test_json_is_read_in_any_arrangement(tmp_path, name, text):
    assert pairs(read(tmp_path, text, name)[0]) == {"1": ["a"], "2": ["b"]}


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("{'user': 1, 'item': 'a'}\n", "Python dictionaries, not JSON"),
        ('{"user": {"0": 1}, "item": {"0": 2}}', "its columns are item.0, user.0"),
        ("[1, 2]", "no JSON objects"),
        ('[{"user": 1, "item": 2}, {"user"', "not valid JSON"),
    ],
)
def test_other_json_is_refused_in_a_sentence(tmp_path, text, advice):
    with pytest.raises(SDiffError, match=advice) as caught:
        read(tmp_path, text, "x.json")
    assert "ignore_errors" not in str(caught.value)


# Columns


@pytest.mark.parametrize(
    ("header", "roles"),
    [
        ("customer_id,order_id,sku,quantity,bought_at", ("customer_id", "sku", "quantity", "bought_at")),
        ("User-ID,ISBN,Book-Rating", ("User-ID", "ISBN", "Book-Rating", None)),
        ("reviewerID,asin,overall,unixReviewTime", ("reviewerID", "asin", "overall", "unixReviewTime")),
        ("visitorid,itemid,event,timestamp", ("visitorid", "itemid", None, "timestamp")),
        ("t_dat,customer_id,article_id,price", ("customer_id", "article_id", None, "t_dat")),
        ("user_id,business_id,stars,date", ("user_id", "business_id", "stars", "date")),
        ("user_id,book_id,is_read,rating", ("user_id", "book_id", "rating", None)),
        ("user_id,song_id,listen_count", ("user_id", "song_id", "listen_count", None)),
        ("CustomerID,StockCode,Description,InvoiceDate", ("CustomerID", "StockCode", None, "InvoiceDate")),
        ("user_name,product_name,score", ("user_name", "product_name", "score", None)),
        ("household_key,product_id,quantity,day", ("household_key", "product_id", "quantity", "day")),
        ("Email,Lineitem name,Lineitem sku,Created at", ("Email", "Lineitem sku", None, "Created at")),
        ("Member_number,Date,itemDescription", ("Member_number", "itemDescription", None, "Date")),
        ("endTime,artistName,trackName,msPlayed,username", ("username", "trackName", "msPlayed", "endTime")),
    ],
)
def test_columns_of_shops_and_logs_are_recognised(tmp_path, header, roles):
    path = write(tmp_path / "x.csv", header + "\n" + ",".join("1" for _ in header.split(",")) + "\n")
    found = preview(path).roles
    names = zip(("user", "item", "rating", "timestamp"), roles, strict=True)
    assert found == {role: name.lower() for role, name in names if name}


@pytest.mark.parametrize("value", ["", "True", "4,5", "5 stars", "good"])
def test_ratings_that_nobody_asked_for_refuse_nothing(tmp_path, value):
    text = f'user,item,rating\n1,a,"{value}"\n'
    assert read(tmp_path, text)[1].faults.count == 0
    if value in ("4,5", "True"):
        assert read(tmp_path, text, min_rating=1)[1].faults.count == 0
        assert read(tmp_path, text + "2,a,0\n3,a,9\n", min_rating=5)[1].below_rating == 2
    else:
        with pytest.raises(FaultyRows, match="not a number"):
            read(tmp_path, text, min_rating=1)


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ("1,7,3,1577840400", "user,item,rating,timestamp"),
        ("1 7 3 1577840400", "user,item,rating,timestamp"),
        ("u1\ti7\t2020-01-01", "user,item,timestamp"),
        ("17,42", "user,item"),
        ("5::5::5::1577840400", "user,item,rating,timestamp"),
    ],
)
def test_a_file_without_a_header_loses_no_row(tmp_path, row, names):
    path = write(tmp_path / "x.txt", f"{row}\n{row}\n")
    with pytest.raises(SDiffError, match=rf"no header.*names={names}\."):
        read_interactions(path)
    assert preview(path).names == tuple(names.split(","))
    assert load_dataset(f"{path}?names={names}").report.rows == 2


def test_a_column_that_counts_the_rows_is_not_the_user(tmp_path):
    path = write(tmp_path / "x.csv", "".join(f"{n},u{n % 2},i{n}\n" for n in range(5)))
    assert preview(path).names == ("row", "user", "item")


def test_names_for_a_file_with_a_header_are_refused(tmp_path):
    with pytest.raises(SDiffError, match="has a header, User-ID, ISBN: leave out names"):
        read(tmp_path, "User-ID,ISBN\n1,a\n", names="user,item")


def test_rows_are_numbered_as_in_the_file(tmp_path):
    text = "\n\nsep=;\nuser;item\n1;a\n;b\n3;c;x\n4;d\nNULL;e\n"
    assert [fault.row for fault in read(tmp_path, text, skip_faulty=True)[1].faults.first] == [6, 7, 9]


# Items


def folder(tmp_path, ids, items):
    write(tmp_path / "interactions.csv", "user,item\n" + "".join(f"{n},{id}\n" for n, id in enumerate(ids)))
    write(tmp_path / "items.csv", items)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("ids", "cause"),
    [
        (("007", "008"), "leading zeros"),
        (("7.0", "8.0"), "a decimal point"),
        (("A7", "A8"), "upper and lower case"),
        (("x-y", "z"), "its ids differ"),
    ],
)
def test_an_items_table_without_any_of_the_items_is_refused_with_the_cause(tmp_path, ids, cause):
    key = folder(tmp_path, ids, "item,title\n7,Heat\n8,Up\na7,Heat\na8,Up\n")
    with pytest.raises(SDiffError, match=f"0 of 2 items have a title in .*{cause}"):
        load_dataset(key)
    assert load_dataset(f"{key}?items=-").items.titles is None


def test_the_summary_says_how_many_items_have_a_title(tmp_path):
    dataset = load_dataset(folder(tmp_path, "abc", "item,title\na,Heat\nb,Up\n"))
    assert summarize(dataset).titles == "2 of 3 items have a title (item: item, title: title)"


def test_faulty_rows_of_the_items_table_are_reported_and_can_be_skipped(tmp_path):
    key = folder(tmp_path, "abc", b"item,title\na,Am\xe9lie\nb,Up,1\n,None\nc,Heat\n")
    with pytest.raises(FaultyRows, match=r"3 of 4 rows .* row 2: it is not in UTF-8 .*items_encoding=latin-1"):
        load_dataset(key)
    dataset = load_dataset(f"{key}?skip_faulty=true")
    assert [fault.row for fault in dataset.items.titles.faults.first] == [2, 3, 4]
    assert summarize(dataset).left_out["invalid, of items"] == 3


def test_the_items_table_has_its_own_options(tmp_path):
    key = folder(tmp_path, "ab", "b;Amélie\na;Heat\n".encode("latin-1"))
    options = "items_names=number,title&items_id=number&items_delimiter=;&items_encoding=latin-1"
    assert load_dataset(f"{key}?{options}").items.title == ["Heat", "Amélie"]
    with pytest.raises(SDiffError, match="no column code: its columns are number, title"):
        load_dataset(f"{key}?items_names=number,title&items_delimiter=;&items_id=code&items_encoding=latin-1")


def test_the_columns_of_the_items_table_can_be_named_or_left_out(tmp_path):
    key = folder(tmp_path, "ab", "code,label,kind,title,genres,year\na,Heat,Crime,x,y,1\nb,Up,Family,x,y,2\n")
    options = "items_id=code&items_title=Label&items_genres=kind&items_year=-"
    items = load_dataset(f"{key}?{options}").items
    assert items.title == ["Heat", "Up"] and items.genres == ["Crime", "Family"] and items.year == [0, 0]
    assert set(items.extra) == {"title", "genres", "year"}
    with pytest.raises(SDiffError, match=r"items.csv has no column name: its columns are code, label"):
        load_dataset(f"{key}?items_id=code&items_title=name")


LOG = (
    "customer_id,sku,product_name,category,review\n"
    "1,a,Watering can,Garden,fine\n2,a,Watering can,Garden,poor\n1,b,Whisk (2019),Kitchen,ok\n2,b,,Kitchen,bad\n"
)


def test_columns_of_the_interactions_describe_the_items(tmp_path):
    path = write(tmp_path / "x.csv", LOG)
    items = load_dataset(str(path)).items
    assert (
        items.title == ["Watering can", "Whisk"] and items.genres == ["Garden", "Kitchen"] and items.year == [0, 2019]
    )
    assert items.extra == {} and items.titles.columns == {"item": "sku", "title": "product_name", "genres": "category"}
    assert load_dataset(f"{path}?items=-").items.title == ["Item a", "Item b"]
    assert load_dataset(f"{path}?items_title=-").items.genres == ["Garden", "Kitchen"]
    assert load_dataset(f"{path}?items_title=review").items.title == ["fine", "ok"], "a named column is used"
    other = write(tmp_path / "titles.csv", "item,title\na,Can\n")
    assert load_dataset(f"{path}?items={other}").items.title == ["Can", "Item b"], "a table of items comes first"


def test_a_column_that_differs_between_the_rows_of_an_item_is_not_its_title(tmp_path):
    rows = "".join(f"{u},{i},Opinion {u} on {i}\n" for u in range(4) for i in range(3))  # as of reviews
    items = load_dataset(str(write(tmp_path / "x.csv", "user_id,asin,title\n" + rows))).items
    assert items.titles is None and items.title[0] == "Item 0"


def test_an_item_column_of_names_holds_the_titles(tmp_path):
    rows = "".join(f"{u},{name}\n" for u in range(3) for name in ("milk", "rolls"))
    items = load_dataset(str(write(tmp_path / "x.csv", "Member_number,itemDescription\n" + rows))).items
    assert items.title == ["milk", "rolls"]


@pytest.mark.parametrize(
    ("texts", "genres"),
    [
        (["Drama, War", "War"], ["Drama|War", "War"]),
        (["['Drama', \"Children's\"]", "[]"], ["Drama|Children's", ""]),
        (['["Drama", "War"]'], ["Drama|War"]),
        (["[Drama, War]"], ["Drama|War"]),
        (["[{'id': 18, 'name': 'Drama'}, {'id': 10752, 'name': 'War'}]"], ["Drama|War"]),
        (["Drama;War"], ["Drama|War"]),
        (["Drama|Sci-Fi, Fantasy"], ["Drama|Sci-Fi, Fantasy"]),
        (["Film-Noir"], ["Film-Noir"]),
        (["Science Fiction", ""], ["Science Fiction", ""]),
    ],
)
def test_genres_are_separated_however_they_are_written(texts, genres):
    assert separated(texts) == genres


def test_recbole_separates_genres_by_blanks(tmp_path):
    text = "item_id:token\tmovie_title:token_seq\tclass:token_seq\n1\tToy Story\tAnimation Children's Comedy\n"
    items = read_items(write(tmp_path / "x.item", text), Vocabulary(("1",)))
    assert items.title == ["Toy Story"] and items.genres == ["Animation|Children's|Comedy"]


# Folders and frames


def as_table(rows, suffix, path):
    if suffix == ".parquet":
        values = ", ".join(f"('{u}', '{i}')" for u, i in rows)
        duckdb.sql(f"COPY (SELECT * FROM (VALUES {values}) t(user_id, item_id)) TO '{path}' (FORMAT parquet)")
    else:
        delimiter, of = ("\t", ":token") if suffix == ".inter" else (",", "")
        write(path, "".join(f"{u}{delimiter}{i}\n" for u, i in [(f"user_id{of}", f"item_id{of}"), *rows]))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".inter"])
@pytest.mark.parametrize("names", [("train", "valid", "test"), ("ml.train", "ml.validation", "ml.test")])
def test_a_folder_with_the_parts_of_a_split_is_that_split(tmp_path, suffix, names):
    parts = [("1", "a"), ("1", "b"), ("2", "a")], [("1", "c")], [("1", "d"), ("2", "b")]
    for name, rows in zip(names, parts, strict=True):
        as_table(rows, suffix, tmp_path / f"{name}{suffix}")
    split = load_dataset(str(tmp_path)).split
    found = [
        {(u, i) for u, items in pairs(part).items() for i in items} for part in (split.train, split.valid, split.test)
    ]
    assert found == [set(rows) for rows in parts]
    with pytest.raises(SDiffError, match="contains a split"):
        load_dataset(f"{tmp_path}?core=2")


def test_a_folder_with_lists_is_a_split(tmp_path):
    write(tmp_path / "train.txt", "0 3 1 2\n1 0 2\n")
    write(tmp_path / "test.txt", "0 0\n1 1\n")
    split = load_dataset(str(tmp_path)).split
    assert pairs(split.test) == {"0": ["0"], "1": ["1"]} and len(split.train) + len(split.valid) == 5


@pytest.mark.parametrize("lists", [True, False], ids=["lists", "tables"])
def test_held_out_pairs_that_are_in_train_are_dropped_and_told(tmp_path, lists):
    if lists:
        write(tmp_path / "train.txt", "0 1 2 3\n1 2 3 0\n")
        write(tmp_path / "test.txt", "0 1 0\n1 2\n")
    else:
        write(tmp_path / "train.csv", "user,item\n0,1\n0,2\n0,3\n1,2\n1,3\n1,0\n")
        write(tmp_path / "test.csv", "user,item\n0,1\n0,0\n1,2\n")
    dataset = load_dataset(str(tmp_path))
    assert {user: items for user, items in pairs(dataset.split.test).items() if items} == {"0": ["0"]}
    assert summarize(dataset).left_out["held out, but in train"] == 2


def test_lists_with_a_huge_index_are_refused(tmp_path):
    write(tmp_path / "train.txt", "0 1 2\n1 9999999999\n")
    write(tmp_path / "test.txt", "0 3\n")
    with pytest.raises(SDiffError, match="largest index is 9,999,999,999"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json", ".csv.gz"])
def test_a_folder_of_parts_is_one_table(tmp_path, suffix):
    write(tmp_path / "_SUCCESS", "")
    for n, rows in enumerate([[("1", "a"), ("1", "b")], [("2", "a")]]):
        path = tmp_path / f"part-0000{n}-c0ffee{suffix}"
        if suffix == ".json":
            write(path, "".join(json.dumps({"user_id": u, "item_id": i}) + "\n" for u, i in rows))
        else:
            as_table(rows, suffix, path)
        if suffix == ".csv.gz":
            write(path, gzip.compress(path.read_bytes()))
    assert pairs(read_interactions(tuple(sorted(tmp_path.glob("part-*"))))[0]) == {"1": ["a", "b"], "2": ["a"]}
    assert load_dataset(str(tmp_path)).report.rows == 3


def test_a_data_frame_is_read_like_a_file_with_the_same_checks():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"customer_id": [1, 1, 2, None], "sku": list("abac"), "time": pandas.to_datetime(["2020"] * 4)}
    )
    with pytest.raises(FaultyRows, match=r"The data frame: 1 of 4 rows are invalid: row 4: user is empty"):
        frame_dataset(frame)
    titles = pandas.DataFrame({"sku": ["a", "b"], "product_name": ["Heat", "Up"]})
    dataset = frame_dataset(frame, SKIP, titles)
    assert dataset.items.title[:2] == ["Heat", "Up"] and len(dataset.split.users) == 2
    assert dataset.report.rows == 4 and dataset.report.faults.count == 1


def test_a_data_frame_may_come_from_any_library_with_the_arrow_interface():
    relation = duckdb.sql("SELECT unnest(['1', '2']) AS user, 'a' AS item")

    class Frame:
        def __arrow_c_stream__(self, schema=None):
            return relation.__arrow_c_stream__(schema)

    assert frame_dataset(Frame()).split.users.ids == ("1", "2")
    for other in (3, None, {"user": [1], "item": [2]}):
        with pytest.raises(SDiffError, match="the path of a table or a data frame"):
            frame_dataset(other)


def test_ids_of_a_frame_with_gaps_are_whole_numbers(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"user": [1, None, 2**53], "item": [1.5, 2, 3]})
    assert frame["user"].dtype == "float64"
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT * FROM frame) TO '{tmp_path / 'x.parquet'}'")
    for origin in (frame, tmp_path / "x.parquet"):
        found, _ = read_interactions(origin, SKIP)
        assert found.users.ids == ("1", str(2**53)) and {*found.items.ids} == {"3", "1.5"}


def test_a_frame_of_polars_is_read_without_pyarrow():
    script = """
import sys
sys.modules["pyarrow"] = None
import polars
from sdiff.data.frames import read_frame
print(read_frame(polars.DataFrame({"user": [1, 2], "item": ["a", "b"]}))[0].items.ids)"""
    pytest.importorskip("polars")
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout == "('a', 'b')\n", run.stderr


def test_the_key_of_a_file_can_be_used_in_another_folder(tmp_path, monkeypatch):
    folder(tmp_path, "ab", "item,title\na,Heat\n")
    monkeypatch.chdir(tmp_path)
    key = absolute("interactions.csv?items=items.csv&core=1")
    monkeypatch.chdir("/")
    assert load_dataset(key).items.title == ["Heat", "Item b"]
    assert absolute("demo") == "demo" and absolute("hf:a/b?core=2") == "hf:a/b?core=2"


@pytest.mark.parametrize("name", ["log.csv", "what?.csv", "a folder"])
def test_a_checkpoint_and_its_data_can_be_moved_together(tmp_path, monkeypatch, name):
    project = tmp_path / "project"
    (project / "runs" / "one").mkdir(parents=True)
    table = project / name if "." in name else project / name / "interactions.csv"
    table.parent.mkdir(exist_ok=True)
    write(table, "user,item\n1,a\n2,b\n")
    write(project / "titles.csv", "item,title\na,Heat\n")
    monkeypatch.chdir(project)
    stored = relative(absolute(f"{name}?items=titles.csv"), project / "runs" / "one")
    assert str(tmp_path) not in stored
    project.rename(tmp_path / "elsewhere")
    monkeypatch.chdir("/")
    assert load_dataset(located(stored, tmp_path / "elsewhere" / "runs" / "one")).items.title == ["Heat", "Item b"]


def test_the_data_of_a_checkpoint_are_also_found_by_name_in_the_folder_of_data_sets(tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    table = write(tmp_path / "log.csv", "user,item\n1,a\n2,b\n")
    stored = relative(f"{table}?core=1", tmp_path / "runs" / "one")
    table.rename(tmp_path / "data" / "log.csv")
    assert load_dataset(located(stored, tmp_path / "runs" / "one")).key == f"{tmp_path}/data/log.csv?core=1"
    (tmp_path / "data" / "log.csv").unlink()
    assert located(stored, tmp_path / "runs" / "one") == f"{table}?core=1", "where it should be"


@pytest.mark.parametrize("key", ["demo", "frame", "hf:a/b?core=2", "own:0123456789abcdef/log?user=x", "gone.csv"])
def test_other_keys_are_the_same_in_a_checkpoint(tmp_path, key):
    assert relative(key, tmp_path) == key == located(key, tmp_path)
