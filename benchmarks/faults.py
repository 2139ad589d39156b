"""Crash test: are files intact after a process is killed? `python -m benchmarks.faults --kills 60 --seed 0 --save`

Each type of work that writes files runs in a separate process, which is killed (SIGKILL) alternately at a random time
and at a random file system operation, before a file is opened for writing, renamed or removed. Then every file must be
either the complete old version or the complete new version. The same work is started again, and perhaps killed again.
When it completes, its files must be identical to those of an uninterrupted run. The last line is JSON; --save writes it
to benchmarks/results.
"""

from __future__ import annotations

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
from benchmarks.synthetic import synthesize, write
from sdiff.base.files import MARK
from sdiff.experiments.record import report, script_parser, versions
from tests.data.test_download import Server, zipped

SIZES = {"full": (400, 600, 12, 8 << 20), "quick": (60, 80, 6, 1 << 20)}  # users, items, epochs, bytes to download
FROZEN = multiprocessing.get_context("forkserver")  # new processes have all imports and no other state
STEPS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")


def act(kind: str, world: World, folder: Path, last: int | None, pipe: Connection) -> None:
    """Does the work. Sends 0 at the start and the number of steps (file system operations) at the end.

    If `last` is given, kills itself at that step.
    """
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # tqdm's default lock is a system semaphore, which a killed process would leak
    os.environ |= {"SDIFF_CACHE_DIR": str(world.folder / "cache"), "TQDM_DISABLE": "1"}
    steps = 0

    def step(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal steps
        if event in STEPS or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            steps += 1
            if steps == last:
                os.kill(os.getpid(), signal.SIGKILL)

    pipe.send(0)
    sys.addaudithook(step)
    KINDS[kind].work(world, folder)
    pipe.send(steps)


class Trial:
    """One type of work, which is killed repeatedly."""

    def __init__(self, kind: str, world: World, rng: random.Random) -> None:
        self.kind, self.world, self.rng, self.broken = kind, world, rng, []
        self.reference = self._fresh()
        self.folder, self.kills = self.reference, 0
        started = time.perf_counter()
        self.steps = self._work() or 1
        self.seconds = time.perf_counter() - started
        self.left: list[int] = []  # steps at which it has not been killed yet
        self.expected = contents(self.reference)
        self.folder = self._fresh()

    def kill(self) -> None:
        """Kills the work once and checks its files; with probability 1/2, then lets it complete."""
        while self._work(**self._moment()) is not None:
            self._end()
        self.kills += 1
        try:
            for part, state, allowed in KINDS[self.kind].states(self.world, self.folder, self.reference):
                if state not in allowed:
                    self.broken.append(f"{self.kind}: {part} is neither the old nor the new version")
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
        """Checks the files after the work has completed, and starts with a new folder."""
        if (files := contents(self.folder)) != self.expected:
            differing = {name for name, _ in files.items() ^ self.expected.items()}
            self.broken.append(f"{self.kind}: the final files differ: {', '.join(sorted(differing))}")
        if litter := [path.name for path in self.folder.rglob(f"{MARK}*")]:
            self.broken.append(f"{self.kind}: {len(litter)} scratch folders were not removed")
        self.folder = self._fresh()

    def _fresh(self) -> Path:
        folder = Path(tempfile.mkdtemp(dir=self.world.folder))
        KINDS[self.kind].before(self.world, folder)
        return folder

    def _work(self, until: float | None = None, last: int | None = None) -> int | None:
        """Runs the work in a process that is killed after `until` seconds or at step `last`.

        Returns:
            The number of steps if the work completed, otherwise None.
        """
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
            self.broken.append(f"{self.kind}: failed with exit code {process.exitcode}")
        return here.recv() if process.exitcode == 0 else None


@contextmanager
def create_world(size: str) -> Iterator[World]:
    """A temporary folder with a data set and two checkpoints, and a local server with an archive to download."""
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
    """Kills the types of work in turn, `kills` times in total, and returns the counts and the violations."""
    FROZEN.set_forkserver_preload(["benchmarks.killed", "tests.data.test_download", "torch._dynamo"])
    rng = random.Random(seed)
    with create_world(size) as world:
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
    parser = script_parser(__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
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
