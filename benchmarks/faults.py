"""Does a killed process leave everything whole? `python -m benchmarks.faults --kills 60 --seed 0 --save`

Every kind of work that writes files is done in a process of its own, which is killed (SIGKILL): by turns at a random
moment and at a random step in the file system, before a file is opened to be written, named anew or removed. Then the
law is checked: what was there before is there still, or its whole successor is. The same work is begun again, and
perhaps killed again; where it comes to its end, what is left is to the last bit what a run leaves that nobody killed.
The last line is JSON, which --save keeps in benchmarks/results.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.killed import KINDS, World, contents
from sdiff.base.files import MARK
from sdiff.data.synthetic import synthesize, write
from sdiff.experiments.record import report, versions
from tests.data.test_download import Server, zipped

SIZES = {"full": (400, 600, 12, 8 << 20), "quick": (60, 80, 6, 1 << 20)}  # users, items, epochs, bytes to download
FROZEN = multiprocessing.get_context("forkserver")  # a process starts with all imports made and nothing computed
STEPS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")


def act(kind: str, world: World, folder: Path, last: int | None, told: Connection) -> None:
    """Does the work, up to its last step where one is given. Tells when it begins, and its steps in the end."""
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # its own is the system's, where a killed process leaves it
    os.environ |= {"SDIFF_CACHE_DIR": str(world.folder / "cache"), "TQDM_DISABLE": "1"}
    steps = 0

    def step(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal steps
        if event in STEPS or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            steps += 1
            if steps == last:
                os.kill(os.getpid(), signal.SIGKILL)

    told.send(0)
    sys.addaudithook(step)
    KINDS[kind].work(world, folder)
    told.send(steps)


class Trial:
    """One kind of work, killed as often as asked for."""

    def __init__(self, kind: str, world: World, rng: random.Random) -> None:
        self.kind, self.world, self.rng, self.broken = kind, world, rng, []
        self.whole = self._fresh()
        self.folder, self.kills = self.whole, 0
        begun = time.perf_counter()
        self.steps = self._work() or 1
        self.seconds = time.perf_counter() - begun
        self.left: list[int] = []  # of the steps, those at which it has not been killed
        self.expected = contents(self.whole)
        self.folder = self._fresh()

    def kill(self) -> None:
        """Kills the work once, and looks at what it left; a coin says whether it is then done to the end."""
        while self._work(**self._moment()) is not None:
            self._end()
        self.kills += 1
        try:
            for part, found, allowed in KINDS[self.kind].found(self.world, self.folder, self.whole):
                if found not in allowed:
                    self.broken.append(f"{self.kind}: {part} is neither the old one nor the new one")
        except Exception as error:
            self.broken.append(f"{self.kind}: {error}")
        if self.rng.random() < 0.5:
            self.finish()

    def _moment(self) -> dict[str, Any]:
        if self.kills % 2:
            self.left = self.left or self.rng.sample(range(1, self.steps + 1), self.steps)
            return {"last": self.left.pop()}
        return {"until": self.rng.uniform(0, self.seconds)}

    def finish(self) -> None:
        self._work()
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

    def _work(self, until: float | None = None, last: int | None = None) -> int | None:
        """Works in a process that is killed after so many seconds, or at a step. How many steps it took to its end;
        None where it did not come to it."""
        here, there = FROZEN.Pipe(duplex=False)
        process = FROZEN.Process(target=act, args=(self.kind, self.world, self.folder, last, there))
        process.start()
        there.close()
        if here.poll(60):
            here.recv()
        process.join(until)
        process.kill()
        process.join()
        if process.exitcode not in (0, -signal.SIGKILL):
            self.broken.append(f"{self.kind}: ended by itself with code {process.exitcode}")
        return here.recv() if process.exitcode == 0 else None


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
    FROZEN.set_forkserver_preload(["benchmarks.killed", "tests.data.test_download", "torch._dynamo"])
    rng = random.Random(seed)
    with made(size) as world:
        trials = [Trial(kind, world, rng) for kind in KINDS]
        for n in range(kills):
            trials[n % len(trials)].kill()
            print(f"{n + 1} of {kills}: {trials[n % len(trials)].kind}", file=sys.stderr)
        for trial in trials:
            trial.finish()
        return {
            "kills": {trial.kind: trial.kills for trial in trials},
            "seconds of the work": {trial.kind: round(trial.seconds, 2) for trial in trials},
            "steps of the work": {trial.kind: trial.steps for trial in trials},
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
        "versions": versions("torch"),
        "system": platform.system(),
    } | measured(arguments.kills, arguments.seed, "full")
    report(result, "faults", arguments.save)
    sys.exit(bool(result["broken"]))


if __name__ == "__main__":
    main()
