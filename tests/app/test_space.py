"""The app on a Hugging Face Space: environment, restrictions, and training in slices on ZeroGPU."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event

import gradio as gr
import httpx
import pytest
import torch
from gradio_client import Client

from benchmarks.app import running_app
from sdiff.app.handlers import training
from sdiff.app.processes import space
from sdiff.app.state import open_dataset
from sdiff.base.errors import SDiffError
from sdiff.config import preset
from sdiff.training.checkpoint import Checkpoint
from sdiff.training.run_state import save_state
from sdiff.training.trainer import Trainer
from tests.conftest import CPU, ROOT, SMALL, run, same, tools

LEARNT = SMALL.override({"loss": "softmax", "basis": "directional", "ema": 0.9, "dropout": 0.3})
TINY = {"K": 8, "hidden": 16, "eval_every": 1}


@contextmanager
def running_space(folder: Path, **variables: str):
    """The app in a copy of this repository and the environment of a Space, without a home folder or network.

    Yields its URL. Checks at the end that nothing tried to use the network.
    """
    shutil.copytree(ROOT, folder / "app", ignore=shutil.ignore_patterns(".*", "__pycache__", "runs", "tests"))
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SDIFF_", "XDG_", "GRADIO_"))}
    home = "/dev/null/home"  # not writable even for root
    sets = {
        "SYSTEM": "spaces",
        "SPACE_ID": "somebody/s-diff",
        "SPACE_HOST": "somebody-s-diff.hf.space",
        "SPACE_AUTHOR_NAME": "somebody",
        "SPACE_REPO_NAME": "s-diff",
        "SPACE_TITLE": "S-Diff",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "HOME": home,
        "HF_HOME": f"{home}/.cache/huggingface",
        "PYTHONPATH": str(Path(__file__).parent / "space"),
        "REFUSED": str(folder / "refused"),
    }
    with running_app(folder / "app", own | sets | variables) as (url, *_):
        yield url
    assert not (folder / "refused").exists(), (folder / "refused").read_text()


def trained(url: str, epochs: int, name: str) -> list[str]:
    """Trains like the page. Returns all status messages."""
    config = httpx.get(f"{url}config").json()
    ids = {part["props"].get("elem_id"): part["id"] for part in config["components"]}
    run = next(
        event["id"]
        for event in config["dependencies"]
        if ids["curves"] in event["outputs"] and ids["preset"] in event["inputs"]
    )
    settings = " ".join(f"{key}={value}" for key, value in TINY.items())
    event = {
        "fn_index": run,
        "session_hash": name,
        "data": [["demo", "instant"], "paper", epochs, 0, settings, name],
    }
    httpx.post(f"{url}gradio_api/queue/join", json=event).raise_for_status()
    said = []
    with httpx.stream("GET", f"{url}gradio_api/queue/data", params={"session_hash": name}, timeout=60) as answer:
        for line in answer.iter_lines():
            message = json.loads(line.removeprefix("data:") or "{}")
            if message.get("msg") in ("process_generating", "process_completed"):
                said.append(str(message["output"]["data"][0]))
            if message.get("msg") == "process_completed":
                return said
    raise AssertionError(said)


@pytest.mark.slow
def test_on_a_cpu_space_the_app_starts_offline_and_says_what_is_not_kept(tmp_path):
    with running_space(tmp_path) as url:
        assert "S-Diff" in httpx.get(url).text
        rows = Client(url, verbose=False).predict(user="7", k=3, api_name="/recommend")
        assert [row["rank"] for row in rows] == [1, 2, 3] and all(row["title"] for row in rows)
        assert "s_diff_recommend" in run(tools(url)), "tool names on a Space start with its name"
        assert "lost when this Space restarts" in httpx.get(f"{url}config").text
        assert "Done after 1 epoch" in trained(url, 1, "on-a-cpu")[-1]
    assert (tmp_path / "app" / "runs" / "on-a-cpu" / "config.json").exists()


@pytest.mark.slow
def test_on_zero_gpu_lists_use_no_gpu_and_training_continues_across_slices(tmp_path):
    zero_gpu = {"SPACES_ZERO_GPU": "true", "ZERO_GPU_QUOTA": str(4 * space.GPU_SECONDS)}
    with running_space(tmp_path, **zero_gpu) as url:
        rows = Client(url, verbose=False).predict(user="7", k=3, api_name="/recommend")
        assert len(rows) == 3
        assert "ZeroGPU quota" in httpx.get(f"{url}config").text
        said = trained(url, 3, "in-three-slices")
        assert "Done after 3 epochs" in said[-1]
        assert any("epoch 1 of at most 3" in words for words in said), "the curves are updated during training"
        assert "Ended after 1 epoch" in (last := trained(url, 3, "cut-short")[-1])
        assert "saved as <b>cut-short</b>" in last and "exceeded your free ZeroGPU quota" in last
        assert trained(url, 3, "refused")[-1].startswith("<p>ZeroGPU says: You have exceeded")
        rows = Client(url, verbose=False).predict("demo", "cut-short", "7", 3, api_name="/recommend")
        assert len(rows) == 3
    assert {path.name for path in (tmp_path / "app" / "runs").iterdir()} == {"in-three-slices", "cut-short"}
    sliced = Checkpoint.load(tmp_path / "app" / "runs" / "in-three-slices")
    whole = Trainer(preset("paper").override({"epochs": 3, **TINY}), open_dataset("demo").dataset.split, 0, CPU)
    whole.fit()
    assert sliced.provenance.epoch == whole.best.epoch
    for name, weights in whole.best.weights.items():
        torch.testing.assert_close(sliced.weights[name], weights)


@pytest.mark.parametrize("config", [SMALL, LEARNT])
def test_a_run_in_slices_equals_an_uninterrupted_one(config, split, monkeypatch):
    slices = []
    monkeypatch.setattr(space, "TRAIN_SECONDS", 0)  # one epoch per slice
    monkeypatch.setattr(space, "train_slice", lambda *given: slices.append(given) or space._train_slice(*given))
    whole, sliced = (Trainer(config, split, 0, CPU) for _ in range(2))
    progress = [(p.epoch, p.loss, p.valid, p.best) for p in whole.iter_epochs()]
    assert [(p.epoch, p.loss, p.valid, p.best) for p in space.sliced(sliced)] == progress
    assert len(slices) == len(progress) == 30
    assert same(sliced.model.state_dict(), whole.model.state_dict())
    assert same(sliced.best.weights, whole.best.weights)


def test_a_run_closed_during_a_slice_can_be_resumed(split):
    whole, sliced = (Trainer(SMALL, split, 0, CPU) for _ in range(2))
    with closing(space.sliced(sliced)) as run:
        for progress in run:
            if progress.epoch == 7:
                break
    assert sliced.epoch == 7
    losses = [p.loss for p in whole.iter_epochs()]
    assert [p.loss for p in space.sliced(sliced)] == losses[7:]
    assert same(sliced.model.state_dict(), whole.model.state_dict())


def test_a_failure_in_a_slice_keeps_its_message(split, tmp_path, monkeypatch):
    trainer = Trainer(SMALL, split, 0, CPU)
    save_state(trainer, tmp_path / "state")
    monkeypatch.setattr(Trainer, "_finite", lambda trainer: False)
    [failure] = space._train_slice(SMALL, split, 0, tmp_path / "state")
    assert isinstance(failure, SDiffError), "a value, because workers do not pass on exception messages"
    with pytest.raises(SDiffError, match="lower the learning rate"):
        list(space.sliced(trainer))
    assert trainer.epoch == 0, "a failed epoch does not count"


def test_when_zero_gpu_time_runs_out_the_saved_model_is_kept_and_a_message_says_so(monkeypatch):
    slices = []

    def killed_in_the_third(*arguments):
        slices.append(space._train_slice(*arguments))
        yield next(slices[-1])
        if len(slices) == 3:
            raise gr.Error("GPU task aborted")
        slices[-1].close()

    monkeypatch.setattr(space, "ZERO_GPU", True)
    monkeypatch.setattr(space, "train_slice", killed_in_the_third)
    views = list(training.train("demo", "paper", 9, 0, "K=8 hidden=16 eval_every=5", "aborted", Event()))
    assert views[-1].epochs == [1, 2, 3] and views[-1].saved_as == "aborted"
    assert "Ended after 2 epochs" in views[-1].status and "weights of epoch 2 are saved" in views[-1].status
    assert "ZeroGPU says: GPU task aborted" in views[-1].status


def test_the_note_about_training_depends_on_the_environment(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert space.note() == ""
    monkeypatch.setenv("SPACE_ID", "somebody/s-diff")
    assert space.note() == "", "SDIFF_RUNS_DIR may be persistent"
    monkeypatch.delenv("SDIFF_RUNS_DIR")
    assert space.note() == "Models that you train here are lost when this Space restarts."
    monkeypatch.setattr(space, "ZERO_GPU", True)
    assert "ZeroGPU quota" in space.note() and space.serving_device() == CPU
