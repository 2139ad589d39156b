"""The documents match the repository."""

import argparse
import re
from dataclasses import fields
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import sdiff
from benchmarks.report import PAGES, ROOT, TABLES, filled
from sdiff.app.api import ENDPOINTS
from sdiff.cli.arguments import parser
from sdiff.data.reading import Reading
from sdiff.experiments.studies import EXPERIMENTS

DOCS = {path.relative_to(ROOT).as_posix(): path for folder in (ROOT, ROOT / "docs") for path in folder.glob("*.md")}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in DOCS.items()}
README, REFERENCE, HOWTO = TEXTS["README.md"], TEXTS["docs/reference.md"], TEXTS["docs/howto.md"]


def section(page: str, heading: str) -> str:
    """The text under a heading, up to the next one of the same or a higher level."""
    level = heading.split()[0]
    rest = page.split(f"\n{heading}")[1]
    return re.split(rf"\n#{{1,{len(level)}}} ", rest)[0]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_tables_in_the_docs_match_the_results_and_settings(path: Path):
    text = path.read_text(encoding="utf-8")
    assert filled(text) == text, "run python -m benchmarks.report"


def test_every_table_of_the_report_is_in_a_page():
    marks = re.findall(r"<!-- (\w+) -->", "".join(path.read_text(encoding="utf-8") for path in PAGES))
    assert sorted(marks) == sorted(TABLES)


def test_the_api_page_lists_what_the_package_exports():
    listed = re.findall(r"^\.\. (?:auto\w+|py:data):: (\S+)$", TEXTS["docs/api.md"], flags=re.M)
    assert {f"sdiff.{name}" for name in sdiff.__all__} <= set(listed)


@pytest.mark.parametrize("name", ["README.md", "docs/api.md", "docs/coming-from.md"])
def test_the_examples_in_python_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "ratings.csv").symlink_to(ROOT / "assets" / "demo" / "interactions.csv")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", TEXTS[name], flags=re.M | re.S)
    assert blocks
    exec("".join(blocks), {})


def test_the_readme_is_short_and_links_every_page():
    assert len(README.splitlines()) <= 150
    for name in TEXTS.keys() - {"README.md", "CHANGELOG.md", "docs/index.md", "docs/contributing.md"}:
        assert f"]({name}" in README, name


def test_the_reference_names_every_command_and_option():
    commands = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    assert set(re.findall(r"^### `sdiff (\w+)", REFERENCE, flags=re.M)) == set(commands)
    for name, command in commands.items():
        written = set(re.findall(r"^\| `(-[\w-]+)`", section(REFERENCE, f"### `sdiff {name}"), flags=re.M))
        assert written == {option for option in command._option_string_actions if option not in ("-h", "--help")}, name


def test_the_reference_names_every_option_of_a_table_and_every_variable():
    cells = re.findall(r"^\| (`.+?) \|", section(REFERENCE, "## Options of a table"), flags=re.M)
    assert {word for cell in cells for word in re.findall(r"\w+", cell)} == {f.name for f in fields(Reading)}
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "sdiff").rglob("*.py"))
    variables = section(REFERENCE, "## Environment variables")
    assert set(re.findall(r"SDIFF_[A-Z_]+", source)) == set(re.findall(r"SDIFF_[A-Z_]+", variables))


def test_the_guides_name_every_endpoint_and_experiment():
    assert set(re.findall(r"^\| `/(\w+)`", HOWTO, flags=re.M)) == {endpoint.__name__ for endpoint in ENDPOINTS}
    named = re.findall(r"`(\w+)`", section(HOWTO, "## Reproduce the paper"))
    assert set(EXPERIMENTS) <= set(named)


def test_the_layout_names_every_package():
    tree = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Layout")[1].split("\n## ")[0]
    packages = {path.parent.relative_to(ROOT / "sdiff") for path in (ROOT / "sdiff").rglob("__init__.py")}
    for package in packages - {Path(), Path("experiments/baselines")}:
        assert f"{package.name}/" in tree
    for name in re.findall(r"(\w+\.py)", tree):
        assert [*ROOT.glob(name), *(ROOT / "sdiff").rglob(name)], name


def test_ci_runs_the_documented_test_command():
    command = "pip install -r requirements-dev.txt && python -m pytest"
    assert command in README and command in (ROOT / ".ci" / "run").read_text()


def test_the_space_front_matter_names_existing_files():
    front = dict(line.split(": ", 1) for line in README.split("---")[1].strip().splitlines())
    assert front["sdk"] == "gradio" and (ROOT / front["app_file"]).exists()
    assert front["license"] == "apache-2.0" and "Apache License" in Path(ROOT / "LICENSE").read_text()
    assert len(front["short_description"]) <= 60
    assert front["python_version"] == '"3.12.12"', "provided by ZeroGPU and supported by DuckDB"
    needs = [Requirement(line) for line in (ROOT / "requirements.txt").read_text().splitlines()]
    gradio = next(need for need in needs if need.name == "gradio")
    assert front["sdk_version"] in gradio.specifier
    assert "preload_from_hub" not in front, "nothing is downloaded before a request"


def test_the_paper_map_names_existing_functions_and_tests():
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


def test_every_promise_of_the_security_page_names_an_existing_test():
    rows = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").split("## Guarantees")[1].split("\n## ")[0]
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    rows = [row for row in rows.splitlines() if row.startswith("| ") and not row.startswith("| guarantee |")]
    promises = [re.findall(r"`(test_\w+)`", row) for row in rows]
    assert len(promises) > 10 and all(promises)
    for name in (name for names in promises for name in names):
        assert f"def {name}(" in tests, name
