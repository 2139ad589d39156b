"""CI fails on a vulnerability that can be mended, and never for want of a connection."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def package(name, *fixes):
    return {"name": name, "version": "1", "vulns": [{"id": "X-1", "fix_versions": list(fix)} for fix in fixes]}


SOUND, MENDABLE, OPEN = package("sound"), package("weak", ["2"]), package("weak", [])
UNKNOWN = {"name": "odd", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([SOUND], 0, "1 of 1 packages are known, 0 vulnerabilities"),
        ([SOUND, MENDABLE], 1, "weak 1: X-1, mended by 2"),
        ([SOUND, OPEN], 0, "mended by no version yet"),
        ([UNKNOWN], 0, "skipped: the service knows none of 1 packages"),
        ([], 0, "skipped"),
        (None, 0, "skipped: ConnectionError: no name"),
    ],
)
def test_what_ci_makes_of_an_audit(tmp_path, packages, code, said):
    text = (
        "raise ConnectionError('no name')" if packages is None else f"print({json.dumps({'dependencies': packages})!r})"
    )
    (tmp_path / "pip_audit.py").write_text(text)
    command = [sys.executable, str(ROOT / ".ci" / "audit.py")]
    run = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)})
    assert run.returncode == code and said in run.stdout and "Traceback" not in run.stdout
