"""Does a killed process leave everything whole? `python -m benchmarks.faults --kills 60 --seed 0 --save`

Every kind of work that writes files is done in a process of its own, which is killed (SIGKILL) at a random moment. Then
the law is checked: what was there before is there still, or its whole successor is. The same work is begun again, and
perhaps killed again; where it comes to its end, what is left is to the last bit what a run leaves that nobody killed.
The last line is JSON, which --save keeps in benchmarks/results.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.kept import RESULTS
from sdiff import fetch, shards
from sdiff.__main__ import main as sdiff
from sdiff.atomic import MARK, write_atomically
from sdiff.catalog import Catalog
from sdiff.checkpoint import Checkpoint, load_state
from sdiff.datasets import load_dataset
from sdiff.spectrum import cached_basis
from sdiff.synthetic import synthesize, write
from tests.test_fetch import Server, zipped

SIZES = {"full": (400, 600, 12, 8 << 20), "quick": (60, 80, 6, 1 << 20)}  # users, items, epochs, bytes to download
SETTINGS = ["K=16", "hidden=64", "eval_every=2", "ema=0.9", "dropout=0.3", "lr=0.003", "batch_size=20"]
FROZEN = multiprocessing.get_context("forkserver")  # a process starts with all imports made and nothing computed


@dataclass(frozen=True)
class World:
    """What the work is about: a folder with a data set, two checkpoints of it, and the address of a file."""

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
    """A kind of work in a folder: what is there before, the work, and what a reader may find at any moment.

    found: of the folder and the one of a run that nobody killed, the parts that are there, by their names, and what
    each of them may be.
    """

    before: Callable[[World, Path], None]
    work: Callable[[World, Path], None]
    found: Callable[[World, Path, Path], Iterator[tuple[str, Any, tuple[Any, ...]]]]


def train(world: World, folder: Path) -> None:
    world.train(folder / "model", seed=0, epochs=world.epochs)


def trained(world: World, folder: Path, whole: Path) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    model = folder / "model"
    if (model / "config.json").exists():
        Checkpoint.load(model)
        yield "a checkpoint can be resumed", (model / "training.safetensors").exists(), (True,)
    if (model / "training.safetensors").exists():
        load_state(model / "training.safetensors")


def save(world: World, folder: Path) -> None:
    for version in ("a", "b") * 10:
        world.checkpoint(version).save(folder / "model")


def saved(world: World, folder: Path, whole: Path) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    checkpoint = Checkpoint.load(folder / "model")
    versions = [world.checkpoint(version) for version in ("a", "b")]
    yield "checkpoint", said(checkpoint), tuple(map(said, versions))
    yield "metrics", checkpoint.metrics, ({}, *(version.metrics for version in versions))


def said(checkpoint: Checkpoint) -> tuple[Any, ...]:
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


def all_or_nothing(world: World, folder: Path, whole: Path) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    yield "folder", contents(folder / "set"), ({}, contents(whole / "set"))


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


def whole_files(world: World, folder: Path, whole: Path) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Each file is the old one or the new one."""
    for name, data in contents(folder).items():
        if name.partition("/")[0] != ".downloads":
            yield name, data, (hashed(b"old"), contents(whole).get(name))


KINDS = {
    "training": Kind(nothing, train, trained),
    "checkpoint": Kind(lambda world, folder: world.checkpoint("a").save(folder / "model"), save, saved),
    "catalog": Kind(nothing, make_catalog, whole_files),
    "spectrum": Kind(nothing, make_spectra, whole_files),
    "download": Kind(nothing, download, all_or_nothing),
    "download over files": Kind(old_set, download, whole_files),
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
    """Files by their names below a folder, scratch folders left out. Where times are told, all but those."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and MARK not in str(path.relative_to(folder)):
            data = path.read_bytes()
            if path.name == "training.safetensors":
                tensors, state = load_state(path)
                numbers = (tensor.numpy().tobytes() for _, tensor in sorted(tensors.items()))
                data = json.dumps(state | {"seconds": 0}).encode() + b"".join(numbers)
            if path.name == "metrics.json":
                data = json.dumps(json.loads(data) | {"train_seconds": 0, "command": ""}).encode()
            found[path.relative_to(folder).as_posix()] = hashed(data)
    return found


def act(kind: str, world: World, folder: Path, started: Connection) -> None:
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # its own is the system's, where a killed process leaves it
    os.environ |= {"SDIFF_CACHE_DIR": str(world.folder / "cache"), "TQDM_DISABLE": "1"}
    started.send(True)
    KINDS[kind].work(world, folder)


class Trial:
    """One kind of work, killed as often as asked for."""

    def __init__(self, kind: str, world: World, rng: random.Random) -> None:
        self.kind, self.world, self.rng, self.broken = kind, world, rng, []
        self.whole = self._fresh()
        self.seconds = 0.0
        begun = time.perf_counter()
        self._work(None)
        self.seconds = time.perf_counter() - begun
        self.expected = contents(self.whole)
        self.folder = self._fresh()

    def kill(self) -> None:
        """Kills the work once, and looks at what it left; a coin says whether it is then done to the end."""
        while not self._work(self.rng.uniform(0, self.seconds)):
            self._end()
        try:
            for part, found, allowed in KINDS[self.kind].found(self.world, self.folder, self.whole):
                if found not in allowed:
                    self.broken.append(f"{self.kind}: {part} is neither the old one nor the new one")
        except Exception as error:
            self.broken.append(f"{self.kind}: {error}")
        if self.rng.random() < 0.5:
            self.finish()

    def finish(self) -> None:
        self._work(None)
        self._end()

    def _end(self) -> None:
        """What is left when the work has come to its end, and a new beginning."""
        if (found := contents(self.folder)) != self.expected:
            differing = {name for name, _ in found.items() ^ self.expected.items()}
            self.broken.append(f"{self.kind}: in the end {', '.join(sorted(differing))} differ")
        if litter := [path.name for path in self.folder.rglob(f"{MARK}*")]:
            self.broken.append(f"{self.kind}: {len(litter)} scratch folders are left")
        self.folder = self._fresh()

    def _fresh(self) -> Path:
        folder = Path(tempfile.mkdtemp(dir=self.world.folder))
        KINDS[self.kind].before(self.world, folder)
        return folder

    def _work(self, until: float | None) -> bool:
        """Works in a process that is killed after so many seconds. Whether it was before its end."""
        here, there = FROZEN.Pipe(duplex=False)
        folder = self.folder if self.seconds else self.whole
        process = FROZEN.Process(target=act, args=(self.kind, self.world, folder, there))
        process.start()
        there.close()
        if here.poll(60):
            here.recv()
        process.join(until)
        process.kill()
        process.join()
        if process.exitcode not in (0, -9):
            self.broken.append(f"{self.kind}: ended by itself with code {process.exitcode}")
        return process.exitcode == -9


@contextmanager
def made(size: str) -> Iterator[World]:
    users, items, epochs, n_bytes = SIZES[size]
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, Server() as server:
        server.body = zipped(("one", random.Random(1).randbytes(n_bytes)), ("two", b"2"))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        world = World(Path(folder), server.url(), epochs)
        write(synthesize(users, items, 0), Path(world.data))
        for seed, version in enumerate(("a", "b")):
            world.train(world.folder / version, seed, epochs=2)
        yield world
        server.shutdown()


def measured(kills: int, seed: int, size: str) -> dict[str, Any]:
    """Kills each kind of work in turn, so many times in all; what was broken by it."""
    FROZEN.set_forkserver_preload(["sdiff.__main__", "tests.test_fetch"])
    rng = random.Random(seed)
    with made(size) as world:
        trials = [Trial(kind, world, rng) for kind in KINDS]
        for n in range(kills):
            trials[n % len(trials)].kill()
            print(f"{n + 1} of {kills}: {trials[n % len(trials)].kind}", file=sys.stderr)
        for trial in trials:
            trial.finish()
        return {
            "kills": {trial.kind: len(range(n, kills, len(trials))) for n, trial in enumerate(trials)},
            "seconds of the work": {trial.kind: round(trial.seconds, 2) for trial in trials},
            "broken": [fault for trial in trials for fault in trial.broken],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true", help="keep the result in benchmarks/results")
    arguments = parser.parse_args()
    result = {
        "command": f"python -m benchmarks.faults --kills {arguments.kills} --seed {arguments.seed}",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "system": platform.system(),
    } | measured(arguments.kills, arguments.seed, "full")
    if arguments.save:
        (RESULTS / "faults.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))
    sys.exit(bool(result["broken"]))


if __name__ == "__main__":
    main()
