"""CI fails on fixable vulnerabilities and on an empty audit, but not on a missing connection."""

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.conftest import ROOT


def package(name, *fixes):
    return {"name": name, "version": "1", "vulns": [{"id": "X-1", "fix_versions": list(fix)} for fix in fixes]}


SOUND, FIXABLE, OPEN = package("sound"), package("weak", ["2"]), package("weak", [])
UNKNOWN = {"name": "odd", "skip_reason": "Dependency not found on PyPI"}
CANARY = package("pip")


@pytest.mark.parametrize(
    ("packages", "canary", "code", "said"),
    [
        ([SOUND], None, 0, "1 of 1 packages audited, 0 vulnerabilities"),
        ([SOUND, UNKNOWN], None, 0, "1 of 2 packages audited, 0 vulnerabilities"),
        ([SOUND, FIXABLE], CANARY, 1, "weak 1: X-1, fixed in 2"),
        ([SOUND, OPEN], CANARY, 0, "fixed in no version yet"),
        ([UNKNOWN], CANARY, 1, "FAILED: none of 1 packages was audited"),
        ([], CANARY, 1, "FAILED: none of 0 packages was audited"),
        (None, CANARY, 1, "FAILED: none of 0 packages was audited. ConnectionError: no name"),
        ([UNKNOWN], UNKNOWN, 0, "skipped: the vulnerability service cannot be reached"),
        ([UNKNOWN], None, 0, "skipped: the vulnerability service cannot be reached"),
        (None, None, 0, "skipped: the vulnerability service cannot be reached. ConnectionError: no name"),
    ],
)
def test_ci_fails_on_vulnerabilities_and_on_audits_that_cannot_work(tmp_path, packages, canary, code, said):
    answers = {False: packages, True: canary and [canary]}
    (tmp_path / "pip_audit.py").write_text(
        f"import json, sys\nif '--version' in sys.argv: sys.exit()\nanswer = {answers!r}['-r' in sys.argv]\n"
        "if answer is None: raise ConnectionError('no name')\n"
        "print(json.dumps({'dependencies': answer}))\n"
    )
    command = [sys.executable, str(ROOT / ".ci" / "audit.py")]
    run = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)})
    assert run.returncode == code and said in run.stdout + run.stderr and "Traceback" not in run.stdout + run.stderr


def test_a_pip_audit_that_cannot_run_fails(tmp_path):
    (tmp_path / "pip_audit.py").write_text("import nothing_of_this_name")
    command = [sys.executable, str(ROOT / ".ci" / "audit.py")]
    run = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)})
    assert run.returncode == 1 and "nothing_of_this_name" in run.stderr


def needs() -> list[Requirement]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [*settings["project"]["optional-dependencies"].values(), settings["build-system"]["requires"]]
    lists.append((ROOT / "requirements.txt").read_text().splitlines())
    return [Requirement(line) for lines in lists for line in lines]


@pytest.mark.parametrize("need", needs(), ids=lambda need: need.name)
def test_no_dependency_allows_an_untested_major_version(need):
    bounds = [Version(each.version) for each in need.specifier if each.operator == "<"]
    assert len(bounds) == 1, "an upper bound"
    try:
        installed = Version(version(need.name))
    except PackageNotFoundError:
        return  # for an extra or another system
    assert installed in need.specifier and bounds[0].major - installed.major <= 1


def test_the_required_duckdb_refuses_a_truncated_gzip_file():
    [duckdb] = [need for need in needs() if need.name == "duckdb"]
    assert "1.5.9" not in duckdb.specifier and "2.0.1" in duckdb.specifier
