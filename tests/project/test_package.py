"""Requirements, version, and locations of files. `.ci/wheel` tests the wheel itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import sdiff
from sdiff.base import paths
from sdiff.base.errors import SDiffError
from sdiff.cli.main import main
from sdiff.training.checkpoint import Checkpoint
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_a_space_installs_the_requirements_of_the_package_and_its_app():
    needed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["app"]]
    of_space = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(map(str, map(Requirement, needed))) == sorted(map(str, map(Requirement, of_space)))


def test_the_citation_names_this_version():
    assert f"version: {sdiff.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["train", "--help"]], ids=" ".join)
def test_help_imports_no_large_library(words):
    program = (
        "import sys; from sdiff.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: print(sorted({'torch', 'numpy', 'scipy', 'duckdb', 'gradio'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_a_model_in_closed_form_does_not_wait_for_the_compiler_of_torch(tmp_path):
    program = (
        "import sys; from sdiff.cli.main import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "print('torch._dynamo' in sys.modules)"
    )
    words = ["train", "--dataset", "demo", "--preset", "instant", "--out", str(tmp_path / "model")]
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")


def test_a_checkpoint_is_found_by_name_and_a_folder_takes_precedence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDIFF_RUNS_DIR", str(tmp_path / "runs"))
    included = paths.CHECKPOINTS / "demo"
    assert paths.checkpoint_dir("demo") == paths.checkpoint_dir(Path("demo")) == included
    assert Checkpoint.load("demo").fingerprint == Checkpoint.load(included).fingerprint
    assert main(["recommend", "--checkpoint", "demo", "--user", "7"]) == 0
    for folder in (tmp_path / "runs" / "demo", tmp_path / "demo"):
        folder.mkdir(parents=True)
        assert paths.checkpoint_dir("demo").resolve() != folder, "it contains no checkpoint"
        shutil.copytree(included, folder, dirs_exist_ok=True)
        assert paths.checkpoint_dir("demo").resolve() == folder
    for name in ("nobody", "x/demo", "..", "/", ""):
        assert paths.CHECKPOINTS not in paths.checkpoint_dir(name).parents
        with pytest.raises(SDiffError, match="no checkpoint"):
            Checkpoint.load(name)


@pytest.mark.parametrize("words", [["app"], ["reproduce", "fig3", "--quick"]], ids=" ".join)
def test_without_the_app_extra_a_command_says_how_to_install_it(words, tmp_path):
    program = f"""
import sys
for library in ("gradio", "plotly"):
    sys.modules[library] = None
from sdiff.cli.main import main
sys.exit(main({words}))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "is not installed: install the extra app" in done.stderr
    assert "Traceback" not in done.stderr and not [*tmp_path.iterdir()]
