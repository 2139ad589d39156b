"""What the documents promise is what the repository holds."""

import re
from pathlib import Path

from packaging.requirements import Requirement

from benchmarks.report import ROOT, filled, report

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_measured_tables_are_the_ones_in_the_result_files():
    assert filled(README) == README
    assert report() == (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_every_file_that_is_named_exists():
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(((?!http)[^)]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_the_layout_names_every_package():
    tree = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Layout")[1].split("\n## ")[0]
    packages = {path.parent.relative_to(ROOT / "sdiff") for path in (ROOT / "sdiff").rglob("__init__.py")}
    for package in packages - {Path(), Path("experiments/peers")}:
        assert f"{package.name}/" in tree
    for name in re.findall(r"(\w+\.py)", tree):
        assert [*ROOT.glob(name), *(ROOT / "sdiff").rglob(name)], name


def test_ci_runs_the_very_test_command():
    command = "pip install -r requirements-dev.txt && python -m pytest"
    assert command in README and command in (ROOT / ".ci" / "run").read_text()


def test_the_space_front_matter_names_what_is_here():
    front = dict(line.split(": ", 1) for line in README.split("---")[1].strip().splitlines())
    assert front["sdk"] == "gradio" and (ROOT / front["app_file"]).exists()
    assert front["license"] == "apache-2.0" and "Apache License" in Path(ROOT / "LICENSE").read_text()
    assert len(front["short_description"]) <= 60
    assert front["python_version"] == '"3.12.12"', "the one that ZeroGPU has and DuckDB runs on"
    needs = [Requirement(line) for line in (ROOT / "requirements.txt").read_text().splitlines()]
    gradio = next(need for need in needs if need.name == "gradio")
    assert front["sdk_version"] in gradio.specifier
    assert "preload_from_hub" not in front, "nothing is downloaded before it is asked for"


def test_the_paper_map_names_functions_and_tests_that_exist():
    paper = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    settings = (ROOT / "sdiff" / "config.py").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+\.py)(?:: ([\w.]+))?`((?:, `\w+`)*)", paper)
    assert len(named) > 25
    for file, name, others in named:
        place = ROOT / ("tests" if file.startswith("test_") else "sdiff")
        source = "".join(path.read_text(encoding="utf-8") for path in place.rglob(file))
        for part in [*name.rstrip(".").split("."), *re.findall(r"\w+", others)]:
            whole = "" if name.endswith("...") else r"\b"
            assert re.search(rf"(def|class) {part}{whole}", source) or f"    {part}: " in settings, f"{file}: {part}"


def test_each_promise_of_security_names_a_test_that_exists():
    rows = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").split("## What is promised")[1].split("\n## ")[0]
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    promises = [re.findall(r"`(test_\w+)`", row) for row in rows.splitlines() if row.startswith("| ")][1:]
    assert len(promises) > 10 and all(promises)
    for name in (name for names in promises for name in names):
        assert f"def {name}(" in tests, name
