"""The files in deploy fit the repository: what the image contains suffices, and its variables exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
COPIED = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ")]


@pytest.mark.slow
def test_the_files_in_the_image_suffice_to_build_the_page(tmp_path: Path):
    for name in (name for names in COPIED for name in names):
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    build = "import app; from sdiff.app.layout import build; build(); import sdiff; print(sdiff.__file__)"
    result = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(tmp_path / "sdiff" / "__init__.py")


def test_the_build_context_holds_what_is_copied():
    kept = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"}
    assert kept == {name for names in COPIED for name in names}


def test_the_variables_exist():
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    for path in DEPLOY.iterdir():
        for name in re.findall(r"(?:SDIFF|GRADIO)_[A-Z_]+", path.read_text(encoding="utf-8")):
            assert f"| `{name}` |" in reference, (path.name, name)


def test_compose_builds_the_image_and_publishes_its_port_to_this_machine_only():
    [app] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"].values()
    assert (DEPLOY / app["build"]["context"]).resolve() == ROOT and (ROOT / app["build"]["dockerfile"]).is_file()
    [port] = re.findall(r"GRADIO_SERVER_PORT=(\d+)", DOCKERFILE)
    assert app["ports"] == [f"127.0.0.1:{port}:{port}"]
