"""All hyper-parameters, as one frozen dataclass. Its fields are the JSON keys and the `--set key=value` options."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from typing import Any, Literal, get_args, get_type_hints

from sdiff.base.checks import number
from sdiff.base.errors import SDiffError, brief

Schedule = Literal["vp", "ve", "ddpm"]
Fusion = Literal["film", "concat"]
Estimator = Literal["mlp", "linear", "filter"]
Basis = Literal["fixed", "tied", "directional"]
Loss = Literal["mse", "softmax"]
FrequencyScale = Literal["graph", "stretched", "rank"]


SHORTEST = 0.01  # half-life below which even the second newest interaction has no weight


def _number(default: Any, low: float, high: float, help: str, switch: bool = False) -> Any:
    """`switch`: whether on and off are accepted for 1 and 0."""
    return field(default=default, metadata={"low": low, "high": high, "help": help, "switch": switch})


def _choice(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of S-Diff. The defaults are the paper's, where it gives them.

    Raises:
        SDiffError: a value has the wrong type, is out of range or is not one of the choices.
    """

    # The item graph and its spectrum (Section 2.1)
    K: int = _number(200, 1, 100_000, "number of graph frequencies, lowest first")
    user_power: float = _number(
        0.5, 0.0, 1.0, "exponent p of the users' degrees in A = D_I^-1/2 X' D_U^-2p X D_I^-1/2, whose spectrum is used"
    )
    # Forward process, Eqs. (11)-(14)
    schedule: Schedule = _choice("vp", "noise schedule: vp (the method), ve or ddpm (ablations)")
    frequency_scale: FrequencyScale = _choice(
        "graph",
        "frequencies in the schedule: graph (the eigenvalues), stretched (to [0, 2]) or rank (evenly spaced in [0, 2])",
    )
    alpha_min: float = _number(0.0, 0.0, 1.0, "minimum share of the signal left at any frequency, Eq. (13)")
    sigma_max: float = _number(0.5, 0.0, 1.0, "maximum noise scale, Eq. (14)")
    standardise: bool = _choice(
        False, "noise relative to each frequency's root mean square over the training histories, not the same for all"
    )
    tau: float = _number(
        1.0, 0.01, 10.0, "diffusion time at which sampling starts; larger values smooth the history more"
    )
    T: int = _number(5, 1, 1000, "number of reverse steps")
    # Denoiser, Eq. (17) and Figure 4
    denoiser: Estimator = _choice(
        "mlp",
        "estimator of v_0: mlp (the method), linear (solved in closed form) or filter (graph filter, not trained)",
    )
    fusion: Fusion = _choice("film", "how v_t and the condition are combined: film (the method) or concat (ablation)")
    hidden: int = _number(1000, 1, 100_000, "units in the denoiser's hidden layer")
    time_dim: int = _number(16, 2, 4096, "size of the sinusoidal time embedding")
    # Training, Algorithm 1 and Section 4.1
    mask: float = _number(0.5, 0.0, 0.99, "probability that an interaction is masked in the condition")
    p_uncond: float = _number(0.02, 0.0, 1.0, "probability that the whole condition is dropped")
    batch_size: int = _number(100, 1, 1_000_000, "users per gradient step")
    lr: float = _number(1e-4, 0.0, 1.0, "learning rate of Adam")
    epochs: int = _number(1000, 0, 1_000_000, "maximum number of epochs")
    eval_every: int = _number(5, 1, 1_000_000, "epochs between validations")
    patience: int = _number(100, 1, 1_000_000, "epochs without a better validation result before training stops")
    # Beyond the paper: explained in docs/paper.md, measured by sdiff/experiments/ablation.py
    normalise: bool = _choice(False, "divide each history by its length: the condition is a mean, not a sum")
    sampled: float = _number(
        0.0, 0.0, 1.0, "share of users whose v_t is made as in sampling instead of from the whole history (the paper)"
    )
    loss: Loss = _choice("mse", "mse (in the spectrum, Eq. (16)) or softmax (over the items not in the condition)")
    q: float = _number(
        0.0, 0.0, 1.0, "exponent of the generalised cross-entropy (0: cross-entropy); higher: unlikely items count less"
    )
    negatives: int = _number(
        0,
        0,
        1_000_000_000,
        "with loss=softmax: items drawn for the softmax of a batch, in addition to its hidden items; 0: all items",
    )
    basis: Basis = _choice(
        "fixed", "U: fixed, tied (learnt), or directional (one learnt U for histories, one for scores)"
    )
    graph_entries: int = _number(
        0,
        0,
        1_000_000_000,
        "number of entries of the item graph A' to keep, as many for each item; they add to the scores; 0 for none",
    )
    graph_log: bool = _choice(False, "add the logarithm of the item graph's scores to the scores, too")
    low_pass: float = _number(
        0.0, 0.0, 100.0, "with denoiser=filter: weight of the K lowest frequencies, added to A c as in GF-CF"
    )
    residual: bool = _choice(False, "add the output of the MLP to the fused spectrum instead of replacing it")
    dropout: float = _number(0.0, 0.0, 0.99, "dropout rate in the denoiser's hidden layer")
    ema: float = _number(0.0, 0.0, 0.99999, "decay of the moving average of the weights; 0 for no averaging")
    half_life: float = _number(
        0.0, 0.0, 1e6, "half-life of an interaction's weight, in interactions back from the newest; 0 ignores order"
    )
    memories: int = _number(1, 1, 16, "number of conditions, each with four times the half-life of the previous one")
    horizon: float = _number(7.0, 0.01, 1e6, "half-life of an interaction's loss weight, in interactions after the cut")
    folds: int = _number(0, 0, 100, "folds of cross-fitting: users are trained on the graph of other folds; 0 for off")
    # Sampling, Algorithm 2
    guidance: float = _number(0.02, -1.0, 20.0, "guidance scale s; 0 is the plain conditional estimate")
    noise: float = _number(
        1.0,
        0.0,
        1.0,
        "share of the noise sigma_t that is added while sampling; 0: each step follows the mean",
        switch=True,
    )
    beta: float = _number(0.0, -2.0, 2.0, "popularity discount: scores are divided by (number of users + 1)^beta")

    def __post_init__(self) -> None:
        hints = _hints()
        for f in fields(self):
            object.__setattr__(self, f.name, _checked(f.name, getattr(self, f.name), hints[f.name], f.metadata))
        if self.basis != "fixed" and self.loss != "softmax":
            raise SDiffError(f"basis={self.basis} needs loss=softmax: the squared error shrinks a learnt basis.")
        if self.negatives and self.loss != "softmax":
            raise SDiffError("negatives needs loss=softmax: the squared error compares spectra.")
        if self.graph_entries and self.loss != "softmax" and self.denoiser != "filter":
            raise SDiffError("graph_entries needs loss=softmax or denoiser=filter: the squared error compares spectra.")
        if self.graph_log and not (self.graph_entries and self.denoiser == "mlp"):
            raise SDiffError(
                "graph_log needs graph_entries above 0 and denoiser=mlp: other estimators are not trained."
            )
        if self.denoiser != "mlp" and (self.ema or self.standardise or self.loss == "softmax"):
            raise SDiffError("ema, standardise and loss=softmax need denoiser=mlp: other estimators are not trained.")
        if self.folds == 1 or (self.folds and self.denoiser != "mlp"):
            raise SDiffError("folds must be 0, or at least 2 with denoiser=mlp: other estimators are not trained.")
        if 0 < self.half_life < SHORTEST:
            raise SDiffError(
                f"half_life must be 0, or at least {SHORTEST:g}: with a shorter one, only the newest item counts."
            )
        if self.low_pass and self.denoiser != "filter":
            raise SDiffError("low_pass needs denoiser=filter: the other estimators do not use it.")
        if self.denoiser == "filter" and not (self.loss == "mse" and self.graph_entries and self.normalise):
            raise SDiffError(
                "denoiser=filter needs loss=mse, graph_entries above 0 and normalise=true: it uses only the graph."
            )

    def __repr__(self) -> str:
        """Shows the settings that differ from the defaults."""
        changed = (f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default)
        return f"Config({', '.join(changed)})"

    def override(self, values: dict[str, Any]) -> Config:
        """A copy with `values` changed. Strings are parsed. Raises SDiffError for unknown keys and invalid values."""
        for key in values:
            _check_known(key)
        return replace(self, **values)

    def at_inference(self, values: dict[str, Any]) -> Config:
        """Like `override`, but only for settings that can change without retraining. Raises SDiffError for others."""
        for key in values:
            if key in FIELDS and key not in INFERENCE_KEYS:
                raise SDiffError(f"{key} is fixed once a model is trained; you can change {', '.join(INFERENCE_KEYS)}.")
        return self.override(values)

    def to_dict(self) -> dict[str, Any]:
        """All settings by name, for `from_dict` and JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """The configuration of a JSON document, also of an earlier version. Raises SDiffError as `override`."""
        if "leak" in values:  # the former name of sampled=0
            values = {"sampled": 0.0 if values["leak"] else 1.0} | values
            del values["leak"]
        return cls().override(values)


FIELDS = tuple(f.name for f in fields(Config))
HELP = {f.name: f.metadata["help"] for f in fields(Config)}
BOUNDS = {f.name: (f.metadata["low"], f.metadata["high"]) for f in fields(Config) if "low" in f.metadata}
SCHEDULE_KEYS = ("schedule", "frequency_scale", "alpha_min", "sigma_max", "tau")
INFERENCE_KEYS = (*SCHEDULE_KEYS, "T", "guidance", "noise", "half_life", "beta")


@cache
def _hints() -> dict[str, Any]:
    """The types of the fields. A configuration is built for every list, and reading them takes ten times as long."""
    return get_type_hints(Config)


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Settings by name from texts: `["K=100", "guidance=0.5"]` gives `{"K": "100", "guidance": "0.5"}`.

    Raises:
        SDiffError: a text is not an assignment, or a key is repeated.
    """
    pairs = [text.partition("=") for text in assignments]
    for text, (key, equals, value) in zip(assignments, pairs, strict=True):
        if not (key and equals and value):
            raise SDiffError(
                f"Cannot read the setting {brief(text)}: write key=value without spaces, such as guidance=0.5."
            )
    if repeated := [key for key, n in Counter(key.strip() for key, _, _ in pairs).items() if n > 1]:
        raise SDiffError(f"The setting {brief(repeated[0])} is given more than once: keep one of them.")
    return {key.strip(): value.strip() for key, _, value in pairs}


def parse_value(name: str, value: Any) -> Any:
    """`value`, or its text, in the type of a setting. Checks the setting alone, not whether it suits the others.

    Raises:
        SDiffError: the setting is unknown, or the value has the wrong type or is out of range.
    """
    _check_known(name)
    (metadata,) = (f.metadata for f in fields(Config) if f.name == name)
    return _checked(name, value, _hints()[name], metadata)


def _check_known(key: str) -> None:
    if key not in FIELDS:
        matches = difflib.get_close_matches(key[:100], FIELDS, n=1)
        hint = f"did you mean {matches[0]}?" if matches else f"the keys are {', '.join(FIELDS)}."
        raise SDiffError(f"Unknown setting {brief(key)}: {hint}")


def _checked(name: str, value: Any, kind: Any, metadata: Any) -> Any:
    """`value` converted to the type of the field. Raises SDiffError if it is invalid."""
    switches = {"true": True, "false": False, "on": True, "off": False}
    if metadata.get("switch"):
        value = switches.get(value.lower(), value) if isinstance(value, str) else value
        value = float(value) if isinstance(value, bool) else value
    if kind is bool:
        switches |= {"1": True, "0": False}
        if isinstance(value, str) and value.lower() in switches:
            return switches[value.lower()]
        if isinstance(value, bool):
            return value
        raise SDiffError(f"{name} must be true or false, not {brief(value)}.")
    if kind in (int, float):
        parsed = number(name, value)
        low, high = metadata["low"], metadata["high"]
        if kind is int and not parsed.is_integer():
            raise SDiffError(f"{name} must be a whole number, not {brief(value)}.")
        if not low <= parsed <= high:
            raise SDiffError(f"{name} must be between {low:g} and {high:g}, not {brief(value)}.")
        return kind(parsed)
    if value not in get_args(kind):
        raise SDiffError(f"{name} must be one of {', '.join(get_args(kind))}, not {brief(value)}.")
    return value


TUNED = Config(
    user_power=0.25,
    normalise=True,
    sampled=0.5,
    sigma_max=1.0,
    loss="softmax",
    q=0.3,
    graph_entries=8_000_000,
    dropout=0.7,
    ema=0.995,
    hidden=512,
    mask=0.2,
    lr=1e-3,
    epochs=300,
    eval_every=1,
    patience=15,
    folds=10,
    guidance=0.0,
    noise=0.2,
)
PRESETS: dict[str, Config] = {
    "paper": Config(),
    "tuned": TUNED,
    "temporal": Config(
        K=128,
        user_power=0.25,
        normalise=True,
        sampled=1.0,
        loss="softmax",
        basis="directional",
        graph_entries=8_000_000,
        residual=True,
        dropout=0.5,
        ema=0.98,
        half_life=1.4,
        memories=3,
        horizon=3.0,
        hidden=512,
        batch_size=800,
        lr=5e-3,
        epochs=1000,
        eval_every=4,
        patience=40,
        folds=10,
        guidance=0.0,
        noise=0.2,
    ),
    # For data in which few users share items: the paper's degrees, and the graph's scores with their logarithm. Fewer
    # epochs and folds, because such data usually have many users and items.
    "sparse": TUNED.override(
        dict(user_power=0.5, graph_log=True, sampled=0.0, folds=5, epochs=24, eval_every=4, patience=8)
    ),
    # Solves one K x K system instead of training. It uses the condition alone, so noise, steps and guidance are off.
    "instant": Config(denoiser="linear", mask=0.9, T=1, guidance=0.0, noise=0.0),
    # Graph filters without training: A c (Shen et al. 2021), and GF-CF, which adds an ideal low-pass.
    "filter": Config(denoiser="filter", graph_entries=8_000_000, normalise=True, T=1, guidance=0.0, noise=0.0),
    "gfcf": Config(
        K=256, denoiser="filter", graph_entries=8_000_000, low_pass=0.3, normalise=True, T=1, guidance=0.0, noise=0.0
    ),
}


AUTO = "auto"  # in place of a preset: train all that fit the data, and keep the best (`training.auto`)


def preset(name: str) -> Config:
    """The preset of that name. Raises SDiffError if there is none."""
    if name not in PRESETS:
        raise SDiffError(f"Unknown preset {brief(name)}: choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]
