"""The work that `benchmarks.faults` kills: each operation that writes files, and the allowed states of its files."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from sdiff.app.uploads import store
from sdiff.base.files import MARK, write_atomically
from sdiff.cli.main import main as sdiff
from sdiff.data import download as fetch
from sdiff.data.catalog import Catalog
from sdiff.data.datasets import load_dataset
from sdiff.data.hub import hub_table
from sdiff.data.reading import Reading
from sdiff.method.spectrum import cached_basis
from sdiff.serving import shards
from sdiff.training.checkpoint import Checkpoint
from sdiff.training.run_state import load_state

SETTINGS = ["K=16", "hidden=64", "eval_every=2", "ema=0.9", "dropout=0.3", "lr=0.003", "batch_size=20"]


@dataclass(frozen=True)
class World:
    """Inputs of the work: a folder with a data set and two checkpoints, and the URL of a file to download."""

    folder: Path
    url: str
    epochs: int

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    def train(self, out: Path, seed: int, epochs: int) -> None:
        words = ["train", "--dataset", self.data, "--set", *SETTINGS, f"epochs={epochs}", "--seed", str(seed)]
        run(*words, "--out", str(out), *["--resume"] * (out / "training.safetensors").exists())

    def checkpoint(self, version: str) -> Checkpoint:
        return Checkpoint.load(self.folder / version)


@dataclass(frozen=True)
class Kind:
    """A type of work in a folder.

    Attributes:
        before: creates the initial contents of the folder.
        work: the work itself.
        states: takes the world, the folder and the folder of an uninterrupted run. Yields (name, state, allowed states)
            for each part that exists. Raises an exception if a part cannot be read.
    """

    before: Callable[[World, Path], None]
    work: Callable[[World, Path], None]
    states: Callable[[World, Path, Path], Iterator[tuple[str, Any, tuple[Any, ...]]]]


def train(world: World, folder: Path) -> None:
    world.train(folder / "model", seed=0, epochs=world.epochs)


def trained(world: World, folder: Path, reference: Path) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    model = folder / "model"
    if (model / "config.json").exists():
        Checkpoint.load(model)
        yield "a checkpoint can be resumed", (model / "training.safetensors").exists(), (True,)
    if (model / "training.safetensors").exists():
        load_state(model / "training.safetensors")


def save(world: World, folder: Path) -> None:
    versions = [world.checkpoint(version) for version in ("a", "b")]
    for checkpoint in versions * 10:
        checkpoint.save(folder / "model")


def saved(world: World, folder: Path, reference: Path) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    checkpoint = Checkpoint.load(folder / "model")
    versions = [world.checkpoint(version) for version in ("a", "b")]
    yield "checkpoint", identity(checkpoint), tuple(map(identity, versions))
    yield "metrics", checkpoint.metrics, ({}, *(version.metrics for version in versions))


def identity(checkpoint: Checkpoint) -> tuple[Any, ...]:
    return checkpoint.fingerprint, checkpoint.config, asdict(checkpoint.provenance)


def make_catalog(world: World, folder: Path) -> None:
    tempfile.tempdir = str(folder)
    catalog = Catalog(load_dataset(world.data))
    rows = [asdict(row) for row in catalog.rows(catalog.search("the"))]
    write_atomically(folder / "rows.json", json.dumps(rows).encode())


def make_spectra(world: World, folder: Path) -> None:
    os.environ["SDIFF_CACHE_DIR"] = str(folder)
    split = load_dataset(world.data).split
    for K in range(2, 22, 2):
        cached_basis(split.train, K)


def download(world: World, folder: Path) -> None:
    fetch.SCHEMES = ("http",)
    fetch.fetch(fetch.Archive(world.url, 1 << 30, {"one": "one", "two": "two"}), folder / "set")


def upload(world: World, folder: Path) -> None:
    for name in ("a.csv", "b.csv"):
        table = world.folder / name
        table.write_text("user,item\n" + f"u,{name}\n" * 200_000)
        store.keep(table, table, Reading(), folder / "uploads")


def download_table(world: World, folder: Path) -> None:
    """Uses a stub of the library `datasets` that writes its table in small pieces."""

    def to_parquet(path: Path) -> None:
        with path.open("wb") as file:
            for n in range(1000):
                file.write(b"%d" % n * 1000)

    hub = ModuleType("datasets")
    hub.load_dataset = lambda name, split: SimpleNamespace(to_parquet=to_parquet)  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules["datasets"] = hub
    for name in ("a/set", "b/set"):
        hub_table(name, folder / "hub")


def whole_uploads(world: World, folder: Path, reference: Path) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Each upload is complete or missing."""
    for new in reference.glob("uploads/*/*"):
        old = folder / new.relative_to(reference)
        yield str(new.relative_to(reference)), contents(old), ({}, contents(new))


def all_or_nothing(world: World, folder: Path, reference: Path) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    yield "folder", contents(folder / "set"), ({}, contents(reference / "set"))


def old_set(world: World, folder: Path) -> None:
    (folder / "set").mkdir()
    for name in ("one", "mine"):
        (folder / "set" / name).write_text("old")


def export(name: str) -> Callable[[World, Path], None]:
    def work(world: World, folder: Path) -> None:
        shards.BATCH, shards.BATCHES = 10, 1
        words = ["recommend", "--checkpoint", str(world.folder / "a"), "--dataset", world.data, "--all", "--titles"]
        run(*words, "--out", str(folder / name))

    return work


def old_list(world: World, folder: Path) -> None:
    (folder / "lists.csv").write_text("old")


def nothing(world: World, folder: Path) -> None:
    pass


def whole_files(world: World, folder: Path, reference: Path) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Each file is the old or the new version."""
    for name, data in contents(folder).items():
        if name.partition("/")[0] != ".downloads":
            yield name, data, (hashed(b"old"), contents(reference).get(name))


KINDS = {
    "training": Kind(nothing, train, trained),
    "checkpoint": Kind(lambda world, folder: world.checkpoint("a").save(folder / "model"), save, saved),
    "catalog": Kind(nothing, make_catalog, whole_files),
    "spectrum": Kind(nothing, make_spectra, whole_files),
    "download": Kind(nothing, download, all_or_nothing),
    "download over files": Kind(old_set, download, whole_files),
    "upload": Kind(nothing, upload, whole_uploads),
    "table of the Hub": Kind(nothing, download_table, whole_files),
    "list": Kind(old_list, export("lists.csv"), whole_files),
    "list, Parquet": Kind(nothing, export("lists.parquet"), whole_files),
    "lists in a folder": Kind(nothing, export("lists"), whole_files),
}


def run(*words: str) -> None:
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        if code := sdiff(list(words)):
            raise SystemExit(code)


def hashed(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def contents(folder: Path) -> dict[str, str]:
    """Hashes of all files in a folder by relative path, without scratch folders. Recorded times are ignored."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and MARK not in str(path.relative_to(folder)):
            data = path.read_bytes()
            if path.name == "training.safetensors":
                tensors, state = load_state(path)
                numbers = (tensor.numpy().tobytes() for _, tensor in sorted(tensors.items()))
                data = json.dumps(state | {"seconds": 0}).encode() + b"".join(numbers)
            if path.name == "metrics.json":
                data = json.dumps(json.loads(data) | {"train_seconds": 0, "command": ""}).encode()
            hashes[path.relative_to(folder).as_posix()] = hashed(data)
    return hashes
