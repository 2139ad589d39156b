"""Figure 5: inference time of S-Diff and DiffRec for a batch of 100 users, by number of items and of users.

Weights and histories are random and the spectral basis is a random orthonormal matrix; the time does not depend on
them. The number of users is that of the training part from which the batch is taken; inference of neither model
depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from sdiff.base.device import Device, wait_for
from sdiff.config import Config
from sdiff.experiments.baselines.diffrec import DiffRec
from sdiff.experiments.study import Row, Study
from sdiff.method.diffusion import score
from sdiff.method.histories import Histories
from sdiff.method.model import Model
from sdiff.method.spectrum import SpectralBasis

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
OTHER, BATCH, LENGTH, REPEATS = 10_000, 100, 50, 5
DIFFREC_WIDTHS, DIFFREC_STEPS = (1000,), 5
CPU = torch.device("cpu")


def growth(study: Study) -> list[Row]:
    """Median milliseconds per batch, for increasing numbers of items and of users."""
    sizes = SIZES[:1] if study.quick else SIZES
    return [
        {"model": f"{model}, more {grows}", "size": size, "milliseconds": milliseconds}
        for grows in ("items", "users")
        for size in sizes
        for model, milliseconds in batch_times(
            study.config, *((OTHER, size) if grows == "items" else (size, OTHER)), study.seed
        ).items()
    ]


@torch.inference_mode()
def batch_times(config: Config, n_users: int, n_items: int, seed: int) -> dict[str, float]:
    """Median milliseconds per batch of each model."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    everyone = Histories.from_lists(list(generator.integers(n_items, size=(n_users, LENGTH))), CPU)
    batch = torch.from_numpy(generator.integers(n_users, size=BATCH))
    sdiff = Model(config, random_spectrum(n_items, config.K), torch.ones(n_items)).eval()
    diffrec = DiffRec(n_items, DIFFREC_WIDTHS, DIFFREC_STEPS).eval()
    noise = torch.Generator().manual_seed(seed)

    def on_batch(scores: Callable[[Histories], Tensor]) -> Tensor:
        return scores(everyone.take(batch))

    models: dict[str, Callable[[Histories], Tensor]] = {
        "S-Diff": lambda x: score(sdiff, x, config, noise),
        "DiffRec": diffrec.scores,
    }
    runs = {name: partial(on_batch, scores) for name, scores in models.items()}
    return in_turns(runs, REPEATS)


def in_turns(runs: Mapping[str, Callable[[], object]], repeats: int, device: Device = CPU) -> dict[str, float]:
    """Median milliseconds of each run. The runs take turns; the first round is a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            wait_for(device)
            if repeat:
                seconds[name].append(time.perf_counter() - started)
    return {name: 1000 * float(np.median(values)) for name, values in seconds.items()}


def random_spectrum(n_items: int, K: int) -> SpectralBasis:
    U, _ = torch.linalg.qr(torch.randn(n_items, K))
    return SpectralBasis(U.contiguous(), torch.linspace(0, 1, K))  # qr returns column order
