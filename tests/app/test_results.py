"""The Experiments tab shows the result files."""

import json
import re

import pytest

from sdiff.base.errors import SDiffError
from sdiff.config import PRESETS
from sdiff.experiments.reproduce import CAPS
from sdiff.experiments.studies import EXPERIMENTS
from sdiff.results import charts, documents

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


DAMAGED = json.dumps({"title": "x", "figure": {"kind": "bars"}, "runs": [{"dataset": "demo", "preset": "paper"}]})


@pytest.fixture
def folder(tmp_path):
    figure = {"kind": "bars", "x": "model"}
    document = {"what": "table1", "title": "Table 1", "figure": figure, "runs": [RUN, RUN | {"preset": "paper"}]}
    (tmp_path / "table1.json").write_text(json.dumps(document))
    (tmp_path / "accuracy-demo-paper.json").write_text("{}")  # with another command
    return tmp_path


def test_a_run_is_shown_with_the_value_of_the_paper_and_its_command(folder):
    assert documents.titles(folder) == [("Table 1", "table1")]
    assert documents.runs("table1", folder) == ["demo", "demo, paper"]
    run = documents.read_run("table1", "demo", folder)
    assert run.head == ["model", "order", "R@10", "R@20", "N@10", "N@20", "valid R@20", "paper R@20"]
    assert run.cells[1] == ["ours", "✓", "", "0.2000", "", "0.1300", "0.1400", "0.2500"]
    assert run.cells[0][-1] == "" and RUN["command"] in run.source
    figure = charts.picture(run.rows, run.paper, **run.figure)
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
    run = documents.read_run("table1", "demo", folder)
    assert [row[3] for row in run.protocols["paper"]] == ["0.3000", "0.4000"]
    assert [row[3] for row in run.cells] == ["0.1500", "0.2000"] and "protocols" not in run.head
    del jobs["second"][0]["protocols"]
    (folder / "table1.json").write_text(json.dumps(document))
    assert documents.read_run("table1", "demo", folder).protocols == {}, "a table has all rows or none"


@pytest.mark.parametrize(
    "text", ["", "1", "[]", '{"figure": {}}', '{"title": "x", "figure": {"kind": "bars"}, "runs": [{}]}', DAMAGED]
)
def test_a_damaged_file_is_left_out_with_a_warning(folder, caplog, text):
    (folder / "table3.json").write_text(text)
    assert documents.titles(folder) == [("Table 1", "table1")]
    assert "table3.json cannot be shown, because it is damaged" in caplog.text


def test_an_unknown_experiment_or_run_is_refused(folder):
    for name, label in (("gone", "demo"), ("table1", "gone"), ("accuracy-demo-paper", "demo")):
        with pytest.raises(SDiffError, match="choose another"):
            documents.read_run(name, label, folder)
    with pytest.raises(SDiffError, match="There is no experiment 'gone'"):
        documents.runs("gone", folder)


def test_a_long_curve_has_no_table(folder):
    document = json.loads((folder / "table1.json").read_text())
    document["runs"][0]["jobs"]["first"] = ROWS[:1] * 100
    (folder / "table1.json").write_text(json.dumps(document))
    assert documents.read_run("table1", "demo", folder).cells == []


def test_a_preset_is_introduced_before_its_numbers(folder):
    told = {label: documents.read_run("table1", label, folder).words for label in ("demo", "demo, paper")}
    assert "The preset **paper**" not in told["demo"], "it has no row there"
    assert "The preset **paper**" in told["demo, paper"] and "chosen on validation" in told["demo, paper"]
    document = json.loads((folder / "table1.json").read_text())
    document["runs"][0]["jobs"]["first"][0]["model"] = "S-Diff paper"
    (folder / "table1.json").write_text(json.dumps(document))
    assert "The preset **paper**" in documents.read_run("table1", "demo", folder).words


def test_every_experiment_says_what_it_shows_without_a_measured_value():
    assert set(documents.WORDS["experiments"]) == set(EXPERIMENTS)
    assert set(documents.WORDS["presets"]) <= set(PRESETS)
    for said in documents.WORDS["experiments"].values():
        assert set(said) == {"shows", "paper", "here"}
        assert not re.search(r"\d*\.\d|%", " ".join(said.values())), "a result file may be measured anew"


def measured(name: str, key: str = "ml-1m-diffrec", preset: str = "paper") -> list[dict]:
    return documents.read_run(name, f"{key}, {preset}").rows


def recalls(rows: list[dict], *labels: str) -> dict:
    """Test recall@20 by the value of a label, or by the values of several."""
    values = {tuple(row[label] for label in labels): row.get("test", row)["recall@20"] for row in rows}
    return values if len(labels) > 1 else {value: recall for (value,), recall in values.items()}


def test_what_is_said_of_table_1_is_what_was_measured():
    run = documents.read_run("table1", "ml-1m-diffrec")
    recall = recalls(run.rows, "model")
    printed = {model: values["recall@20"] for model, values in run.paper.items()}
    rivals = {row["model"] for row in run.rows if not (row["order"] or row["model"].startswith("S-Diff"))}
    assert recall["S-Diff paper"] < printed["S-Diff paper"]
    assert sum(abs(recall[model] - printed[model]) < 0.01 for model in rivals & printed.keys()) > len(printed) / 2
    assert max(rivals, key=recall.__getitem__) == "Giff" and recall["S-Diff tuned"] > recall["Giff"] - 0.005


@pytest.mark.parametrize("key", ["ml-1m-diffrec", "demo"])
def test_what_is_said_of_the_other_experiments_is_what_was_measured(key):
    schedules = sorted(measured("table3", key), key=lambda row: row["test"]["recall@10"])
    assert [row["schedule"] for row in schedules] == ["vp", "ddpm", "ve"]
    ratio = {row["schedule"]: row["SNR"] for row in measured("fig3", key)}  # of the last step
    assert ratio["ddpm"] < 1e-4 and min(ratio["ve"], ratio["vp"]) > 1e-2
    fused = recalls(measured("fig6", key), "fusion", "guidance")
    gains = [fused["concat", name] - fused["film", name] for name in ("none", "classifier-free")]
    assert min(gains) > max(abs(fused[name, "none"] - fused[name, "classifier-free"]) for name in ("film", "concat"))
    by_k = recalls(measured("fig7", key), "K")
    assert min(by_k, key=by_k.__getitem__) == max(by_k)
    guided = recalls(measured("guidance", key), "guidance")
    assert all((recall > guided[0.02]) == (s > 0.02) for s, recall in guided.items() if s != 0.02)
    groups = recalls([row for row in measured("groups", key) if row["group"] != "all"], "model", "group")
    histories, items = (
        [group for model, group in groups if model == "S-Diff" and group.startswith(kind)]
        for kind in ("history", "item")
    )
    for model in ("S-Diff", "A x", "EASE"):
        assert min(groups[model, group] for group in histories) == groups[model, histories[-1]]
    for other in ("popularity", "A x", "EASE"):
        assert groups["S-Diff", items[0]] > groups[other, items[0]]
        assert groups["S-Diff", items[-1]] < groups[other, items[-1]]


@pytest.mark.parametrize("key", ["demo", "ml-latest-small"])
def test_what_is_said_of_scales_is_what_was_measured(key):
    scales = recalls(measured("scales", key), "noise", "scale")
    for bound in ("0.5", "1"):
        vp, ve = (
            [scales[f"{kind}, σ_max = {bound}", scale] for scale in ("graph", "stretched", "rank")]
            for kind in ("vp", "ve")
        )
        assert vp[2] > max(vp[:2]) + 0.01 and min(ve) > max(vp)
        assert max(ve) - min(ve) < 0.004


def test_what_is_said_of_bounds_steps_times_and_speed_is_what_was_measured():
    bounds = recalls(measured("fig8"), "alpha_min", "sigma_max")
    alphas, sigmas = ({labels[n] for labels in bounds} for n in (0, 1))
    gains = [bounds[a, min(sigmas)] - bounds[a, max(sigmas)] for a in alphas]
    spreads = [max(bounds[a, s] for a in alphas) - min(bounds[a, s] for a in alphas) for s in sigmas]
    assert 0 < 2 * max(spreads) < min(gains)
    steps = recalls(measured("steps"), "T", "noise")
    assert all(steps[T, "off"] > steps[T, "on"] for T, _ in steps)
    assert max(steps, key=steps.__getitem__) == (1, "off")
    assert steps[max(T for T, _ in steps), "on"] > steps[1, "on"]
    for preset, matters in (("paper", True), ("tuned", False), ("temporal", False)):
        by_tau = recalls(measured("tau", preset=preset), "tau")
        assert (by_tau[min(by_tau)] - by_tau[max(by_tau)] > 0.01) == matters
        assert (max(by_tau.values()) - min(by_tau.values()) > 0.005) == matters
    for growing in ("items", "users"):
        ours, theirs = (
            [row["milliseconds"] for row in measured("fig5") if row["model"] == f"{name}, more {growing}"]
            for name in ("S-Diff", "DiffRec")
        )
        assert all(a < b for a, b in zip(ours, theirs, strict=True))
        growth = ours[-1] / ours[0], theirs[-1] / theirs[0]
        assert growth[0] < growth[1] / 3 if growing == "items" else max(growth) < 2


@pytest.mark.parametrize("name", ["fig7", "fig8", "groups", "guidance", "tau", "steps"])
def test_experiments_that_say_so_train_for_fewer_epochs_than_table_1(name):
    assert "fewer epochs than in Table 1" in documents.WORDS["experiments"][name]["here"]
    assert not EXPERIMENTS[name].exact and CAPS["epochs"] < PRESETS["paper"].epochs


def test_every_stored_result_can_be_shown():
    assert documents.titles()
    for _, name in documents.titles():
        for label in documents.runs(name):
            run = documents.read_run(name, label)
            charts.picture(run.rows, run.paper, **run.figure)
