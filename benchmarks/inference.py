"""Figure 5: how long a batch of 100 users takes, from histories to scores, S-Diff beside DiffRec.

Random weights and random histories, as time does not depend on them: the spectral basis is a random orthonormal one.
Users do not enter inference of either; their number is that of the train part which the batch is taken from.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.peers.diffrec import DiffRec
from benchmarks.study import Row, Study
from sdiff.config import Config
from sdiff.diffusion import denoise
from sdiff.histories import Histories
from sdiff.model import Model
from sdiff.spectrum import SpectralBasis

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
OTHER, BATCH, LENGTH, REPEATS = 10_000, 100, 50, 5
DIFFREC_WIDTHS, DIFFREC_STEPS = (1000,), 5


def growth(study: Study) -> list[Row]:
    """Rows of milliseconds, the median over repeats that take turns, while items or users grow."""
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
    """Milliseconds of each model for one batch."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    everyone = Histories.from_lists(list(generator.integers(n_items, size=(n_users, LENGTH))), torch.device("cpu"))
    batch = torch.from_numpy(generator.integers(n_users, size=BATCH))
    U, _ = torch.linalg.qr(torch.randn(n_items, config.K))
    spectrum = SpectralBasis(U, torch.linspace(0, 1, config.K))
    sdiff = Model(config, spectrum, torch.ones(n_items)).eval()
    diffrec = DiffRec(n_items, DIFFREC_WIDTHS, DIFFREC_STEPS).eval()
    noise = torch.Generator().manual_seed(seed)

    def spectral(x: Histories) -> torch.Tensor:
        return sdiff.scores(denoise(sdiff.denoiser, sdiff.basis, x, config, noise), x)

    models: dict[str, Callable[[Histories], torch.Tensor]] = {"S-Diff": spectral, "DiffRec": diffrec.scores}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for repeat in range(REPEATS + 1):
        for name, score in models.items():
            started = time.perf_counter()
            score(everyone.take(batch))
            if repeat:  # the first warms up
                seconds[name].append(time.perf_counter() - started)
    return {name: 1000 * float(np.median(values)) for name, values in seconds.items()}
