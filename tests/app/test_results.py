"""The Experiments tab shows the result files."""

import json

import pytest

from sdiff.app import experiment_figures, results
from sdiff.base.errors import SDiffError

ROWS = [
    {"model": "A <x>", "order": False, "test": {"recall@20": 0.15, "ndcg@20": 0.1}, "valid": {"recall@20": 0.12}},
    {"model": "ours", "order": True, "test": {"recall@20": 0.2, "ndcg@20": 0.13}, "valid": {"recall@20": 0.14}},
]
RUN = {
    "dataset": "demo",
    "preset": None,
    "command": "python -m sdiff reproduce table1 --dataset demo",
    "seed": 0,
    "data_fingerprint": "abc",
    "versions": {"torch": "2"},
    "device": "cpu",
    "paper": {"ours": {"recall@20": 0.25}},
    "jobs": {"first": ROWS[:1], "second": ROWS[1:]},
}


@pytest.fixture
def folder(tmp_path):
    figure = {"kind": "bars", "x": "model"}
    document = {"what": "table1", "title": "Table 1", "figure": figure, "runs": [RUN, RUN | {"preset": "paper"}]}
    (tmp_path / "table1.json").write_text(json.dumps(document))
    (tmp_path / "accuracy-demo-paper.json").write_text("{}")  # with another command
    return tmp_path


def test_a_run_is_shown_with_the_value_of_the_paper_and_its_command(folder):
    assert results.titles(folder) == [("Table 1", "table1")]
    assert results.runs("table1", folder) == ["demo", "demo, paper"]
    run = results.read_run("table1", "demo", folder)
    assert run.head == ["model", "order", "R@10", "R@20", "N@10", "N@20", "valid R@20", "paper R@20"]
    assert run.cells[1] == ["ours", "✓", "", "0.2000", "", "0.1300", "0.1400", "0.2500"]
    assert run.cells[0][-1] == "" and RUN["command"] in run.source
    figure = experiment_figures.picture(run.rows, run.paper, **run.figure)
    assert [list(bar.x) for bar in figure.data] == [
        [0.15, 0.2],
        [0.25],
    ]


def test_rows_under_other_protocols_have_tables_of_their_own(folder):
    document = json.loads((folder / "table1.json").read_text())
    jobs = document["runs"][0]["jobs"]
    for n, name in enumerate(("first", "second")):
        jobs[name] = [jobs[name][0] | {"protocols": {"paper": {"recall@20": 0.3 + n / 10}}}]
    (folder / "table1.json").write_text(json.dumps(document))
    run = results.read_run("table1", "demo", folder)
    assert [row[3] for row in run.protocols["paper"]] == ["0.3000", "0.4000"]
    assert [row[3] for row in run.cells] == ["0.1500", "0.2000"] and "protocols" not in run.head
    del jobs["second"][0]["protocols"]
    (folder / "table1.json").write_text(json.dumps(document))
    assert results.read_run("table1", "demo", folder).protocols == {}, "a table has all rows or none"


def test_an_unknown_experiment_or_run_is_refused(folder):
    for name, label in (("gone", "demo"), ("table1", "gone"), ("accuracy-demo-paper", "demo")):
        with pytest.raises(SDiffError, match="choose another"):
            results.read_run(name, label, folder)
    with pytest.raises(SDiffError, match="There is no experiment 'gone'"):
        results.runs("gone", folder)


def test_a_long_curve_has_no_table(folder):
    document = json.loads((folder / "table1.json").read_text())
    document["runs"][0]["jobs"]["first"] = ROWS[:1] * 100
    (folder / "table1.json").write_text(json.dumps(document))
    assert results.read_run("table1", "demo", folder).cells == []


def test_every_stored_result_can_be_shown():
    assert results.titles()
    for _, name in results.titles():
        for label in results.runs(name):
            run = results.read_run(name, label)
            experiment_figures.picture(run.rows, run.paper, **run.figure)
