"""Training runs in a process of their own: same results, one step at a time, and robust to killed processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing import Pipe, forkserver
from threading import Event

import pytest

from sdiff import SDiffError
from sdiff.app.handlers import training
from sdiff.app.processes import runs
from sdiff.app.state import checkpoints, open_dataset
from sdiff.base.paths import runs_dir
from sdiff.config import preset
from sdiff.training.checkpoint import Checkpoint
from sdiff.training.trainer import Trainer
from tests.conftest import CPU, ROOT, same
from tests.faults import TINY, counting


def test_a_generator_runs_in_a_low_priority_process_with_the_same_result(tmp_path):
    steps = runs.in_subprocess(counting, tmp_path / "ended")
    process, niceness = next(steps)
    assert process != os.getpid() and niceness == min(os.nice(0) + runs.NICENESS, 19)
    assert [steps.send(n) for n in range(3)] == [0, 1, 2]
    with pytest.raises(StopIteration):
        steps.send("end")
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    steps = runs.in_subprocess(counting, tmp_path / "closed")
    next(steps)
    steps.close()
    assert (tmp_path / "ended").read_text() == (tmp_path / "closed").read_text() == "closed"


def test_a_generator_in_a_process_is_closed_when_the_app_ends(tmp_path):
    steps = runs.in_subprocess(counting, tmp_path / "ended")
    next(steps)
    [process] = runs.PROCESSES.active_children()
    process.terminate()  # as Python does at exit with its child processes
    process.join()
    assert (tmp_path / "ended").read_text() == "closed"
    steps.close()


@pytest.mark.parametrize("failure", [SDiffError("Do that."), ZeroDivisionError("by zero"), FileNotFoundError("gone")])
def test_an_error_in_the_process_is_raised_here_with_its_traceback(failure):
    steps = runs.in_subprocess(counting, None, failure)
    next(steps)
    with pytest.raises(type(failure), match=str(failure)) as caught:
        steps.send("fail")
    assert "in counting" in caught.value.__notes__[0]


def test_a_run_in_a_process_gives_a_bit_identical_model():
    list(training.train("demo", "paper", 4, 3, TINY, "apart", Event()))
    settings = {"epochs": 4, "K": 8, "hidden": 16, "eval_every": 2}
    here = Trainer(preset("paper").override(settings), open_dataset("demo").dataset.split, 3, CPU)
    here.fit()
    assert same(Checkpoint.load(checkpoints()["apart"]).weights, here.best.weights)


def test_a_killed_process_that_does_not_train_gives_no_advice_about_training(tmp_path):
    steps = runs.in_subprocess(counting, tmp_path / "killed")
    next(steps)
    [process] = runs.PROCESSES.active_children()
    process.kill()
    with pytest.raises(SDiffError, match=r"was killed \(exit code -9\).*: try again, with less data\.$"):
        next(steps)


def test_a_killed_run_is_reported_and_the_next_run_starts():
    run = training.train("demo", "paper", 200, 0, TINY, "killed", Event())
    while not next(run).epochs:
        pass
    [process] = runs.PROCESSES.active_children()
    process.kill()
    with pytest.raises(SDiffError, match=r"was killed \(exit code -9\).* lower batch_size"):
        list(run)
    assert len(training.QUEUE) == 0 and "killed" not in checkpoints()
    *_, last = training.train("demo", "paper", 2, 0, TINY, "next", Event())
    assert last.saved_as == "next"


@pytest.mark.slow
def test_a_failure_to_start_a_process_is_reported_and_the_next_run_starts(tmp_path, monkeypatch):
    next(runs.in_subprocess(counting, tmp_path / "first"))
    forks = vars(forkserver._forkserver)["_forkserver_pid"]
    os.kill(forks, signal.SIGKILL)
    os.waitid(os.P_PID, forks, os.WEXITED | os.WNOWAIT)
    next(runs.in_subprocess(counting, tmp_path / "second"))

    def start(_):
        raise EOFError("unexpected EOF")

    monkeypatch.setattr(runs.PROCESSES.Process, "start", start)
    with pytest.raises(SDiffError, match=r"No process .*\(unexpected EOF\): try again"):
        next(runs.in_subprocess(counting, tmp_path / "fourth"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killing_the_app_keeps_the_model_of_its_run(number):
    name = f"left-by-{number.name}"
    script = f"""if __name__ == "__main__":
    from threading import Event
    from sdiff.app.handlers import training
    for view in training.train("demo", "paper", 100_000, 0, "{TINY}", "{name}", Event()):
        print(len(view.epochs), flush=True)
"""
    app = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert app.stdout
    while app.stdout.readline() == b"0\n":
        pass
    app.send_signal(number)
    app.wait(20)
    for _ in range(200):
        if name in checkpoints():
            break
        time.sleep(0.1)
    assert Checkpoint.load(runs_dir() / name).provenance.epoch > 0


def test_an_abandoned_process_that_fails_prints_no_traceback(monkeypatch):
    def fails():
        raise RuntimeError("interrupted")
        yield

    monkeypatch.setattr(os, "nice", lambda _: 0)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    here, there = Pipe()
    here.send(None)
    here.close()
    runs._steps(there, fails, (), 0)  # raises nothing
