"""OpenMP threads sleep while waiting in every computing process, unless the environment overrides it."""

import os
import re
import subprocess
import sys

import pytest


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | environment
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="only GNU's OpenMP tells how long its threads spin")
@pytest.mark.parametrize(
    ("program", "processes"),
    [
        pytest.param(
            "import os; from sdiff.app.processes.runs import in_subprocess; next(in_subprocess(os.walk, '.'))",
            2,  # this one and the fork server of the runs
            marks=pytest.mark.slow,
        ),
        ("import benchmarks.training", 1),  # imports torch before sdiff
    ],
)
def test_openmp_threads_of_runs_and_benchmarks_sleep_while_waiting(program, processes):
    spins = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", run(program, OMP_DISPLAY_ENV="verbose").stderr)
    assert spins == ["0"] * processes


def test_the_environment_variable_takes_precedence():
    assert "active" in run("import os, sdiff; print(os.environ['OMP_WAIT_POLICY'])", OMP_WAIT_POLICY="active").stdout


def test_importing_the_package_does_not_load_torch():
    assert "False" in run("import sys, sdiff; print('torch' in sys.modules)").stdout
