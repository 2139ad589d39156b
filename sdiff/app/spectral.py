"""Data of the spectral plots: energy of a history, noise schedules, and the reverse process step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from sdiff.app.handlers import held_out_of, history_of, ranked, shifts
from sdiff.app.query import Query
from sdiff.app.state import serve
from sdiff.config import Config, Schedule
from sdiff.data.catalog import Row
from sdiff.method.diffusion import condition, denoise, neighbourhood_scores
from sdiff.method.histories import Histories
from sdiff.method.schedule import NoiseSchedule, frequencies
from sdiff.serving.recommender import Recommender

KINDS: tuple[Schedule, ...] = get_args(Schedule)
BANDS = 20  # frequency bands that energy is averaged over


@dataclass(frozen=True)
class SpectralView:
    """Start and result of the sampling of a list.

    Attributes:
        lam: eigenvalues (K,).
        tau: time at which sampling starts.
        snr_at_tau: SNR (K,) at tau by schedule.
        bands: middle index of each frequency band.
        energy: mean v^2 per band of the history, of its noised version, and of the denoised estimate.
        words: captions.
    """

    lam: np.ndarray
    tau: float
    snr_at_tau: dict[str, np.ndarray]
    bands: np.ndarray
    energy: tuple[np.ndarray, np.ndarray, np.ndarray]
    words: dict[str, str]


@dataclass(frozen=True)
class ScheduleView:
    """Spectrum and schedules.

    Attributes:
        lam: eigenvalues (K,).
        times: times (n,).
        shown_lam: a few eigenvalues (m,).
        schedules: alpha and sigma (n, m) by schedule.
        mapped: frequency indices of the SNR maps, from 1 on.
        maps: SNR over times and these frequencies, by schedule.
        words: captions.
    """

    lam: np.ndarray
    times: np.ndarray
    shown_lam: np.ndarray
    schedules: dict[str, tuple[np.ndarray, np.ndarray]]
    mapped: np.ndarray
    maps: dict[str, np.ndarray]
    words: dict[str, str]


@dataclass(frozen=True)
class Reverse:
    """Sampling steps n = 1 ... T, from t = tau down, and details of one step.

    Attributes:
        times: time of each step (T,).
        overlap: number of items that each step's list shares with the last one (T,).
        hits: number of held-out items in each step's list (T,).
        step: the step shown, from 1 on.
        bands: middle index of each frequency band.
        energy: mean v^2 per band of the history, of v_t, and of the estimate, at this step.
        rows: list of this step.
        moves: places won since the previous step.
        words: caption.
    """

    times: np.ndarray
    overlap: np.ndarray
    hits: np.ndarray
    step: int
    bands: np.ndarray
    energy: tuple[np.ndarray, np.ndarray, np.ndarray]
    rows: list[Row]
    moves: list[int | None] | None
    words: str


def spectral_view(query: Query) -> SpectralView:
    """SNR at the start of sampling, and energy of a history before and after. Raises SDiffError like `recommend`."""
    config, model, x = _resolve(query)
    lam = model.basis.lam.cpu()
    d = frequencies(lam, config)
    at_tau = {kind: s.snr(torch.tensor(config.tau), d).numpy() for kind, s in _kinds(config).items()}
    noised: list[Tensor] = []
    noise = torch.Generator().manual_seed(query.seed)
    after = denoise(model.model, x, config, noise, lambda _, v_t, v0_hat: noised.append(v_t))
    before_energy, noised_energy, after_energy = (
        _by_band(v) for v in (condition(model.basis, x, config).mean(1), noised[0], after)
    )
    finite = np.isfinite(at_tau["vp"])
    tenth = np.flatnonzero(finite)[: max(len(lam) // 10, 1)]
    lowest = {kind: np.median(np.log10(values[tenth])) for kind, values in at_tau.items() if len(tenth)}
    medians = ", ".join(f"{median:.2f} under {kind.upper()}" for kind, median in lowest.items())
    low = slice(0, max(len(before_energy) // 4, 1))
    share = before_energy[low].sum() / max(before_energy.sum(), 1e-12)
    share_after = after_energy[low].sum() / max(after_energy.sum(), 1e-12)
    words = {
        "snr": f"At t = {config.tau:g} VP leaves {(~finite).sum()} of {len(lam)} frequencies without noise."
        + (f" Over the lowest tenth of the others the median log₁₀ SNR is {medians}." if medians else ""),
        "energy": f"The lowest quarter of the frequencies holds {share:.0%} of this history's energy, "
        f"and {share_after:.0%} of the denoised estimate's.",
    }
    energy = (before_energy, noised_energy, after_energy)
    return SpectralView(lam.numpy(), config.tau, at_tau, bands(len(lam)), energy, words)


def schedule_view(query: Query) -> ScheduleView:
    """Spectrum of a model, and the three schedules with the query's settings. Raises SDiffError like `recommend`."""
    config, model, _ = _resolve(query)
    lam = model.basis.lam.cpu()
    times = torch.linspace(0, config.tau, 81)
    levels = torch.linspace(float(lam[0]), float(lam[-1]), 5)
    shown = (lam - levels[:, None]).abs().argmin(1).unique()  # eigenvalues spread evenly over the spectrum
    mapped = torch.linspace(0, len(lam) - 1, min(80, len(lam))).round().long()
    d = frequencies(lam, config)
    kinds = _kinds(config)
    alpha, sigma = (f(times[-1], d) for f in (kinds["vp"].alpha, kinds["vp"].sigma))
    below = {kind: float((s.snr(times, d[mapped]) < 1).float().mean()) for kind, s in kinds.items()}
    shares = ", ".join(f"{share:.0%} under {kind.upper()}" for kind, share in below.items())
    words = {
        "eigenvalues": f"{len(lam)} frequencies are kept, from λ = {lam[0]:.2f} to λ = {lam[-1]:.2f}.",
        "schedules": f"At t = {config.tau:g} the lowest frequency keeps {alpha[0]:.0%} of its signal under VP and the "
        f"highest one {alpha[-1]:.0%}; σ is {sigma[0]:.2f} there and {sigma[-1]:.2f} here. VE keeps VP's α and "
        "lets σ grow with time alone; under DDPM all frequencies share one curve.",
        "maps": f"Noise outweighs signal (SNR = α² / σ² below 1) over this share of times and frequencies: {shares}. "
        "Where no noise comes (t = 0, or λ = 0 under VP) SNR is infinite and drawn in the brightest colour. "
        "VP is the method; VE and DDPM are the ablations of the paper's Table 3.",
    }
    return ScheduleView(
        lam=lam.numpy(),
        times=times.numpy(),
        shown_lam=lam[shown].numpy(),
        schedules={
            kind: (s.alpha(times, d[shown]).numpy(), s.sigma(times, d[shown]).numpy()) for kind, s in kinds.items()
        },
        mapped=mapped.numpy() + 1,
        maps={kind: s.snr(times, d[mapped]).numpy() for kind, s in kinds.items()},
        words=words,
    )


def reverse_process(query: Query, step: int) -> Reverse:
    """All sampling steps of a query, and details of one. A `step` beyond the last one gives the last one.

    Raises:
        SDiffError: like `recommend`.
    """
    config, model, x = _resolve(query)
    opened, _ = serve(query.dataset, query.model)
    steps: list[tuple[Tensor, Tensor]] = []
    noise = torch.Generator().manual_seed(query.seed)
    denoise(model.model, x, config, noise, lambda _, v_t, v0_hat: steps.append((v_t, v0_hat)))
    near = neighbourhood_scores(model.model, x, config)
    orders = [
        ranked(model.model.scores(v0_hat, near, beta=config.beta), x, query, opened.catalog) for _, v0_hat in steps
    ]
    tops = [order[: query.k] for order in orders]
    held_out = held_out_of(query)
    times = NoiseSchedule.of(config).times(config.T)
    n = min(max(step, 1), config.T)
    t, lam = times[config.T - n + 1], model.basis.lam.cpu()
    d = frequencies(lam, config)
    moves = shifts(tops[n - 1], orders[n - 2]) if n > 1 else None
    overlap, hits = ([len(set(top) & set(other)) for top in tops] for other in (tops[-1], held_out))
    v_t, v0_hat = steps[n - 1]
    alpha, sigma = (f(t, d) for f in (NoiseSchedule.of(config).alpha, NoiseSchedule.of(config).sigma))
    noised = f"up to {config.noise * sigma.max():.2f} of noise" if config.noise else "no noise, as it is switched off"
    words = (
        f"**Step {n} of {config.T}, t = {t:.3g}.** v_t holds {alpha.min():.0%} to {alpha.max():.0%} of "
        f"{'the history' if n == 1 else 'the last estimate'} and {noised}. The list of this estimate shares "
        f"**{overlap[n - 1]} of {len(tops[-1])}** with the last one's"
        + (f", and finds {hits[n - 1]} of the {len(held_out)} items held out." if held_out else ".")
    )
    if config.T == 1:
        words += " This model takes a single step: move T, under More settings, to see more of them."
    return Reverse(
        times=times.flip(0)[:-1].numpy(),
        overlap=np.array(overlap),
        hits=np.array(hits),
        step=n,
        bands=bands(len(lam)),
        energy=(_by_band(condition(model.basis, x, config).mean(1)), _by_band(v_t), _by_band(v0_hat)),
        rows=opened.catalog.rows(tops[n - 1], held_out=held_out),
        moves=moves,
        words=words,
    )


def _resolve(query: Query) -> tuple[Config, Recommender, Histories]:
    """Configuration, model and history (1, n_items) of a query. Raises SDiffError like `recommend`."""
    _, model = serve(query.dataset, query.model)
    return model.config.at_inference(query.settings), model, model.encode(history_of(query))


def _by_band(v: Tensor) -> np.ndarray:
    """Mean energy of the spectrum v (1, K) per band."""
    energy = np.square(v[0].cpu().numpy())
    return np.array([energy[band].mean() for band in _bands(len(energy))])


def bands(K: int) -> np.ndarray:
    """Middle index, from 1 on, of each band of K frequencies."""
    return np.array([band.mean() + 1 for band in _bands(K)])


def _bands(K: int) -> list[np.ndarray]:
    return np.array_split(np.arange(K), min(BANDS, K))


def _kinds(config: Config) -> dict[Schedule, NoiseSchedule]:
    return {kind: NoiseSchedule(kind, config.alpha_min, config.sigma_max, config.tau) for kind in KINDS}
