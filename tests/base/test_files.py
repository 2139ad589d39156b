"""A file is always the complete old or new one: with a killed writer, a full disk, or a concurrent reader."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace

import pytest

from benchmarks.faults import measured
from benchmarks.killed import KINDS, contents
from sdiff import Recommender, SDiffError
from sdiff.app.uploads import store
from sdiff.base import files
from sdiff.base.files import CLAIM, claimed, lock, replacing, scratch, sweep, write_atomically
from sdiff.data.catalog import Catalog
from sdiff.data.datasets import load_dataset
from sdiff.data.reading import Reading
from sdiff.serving.export import ranked, write
from sdiff.training import checkpoint
from sdiff.training.run_state import save_state
from sdiff.training.trainer import Trainer
from tests.conftest import CPU, ROOT, SMALL
from tests.faults import full_disk, trained


@pytest.mark.slow
def test_a_killed_process_leaves_complete_files_and_the_next_one_gets_the_same_result():
    assert measured(len(KINDS), 0, "quick")["broken"] == []


def test_a_scratch_folder_is_removed_only_after_its_process_has_died(tmp_path):
    with scratch(tmp_path) as mine:
        (mine / "half").write_text("half")
        (tmp_path / ".sdiff-dead").mkdir()
        (tmp_path / ".sdiff-dead" / "half").write_text("half")
        write_atomically(tmp_path / "file", b"whole")
        assert (mine / "half").exists() and {path.name for path in tmp_path.iterdir()} == {mine.name, "file"}
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "file") as path:
        path.write_text("half" * (1 // 0))
    assert contents(tmp_path).keys() == {"file"} and (tmp_path / "file").read_bytes() == b"whole"


def test_a_file_is_synced_before_its_rename_and_the_rename_before_the_writer_returns(tmp_path, monkeypatch):
    table, root, on_disk, named = tmp_path / "log.csv", tmp_path / "own", set(), []
    table.write_text("user,item\n1,2\n")
    fsync = os.fsync

    def noted(handle):
        fsync(handle)
        on_disk.add(os.fstat(handle).st_ino)

    def checked(move):
        def moved(source, target):
            files = [path for path in (source, *source.rglob("*")) if path.is_file()]
            assert files and {path.stat().st_ino for path in files} <= on_disk
            move(source, target)
            on_disk.clear()
            named.append(target)

        return moved

    monkeypatch.setattr(os, "fsync", noted)
    for move in ("rename", "replace"):
        monkeypatch.setattr(os, move, checked(getattr(os, move)))
    for save, folders in (
        (lambda: write_atomically(tmp_path / "file", b"whole"), 1),
        (lambda: store.keep(table, None, Reading(), root), 3),
    ):
        save()
        where = [named[-1], *named[-1].parents] if named[-1].is_dir() else named[-1].parents
        assert {path.stat().st_ino for path in [*where][:folders]} <= on_disk
    assert len(named) == 2


def test_a_folder_removed_before_it_was_locked_is_recreated(tmp_path, monkeypatch):
    make, made = tempfile.mkdtemp, []

    def swept(**where):
        made.append(make(**where))
        if len(made) == 1:
            sweep(tmp_path)
        return made[-1]

    monkeypatch.setattr("sdiff.base.files.tempfile.mkdtemp", swept)
    write_atomically(tmp_path / "file", b"whole")
    assert len(made) == 2 and (tmp_path / "file").read_bytes() == b"whole"


def test_a_folder_is_claimed_by_one_process_until_it_ends_in_any_way(tmp_path):
    folder = tmp_path / "deep" / "run"
    with claimed(folder), pytest.raises(BlockingIOError), claimed(folder):
        pass
    assert folder.parent.exists() and not folder.exists()
    script = f"""from pathlib import Path; from runpy import run_path; from time import sleep
with run_path("sdiff/base/files.py")["claimed"](Path({str(folder)!r})): print("mine", flush=True); sleep(600)"""
    other = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert other.stdout and other.stdout.readline() == b"mine\n"
    with pytest.raises(BlockingIOError), claimed(folder):
        pass
    other.kill()
    other.wait()
    with claimed(folder):
        (folder / "model").touch()
    assert [path.name for path in folder.iterdir()] == ["model"]
    with pytest.raises(ZeroDivisionError), claimed(folder):
        folder.rename(1 / 0)  # pyright: ignore
    assert [path.name for path in folder.iterdir()] == ["model"]


def test_a_claim_released_before_it_could_be_locked_is_recreated(tmp_path, monkeypatch):
    calls = []

    def given_up(file):
        calls.append(lock(file))
        if len(calls) == 1:
            (tmp_path / "run" / CLAIM).unlink()

    monkeypatch.setattr(files, "lock", given_up)
    with claimed(tmp_path / "run"):
        assert len(calls) == 2 and (tmp_path / "run" / CLAIM).exists()


def writers(split, folder):
    """Writers of files by name: a first write and a second one with other content."""
    models = [trained(split, seed=seed).checkpoint("demo", "paper") for seed in (0, 1)]
    trainer, demo = Trainer(SMALL, split, 0, CPU), load_dataset("demo")
    lists = [list(ranked(Recommender(models[0], CPU), split.train, k, SMALL, 0)) for k in (5, 6)]
    world = replace(
        demo,
        split=split,
        items=replace(
            demo.items, **{name: list(getattr(demo.items, name))[:30] for name in ("title", "year", "genres")}, extra={}
        ),
    )
    return {
        "checkpoint": [lambda m=m: m.save(folder / "model") for m in models],
        "state": [lambda: save_state(trainer, folder / "state"), lambda: save_state(trainer, folder / "state")],
        "csv": [lambda rows=rows: write(folder / "a.csv", rows, world) for rows in lists],
        "parquet": [lambda rows=rows: write(folder / "a.parquet", rows, world, titles=True) for rows in lists],
    }


@pytest.mark.parametrize("kind", ["checkpoint", "state", "csv", "parquet"])
def test_a_full_disk_keeps_the_old_file_and_is_reported(kind, split, tmp_path):
    first, again = writers(split, tmp_path)[kind]
    first()
    old, failed, left = contents(tmp_path), 0, 0
    while True:
        try:
            with full_disk(left):
                again()
            break
        except SDiffError as error:
            assert str(error).startswith("Cannot write")
            failed += 1
        assert old.items() <= contents(tmp_path).items() and not list(tmp_path.rglob(".sdiff-*"))
        if kind == "checkpoint":
            assert Recommender.load(tmp_path / "model").checkpoint.provenance.seed == 0
        left = left * 4 + 100
    assert failed >= 2


def test_a_checkpoint_replaced_while_being_read_is_the_new_one(split, tmp_path, monkeypatch):
    old, new = (trained(split, seed=seed).checkpoint("tastes", "paper") for seed in (0, 1))
    old.save(tmp_path)
    digest, replacements = checkpoint._sha256, [new]

    def replaced_before(path):
        if replacements:
            replacements.pop().save(tmp_path)
        return digest(path)

    monkeypatch.setattr(checkpoint, "_sha256", replaced_before)
    assert checkpoint.Checkpoint.load(tmp_path).fingerprint == new.fingerprint and not replacements


def test_a_catalog_leaves_no_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    catalog = Catalog(load_dataset("demo"))
    assert not list(tmp_path.iterdir()) and catalog.search("the") and catalog.rows([3, 1])
