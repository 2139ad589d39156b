"""How text files are written: encodings, quotation marks, comments, headers, parts. No row is lost without a word."""

import gzip
from contextlib import contextmanager
from pathlib import Path

import pytest

from sdiff.base.errors import SDiffError
from sdiff.data.datasets import load_dataset
from sdiff.data.interactions import Vocabulary
from sdiff.data.items import read_items
from sdiff.data.preview import preview
from sdiff.data.readers import read_interactions
from sdiff.data.reading import Reading
from sdiff.data.report import FaultyRows
from sdiff.data.tables import files as sources
from sdiff.data.tables.faults import KEPT
from sdiff.data.tables.files import HEAD, TableFiles
from tests.data.test_files import read, write
from tests.data.test_readers import pairs

# Encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("shift", range(4))
def test_a_character_that_is_cut_at_the_end_of_the_head_is_no_fault(tmp_path, encoding, shift):
    start = "user,item\n" + "x" * shift + "1,aa\n"
    text = start + "é𝄞,b\n" * (HEAD // 4)
    path = write(tmp_path / "x.csv", text.encode(encoding))
    assert preview(path).proposed_encoding == ""
    assert "é𝄞" in read_interactions(path)[0].users


def test_a_replacement_character_in_the_file_is_a_character(tmp_path):
    for encoding in ("utf-8", "utf-16"):
        path = write(tmp_path / "x.csv", "user,item\n1,Am\ufffdlie\n1,Élan\n".encode(encoding))
        assert preview(path).proposed_encoding == "" and preview(path).rows[1] == ["1", "Élan"]
        assert set(read_interactions(path)[0].items.ids) == {"Am\ufffdlie", "Élan"}


def test_utf_8_is_proposed_if_another_encoding_was_named_by_mistake(tmp_path):
    path = write(tmp_path / "x.csv", "user,item\n1,Анна\n".encode())
    assert preview(path, Reading(encoding="cp1252")).proposed_encoding == "utf-8"
    with pytest.raises(FaultyRows, match="set the encoding of the file, such as encoding=utf-8"):
        read_interactions(path, Reading(encoding="cp1252"))


@pytest.mark.parametrize("name", ["RATINGS.CSV.GZ", "ratings.csv.Gz", "LOG.JSONL.GZ"])
def test_the_case_of_a_suffix_does_not_matter(tmp_path, name):
    text = '{"user": 1, "item": "a"}\n' if "JSON" in name else "user,item\n1,a\n"
    path = write(tmp_path / name, gzip.compress(text.encode()))
    assert pairs(read_interactions(path)[0]) == {"1": ["a"]} and {*preview(path).columns} == {"user", "item"}


# Quotation marks


@pytest.mark.parametrize(
    ("header", "row", "lost"),
    [
        ("user,item,rating", "{n},a,{mark}5", 1),
        ("user,item,timestamp", "{n},a,{mark}5", 2),
        ("user,item,product_name", "{n},a,{mark}Heat", 1),
        ("user,item,category,review", "{n},a,{mark}Heat,fine", 1),
    ],
)
def test_a_stray_mark_in_any_column_with_a_role_costs_no_other_rows(tmp_path, header, row, lost):
    """The mark of the second row would close the value that the first one opens."""
    rows = [row.format(n=n, mark='"' if n == 1 else "") for n in range(5)]
    rows[3] = rows[3] + '"' if "review" not in header else rows[3].replace(",fine", '",fine')
    found, report = read(tmp_path, header + "\n" + "\n".join(rows) + "\n", skip_faulty=True)
    assert report.rows == 5 and report.faults.count == lost and len(found) == 5 - lost
    assert str(report.faults.first[0]) == "row 3: a quotation mark is not closed or is inside a value"


def test_a_stray_mark_in_a_title_costs_no_other_titles(tmp_path):
    path = write(tmp_path / "items.csv", 'item,title\n1,"Heat\n2,Up\n3,Brazil"\n4,Alien\n')
    items = Vocabulary(tuple("1234"))
    with pytest.raises(FaultyRows, match="1 of 4 rows are invalid: row 2: a quotation mark"):
        read_items(path, items)
    assert read_items(path, items, skip_faulty=True).title == ["Item 1", "Up", 'Brazil"', "Alien"]


def test_descriptions_may_have_several_lines(tmp_path):
    text = 'user,item,description\n1,a,"good\n\nand ""long"""\n2,b,short\n'
    assert read(tmp_path, text)[1].faults.count == 0
    path = write(tmp_path / "items.csv", 'item,title,description\na,Heat,"one\ntwo"\nb,Up,"x"\n')
    assert read_items(path, Vocabulary(("a", "b"))).extra == {"description": ["one\ntwo", "x"]}


@pytest.mark.parametrize("delimiter", ["\t", "|"])
def test_a_quoted_value_far_down_loses_its_marks(tmp_path, delimiter):
    rows = "".join(f"{n}{delimiter}a\n" for n in range(149))
    for value, item in (('"say ""hi"""', 'say "hi"'), (f'"a{delimiter}b"', f"a{delimiter}b")):
        found, _ = read(tmp_path, f"user{delimiter}item\n{rows}7000{delimiter}{value}\n")
        assert set(found.items.ids) == {"a", item}


def test_a_backslash_far_down_precedes_a_quotation_mark(tmp_path):
    rows = "".join(f'"{n}","a"\n' for n in range(149))
    assert 'a "b" c' in read(tmp_path, f'user,item\n{rows}"7","a \\"b\\" c"\n')[0].items


def test_a_backslash_before_a_doubled_mark_is_a_character(tmp_path):
    text = 'user,item\n1,"he said \\""hi\\"""\n2,"say ""x"""\n'
    assert set(read(tmp_path, text)[0].items.ids) == {'he said \\"hi\\"', 'say "x"'}


# Comments and headers


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("# user,item\n1,a\n,b\n", 3),
        ("#user,item\n1,a\n,b\n", 3),
        ("# made by hand\n#\n# user,item\n1,a\n,b\n", 5),
        ("% a log\n\nuser,item\n1,a\n,b\n", 5),
        ("sep=;\n# a log, of today\nuser;item\n1;a\n;b\n", 5),
    ],
)
def test_comments_before_the_table_are_skipped_unless_they_are_the_header(tmp_path, text, row):
    found, report = read(tmp_path, text, skip_faulty=True)
    assert pairs(found) == {"1": ["a"]} and [fault.row for fault in report.faults.first] == [row]


def test_a_network_of_konect_is_read_without_its_comments(tmp_path):
    rows = "1 1 5 1577836800\n1 2 4 1577836900\n2 1 3 1577837000\n"
    path = write(tmp_path / "out.txt", f"% bip weighted\n% 3 2 3\n{rows}")
    with pytest.raises(SDiffError, match="names=user,item,rating,timestamp"):
        read_interactions(path)
    found, report = read_interactions(path, Reading(names="user,item,rating,timestamp"))
    assert pairs(found) == {"1": ["1", "2"], "2": ["1"]} and report.rows == 3


def test_a_comment_is_no_row_of_a_file_whose_columns_are_named(tmp_path):
    text = "# Nodes: 3 Edges: 2\n# FromNodeId\tToNodeId\n0\t1\n0\t2\n"
    assert pairs(read(tmp_path, text, names="user,item")[0]) == {"0": ["1", "2"]}
    assert pairs(read(tmp_path, text, user="FromNodeId", item="ToNodeId")[0]) == {"0": ["1", "2"]}
    assert pairs(read(tmp_path, "#1 hit,u\n2,u\n", names="item,user")[0]) == {"u": ["#1 hit", "2"]}


@pytest.mark.parametrize("text", ["# only\n", "sep=;\n", "% a\n% b\n"])
def test_a_file_of_comments_is_refused(tmp_path, text):
    with pytest.raises(SDiffError, match="no column user and no column item"):
        read(tmp_path, text)


def test_a_matrix_market_file_is_refused_with_advice(tmp_path):
    with pytest.raises(SDiffError, match="Matrix Market format: export it as CSV"):
        read(tmp_path, "%%MatrixMarket matrix coordinate integer general\n2 2 1\n1 1 5\n", "x.mtx")


def test_a_column_with_a_number_as_its_name_does_not_make_the_header_a_row(tmp_path):
    path = write(tmp_path / "x.csv", "kunde,artikel,0\n1,7,3\n2,8,1\n")
    assert preview(path).names == ()
    assert pairs(read_interactions(path, Reading(user="kunde", item="artikel"))[0]) == {"1": ["7"], "2": ["8"]}


@pytest.mark.parametrize(
    "text",
    [
        '"user" "item" "rating"\n"3" "u1" "i1" 5\n"7" "u2" "i2" 4\n',  # R, after rows were taken out
        "user,item,rating\n0,u1,i1,5\n1,u2,i2,4\n",  # pandas with index_label=False
    ],
)
def test_names_of_rows_are_ignored(tmp_path, text):
    assert pairs(read(tmp_path, text, "x.txt")[0]) == {"u1": ["i1"], "u2": ["i2"]}


@pytest.mark.parametrize("users", ["112", "abc", "213"])
def test_a_value_too_many_in_each_row_is_no_number_of_a_row(tmp_path, users):
    with pytest.raises(FaultyRows, match="3 of 3 rows are invalid: row 2: it has 3 values, not 2"):
        read(tmp_path, "user,item\n" + "".join(f"{user},i,x\n" for user in users))


# Many invalid rows, many parts


def test_more_rows_than_can_be_recorded_are_not_read_in_part(tmp_path, monkeypatch):
    monkeypatch.setattr("sdiff.data.tables.text_table.REJECTS", 1000)
    text = "user,item\n" + "1,a\n" * 10 + "1,a,x\n" * 3000
    for options in ({}, {"skip_faulty": True}):
        with pytest.raises(
            SDiffError, match="more rows that cannot be read than are counted, such as row 12: it has 3 values"
        ):
            read(tmp_path, text, **options)
    marks = "user,item\n" + '1,"a\n' * 3000
    with pytest.raises(
        SDiffError, match="more rows that cannot be read than are counted, such as row 2: a quotation mark"
    ):
        read(tmp_path, marks, skip_faulty=True)


def test_only_the_first_invalid_rows_are_kept_and_all_are_counted(tmp_path):
    rows = [f"{n},a,5" if n % 2 else "1,a" if n % 3 else ",a,5" for n in range(1000)]
    _, report = read(tmp_path, "user,item,rating\n" + "\n".join(rows) + "\n", skip_faulty=True)
    assert (report.rows, report.faults.count, len(report.faults.first)) == (1000, 500, KEPT)
    assert [fault.row for fault in report.faults.first] == [2 * n + 2 for n in range(KEPT)]
    assert report.faults.first[0].reason == "user is empty" and "2 values" in report.faults.first[1].reason


def test_the_invalid_rows_of_a_split_are_counted_together(tmp_path):
    write(tmp_path / "train.csv", "user,item\n1,a\n1,b\n" + ",c\n" * KEPT)
    write(tmp_path / "test.csv", "user,item\n1,c\n" + ",c\n" * 9)
    found = load_dataset(f"{tmp_path}?skip_faulty=true").report.faults
    assert (found.rows, found.count, len(found.first)) == (KEPT + 12, KEPT + 9, KEPT)


def test_parts_are_opened_one_after_the_other(tmp_path, monkeypatch):
    paths = [write(tmp_path / f"part-{n:03}.csv", f"user,item\n{n},a\n") for n in range(30)]
    now, most, original = 0, 0, sources.opened

    @contextmanager
    def counted(path):
        nonlocal now, most
        with original(path) as file:
            now, most = now + 1, max(most, now + 1)
            yield file
            now -= 1

    monkeypatch.setattr(sources, "opened", counted)
    assert len([*TableFiles.of(paths).lines(lambda line, _: line == "user,item\n")]) == 31 and most == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_is_not_a_fault_of_the_table(tmp_path):
    path = write(tmp_path / "log.csv", "user,item\n" + "1,a\n" * 10_000)
    with pytest.raises(OSError, match="No space left"):
        sources.write(Path("/dev/full"), TableFiles.of([path]).lines())
