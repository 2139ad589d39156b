"""Start and end of programs, as real processes: exit statuses and messages, never a traceback."""

from __future__ import annotations

import errno
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from httpx import Client

from benchmarks.app import Page, running_app
from sdiff.app import lifecycle
from sdiff.base import terminal
from sdiff.base.errors import SDiffError
from sdiff.cli.main import main
from sdiff.training.checkpoint import Checkpoint
from tests.conftest import ROOT

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0"}  # a terminal limited to ASCII


def started(*command: str, **environment: str) -> subprocess.Popen[str]:
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=os.environ | environment, text=True, **pipes)


def test_unwritable_output_ends_with_a_status_and_at_most_one_message():
    """A closed pipe, a full device and a closed stream, for each way of printing, in one process."""
    program = """
import io, os, sys
from sdiff.base import terminal
def prints(): print("x" * 100_000); return 0
def prints_little(): print("x"); return 0
def leaves(): print("x"); raise SystemExit(0)
here, there = os.pipe(); os.close(here); full = os.open("/dev/full", os.O_WRONLY)
for output in (there, full):
    for program in (prints, prints_little, leaves):
        sys.stdout = open(os.dup(output), "w")
        print(terminal.run("p", program), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    sentence = "p: Cannot write the output: No space left on device."
    assert done.stderr.split("\n") == ["141"] * 3 + [sentence, "2"] * 3 + [""] and done.returncode == 0


OTHER_ERRORS = [
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), "p: Broken pipe."),
    (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "p: Connection refused."),
    (OSError(errno.EMFILE, "Too many open files"), "p: Too many open files."),
    (TimeoutError("timed out"), "p: timed out."),
    (ConnectionError(), "p: ConnectionError."),
    (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), "p: Cannot use x: No such file or directory."),
]


@pytest.mark.parametrize(("error", "sentence"), OTHER_ERRORS, ids=repr)
def test_an_error_unrelated_to_the_output_keeps_its_message(error, sentence, capsys):
    def fails() -> int:
        print("a line")
        raise error

    assert terminal.run("p", fails) == 2
    assert capsys.readouterr() == ("a line\n", f"{sentence}\n")


@pytest.mark.parametrize("closed", [{0}, {1}, {2}, {0, 1, 2}], ids=str)
def test_streams_closed_at_startup_are_replaced_by_the_null_device(closed, tmp_path):
    program = f"""
import os, sys
from sdiff.base import terminal
def program():
    numbers = [os.open(os.devnull, os.O_RDONLY) for _ in range(2)]
    print(min(numbers) > 2, sys.stdin.read(), sys.stdout.isatty(), file=open({str(tmp_path / "said")!r}, "w"))
    print("x"); print("x", file=sys.stderr)
    return 7
sys.exit(terminal.run("p", program))
"""
    redirected = " ".join(f"{number}>&-" for number in closed)
    command = ["sh", "-c", f'exec {redirected}; exec "$0" -c "$1"', sys.executable, program]
    assert subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, cwd=ROOT).returncode == 7
    assert (tmp_path / "said").read_text() == "True  False\n"


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["train", "--help"]], ids=" ".join)
def test_a_help_that_cannot_be_written_is_an_error(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "sdiff", *words], stdout=full, stderr=subprocess.PIPE, cwd=ROOT)
    assert (done.returncode, done.stderr) == (2, b"sdiff: Cannot write the output: No space left on device.\n")


def test_an_error_keeps_its_message_when_the_output_is_unwritable_too():
    program = """
import sys
from sdiff import SDiffError; from sdiff.base import terminal
def fails(error):
    print("x")
    raise error
for error in (SDiffError("Mend the file."), OSError(5, "Input/output error"), KeyboardInterrupt()):
    sys.stdout = open("/dev/full", "w")
    print(terminal.run("p", lambda: fails(error)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    said = ["p: Mend the file.", "2", "p: Input/output error.", "2", "p: stopped.", "130", ""]
    assert done.stderr.split("\n") == said


def test_an_unencodable_character_is_printed_as_an_escape():
    program = (
        "import sys; from sdiff.base import terminal; sys.exit(terminal.run('p', lambda: print(chr(233), chr(128296))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=ROOT, env=os.environ | ASCII)
    assert done.stdout == rb"\xe9 \U0001f528" + b"\n" and not done.stderr and done.returncode == 0


def test_an_undecodable_argument_is_refused(capsys):
    assert main(["train", "--dataset", os.fsdecode(b"/tmp/\xff.csv"), "--out", "x"]) == 2
    assert "PYTHONUTF8" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("app.py",), ("-m", "sdiff", "datasets")], ids=["app", "command line"])
def test_ctrl_c_while_modules_are_imported_ends_without_a_traceback(command):
    program = started(*command)
    while program.poll() is None and "torch" not in Path(f"/proc/{program.pid}/maps").read_text():
        time.sleep(0.01)
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=60)
    assert program.returncode == 130 and "Traceback" not in said and "ignored" not in said


@pytest.mark.parametrize("program", ['runpy.run_path("app.py"', 'runpy.run_module("sdiff"'])
def test_ctrl_c_in_the_first_moments_ends_without_a_traceback(program):
    at_an_early_import = f"""
import runpy, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "sdiff.config":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
{program}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", at_an_early_import], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("GRADIO_SERVER_PORT", "abc", "whole number from 1 to 65535, not abc"),
        ("GRADIO_SERVER_PORT", "", "whole number"),
        ("GRADIO_SERVER_PORT", "0", "whole number"),
        ("GRADIO_SERVER_PORT", "65536", "whole number"),
        ("GRADIO_SERVER_PORT", "9" * 5000, "whole number"),
        ("GRADIO_NUM_PORTS", "many", "whole number"),
        ("GRADIO_SERVER_NAME", "no-such-host.invalid", "address of this machine"),
        ("GRADIO_SERVER_NAME", "192.0.2.1", "address of this machine"),  # is nobody's
        ("GRADIO_SERVER_NAME", "a..b", "address of this machine"),
        ("GRADIO_SERVER_NAME", "", "address of this machine"),
    ],
)
def test_an_unusable_server_address_is_refused_with_one_message(variable, value, said, monkeypatch):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SDiffError, match=said):
        lifecycle.check_address()


def test_a_given_port_is_the_only_one_tried_and_default_ports_are_tried_in_turn(monkeypatch):
    monkeypatch.setenv("GRADIO_NUM_PORTS", "1")  # restored by the test
    monkeypatch.delenv("GRADIO_NUM_PORTS")
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        monkeypatch.setenv("GRADIO_SERVER_PORT", str(busy.getsockname()[1]))
        with pytest.raises(SDiffError, match="in use"):
            lifecycle.check_address()
        assert os.environ["GRADIO_NUM_PORTS"] == "1", "read by gradio"


ENDINGS = [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 129)]


@pytest.fixture
def ended(monkeypatch):
    """Sends a signal to an app in this process. Returns the exit status that the process would have."""

    def by(number: int, app: gr.Blocks) -> int:
        handlers = {each: signal.getsignal(each) for each in lifecycle.STATUS}
        try:
            lifecycle.end_on_signals(app)
            with pytest.raises(SystemExit) as ending:
                signal.raise_signal(number)
            return ending.value.code  # pyright: ignore[reportReturnType]
        finally:
            for each, handler in handlers.items():
                signal.signal(each, handler)

    monkeypatch.setattr("os._exit", sys.exit)
    monkeypatch.setattr("multiprocessing.active_children", lambda: [])
    return by


@pytest.mark.parametrize(("number", "status"), ENDINGS)
def test_a_signal_before_serving_ends_with_the_usual_status(number, status, ended):
    assert ended(number, gr.Blocks()) == status


def test_an_ignored_signal_stays_ignored(monkeypatch):
    usual = {number: signal.signal(number, signal.SIG_IGN) for number in lifecycle.STATUS}
    try:
        lifecycle.end_on_signals(gr.Blocks())
        assert {signal.getsignal(number) for number in usual} == {signal.SIG_IGN}
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def test_an_ignored_signal_does_not_cut_a_shutdown_short(ended):
    usual = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    app, closed = gr.Blocks(), threading.Event()

    def close(verbose: bool) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(0.2)
        closed.set()

    app.close = close
    try:
        assert ended(signal.SIGTERM, app) == 0 and closed.is_set()
    finally:
        signal.signal(signal.SIGHUP, usual)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another C library")
@pytest.mark.parametrize("variable", [None, "2"])
def test_threads_share_one_heap_unless_the_environment_overrides_it(variable, monkeypatch):
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    if variable:
        monkeypatch.setenv("MALLOC_ARENA_MAX", variable)
    calls = []
    monkeypatch.setattr("ctypes.CDLL", lambda name: SimpleNamespace(mallopt=lambda *values: calls.append(values)))
    lifecycle._share_heap()
    assert calls == ([] if variable else [(-8, 1)])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_fork_server_outlives_its_terminal():
    program = """
from multiprocessing import forkserver
from pathlib import Path
import os, signal
from sdiff.app.processes.runs import in_subprocess
next(in_subprocess(os.walk, "."))
status = Path(f"/proc/{forkserver._forkserver._forkserver_pid}/status").read_text()
ignored = int(status.split("SigIgn:")[1].split()[0], 16)
print(bool(ignored >> (signal.SIGHUP - 1) & 1))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_a_port_taken_in_the_meantime_is_reported(monkeypatch):
    with socket.socket() as busy:
        monkeypatch.setenv("GRADIO_NUM_PORTS", "1")

        def launch(*_) -> None:
            busy.bind(("127.0.0.1", 0))
            busy.listen()
            monkeypatch.setenv("GRADIO_SERVER_PORT", str(busy.getsockname()[1]))
            raise OSError("Cannot find empty port")

        monkeypatch.setattr("sdiff.app.layout.launch", launch)
        monkeypatch.setattr(lifecycle, "end_on_signals", lambda demo: None)
        with pytest.raises(SDiffError, match="in use"):
            lifecycle.serve(verbose=False)


def test_output_that_cannot_be_flushed_does_not_change_the_exit_status(ended, monkeypatch):
    """The signal arrives during a print, when Python does not allow another one."""

    class Busy(io.StringIO):
        def flush(self) -> None:
            raise RuntimeError("reentrant call")

    monkeypatch.setattr("sys.stdout", Busy())
    assert ended(signal.SIGINT, gr.Blocks()) == 130


def test_an_app_ends_even_if_its_server_does_not_close(ended, monkeypatch):
    app, may = gr.Blocks(), threading.Event()
    app.close = lambda verbose: may.wait(60)
    monkeypatch.setattr(lifecycle, "SAVING", 0.1)
    asked = time.monotonic()
    assert ended(signal.SIGINT, app) == 130
    may.set()
    assert time.monotonic() - asked < 5


@pytest.mark.slow
def test_ctrl_c_while_the_app_is_launched_ends_without_a_traceback():
    program = """
import signal, sys
from gradio import http_server
from sdiff.cli.main import main
http_server.start_server = lambda **_: signal.raise_signal(signal.SIGINT)
sys.exit(main(["app"]))
"""
    _, said = (program := started("-c", program)).communicate(timeout=120)
    assert program.returncode == 130 and "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), ENDINGS)
def test_the_app_ends_immediately_with_open_pages_and_its_run_keeps_the_best_weights(number, status, tmp_path):
    """The terminal of the app is limited to ASCII, and two streams are open; one reports the run."""
    environment = os.environ | ASCII | {"SDIFF_RUNS_DIR": str(tmp_path)}
    with (
        running_app(ROOT, environment) as (address, app, _),
        Client(base_url=f"{address}gradio_api/", timeout=60) as client,
        client.stream("GET", "heartbeat/tab"),
        client.stream("GET", start_run(client, address)) as told,
    ):
        next(line for line in told.iter_lines() if "of at most 1000" in line)
        app.send_signal(number)
        asked = time.monotonic()
        assert app.wait(60) == status
        assert time.monotonic() - asked < 3
    while processes_with(str(tmp_path)):
        time.sleep(0.05)
    assert Checkpoint.load(tmp_path / "cut-short").provenance.epoch


def start_run(client: Client, address: str) -> str:
    """Starts a run that would take hours. Returns the stream of its answers."""
    with closing(Page(address, {"dataset": "demo"})) as page:
        page.load()
        page.fill("epochs", 1000)
        page.fill("train-settings", "K=8 hidden=16 eval_every=1")
        page.fill("model-name", "cut-short")
        events = {number: event.dependency for number, event in page._events.items()}
        [click] = [n for n, event in events.items() if [page._ids["start"], "click"] in event["targets"]]
        [run] = [n for n, event in events.items() if event["trigger_after"] == click]
        data = [page._values[component] for component in events[run]["inputs"]]
    body = {"data": data, "fn_index": run, "session_hash": "tab"}
    client.post("queue/join", json=body).raise_for_status()
    return "queue/data?session_hash=tab"


def processes_with(text: str) -> list[Path]:
    """Processes with a given text in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if text.encode() in path.read_bytes():
                found.append(path)
    return found
