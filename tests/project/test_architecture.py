"""Imports point one way between packages (import-linter, configured in pyproject.toml), and nothing unpickles."""

import ast
import re
from functools import cache

from importlinter.cli import lint_imports

from tests.conftest import ROOT


@cache
def modules():
    return [
        (str(path), ast.parse(path.read_text())) for path in (*sorted((ROOT / "sdiff").rglob("*.py")), ROOT / "app.py")
    ]


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module


def test_imports_follow_the_layers(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == 0


def test_nothing_unpickles():
    unpicklers = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "pandas"}
    calls = r"torch\.(load|jit\.load|package\b)|.*allow_pickle=(?!False)|.*read_pickle\(|(eval|exec)\("
    for name, tree in modules():
        found = {i.split(".")[0] for i in imports(tree)} & unpicklers
        assert found <= ({"pandas"} if name.endswith("ecosystem.py") else set()), (
            name
        )  # the other libraries take its frames
        called = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert not [call for call in called if re.match(calls, call)], name
