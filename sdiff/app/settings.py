"""The settings that apply without retraining, as the page shows them."""

from __future__ import annotations

from typing import NamedTuple

from sdiff.config import BOUNDS, Config


class Setting(NamedTuple):
    """A setting that applies without retraining, as the page shows it. `source`: its symbol, and where the paper has
    it."""

    label: str
    hint: str
    range: tuple[float, float]
    step: float
    source: str


SLIDERS = {
    "beta": Setting(
        "Popularity discount",
        "higher: rarer items, usually with fewer hits; 0: off",
        (0, 1),
        0.05,
        "β: scores are divided by (number of users + 1)^β. Not in the paper.",
    ),
    "half_life": Setting(
        "Recency half-life",
        "an item this many places before the newest counts half; 0: the order is ignored",
        (0, 20),
        0.1,
        "h: an item n places before the newest weighs 2^(−n / h). Not in the paper.",
    ),
    "guidance": Setting(
        "Guidance",
        "how strongly the list depends on this history",
        (0, 5),
        0.01,
        "s, Section 3.3: v_c + s (v_c − v_u), with and without the history as condition.",
    ),
    "T": Setting(
        "Steps",
        "number of steps in which the noise is removed",
        (1, 20),
        1,
        "T, Algorithm 2: from t = τ down to 0.",
    ),
    "noise": Setting(
        "Sampling noise",
        "share of the method's noise that each step adds; 0: none",
        BOUNDS["noise"],
        0.05,
        "η: each step adds η σ_t ε. Algorithm 2 has η = 1.",
    ),
    "alpha_min": Setting(
        "Signal floor",
        "share of its signal that every wave keeps at least",
        BOUNDS["alpha_min"],
        0.01,
        "αₘᵢₙ, Eq. (13): α_t = (1 − αₘᵢₙ) exp(−λ t) + αₘᵢₙ.",
    ),
    "sigma_max": Setting(
        "Noise ceiling",
        "no wave gets more noise than this",
        BOUNDS["sigma_max"],
        0.01,
        "σₘₐₓ, Eq. (14): σ_t = min(√(1 − exp(−2 λ t)), σₘₐₓ).",
    ),
    "tau": Setting(
        "Diffusion time",
        "diffusion time at which restoring starts; larger: a smoother, noisier history",
        (0.1, 3),
        0.1,
        "τ, Section 4.1: t runs from τ down to 0; Eqs. (9)-(11).",
    ),
}
FIRST = ("beta", "half_life", "guidance", "alpha_min", "sigma_max", "T", "noise")  # the others are in an accordion


def without_effect(config: Config) -> dict[str, str]:
    """The settings, and "seed", that cannot change a list with this configuration, each with the reason."""
    reasons: dict[str, str] = {}
    if config.denoiser != "mlp":
        for name in ("alpha_min", "sigma_max", "tau", "T", "noise", "seed"):
            reasons[name] = "This model does not use diffusion, so this setting has no effect."
        if config.denoiser == "linear" or not config.low_pass:
            reasons["guidance"] = "It would multiply all scores of this model by the same factor."
    elif config.schedule == "ddpm":
        reasons["alpha_min"] = reasons["sigma_max"] = "The DDPM schedule does not use this setting."
    if config.denoiser == "mlp" and not config.noise:
        reasons["sigma_max"] = reasons["seed"] = "No noise is added: raise the sampling noise first."
    return reasons
