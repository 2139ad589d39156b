"""Every hyper-parameter in one frozen dataclass: the same fields are JSON keys and `--set key=value` flags."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_type_hints

from sdiff.base.errors import SDiffError, brief

Schedule = Literal["vp", "ve", "ddpm"]
Fusion = Literal["film", "concat"]
Kind = Literal["mlp", "linear"]
Learnt = Literal["fixed", "tied", "directional"]
Loss = Literal["mse", "softmax"]


def _number(default: Any, low: float, high: float, help: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "help": help})


def _choice(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of S-Diff. The defaults are the paper's, or follow docs/paper.md where it is silent.

    Raises:
        SDiffError: a value is of the wrong type, out of range, or not one of the choices.
    """

    # The item graph and its spectrum (Section 2.1)
    K: int = _number(200, 1, 100_000, "number of lowest graph frequencies that are kept")
    # Forward process, Eqs. (11)-(14)
    schedule: Schedule = _choice("vp", "noise schedule: vp (the method), or ve and ddpm (its ablations)")
    alpha_min: float = _number(0.0, 0.0, 1.0, "share of the signal that every frequency keeps, Eq. (13)")
    sigma_max: float = _number(0.5, 0.0, 1.0, "largest noise scale, Eq. (14)")
    tau: float = _number(1.0, 0.01, 10.0, "diffusion time at the last step: how far the history is smoothed")
    T: int = _number(5, 1, 1000, "number of reverse steps")
    # Denoiser, Eq. (17) and Figure 4
    denoiser: Kind = _choice("mlp", "what estimates v_0: mlp (the method), or linear, solved in closed form at once")
    fusion: Fusion = _choice("film", "how the condition meets v_t: film (the method) or concat (its ablation)")
    hidden: int = _number(1000, 1, 100_000, "width of the denoiser's hidden layer")
    time_dim: int = _number(16, 2, 4096, "width of the sinusoidal time code")
    # Training, Algorithm 1 and Section 4.1
    mask: float = _number(0.5, 0.0, 0.99, "probability that an interaction is hidden from the condition")
    p_uncond: float = _number(0.02, 0.0, 1.0, "probability that the whole condition is dropped")
    batch_size: int = _number(100, 1, 1_000_000, "users per gradient step")
    lr: float = _number(1e-4, 0.0, 1.0, "Adam's learning rate")
    epochs: int = _number(1000, 0, 1_000_000, "most epochs to train")
    eval_every: int = _number(5, 1, 1_000_000, "epochs from one validation to the next")
    patience: int = _number(100, 1, 1_000_000, "epochs without a better validation result before stopping")
    # Beyond the paper: docs/paper.md says why, sdiff/experiments/ablation.py measures
    normalise: bool = _choice(False, "divide each history by its size, so that the condition is a mean, not a sum")
    leak: bool = _choice(True, "in training v_t is made from the whole history (the paper), else from the condition")
    loss: Loss = _choice("mse", "mse in the spectrum, Eq. (16), or softmax over the unseen items")
    q: float = _number(
        0.0, 0.0, 1.0, "of the softmax: 0 is the cross-entropy, more leaves alone what the model finds most unlikely"
    )
    basis: Learnt = _choice(
        "fixed", "U stays (fixed), is learnt (tied), or is learnt apart for reading and ranking (directional)"
    )
    graph_entries: int = _number(
        0, 0, 1_000_000_000, "entries of the graph's A that the scores see beside the spectrum, the largest; 0 for none"
    )
    residual: bool = _choice(False, "the MLP corrects the fused spectrum instead of replacing it")
    dropout: float = _number(0.0, 0.0, 0.99, "dropout of the denoiser's hidden layer")
    ema: float = _number(0.0, 0.0, 0.99999, "decay of the running mean of the weights; 0 takes the weights themselves")
    half_life: float = _number(
        0.0, 0.0, 1e6, "interactions, counted back from the newest, that halve the weight; 0 does not look at the order"
    )
    memories: int = _number(1, 1, 16, "conditions side by side, each with four times the half-life of the one before")
    horizon: float = _number(7.0, 0.01, 1e6, "interactions after the cut that halve their weight in the loss")
    # Sampling, Algorithm 2
    guidance: float = _number(0.02, -1.0, 20.0, "guidance scale s: 0 is the plain conditional estimate")
    noise: bool = _choice(True, "draw noise while sampling; off follows the means")

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for f in fields(self):
            object.__setattr__(self, f.name, _checked(f.name, getattr(self, f.name), hints[f.name], f.metadata))
        if self.basis != "fixed" and self.loss != "softmax":
            raise SDiffError(f"basis={self.basis} needs loss=softmax: squared error in a basis that moves shrinks it.")
        if self.graph_entries and self.loss != "softmax":
            raise SDiffError("graph_entries needs loss=softmax: the squared error is one of spectra, not of scores.")

    def __repr__(self) -> str:
        """The settings that differ from the defaults, as Python."""
        changed = (f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default)
        return f"Config({', '.join(changed)})"

    def override(self, values: dict[str, Any]) -> Config:
        """A copy with `values` in place; strings are parsed, an unknown key is an error."""
        for key in values:
            if key not in FIELDS:
                near = difflib.get_close_matches(key[:100], FIELDS, n=1)
                hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(FIELDS)}."
                raise SDiffError(f"Unknown setting {brief(key)}: {hint}")
        return replace(self, **values)

    def at_inference(self, values: dict[str, Any]) -> Config:
        """`override`, for the settings that may be changed on a trained model without training it again."""
        for key in values:
            if key in FIELDS and key not in INFERENCE_KEYS:
                raise SDiffError(
                    f"{key} is fixed once a model is trained; free at inference are {', '.join(INFERENCE_KEYS)}."
                )
        return self.override(values)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        return cls().override(values)


FIELDS = tuple(f.name for f in fields(Config))
HELP = {f.name: f.metadata["help"] for f in fields(Config)}
BOUNDS = {f.name: (f.metadata["low"], f.metadata["high"]) for f in fields(Config) if "low" in f.metadata}
INFERENCE_KEYS = ("schedule", "alpha_min", "sigma_max", "tau", "T", "guidance", "noise", "half_life")


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`["K=100", "guidance=0.5"]` -> `{"K": "100", "guidance": "0.5"}`.

    Raises:
        SDiffError: text that is no assignment, or a key that is given twice.
    """
    pairs = [text.partition("=") for text in assignments]
    for text, (key, equals, value) in zip(assignments, pairs, strict=True):
        if not (key and equals and value):
            raise SDiffError(
                f"Cannot read the setting {brief(text)}: write key=value without spaces, such as guidance=0.5."
            )
    if twice := [key for key, n in Counter(key.strip() for key, _, _ in pairs).items() if n > 1]:
        raise SDiffError(f"The setting {brief(twice[0])} is given more than once: keep one of its values.")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _checked(name: str, value: Any, kind: Any, metadata: Any) -> Any:
    """`value` as the field's type, or a sentence that says what it should be."""
    if kind is bool:
        words = {"true": True, "false": False, "1": True, "0": False, "on": True, "off": False}
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        if isinstance(value, bool):
            return value
        raise SDiffError(f"{name} must be true or false, not {brief(value)}.")
    if kind in (int, float):
        if isinstance(value, bool):
            raise SDiffError(f"{name} must be a number, not {brief(value)}.")
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise SDiffError(f"{name} must be a number, not {brief(value)}.") from None
        low, high = metadata["low"], metadata["high"]
        if kind is int and not number.is_integer():
            raise SDiffError(f"{name} must be a whole number, not {brief(value)}.")
        if not low <= number <= high:  # also refuses nan
            raise SDiffError(f"{name} must be between {low:g} and {high:g}, not {brief(value)}.")
        return kind(number)
    if value not in get_args(kind):
        raise SDiffError(f"{name} must be one of {', '.join(get_args(kind))}, not {brief(value)}.")
    return value


PRESETS: dict[str, Config] = {
    "paper": Config(),
    "tuned": Config(
        normalise=True,
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
        T=1,
        guidance=0.0,
        noise=False,
    ),
    "temporal": Config(
        K=128,
        normalise=True,
        leak=False,
        loss="softmax",
        basis="directional",
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
        T=1,
        guidance=0.0,
        noise=False,
    ),
    # Nothing is trained: one K x K system. Looking at the condition alone, it has no use for noise, steps or guidance.
    "instant": Config(denoiser="linear", mask=0.9, T=1, guidance=0.0, noise=False),
}


def preset(name: str) -> Config:
    """The named configuration. Raises SDiffError with the list of names when there is none."""
    if name not in PRESETS:
        raise SDiffError(f"Unknown preset {brief(name)}: choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]
