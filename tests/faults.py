"""Faults for tests: a full disk, a generator that fails on request, and a short run."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager
from dataclasses import replace

from sdiff.training.trainer import Trainer
from tests.conftest import CPU, SMALL

TINY = "K=8 hidden=16 eval_every=2"


def trained(split, config=SMALL, epochs=6, seed=0):
    trainer = Trainer(replace(config, epochs=epochs), split, seed, CPU)
    trainer.fit()
    return trainer


@contextmanager
def full_disk(left: int):
    """Makes the system refuse writes beyond a file size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def counting(path=None, failure=None):
    """Yields the process id and niceness, then echoes what is sent. Writes a file when closed."""
    try:
        sent = yield os.getpid(), os.nice(0)
        while sent != "end":
            if sent == "fail":
                raise failure
            sent = yield sent
    finally:
        if path is not None:
            path.write_text("closed")
