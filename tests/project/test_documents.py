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
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(((?!http)[^)]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path.name}: {link}"
    tree = README.split("## How it is made")[1].split("\n## ")[0]
    named = set(re.findall(r"\w+\.py", tree)) - {"app.py"}
    assert named == {path.name for path in (ROOT / "sdiff").glob("[!_]*.py")} | {"__main__.py"}
    words = set(re.findall(r"\w+", tree.split("benchmarks/")[1].split("docs/")[0]))
    assert {path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py")} <= words


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
        places = ("tests",) if file.startswith("test_") else ("sdiff", "benchmarks")
        source = next(path for place in places if (path := ROOT / place / file).exists()).read_text(encoding="utf-8")
        for part in [*name.rstrip(".").split("."), *re.findall(r"\w+", others)]:
            whole = "" if name.endswith("...") else r"\b"
            assert re.search(rf"(def|class) {part}{whole}", source) or f"    {part}: " in settings, f"{file}: {part}"


def test_each_promise_of_security_names_a_test_that_exists():
    rows = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").split("## What is promised")[1].split("\n## ")[0]
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    promises = [re.findall(r"`(test_\w+)`", row) for row in rows.splitlines() if row.startswith("| ")][1:]
    assert len(promises) > 10 and all(promises)
    for name in (name for names in promises for name in names):
        assert f"def {name}(" in tests, name
