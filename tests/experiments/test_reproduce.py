"""Experiments with a tiny model: every job runs, results are kept, and figures show the rows."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from sdiff.cli.main import main
from sdiff.config import Config
from sdiff.data.datasets import Dataset, load_dataset
from sdiff.data.interactions import Split
from sdiff.data.items import Items
from sdiff.experiments import record, reproduce, table1
from sdiff.experiments.studies import EXPERIMENTS, log_snr
from sdiff.experiments.study import Study
from sdiff.results import charts


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr(
        reproduce,
        "draw",
        lambda what, run, path: charts.picture(reproduce.rows(run), {}, **EXPERIMENTS[what].figure),
    )


LONGER = [pytest.param(what, marks=pytest.mark.slow) for what in ("fig5", "fig6", "guidance", "groups", "ablation")]


@pytest.mark.parametrize("what", ["table3", "fig3", *LONGER])
def test_a_quick_run_completes_every_job(what, tmp_path, capsys):
    assert main(["reproduce", what, "--quick", "--out", str(tmp_path), "--json"]) == 0
    run = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(run["jobs"]) == set(EXPERIMENTS[what].jobs_for("paper"))
    assert run["data_fingerprint"] == load_dataset("demo").split.fingerprint
    kept = json.loads((tmp_path / f"{what}.json").read_text())["runs"]
    assert [r["jobs"] for r in kept] == [run["jobs"]]


def test_an_interrupted_run_continues_with_the_next_job(tmp_path, monkeypatch):
    experiment = EXPERIMENTS["table3"]
    asked = []

    def interrupted(name):
        def job(study):
            asked.append(name)
            if name == "schedule=ve" and asked.count(name) == 1:
                raise KeyboardInterrupt
            reached = {"recall@10": 0.4, "recall@20": 0.5}
            return [{"schedule": name, "test": reached, "valid": reached}]

        return job

    jobs = {name: interrupted(name) for name in experiment.jobs}
    monkeypatch.setitem(reproduce.EXPERIMENTS, "table3", type(experiment)(experiment.title, jobs, experiment.figure))
    with pytest.raises(KeyboardInterrupt):
        reproduce.reproduce("table3", "demo", "paper", 0, True, tmp_path)
    file = tmp_path / "table3.json"
    document = json.loads(file.read_text())
    del document["runs"][0]["config"]["graph_log"]  # as a version writes it that does not have this setting
    file.write_text(json.dumps(document))
    run = reproduce.reproduce("table3", "demo", "paper", 0, True, tmp_path)
    assert asked == ["schedule=ddpm", "schedule=ve", "schedule=ve", "schedule=vp"]
    assert set(run["jobs"]) == set(jobs)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"what": "fig3", "runs": [{}]}', '{"runs": [{"config": {"K": -1}}]}'])
def test_a_damaged_result_is_refused(tmp_path, capsys, text):
    (tmp_path / "fig3.json").write_text(text)
    assert main(["reproduce", "fig3", "--quick", "--out", str(tmp_path)]) == 2
    assert "fig3.json is damaged" in capsys.readouterr().err
    assert (tmp_path / "fig3.json").read_text() == text


def test_a_result_with_a_setting_of_another_version_is_measured_anew(tmp_path):
    first = reproduce.reproduce("fig3", "demo", "paper", 0, True, tmp_path)
    file = tmp_path / "fig3.json"
    document = json.loads(file.read_text())
    document["runs"][0]["config"]["gone"] = 1
    document["runs"][0]["jobs"] = {"all": []}
    file.write_text(json.dumps(document))
    assert reproduce.reproduce("fig3", "demo", "paper", 0, True, tmp_path)["jobs"] == first["jobs"]


def test_an_unknown_experiment_is_refused_with_the_known_ones(tmp_path, capsys):
    assert main(["reproduce", "fig99", "--out", str(tmp_path)]) == 2
    assert "table3" in capsys.readouterr().err


def test_an_experiment_without_jobs_for_a_preset_names_those_that_have_some(tmp_path, capsys):
    assert main(["reproduce", "ablation", "--preset", "instant", "--quick", "--out", str(tmp_path)]) == 2
    assert "no jobs for the preset 'instant': choose among paper, tuned, temporal" in capsys.readouterr().err


def test_one_command_runs_all_experiments(tmp_path, monkeypatch, capsys):
    few = {what: EXPERIMENTS[what] for what in ("fig3", "table3")}
    monkeypatch.setattr(reproduce, "EXPERIMENTS", few)
    assert main(["reproduce", "all", "--quick", "--out", str(tmp_path)]) == 0
    for what, experiment in few.items():
        [run] = json.loads((tmp_path / f"{what}.json").read_text())["runs"]
        assert list(run["jobs"]) == list(run["seconds"]) == list(experiment.jobs)
    assert main(["reproduce", "all", "--quick", "--out", str(tmp_path), "--only", "all"]) == 2
    assert "one experiment" in capsys.readouterr().err


def test_a_quick_run_does_not_overwrite_results(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reproduce, "OUTPUT", tmp_path / "kept")
    assert main(["reproduce", "fig3", "--quick"]) == 0
    assert (tmp_path / "results-quick" / "fig3.json").exists() and not (tmp_path / "kept").exists()


def test_four_times_the_noise_lowers_log_snr_by_log_sixteen(split):
    study = Study(Dataset("tastes", "", "", split, Items([], [], [])), Config(K=12, schedule="ve"), seed=0)
    strong, weak = (log_snr(study, study.config.override({"sigma_max": s}))["log SNR"] for s in (0.8, 0.2))
    assert weak - strong == pytest.approx(2.7726, abs=1e-3)


def test_the_signal_power_is_that_of_the_basis_from_which_training_starts(split):
    study = Study(Dataset("tastes", "", "", split, Items([], [], [])), Config(K=12), seed=0)
    ranking = log_snr(study, study.config.override({"loss": "softmax"}))["log SNR"]
    assert ranking - log_snr(study, study.config)["log SNR"] == pytest.approx(np.log(30), abs=1e-3)


def test_figures_show_test_metrics_by_group():
    rows = [{"T": T, "noise": on, "test": {"recall@20": T / 10}} for on in ("on", "off") for T in (1, 2)]
    figure = charts.picture(rows, {}, **EXPERIMENTS["steps"].figure)
    assert [trace.name for trace in figure.data] == ["noise on", "noise off"]
    assert list(figure.data[0].y) == [0.1, 0.2]
    grid = charts.picture(
        [{"alpha_min": 0, "sigma_max": 0.5, "test": {"recall@20": 0.3}}], {}, **EXPERIMENTS["fig8"].figure
    )
    assert list(grid.data[0].z) == [0.3]


IN_A_PROCESS = pytest.param(record.ProcessPoolExecutor, marks=pytest.mark.slow)


@pytest.mark.parametrize("pool", [lambda n, mp_context: ThreadPoolExecutor(n), IN_A_PROCESS], ids=["thread", "process"])
def test_one_model_of_table_1_can_run_alone(pool, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(record, "ProcessPoolExecutor", pool)
    assert main(["reproduce", "table1", "--quick", "--only", "MultiDAE", "--out", str(tmp_path), "--json"]) == 0
    [[row]] = json.loads(capsys.readouterr().out.splitlines()[-1])["jobs"].values()
    assert row["test"]["recall@20"] > 0 and row["peak memory MB"] > 50 and row["scoring seconds"] > 0
    assert (
        row["protocols"]["train+valid"]["recall@20"]
        != row["test"]["recall@20"]
        != row["protocols"]["paper"]["recall@20"]
    )


@pytest.mark.slow
def test_all_models_of_table_1_run_on_tiny_data(tmp_path, monkeypatch):
    dataset = load_dataset("demo")
    monkeypatch.setattr(table1, "load_dataset", lambda key: dataset)  # read once
    monkeypatch.setattr(record, "ProcessPoolExecutor", lambda n, mp_context: ThreadPoolExecutor(n))  # and start none
    run = reproduce.reproduce("table1", "demo", "paper", 0, True, tmp_path)
    assert list(run["jobs"]) == list(table1.jobs())
    for [row] in run["jobs"].values():
        assert row["test"]["recall@20"] > 0 and row["test"]["users"] == len(dataset.split.users)


def test_a_model_of_table_1_is_trained_anew_if_its_preset_has_changed(tmp_path, monkeypatch):
    trained = []

    def measured(job, key, seed, quick):
        trained.append(job)
        config = table1.PRESETS[table1.OURS[job]].to_dict()
        metrics = {"recall@20": 0.1}
        return {"model": job, "order": False, "valid": metrics, "test": metrics, "config": config}

    monkeypatch.setattr(table1, "measure", measured)
    monkeypatch.setattr(table1, "in_process", lambda function, *arguments: function(*arguments))

    def run():
        reproduce.reproduce("table1", "demo", "paper", 0, True, tmp_path, ["S-Diff tuned", "S-Diff instant"])

    run()
    run()
    assert trained == ["S-Diff instant", "S-Diff tuned"]
    changed = table1.PRESETS | {"tuned": table1.PRESETS["tuned"].override({"q": 0.1})}
    monkeypatch.setattr(table1, "PRESETS", changed)
    run()
    assert trained == ["S-Diff instant", "S-Diff tuned", "S-Diff tuned"]


def test_an_unknown_job_is_refused_with_the_known_ones(tmp_path, capsys):
    assert main(["reproduce", "table1", "--only", "SVD", "--out", str(tmp_path)]) == 2
    assert "'LightGCN'" in capsys.readouterr().err


def test_a_job_that_does_not_fit_the_data_set_is_refused_with_a_reason(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(table1, "DENSE", 10)
    assert main(["reproduce", "table1", "--only", "EASE", "--out", str(tmp_path)]) == 2
    assert "EASE cannot run on demo: the data set has too many items" in capsys.readouterr().err


def test_values_of_the_paper_overlay_the_bars():
    rows = [{"model": name, "order": name == "ours", "test": {"recall@20": 0.1}} for name in ("theirs", "ours")]
    figure = charts.picture(rows, {"ours": {"recall@20": 0.3}}, **EXPERIMENTS["table1"].figure)
    assert [(trace.name, *trace.y, *trace.x) for trace in figure.data] == [
        ("without order", "theirs", 0.1),
        ("with order", "ours", 0.1),
        ("printed in the paper", "ours", 0.3),
    ]
    assert figure.layout.barmode == "overlay"


def test_models_that_need_an_order_or_few_items_are_skipped(split):
    ordered = Dataset("tastes", "", "", split, Items([], [], []))
    unordered = [replace(part, ordered=False) for part in (split.train, split.valid, split.test)]
    without = replace(ordered, split=Split(*unordered))
    assert {name for name in table1.jobs() if not table1.fits(name, ordered)} == set()
    assert {name for name in table1.jobs() if not table1.fits(name, without)} == table1.IN_ORDER


def test_results_are_written_to_the_default_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "OUTPUT", tmp_path)
    assert main(["reproduce", "fig3"]) == 0
    assert (tmp_path / "fig3.json").exists()
