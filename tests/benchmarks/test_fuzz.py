"""Damaged files of every kind are read or refused, and the fuzzer detects violations."""

import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from benchmarks import fuzz, fuzz_cases
from sdiff.base.errors import SDiffError


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "cases"), [(1, 160)])
def test_a_damaged_file_is_read_or_refused(seed, cases):
    found = fuzz.fuzz(list(range(cases)), seed)
    assert len(found) == cases and {kind for kind, _ in found.values()} == set(fuzz_cases.KINDS)
    assert {number: case for number, case in found.items() if case[1] not in fuzz.LAWFUL} == {}
    for kind in fuzz_cases.KINDS:
        assert {what for k, what in found.values() if k == kind} == set(fuzz.LAWFUL), "every kind has both outcomes"


@pytest.fixture
def boxed(tmp_path, monkeypatch):
    """Creates a box in this process, and restores the environment."""
    for name in ("SDIFF_RUNS_DIR", "SDIFF_CACHE_DIR"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    return lambda: fuzz_cases.Box(tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")  # for a damaged archive
def test_a_few_damaged_files_of_every_kind_are_read_or_refused(boxed):
    box = boxed()
    found = {number: box.run(1, number) for number in range(24)}
    assert {kind for kind, _ in found.values()} == set(fuzz_cases.KINDS)
    assert {number: case for number, case in found.items() if case[1] not in fuzz.LAWFUL} == {}


def hoard():
    return b"x" * (1 << 28)  # pages of zeros would use no memory


def linger():
    time.sleep(0.6)


def refuse():
    raise SDiffError("x" * 10_000)


def fail():
    raise KeyError("step")


def test_every_violation_is_detected(boxed, tmp_path, monkeypatch):
    for name, value in {"MODELS": {}, "SECONDS": 0.5, "MEGABYTES": 100}.items():
        monkeypatch.setattr(fuzz_cases, name, value)
    box = boxed()

    def write():
        (tmp_path / "outside").write_text("touched")

    for attempt, said in (
        (lambda: None, "read"),
        (fail, "KeyError"),
        (refuse, "an error of 10,000 characters"),
        (linger, "1 seconds"),
        (hoard, "MB"),
        (write, "written outside"),
    ):
        monkeypatch.setattr(fuzz_cases, "KINDS", {"any": lambda rng, box, attempt=attempt: attempt})
        assert said in box.run(0, 0)[1]


def test_a_crashed_or_hung_worker_is_reported_with_its_case_and_the_rest_continue(monkeypatch):
    code = """
import os, sys, time
print("ready", flush=True)
for n in map(int, sys.stdin):
    os.abort() if n == 1 else time.sleep(60) if n == 2 else print('["any", "read"]', flush=True)
"""
    monkeypatch.setattr(fuzz, "WORKER", (sys.executable, "-c", code))
    monkeypatch.setattr(fuzz, "SECONDS", 0.5)
    found = fuzz.fuzz([0, 1, 2, 3], 0, workers=1)
    assert found[0] == found[3] == ("any", "read")
    assert "ended with -6" in found[1][1] and "no answer" in found[2][1]


def test_cases_are_reproducible(tmp_path):
    import random

    from benchmarks.mutations import of_bytes

    data = Path(__file__).read_bytes()
    one, same, other = (of_bytes(random.Random(seed), data) for seed in ("0:1", "0:1", "0:2"))
    assert one == same != other
