"""What the spectral plots show: the spectrum, the schedules, and one history's energy before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch

from sdiff.config import Schedule
from sdiff.diffusion import condition, denoise
from sdiff.histories import Histories
from sdiff.schedule import NoiseSchedule
from sdiff.ui.state import serve

KINDS: tuple[Schedule, ...] = get_args(Schedule)


@dataclass(frozen=True)
class SpectralView:
    """Arrays for the spectral plots, and a sentence for each. `mapped` and `bands` are indices of frequencies."""

    lam: np.ndarray
    tau: float
    snr_at_tau: dict[str, np.ndarray]
    times: np.ndarray
    shown_lam: np.ndarray
    schedules: dict[str, tuple[np.ndarray, np.ndarray]]
    mapped: np.ndarray
    maps: dict[str, np.ndarray]
    bands: np.ndarray
    energy: tuple[np.ndarray, np.ndarray, np.ndarray]
    words: dict[str, str]


def spectral_view(
    dataset: str,
    checkpoint: str,
    user: str,
    settings: dict[str, Any],
    seed: int,
    history: Sequence[str] | None = None,
) -> SpectralView:
    """The spectrum, the three schedules under these settings, and what sampling does to the energy of one history."""
    opened, model = serve(dataset, checkpoint)
    config = model.config.at_inference(settings)
    lam = model.basis.lam.cpu()
    times = torch.linspace(0, config.tau, 81)
    levels = torch.linspace(float(lam[0]), float(lam[-1]), 5)
    shown = lam[(lam - levels[:, None]).abs().argmin(1).unique()]  # eigenvalues spread evenly over the spectrum
    mapped = torch.linspace(0, len(lam) - 1, min(80, len(lam))).round().long()
    kinds = {kind: NoiseSchedule(kind, config.alpha_min, config.sigma_max, config.tau) for kind in KINDS}
    at_tau = {kind: s.snr(times[-1:], lam)[0].numpy() for kind, s in kinds.items()}
    split = opened.dataset.split
    if history is None:
        items = split.train.history(int(split.users.encode([user.strip()], "user")[0]))
    else:
        items = split.items.encode(history)
    x = Histories.from_lists([items], model.device)
    noised: list[torch.Tensor] = []
    after = denoise(
        model.denoiser,
        model.basis,
        x,
        config,
        torch.Generator().manual_seed(seed),
        lambda _, v_t, v0_hat: noised.append(v_t),
    )
    groups = np.array_split(np.arange(len(lam)), min(20, len(lam)))
    before_energy, noised_energy, after_energy = (
        np.array([np.square(v[0].cpu().numpy()[group]).mean() for group in groups])
        for v in (condition(model.basis, x, config).mean(1), noised[0], after)
    )
    finite = np.isfinite(at_tau["vp"])
    tenth = np.flatnonzero(finite)[: max(len(lam) // 10, 1)]
    lowest = {kind: np.median(np.log10(values[tenth])) for kind, values in at_tau.items() if len(tenth)}
    medians = ", ".join(f"{median:.2f} under {kind.upper()}" for kind, median in lowest.items())
    low = slice(0, max(len(groups) // 4, 1))
    share = before_energy[low].sum() / max(before_energy.sum(), 1e-12)
    kept = after_energy[low].sum() / max(after_energy.sum(), 1e-12)
    words = {
        "eigenvalues": f"{len(lam)} frequencies are kept, from λ = {lam[0]:.2f} to λ = {lam[-1]:.2f}.",
        "snr": f"At t = {config.tau:g} VP leaves {(~finite).sum()} of {len(lam)} frequencies without noise."
        + (f" Over the lowest tenth of the others the median log₁₀ SNR is {medians}." if medians else ""),
        "energy": f"The lowest quarter of the frequencies holds {share:.0%} of this history's energy, "
        f"and {kept:.0%} of the denoised estimate's.",
    }
    return SpectralView(
        lam=lam.numpy(),
        tau=config.tau,
        snr_at_tau=at_tau,
        times=times.numpy(),
        shown_lam=shown.numpy(),
        schedules={kind: (s.alpha(times, shown).numpy(), s.sigma(times, shown).numpy()) for kind, s in kinds.items()},
        mapped=mapped.numpy() + 1,
        maps={kind: s.snr(times, lam[mapped]).numpy() for kind, s in kinds.items()},
        bands=np.array([group.mean() + 1 for group in groups]),
        energy=(before_energy, noised_energy, after_energy),
        words=words,
    )
