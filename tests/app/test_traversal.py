"""No name, key, URL, link or archive member leaves its folder."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from functools import partial
from pathlib import Path
from threading import Event

import duckdb
import gradio as gr
import pytest

from sdiff.app import api, state
from sdiff.app.handlers import openings, ranking, training
from sdiff.app.query import Query
from sdiff.app.state import INSTANT
from sdiff.base.errors import SDiffError
from sdiff.base.paths import runs_dir
from sdiff.data import download as fetching
from sdiff.data.database import database
from sdiff.data.download import Archive, fetch
from sdiff.training.checkpoint import Checkpoint
from tests.conftest import ROOT, run

REFUSED = (SDiffError, gr.Error)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A runs folder, with a checkpoint and a table next to it."""
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(ROOT / "checkpoints" / "demo", root / "outside")
    (root / "outside" / "interactions.csv").write_text("user,item\n" + "".join(f"{u},{u % 5}\n" for u in range(50)))
    (root / "runs" / "uploads" / "0123456789abcdef").mkdir(parents=True)
    return root


@pytest.fixture
def outside(root, monkeypatch):
    monkeypatch.setenv("SDIFF_RUNS_DIR", str(root / "runs"))
    return root / "outside"


def tree(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def unpacked(name: str, **extra) -> None:
    """A download whose archive has the wanted file under another name."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, extra.get("mode", 0) << 16
        file.writestr(info, extra.get("content", "x"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            fetching, "_download", lambda client, archive, part, note, progress: part.write_bytes(packed.getvalue())
        )
        fetch(Archive("https://x/x.zip", 1 << 20, {"ratings.csv": "ratings.csv"}), runs_dir() / "set")


def weights_named(file: str) -> None:
    """A checkpoint that names another file as its weights, with the checksum of that file."""
    folder = runs_dir() / "stranger"
    shutil.copytree(ROOT / "checkpoints" / "demo", folder, dirs_exist_ok=True)
    [weights] = folder.glob("model-*")
    weights.unlink()
    card = json.loads((folder / "config.json").read_text())
    card["weights"]["file"] = file.format(weights.name)
    (folder / "config.json").write_text(json.dumps(card))
    try:
        Checkpoint.load(folder)
    finally:
        shutil.rmtree(folder)


def linked(target: str) -> None:
    folder = runs_dir() / "stranger"
    folder.mkdir()
    (folder / "config.json").symlink_to(target)
    try:
        Checkpoint.load(folder)
    finally:
        shutil.rmtree(folder)


UPWARDS = ("../outside", "../../outside", "..", ".", "/etc", "a/b", "..\\outside", "outside/../../outside", "x\0y", "~")
OWN = "own:0123456789abcdef"
KEYS = (
    *(
        "../outside",
        "/etc/passwd",
        "own:../outside/x",
        "own:0123456789abcdef/../../../outside",
        "own:0123456789abcdef/..",
    ),
    *("own:0123456789abcdef/../outside?user=user", f"{OWN}/a/b", f"{OWN}/x\n/../y", f"{OWN}/x\0"),
    *("own:0123456789ABCDEF/x", "own:/x", "hf:owner/name", "file:///etc/passwd", "demo?items=/etc/passwd"),
    "assets/demo/interactions.csv",
)


def listed(key: str, model: str = INSTANT) -> None:
    ranking.recommend(Query.parse([("dataset", key), ("model", model), ("user", "1")]))


def opened(key: str) -> None:
    run(openings.wait_until_open(key))


def trained(key: str, name: str) -> None:
    list(training.train(key, "paper", 1, 0, "", name, Event()))


LINKS = ("/dev/zero", "/etc/passwd", "../../outside/interactions.csv")
ATTEMPTS = [
    *(("name of a new model", partial(state.new_run, name)) for name in (*UPWARDS, "", ".hidden", "x" * 41)),
    *(("name of a model", partial(listed, "demo", name)) for name in UPWARDS),
    *(("key of a data set", partial(opened, key)) for key in KEYS),
    *(("address", partial(listed, key)) for key in KEYS),
    *(("training on", partial(trained, key, "x")) for key in KEYS),
    *(("training of", partial(trained, "demo", name)) for name in UPWARDS),
    ("/list_checkpoints", lambda: api.list_checkpoints("../outside")),
    ("/recommend", lambda: api.recommend(dataset="../outside")),
    ("/recommend", lambda: api.recommend(checkpoint="../outside")),
    ("/recommend", lambda: api.recommend(user="../outside")),
    ("/recommend", lambda: api.recommend(history=["../outside"])),
    ("/compare", lambda: api.compare(other_settings={"items": "/etc/passwd"})),
    ("/leaderboard", lambda: api.leaderboard("../outside")),
    ("/similar_items", lambda: api.similar_items(item="../outside")),
    ("/search_items", lambda: api.search_items("own:0123456789abcdef/../../../outside")),
    ("/explain", lambda: api.explain(item="../outside")),
    ("/explain", lambda: api.explain("7", checkpoint="/etc")),
    ("/compare", lambda: api.compare(other="../outside")),
    ("/spectrum", lambda: api.spectrum(checkpoint="../outside")),
    ("/spectrum", lambda: api.spectrum(dataset="/etc/passwd")),
    *(("weights", partial(weights_named, file)) for file in ("../../outside/{}", "/dev/zero", "..", "", "../{}")),
    *(("linked card", partial(linked, to)) for to in LINKS),
    *(("archive", partial(unpacked, name)) for name in ("../ratings.csv", "/ratings.csv", "x/../ratings.csv")),
    ("archive", lambda: unpacked("ratings.csv", mode=0o120777, content="/etc/passwd")),
]


def test_there_are_at_least_forty_attempts():
    assert len(ATTEMPTS) >= 40


@pytest.mark.parametrize(("what", "attempt"), ATTEMPTS, ids=lambda value: value if isinstance(value, str) else "")
def test_no_name_key_url_or_archive_leaves_its_folder(outside, what, attempt):
    before = tree(outside.parent)
    with pytest.raises(REFUSED) as refusal:
        attempt()
    assert "root:" not in str(refusal.value) and len(str(refusal.value)) < 1000
    found = {path: time for path, time in tree(outside.parent).items() if ".downloads" not in path.parts}
    assert {path: time for path, time in found.items() if path.is_file()}.items() <= before.items(), "written"


def test_reading_a_table_cannot_access_other_files(tmp_path):
    table, other = tmp_path / "a.csv", tmp_path / "b.csv"
    table.write_text("x\n1\n"), other.write_text("x\n2\n")
    with database(table) as con:
        assert con.execute("SELECT * FROM read_csv(?)", [str(table)]).fetchall() == [(1,)]
        for query in (
            f"FROM read_csv('{other}')",
            "FROM read_text('/etc/passwd')",
            f"COPY (SELECT 1) TO '{tmp_path / 'c.csv'}'",
            f"ATTACH '{tmp_path / 'd.duckdb'}'",
            "INSTALL httpfs",
            "SET enable_external_access = true",
        ):
            with pytest.raises(duckdb.Error):
                con.execute(query)
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "b.csv"}
