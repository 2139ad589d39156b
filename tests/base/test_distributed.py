"""Two ranks (CPU processes with gloo) match one process, and a killed rank loses little work."""

import json
import os
import subprocess
import sys

import duckdb
import pytest
import torch
from safetensors.torch import load_file

from sdiff import Recommender, SDiffError
from sdiff.base.distributed import ALONE, Ranks, torchrun
from sdiff.cli import recommend
from sdiff.cli.main import main, parser
from sdiff.data.datasets import load_dataset
from sdiff.evaluation.evaluate import evaluate
from sdiff.serving.export import ranked, write
from sdiff.training.run_state import resume
from sdiff.training.trainer import Trainer
from tests.conftest import CPU, ROOT, SMALL
from tests.ranks import TWO_EPOCHS, gradients

TRAIN = ["train", "--dataset", "demo", "--preset", "tuned", "--set", "K=32", "hidden=64", "epochs=8", "eval_every=2"]


def two(*words, restarts=0, check=True):
    """The stdout of two ranks of `python -m words`. Unless checked, the exit status is torchrun's."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", str(restarts)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if restarts:
        environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    command = [sys.executable, "-m", *launcher, "-m", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Folder with the results of both ranks and a trained model. One launch serves all tests."""
    folder = tmp_path_factory.mktemp("laws")
    lines = two("tests.ranks", "laws", folder, *TRAIN, "--json", "--out", folder / "trained").stdout.splitlines()
    assert lines[0] == "rank 0 speaks" and "rank 1 speaks" not in lines
    assert json.loads(lines[-1])["processes"] == 2
    return folder


def of_both(folder, name):
    return [json.loads((folder / f"told-{rank}").read_text())[name] for rank in (0, 1)]


def test_a_single_process_creates_no_group():
    with torchrun() as ranks:
        assert ranks == ALONE and not torch.distributed.is_initialized()
    x = torch.arange(5)
    assert ranks.share(x).equal(x) and ranks.sum(x) is x and ranks.mean(x) is x


def test_reductions_do_not_modify_their_input(monkeypatch):
    monkeypatch.setattr("torch.distributed.all_reduce", lambda x: x.mul_(3))  # two more ranks, with the same numbers
    ranks, x = Ranks(0, 3, launched=True), torch.arange(4.0)
    assert ranks.sum(x).tolist() == [0, 3, 6, 9] and ranks.mean(x).tolist() == [0, 1, 2, 3]
    assert x.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("environment", [{"RANK": "0"}, {"RANK": "x", "MASTER_PORT": "1"}], ids=str)
def test_half_of_the_environment_of_torchrun_is_refused(environment, monkeypatch, capsys):
    for name, value in {"WORLD_SIZE": "1", "MASTER_ADDR": "localhost", **environment}.items():
        monkeypatch.setenv(name, value)
    assert main(["datasets"]) == 2
    assert "start with torchrun, or unset them" in capsys.readouterr().err


def test_restarts_that_would_hang_are_refused(monkeypatch, capsys):
    started = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in {**started, "TORCHELASTIC_MAX_RESTARTS": "1", "TORCHELASTIC_USE_AGENT_STORE": "True"}.items():
        monkeypatch.setenv(name, value)
    assert main(["datasets"]) == 2
    assert "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in capsys.readouterr().err


def test_the_shares_of_the_ranks_partition_the_whole():
    for size, n in ((1, 5), (2, 5), (4, 3)):
        shares = [Ranks(rank, size).share(torch.arange(n)) for rank in range(size)]
        assert torch.cat(shares).tolist() == list(range(n))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_batch_that_is_smaller_than_the_ranks_is_refused(split):
    with pytest.raises(SDiffError, match="start fewer"):
        Trainer(SMALL.override({"batch_size": 3}), split, 0, CPU, Ranks(0, 4))


def test_with_equal_draws_uneven_shares_give_the_same_loss_and_gradients(told):
    alone = gradients()
    for rank in (0, 1):
        found = load_file(told / f"gradients-{rank}")
        assert found.keys() == alone.keys()
        for name, gradient in alone.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    assert all(alone[f"{name}.uneven.loss"] > 0 for name in ("paper", "tuned", "temporal"))


def test_the_ranks_partition_the_users_and_draw_their_own_noise(told):
    users, seeds = of_both(told, "users"), of_both(told, "seeds")
    everybody = load_dataset("demo").split.train.lengths.nonzero()[0].tolist()
    assert sorted(users[0] + users[1]) == sorted(2 * everybody), "two epochs"
    assert len(set(seeds[0]) | set(seeds[1])) == 4, "one for each epoch and rank"


def test_the_ranks_end_with_the_same_weights_moments_and_validation(told):
    first, second = (load_file(told / f"state-{rank}") for rank in (0, 1))
    assert first.keys() == second.keys() and {name.partition(".")[0] for name in first} >= {"model", "mean", "adam"}
    assert all(tensor.equal(second[name]) for name, tensor in first.items())
    for name in ("losses", "best", "metrics"):
        a, b = of_both(told, name)
        assert a == b


def test_metrics_shared_among_ranks_equal_those_of_one_process(told):
    split = load_dataset("demo").split
    items = torch.arange(len(split.items), dtype=torch.float)
    alone = evaluate(lambda x: items.repeat(len(x), 1), split, "test", CPU)
    assert of_both(told, "metrics")[0] == pytest.approx(alone, abs=1e-12)


def test_a_run_of_two_ranks_can_be_resumed_by_one(told):
    trainer = Trainer(TWO_EPOCHS.override({"epochs": 3}), load_dataset("demo").split, 0, CPU)
    resume(trainer, told / "state-0")
    [progress] = trainer.iter_epochs()
    assert progress.epoch == 3 and progress.loss < of_both(told, "losses")[0][0]


def test_two_ranks_reach_the_accuracy_of_one_process(told, tmp_path):
    assert main([*TRAIN, "--out", str(tmp_path / "one")]) == 0
    one, both = (json.loads((folder / "metrics.json").read_text()) for folder in (tmp_path / "one", told / "trained"))
    for part in ("valid", "test"):
        assert both[part]["recall@20"] == pytest.approx(one[part]["recall@20"], abs=0.01)
    assert one["test"]["recall@20"] > 1.1 * one["references"]["popularity"]["test"]["recall@20"]


def weights(folder):
    [file] = folder.glob("model-*.safetensors")  # named after its content
    return file.name


@pytest.mark.slow
def test_a_run_with_a_killed_rank_resumes_with_the_same_result(told, tmp_path):
    words = [*TRAIN, "--resume", "--out", tmp_path / "killed"]
    done = two("tests.ranks", "killed", 1, 5, *words, restarts=1)
    assert done.stdout.endswith("4 epochs and 0 shards\n"), "of eight, resumed from the state of the fourth"
    assert weights(tmp_path / "killed") == weights(told / "trained") and not list((tmp_path / "killed").glob(".*"))


def lists(path):
    return duckdb.connect().execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchall()


@pytest.mark.slow
def test_shards_of_killed_ranks_are_kept_and_together_equal_the_single_file(tmp_path):
    words = ["recommend", "--checkpoint", ROOT / "checkpoints" / "demo-paper", "--all", "-k", "3", "--out"]
    assert two("tests.ranks", "killed", 1, 2, *words, tmp_path / "lists", check=False).returncode != 0
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "lists").glob("*.parquet")}
    assert 2 <= len(kept) < 9
    done = two("tests.ranks", "killed", 0, 99, *words, tmp_path / "lists")
    assert "2,700 rows for 900 users" in done.stdout
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    model, dataset = Recommender.load(ROOT / "checkpoints" / "demo-paper", CPU), load_dataset("demo")
    single = ranked(model, dataset.split.known(), 3, model.config, 0, batch_size=50)
    write(tmp_path / "one.parquet", single, dataset)
    whole, one = lists(tmp_path / "lists" / "*.parquet"), lists(tmp_path / "one.parquet")
    assert [row[:3] for row in whole] == [row[:3] for row in one]
    assert [row[3] for row in whole] == pytest.approx([row[3] for row in one], rel=1e-5)  # each rank has one thread


def test_several_processes_refuse_to_write_one_file(tmp_path):
    arguments = parser().parse_args(
        ["recommend", "--checkpoint", "checkpoints/demo", "--all", "--out", str(tmp_path / "lists.csv")]
    )
    arguments.ranks = Ranks(0, 2)
    with pytest.raises(SDiffError, match="give --out a folder"):
        recommend.run(arguments)
