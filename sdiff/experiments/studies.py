"""All experiments by name: the tables and figures of the paper, and further ones.

Each job trains at most one model, so that an interrupted experiment loses at most one training run.
"""

from __future__ import annotations

from itertools import product
from typing import get_args

import numpy as np
import torch

from sdiff.config import Config, FrequencyScale
from sdiff.experiments import ablation, groups, scaling, table1
from sdiff.experiments.study import Cell, Experiment, Row, Study, sweep
from sdiff.method.diffusion import condition
from sdiff.method.histories import Histories
from sdiff.method.schedule import NoiseSchedule, frequencies
from sdiff.method.spectrum import cached_basis

SCHEDULES = ("ddpm", "ve", "vp")


def log_snr(study: Study, config: Config) -> Row:
    """log(SNR) of Table 3, which the paper does not define.

    We use the natural logarithm of the ratio of signal power to noise power, sum_k alpha_t^2 E[v_0k^2] /
    sum_k sigma_t^2, averaged over the sampling times t_1 ... t_T.
    """
    basis = cached_basis(study.dataset.split.train, config.K, p=config.user_power)
    schedule = NoiseSchedule.of(config)
    power = _signal_power(study, config)
    ratio = _power_ratio(
        schedule, schedule.times(config.T)[1:], frequencies(basis.lam, config), power, config.standardise
    )
    return {"log SNR": ratio.log().mean().item()}


def snr_over_time(study: Study, steps: int = 1000) -> list[Row]:
    """Figure 3: the ratio of signal power to noise power at every tenth of 1,000 steps."""
    basis = cached_basis(study.dataset.split.train, study.config.K, p=study.config.user_power)
    power = _signal_power(study, study.config)
    rows = []
    for kind in SCHEDULES:
        schedule = NoiseSchedule.of(study.config.override({"schedule": kind}))
        times, lam = schedule.times(steps)[10::10], frequencies(basis.lam, study.config)
        ratio = _power_ratio(schedule, times, lam, power, study.config.standardise)
        rows += [{"schedule": kind, "step": 10 * k, "SNR": value} for k, value in enumerate(ratio.tolist(), start=1)]
    return rows


def _signal_power(study: Study, config: Config) -> torch.Tensor:
    """E[v_0k^2] (K,) over the histories, normalised as for the denoiser, with the basis from which training starts."""
    basis = cached_basis(study.dataset.split.train, config.K, p=config.user_power)
    histories = Histories.from_interactions(study.dataset.split.train, torch.device("cpu"))
    power = condition(basis, histories, config.override({"half_life": 0})).mean(1).square().mean(0)
    return power * len(basis.U) if config.loss == "softmax" else power  # its basis is sqrt(n_items) U


def _power_ratio(
    schedule: NoiseSchedule, times: torch.Tensor, lam: torch.Tensor, power: torch.Tensor, standardise: bool
) -> torch.Tensor:
    """Ratio of signal power to noise power (n,) at times (n,)."""
    signal = (schedule.alpha(times, lam) ** 2 * power).sum(1)
    noise = schedule.sigma(times, lam) ** 2
    return signal / (noise * power if standardise else noise).sum(1)


K_VALUES = (25, 50, 100, 200, 400, 800)  # Figure 7
ALPHA_MIN = (0.0, 0.025, 0.05, 0.075, 0.1)  # Figure 8, the ranges of Section 4.1
SIGMA_MAX = (0.4, 0.425, 0.45, 0.475, 0.5)
STEPS = (1, 2, 3, 5, 10, 20)
# Schedules, bounds, frequency scales, and whether the noise is relative to v_0; ddpm uses no frequencies.
CELLS = (
    *product(("vp", "ve"), (0.5, 1.0), get_args(FrequencyScale), (False,)),
    *product(("vp", "ve"), (0.5, 1.0), ("graph", "rank"), (True,)),
)

EXPERIMENTS = {
    "table1": Experiment(
        "Table 1: S-Diff and the baselines",
        table1.jobs(),
        {"kind": "bars", "x": "model", "group": "order"},
        paper={
            key: {model: dict(zip(table1.COLUMNS, row, strict=True)) for model, row in rows.items()}
            for key, rows in table1.PAPER.items()
        },
        of_preset=False,
        fits=table1.fits,
        current=table1.current,
    ),
    "table3": Experiment(
        "Table 3: frequency-dependent and frequency-independent noise",
        sweep((Cell({"schedule": kind}, {"schedule": kind}) for kind in SCHEDULES), log_snr),
        {"kind": "bars", "x": "schedule", "y": "recall@10"},
        exact=True,
        paper={
            "ml-1m-diffrec": {
                "ddpm": {"recall@10": 0.0998, "ndcg@10": 0.0901, "log SNR": 5.25},
                "ve": {"recall@10": 0.1207, "ndcg@10": 0.0942, "log SNR": 8.90},
                "vp": {"recall@10": 0.1255, "ndcg@10": 0.0970, "log SNR": 12.73},
            }
        },
    ),
    "scales": Experiment(
        "Table 3 on other scales of the frequencies",
        sweep(
            (
                Cell(
                    {"noise": f"{kind}, σ_max = {bound:g}", "scale": scale + ", standardised" * standardise},
                    {"schedule": kind, "sigma_max": bound, "frequency_scale": scale}
                    | ({"standardise": True} if standardise else {}),
                )
                for kind, bound, scale, standardise in CELLS
            ),
            log_snr,
        ),
        {"kind": "bars", "x": "noise", "group": "scale"},
        exact=True,
    ),
    "fig3": Experiment(
        "Figure 3: signal-to-noise ratio over 1,000 steps",
        {"all": snr_over_time},
        {"kind": "lines", "x": "step", "y": "SNR", "group": "schedule", "log": True},
    ),
    "fig5": Experiment(
        "Figure 5: time per batch of 100 users by number of items and users",
        {"all": scaling.growth},
        {"kind": "lines", "x": "size", "y": "milliseconds", "group": "model", "log": True},
    ),
    "fig6": Experiment(
        "Figure 6: FiLM and concatenation, with and without classifier-free guidance",
        sweep(
            Cell({"fusion": fusion, "guidance": name}, {"fusion": fusion, **settings})
            for fusion in ("film", "concat")
            for name, settings in (
                ("classifier-free", {}),
                ("none", {"p_uncond": 0, "guidance": 0}),
            )
        ),
        {"kind": "bars", "x": "fusion", "group": "guidance"},
        exact=True,
    ),
    "fig7": Experiment(
        "Figure 7: number of frequencies K",
        sweep(Cell({"K": K}, {"K": K}) for K in K_VALUES),
        {"kind": "lines", "x": "K"},
    ),
    "fig8": Experiment(
        "Figure 8: bounds of the noise schedule",
        sweep(
            Cell({"alpha_min": a, "sigma_max": s}, {"alpha_min": a, "sigma_max": s})
            for a, s in product(ALPHA_MIN, SIGMA_MAX)
        ),
        {"kind": "heat_map", "x": "sigma_max", "y": "alpha_min"},
    ),
    "ablation": Experiment(
        "Each part switched off alone",
        {},
        {"kind": "bars", "x": "without"},
        exact=True,
        by_preset=ablation.jobs(),
    ),
    "groups": Experiment(
        "Recall by history length and item popularity",
        groups.jobs(),
        {"kind": "bars", "x": "group", "y": "recall@20", "group": "model"},
        fits=groups.fits,
    ),
    "guidance": Experiment(
        "Guidance scale s at inference",
        sweep(Cell({"guidance": s}, {}, {"guidance": s}) for s in (-0.5, 0, 0.02, 0.1, 0.5, 1, 2, 5)),
        {"kind": "lines", "x": "guidance"},
    ),
    "tau": Experiment(
        "Diffusion time tau at inference",
        sweep(Cell({"tau": tau}, {}, {"tau": tau}) for tau in np.round(np.geomspace(0.1, 4, 9), 2).tolist()),
        {"kind": "lines", "x": "tau"},
    ),
    "steps": Experiment(
        "Number of reverse steps T, with and without noise",
        sweep(
            Cell({"T": T, "noise": "on" if on else "off"}, {}, {"T": T, "noise": on})
            for on, T in product((True, False), STEPS)
        ),
        {"kind": "lines", "x": "T", "group": "noise"},
    ),
}
