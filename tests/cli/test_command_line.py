import json
import re
import subprocess
import sys

import duckdb
import pytest

from sdiff.base.files import claimed
from sdiff.cli.arguments import parser
from sdiff.cli.main import main
from sdiff.config import PRESETS
from sdiff.data.datasets import load_dataset
from sdiff.evaluation.protocols import PROTOCOLS
from tests.conftest import real_data

QUICK = ["--set", "K=16", "hidden=32", "epochs=4", "eval_every=2"]


def last_line(capsys) -> dict:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "demo"
    assert main(["train", "--dataset", "demo", "--out", str(out), *QUICK]) == 0
    return out


def test_train_writes_a_checkpoint_with_its_provenance(folder, capsys):
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["seed"] == 0 and metrics["dataset"] == "demo" and metrics["epoch"] in (2, 4)
    assert {"recall@20", "recall_all@20", "ndcg@10"} <= set(metrics["test"])


def test_evaluate_reproduces_the_metrics_of_training(folder, capsys):
    assert main(["evaluate", "--checkpoint", str(folder), "--dataset", "demo", "--json"]) == 0
    found, written = last_line(capsys), json.loads((folder / "metrics.json").read_text())["test"]
    assert {key: found[key] for key in written} == pytest.approx(written)
    assert {"users", "seconds", "dataset", "split", "seed"} <= set(found)
    assert main(["evaluate", "--checkpoint", str(folder), "--split", "valid", "--set", "guidance=2", "--json"]) == 0
    assert last_line(capsys)["split"] == "valid"


@pytest.mark.parametrize("command", ["train", "evaluate", "recommend"])
def test_repeated_set_options_accumulate(command):
    required = {"train": "--dataset d --out o", "evaluate": "--checkpoint c", "recommend": "--checkpoint c --user u"}
    words = [command, *required[command].split(), "--set", "K=1", "T=2", "--set", "tau=2"]
    assert parser().parse_args(words).set == ["K=1", "T=2", "tau=2"]
    assert parser().parse_args(words[:-5]).set == [], "parsing must not extend a shared default"


def test_evaluate_measures_any_cut_offs_with_intervals_and_writes_each_user(folder, tmp_path, capsys):
    path = tmp_path / "users.parquet"
    words = ["evaluate", "--checkpoint", str(folder), "-k", "3", "7", "--out", str(path), "--json"]
    assert main(words) == 0
    out = capsys.readouterr().out
    found = json.loads(out.splitlines()[-1])
    assert {"precision@3", "map@7", "hit_rate@3", "coverage@7", "popularity lift@3"} <= found.keys()
    low, high = found["intervals"]["mrr@7"]
    assert low < found["mrr@7"] < high and "coverage@7" not in found["intervals"]
    assert f"[{low:.4f}, {high:.4f}]" in out
    query = 'SELECT count(*), avg("mrr@7"), sum(held_out) FROM read_parquet(?)'
    [(users, mean, _)] = duckdb.connect().execute(query, [str(path)]).fetchall()
    assert users == found["users"] and mean == pytest.approx(found["mrr@7"])


def test_similar_lists_titles_and_common_users(folder, capsys):
    assert main(["similar", "--checkpoint", str(folder), "--item", "12", "-k", "4", "--json"]) == 0
    out = capsys.readouterr().out
    rows = json.loads(out.splitlines()[-1])
    assert [row["rank"] for row in rows] == [1, 2, 3, 4] and all(row["title"] in out for row in rows)
    assert all(row["common"] >= 0 for row in rows) and "12" not in [row["id"] for row in rows]
    assert main(["similar", "--checkpoint", str(folder), "--item", "12", "--dataset", "no/where.csv", "--json"]) == 0
    captured = capsys.readouterr()
    assert "no titles" in captured.err and len(json.loads(captured.out.splitlines()[-1])) == 10


def test_recommend_takes_a_user_or_a_history(folder, capsys):
    assert main(["recommend", "--checkpoint", str(folder), "--user", "5", "-k", "3", "--json"]) == 0
    rows = last_line(capsys)
    assert [row["rank"] for row in rows] == [1, 2, 3] and all(row["title"] and row["year"] for row in rows)
    assert main(["recommend", "--checkpoint", str(folder), "--history", "1, 2,3", "-k", "5", "--json"]) == 0
    assert len(last_line(capsys)) == 5


def test_a_model_finds_its_data_from_another_folder_and_ids_may_hold_commas(tmp_path, monkeypatch, capsys):
    rows = "".join(f'{u},"part {(u + n) % 9}, {n}"\n' for u in range(30) for n in range(6))
    (tmp_path / "log.csv").write_text("customer_id,sku\n" + rows)
    (tmp_path / "items.csv").write_text('sku,product_name\n"part 1, 1",Heat\n"part 2, 2",Up\n')
    monkeypatch.chdir(tmp_path)
    words = ["--out", "run", "--preset", "instant", "--set", "K=8"]
    assert main(["train", "--dataset", "log.csv?items=items.csv", *words]) == 0
    told = capsys.readouterr().err
    assert "log.csv: user: customer_id, item: sku; 2 of 54 items have a title" in told
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    words = ["recommend", "--checkpoint", "../run", "-k", "54", "--json"]
    assert main([*words, "--history", '"part 1, 1", "part 2, 2"']) == 0
    assert len(last_line(capsys)) == 52
    assert main([*words, "--history", ""]) == 0
    out, err = capsys.readouterr()
    assert "the history is empty: these are the most popular items" in err
    assert {"Heat", "Up"} <= {row["title"] for row in json.loads(out.splitlines()[-1])}


def test_recommend_all_writes_the_list_of_every_user(folder, tmp_path, capsys):
    path = tmp_path / "lists.parquet"
    words = ["recommend", "--checkpoint", str(folder), "-k", "3", "--set", "noise=false", "--json"]
    assert main([*words, "--all", "--titles", "--out", str(path)]) == 0
    document = last_line(capsys)
    assert document["file"] == str(path) and document["rows"] == 3 * document["users"] and document["seconds"] > 0
    assert main([*words, "--user", "5"]) == 0
    alone = [(row["rank"], row["id"], row["title"], row["year"], row["genres"]) for row in last_line(capsys)]
    query = "SELECT rank, item, title, year, genres FROM read_parquet(?) WHERE user = '5'"
    assert duckdb.connect().execute(query, [str(path)]).fetchall() == alone
    assert main([*words[:-1], "--all", "--out", str(tmp_path / "seeded.csv"), "--seed", "3"]) == 0
    assert len((tmp_path / "seeded.csv").read_text().splitlines()) == document["rows"] + 1


@pytest.mark.parametrize("parts", ["train", "train+valid", "all"])
def test_the_parts_that_are_known_are_the_history_and_are_not_recommended(folder, tmp_path, capsys, parts):
    split = load_dataset("demo").split
    user = next(u for u in range(99) if len(split.valid.history(u)) and len(split.test.history(u)))
    words = ["recommend", "--checkpoint", str(folder), "--parts", parts, "-k", "2000", "--set", "noise=false"]
    assert main([*words, "--user", split.users.ids[user], "--json"]) == 0
    listed = {row["id"] for row in last_line(capsys)}
    known = {"train": [split.train], "train+valid": [split.train, split.valid]}.get(
        parts, [split.train, split.valid, split.test]
    )
    history = {split.items.ids[i] for part in known for i in part.history(user)}
    assert listed == {*split.items.ids} - history
    assert main([*words, "--all", "--out", str(tmp_path / "lists.parquet")]) == 0
    query = "SELECT item FROM read_parquet(?) WHERE user = ?"
    rows = duckdb.connect().execute(query, [str(tmp_path / "lists.parquet"), split.users.ids[user]]).fetchall()
    assert {item for (item,) in rows} == listed


def test_a_table_is_shown_as_it_is_understood_even_if_it_cannot_be_read(tmp_path, capsys):
    path = tmp_path / "sold.csv"
    path.write_text("customer_id;sku;product_name;bought_at\nc1;s1;Tea\tpot;2020-01-03\nc2;s1;Tea\tpot;soon\n")
    assert main(["datasets", f"{path}?core=1", "--json"]) == 2
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["user", "customer_id", "c1", "|", "c2"] in shown and ["item", "sku", "s1", "|", "s1"] in shown
    assert (
        "columns separated by ';'" in " ".join(shown[0]) and ["product_name", "Tea", "pot", "|", "Tea", "pot"] in shown
    )
    assert main(["datasets", f"{path}?core=1&timestamp=-", "--json"]) == 0
    document = last_line(capsys)
    assert document["preview"]["roles"] == {"user": "customer_id", "item": "sku"}
    assert document["titles"] == "1 of 1 items have a title (item: sku, title: product_name)"


def test_an_option_that_is_given_twice_is_refused_and_not_the_first_ignored(capsys):
    with pytest.raises(SystemExit):
        main(["recommend", "--checkpoint", "demo", "--user", "7", "-k", "3", "-k", "4"])
    assert "argument -k: it is given more than once" in capsys.readouterr().err
    words = ["recommend", "--checkpoint", "demo", "--user", "7", "--set", "guidance=1", "--set", "beta=.5"]
    assert parser().parse_args(words).set == ["guidance=1", "beta=.5"]


def test_all_and_user_are_mutually_exclusive(folder, capsys):
    for one in (["--user", "5"], ["--history", "1,2"]):
        with pytest.raises(SystemExit):
            main(["recommend", "--checkpoint", str(folder), "--all", "--out", "lists.csv", *one])
        assert "not allowed with argument --all" in capsys.readouterr().err


def test_a_run_can_be_resumed_and_another_run_is_not_overwritten(folder, capsys):
    assert main(["train", "--dataset", "demo", "--out", str(folder), *QUICK]) == 2
    assert "--resume" in capsys.readouterr().err
    more = [word.replace("epochs=4", "epochs=6") for word in QUICK]
    assert main(["train", "--dataset", "demo", "--out", str(folder), "--resume", *more]) == 0
    assert "of 6" in capsys.readouterr().out


def test_update_continues_a_model_on_a_table_that_has_grown(tmp_path, capsys):
    def table(users, items):
        rows = "".join(f"{u},{(u + n) % items},{10 * u + n}\n" for u in range(users) for n in range(8))
        (tmp_path / "log.csv").write_text("user,item,timestamp\n" + rows)

    table(30, 11)
    words = ["--dataset", str(tmp_path / "log.csv"), "--out"]
    assert main(["train", *words, str(tmp_path / "a"), *QUICK]) == 0
    table(40, 13)
    update = ["update", "--checkpoint", str(tmp_path / "a"), *words, str(tmp_path / "b"), "--json"]
    capsys.readouterr()
    assert main(update) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out.splitlines()[-1])
    assert "split at random" not in printed.err
    assert found["new_items"] == 2 and "recall@20" in found["test"] and found["command"].startswith("sdiff update")
    assert main(["recommend", "--checkpoint", str(tmp_path / "b"), "--history", "11,12", "-k", "3"]) == 0
    assert main(update) == 2 and "already has a checkpoint" in capsys.readouterr().err
    log = str(tmp_path / "log.csv")
    changed = {log: f"{log}?split=random", str(tmp_path / "b"): str(tmp_path / "c")}
    at_random = [changed.get(word, word) for word in update]
    assert main(at_random) == 0
    assert "held-out interactions may be among those that the checkpoint was trained on" in capsys.readouterr().err


def test_a_second_run_into_the_same_folder_is_refused(tmp_path, capsys):
    words = ["train", "--dataset", "demo", *QUICK, "--out", str(tmp_path / "run")]
    with claimed(tmp_path / "run"):  # as if claimed by another process
        for more in ([], ["--resume"]):
            assert main([*words, *more]) == 2
            assert "Another run writes to" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 2 and "nothing to resume" in capsys.readouterr().err
    assert not (tmp_path / "run").exists(), "nothing was saved"


def test_the_data_sets_are_listed_with_their_terms(capsys):
    assert main(["datasets", "--json"]) == 0
    out = capsys.readouterr().out
    rows = json.loads(out.strip().splitlines()[-1])
    assert {"demo", "ml-latest-small", "ml-1m-diffrec"} <= {row["key"] for row in rows}
    assert all(row["terms"] in out for row in rows)
    assert "900 users, 1,185 items, 37,374 interactions" in out


def test_a_run_without_a_validation_part_can_be_resumed(tmp_path, capsys):
    path = tmp_path / "short.csv"
    path.write_text("user,item\n" + "".join(f"{u},{(u + i) % 7}\n" for u in range(30) for i in range(3)))
    words = ["train", "--dataset", str(path), "--out", str(tmp_path / "run")]
    words += ["--set", "K=4", "hidden=8", "eval_every=1"]
    assert main([*words, "epochs=2"]) == 0 and "valid recall" not in capsys.readouterr().out
    assert main([*words, "epochs=3", "--resume"]) == 0 and "epoch 3 of 3" in capsys.readouterr().out


def test_a_model_finds_its_own_table_wherever_both_are_moved_or_says_how_to_name_it(tmp_path, monkeypatch, capsys):
    project, moved = tmp_path / "project", tmp_path / "moved"
    project.mkdir()
    monkeypatch.chdir(project)
    (project / "log.csv").write_text(
        "user,item\n" + "".join(f"{u},{(u + i) % 7}\n" for u in range(30) for i in range(4))
    )
    assert main(["train", "--dataset", "log.csv?core=2", "--preset", "instant", "--out", "runs/one"]) == 0
    assert str(tmp_path) not in (project / "runs" / "one" / "config.json").read_text()
    project.rename(moved)
    monkeypatch.chdir(tmp_path)
    evaluate = ["evaluate", "--checkpoint", "moved/runs/one"]
    assert main(evaluate) == 0 and "another split" not in capsys.readouterr().err
    (tmp_path / "sets").mkdir()
    (moved / "log.csv").rename(tmp_path / "sets" / "log.csv")
    assert main(evaluate) == 2
    assert (
        f"There is no file or folder {moved}/log.csv. If the data of this model were moved" in capsys.readouterr().err
    )
    assert main([*evaluate, "--dataset", "sets/log.csv?core=2"]) == 0
    monkeypatch.setenv("SDIFF_DATA_DIR", str(tmp_path / "sets"))
    assert main(evaluate) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "--checkpoint", "nowhere"], "no checkpoint in nowhere"),
        (["train", "--dataset", "nowhere", "--out", "x"], "Unknown data set"),
        (["train", "--dataset", "no/where.csv", "--out", "x"], "There is no file or folder no/where.csv"),
        (["train", "--dataset", "demo?min_rating=4", "--out", "x"], "has fixed options"),
        (["train", "--dataset", "demo", "--out", "x", "--preset", "best"], "Unknown preset"),
        (["train", "--dataset", "demo", "--out", "x", "--set", "lr=fast"], "lr must be a number"),
        (["train", "--dataset", "demo", "--out", "x", "--resume"], "nothing to resume"),
        (["recommend", "--checkpoint", "checkpoints/demo", "--user", "me"], "Unknown user me"),
        (["recommend", "--checkpoint", "checkpoints/demo", "--history", "1,zzz"], "Unknown item zzz"),
        (["recommend", "--checkpoint", "checkpoints/demo", "--user", "1", "--set", "K=3"], "K is fixed"),
        (["train", "--dataset", "demo", "--out", "x", "--set", "K=3", "--set", "K=4"], "'K' is given more than once"),
        (["train", "--dataset", "x.csv?core=2&core=3", "--out", "x"], "an option is given more than once"),
        (["recommend", "--checkpoint", "checkpoints/demo", "--user", "1", "-k", "0"], "k must be a whole"),
        (["evaluate", "--checkpoint", "checkpoints/demo", "-k", "10", "0"], "k must be a whole"),
        (["evaluate", "--checkpoint", "checkpoints/demo", "--out", "users.xlsx"], "must end in .parquet"),
        (["similar", "--checkpoint", "checkpoints/demo", "--item", "zzz"], "Unknown item zzz"),
        (["similar", "--checkpoint", "checkpoints/demo", "--item", "1", "-k", "0"], "k must be a whole"),
        (["recommend", "--checkpoint", "checkpoints/demo", "--history", ","], "has an empty id"),
        (["recommend", "--checkpoint", "checkpoints/demo", "--history", "1,,2"], "has an empty id"),
        (
            ["recommend", "--checkpoint", "checkpoints/demo", "--history", "1\n2"],
            "separate ids with commas, in one line",
        ),
        (["recommend", "--checkpoint", "checkpoints/demo", "--user", "1", "--set", "half_life=1e-9"], "at least 0.01"),
        (["tune", "--dataset", "demo", "--out", "x", "--set", "K=8", "--search", "K=2:3"], "both set and searched"),
        (["train", "--dataset", "demo", "--preset", "auto", "--minutes", "nan", "--out", "x"], "positive number"),
        *(
            ([*words, "--seed", str(2**64)], "seed must be a whole number")
            for words in (
                ["train", "--dataset", "demo", "--out", "x"],
                ["recommend", "--checkpoint", "checkpoints/demo", "--user", "1"],
                ["recommend", "--checkpoint", "checkpoints/demo", "--all", "--out", "l.csv"],
                ["evaluate", "--checkpoint", "checkpoints/demo"],
            )
        ),
        (["recommend", "--checkpoint", "checkpoints/demo", "--user", "1", "--set", "seed=3"], "Unknown setting 'seed'"),
        (["evaluate", "--checkpoint", "checkpoints/demo", "--set", "seed=3"], "Unknown setting 'seed'"),
        (["evaluate", "--checkpoint", "checkpoints/demo", "--set", "rank=3"], "Unknown setting 'rank'"),
        (["train", "--dataset", "demo", "--out", "x", "--set", "epochs=0"], "nothing would be trained"),
        (["recommend", "--checkpoint", "checkpoints/demo", "--all"], "--all needs a file or a folder"),
        (["recommend", "--checkpoint", "checkpoints/demo", "--user", "1", "--out", "l.csv"], "need --all"),
        (["recommend", "--checkpoint", "checkpoints/demo", "--history", "1", "--titles"], "need --all"),
        (["recommend", "--checkpoint", "checkpoints/demo", "--all", "--out", "l.xlsx"], "must end in .parquet"),
        (["recommend", "--checkpoint", "checkpoints/demo", "--all", "--out", "no/where/l.csv"], "No such file"),
    ],
)
def test_an_invalid_command_prints_one_message_and_exits_with_two(words, message, capsys, request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)
    assert main(words) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and error.startswith("sdiff: ") and "Traceback" not in error and "\n" not in error


@pytest.mark.parametrize("flag", ["--out", "--checkpoint"])
def test_an_empty_path_does_not_mean_the_current_folder(flag, capsys):
    words = {"--out": ["train", "--dataset", "demo"], "--checkpoint": ["evaluate"]}[flag]
    with pytest.raises(SystemExit):
        main([*words, flag, ""])
    assert f"argument {flag}: it is empty" in capsys.readouterr().err


def test_a_tilde_that_the_shell_left_means_the_home_folder(tmp_path, monkeypatch, capsys):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SDIFF_CACHE_DIR", "~/cache")
    train = ["train", "--dataset", "demo", "--preset", "instant", "--set", "K=4", "--out=~/model"]
    assert main(train) == 0 and main(train) == 2
    assert "already has a checkpoint" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", "model", "cache"}
    assert not [*(tmp_path / "elsewhere").iterdir()]


def test_a_setting_that_is_fixed_is_not_searched(tmp_path, capsys):
    fixed = ["--preset", "paper", "--set", "K=8", "hidden=8", "epochs=1", "lr=0.01"]
    assert main(["tune", "--dataset", "demo", *fixed, "--trials", "1", "--out", str(tmp_path)]) == 0
    best = capsys.readouterr().out.split("best: ")[1].splitlines()[0].split()
    names = [word.partition("=")[0] for word in best if "=" in word]
    assert len({*names}) == len(names) > 4 and "lr=0.01" in best


def test_a_list_may_be_longer_than_the_catalog(capsys):
    lengths = ["--split", "test", "-k", "1182", "2000000000", "--json"]
    assert main(["evaluate", "--checkpoint", "demo", *lengths]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["ndcg@2000000000"] == found["ndcg@1182"] and found["recall@2000000000"] == 1


def test_a_checkpoint_of_other_items_is_refused(tmp_path, capsys, request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)
    path = tmp_path / "own.csv"
    path.write_text("user,item\n" + "".join(f"{u},{i}\n" for u in range(9) for i in range(9)))
    out = tmp_path / "lists.csv"
    for words in (["evaluate"], ["recommend", "--all", "--out", str(out)]):
        assert main([*words, "--checkpoint", "checkpoints/demo", "--dataset", str(path)]) == 2
        assert "The model does not know" in capsys.readouterr().err
    assert not out.exists()


def test_the_module_runs_the_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "sdiff", "evaluate", "--checkpoint", "none"], capture_output=True, text=True
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr


REAL = [pytest.param(name, "ml-1m-diffrec", marks=pytest.mark.slow) for name in ("ml-1m", "ml-1m-paper")]


@pytest.mark.parametrize(("name", "dataset"), [("demo", "demo"), ("demo-paper", "demo"), *REAL])
def test_shipped_checkpoints_reach_their_stated_metrics_and_beat_popularity(
    name, dataset, capsys, request, monkeypatch
):
    from sdiff.evaluation.baselines import popularity
    from sdiff.evaluation.evaluate import evaluate
    from sdiff.training.checkpoint import Checkpoint
    from tests.conftest import CPU

    if dataset != "demo":
        real_data("ml-1m_clean")
    monkeypatch.chdir(request.config.rootpath)
    written = Checkpoint.load(f"checkpoints/{name}").metrics
    split = load_dataset(dataset).split
    assert written["data_fingerprint"] == split.fingerprint
    for part in ("valid", "test"):
        assert (
            main(["evaluate", "--checkpoint", f"checkpoints/{name}", "--dataset", dataset, "--split", part, "--json"])
            == 0
        )
        found = last_line(capsys)
        assert found["recall@20"] == pytest.approx(written[part]["recall@20"], abs=2e-3)
        assert found["recall@20"] > 1.1 * evaluate(popularity(split), split, part, CPU)["recall@20"]
    size = sum(path.stat().st_size for path in (request.config.rootpath / "checkpoints" / name).iterdir())
    assert size < 10 * 2**20


@pytest.mark.slow
def test_auto_prints_every_candidate_and_keeps_the_best(monkeypatch, tmp_path, capsys):
    few = {
        name: PRESETS[name].override({"K": 16, "epochs": 2, "hidden": 32}) for name in ("filter", "instant", "tuned")
    }
    monkeypatch.setattr("sdiff.training.auto.PRESETS", few)
    monkeypatch.setattr("sdiff.training.auto.CANDIDATES", tuple(few))
    words = ["train", "--dataset", "demo", "--preset", "auto", "--minutes", "5", "--out", str(tmp_path / "best")]
    assert main([*words, "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    document = json.loads(lines[-1])
    assert [line.split()[0] for line in lines[:3]] == [*few] == [row["preset"] for row in document["candidates"]]
    best = max(document["candidates"], key=lambda row: row["recall@20"])
    card = json.loads((tmp_path / "best" / "config.json").read_text())
    assert card["provenance"]["preset"] == best["preset"] and card["config"]["beta"] == best["beta"]
    assert document["valid"]["recall@20"] == pytest.approx(best["recall@20"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "auto", "--set", "K=3"], "cannot be used with --set"),
        (["--preset", "auto", "--resume"], "cannot be used with --set"),
        (["--preset", "auto", "--minutes", "0"], "must be a positive number, not 0"),
        (["--preset", "auto", "--minutes", "nan"], "must be a positive number, not nan"),
        (["--preset", "tuned", "--minutes", "3"], "--minutes needs --preset auto"),
    ],
    ids=str,
)
def test_what_auto_does_not_take_is_refused(words, message, tmp_path, capsys):
    assert main(["train", "--dataset", "demo", "--out", str(tmp_path / "o"), *words]) == 2
    assert re.search(message, capsys.readouterr().err) and not (tmp_path / "o" / "config.json").exists()


def test_evaluate_knows_the_protocols(folder, capsys):
    found = {}
    for protocol in PROTOCOLS:
        assert main(["evaluate", "--checkpoint", str(folder), "--protocol", protocol, "--json"]) == 0
        found[protocol] = last_line(capsys)
        assert found[protocol]["protocol"] == protocol
    assert len({document["recall@20"] for document in found.values()}) == 3
