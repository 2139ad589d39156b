"""The direction of imports, read from the source: what is below never knows what is above."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "sdiff"
# Each module may import those that stand before it, and no other.
ORDER = [
    *(
        "errors",
        "terminal",
        "atomic",
        "config",
        "device",
        "distributed",
        "interactions",
        "histories",
        "eigen",
        "spectrum",
        "schedule",
        "linear",
        "denoiser",
        "graph",
        "model",
        "soundness",
        "diffusion",
    ),
    *("metrics", "evaluation", "checkpoint", "references", "quality", "recommender", "training", "run_state"),
    *("synthetic", "tables", "readers", "items", "formats", "hub", "fetch", "registry", "datasets"),
    *("explain", "card", "search", "catalog", "batch", "shards", "commands"),
    *(
        "ui.serving",
        "ui.journal",
        "ui.gate",
        "ui.refusals",
        "ui.origins",
        "ui.routes",
        "ui.limits",
        "ui.documents",
        "ui.connections",
        "ui.uploads",
        "ui.prepare",
        "ui.runs",
        "ui.space",
        "ui.state",
        "ui.openings",
        "ui.words",
        "ui.inputs",
        "ui.sessions",
        "ui.server",
        "ui.query",
        "ui.handlers",
        "ui.compare_handlers",
        "ui.spectral_handlers",
        "ui.reverse_handlers",
        "ui.take_away",
        "ui.training_handlers",
        "ui.health",
        "ui.figures",
        "ui.experiment_figures",
        "ui.lists",
        "ui.api",
        "ui.results",
        "ui.controls",
        "ui.train_tab",
        "ui.data_tab",
        "ui.experiments_tab",
        "ui.opening",
        "ui.listing",
        "ui.recommend_tab",
        "ui.spectrum_tab",
        "ui.compare_tab",
        "ui.theme",
        "ui.layout",
    ),
]
# Who may know of a library that the rest should not depend on.
ONLY = {
    "gradio": {
        "ui.serving",  # its types alone
        "ui.journal",
        "ui.inputs",
        "ui.sessions",
        "ui.server",
        "ui.space",
        "ui.api",
        "ui.layout",
        "ui.controls",
        "ui.opening",
        "ui.listing",
        "ui.data_tab",
        "ui.train_tab",
        "ui.experiments_tab",
        "ui.recommend_tab",
        "ui.spectrum_tab",
        "ui.compare_tab",
        "ui.theme",
    },
    "plotly": {"ui.figures", "ui.experiment_figures"},
    "duckdb": {"tables", "readers", "formats", "catalog", "batch", "shards"},
    "tqdm": {"commands"},
    "spaces": {"ui.space"},
}


@cache
def modules():
    return [
        (".".join(path.relative_to(PACKAGE).with_suffix("").parts), ast.parse(path.read_text()))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_has_its_place():
    names = {name for name, _ in modules()} - {"__init__", "__main__", "ui.__init__"}
    assert names == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_imports_point_one_way(name):
    tree = dict(modules())[name]
    inside = {i.removeprefix("sdiff.") for i in imports(tree) if i.startswith("sdiff.")}
    assert inside & set(ORDER) <= set(ORDER[: ORDER.index(name)])


@pytest.mark.parametrize("library", ONLY)
def test_a_library_is_known_only_where_it_belongs(library):
    users = {name for name, tree in modules() if any(i.split(".")[0] == library for i in imports(tree))}
    assert users <= ONLY[library]


def test_nothing_unpickles():
    unpicklers = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "pandas"}
    calls = r"torch\.(load|jit\.load|package\b)|.*allow_pickle=(?!False)|.*read_pickle\(|(eval|exec)\("
    app = ("app", ast.parse((PACKAGE.parent / "app.py").read_text()))
    for name, tree in (*modules(), app):
        assert not {i.split(".")[0] for i in imports(tree)} & unpicklers, name
        called = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert not [call for call in called if re.match(calls, call)], name
