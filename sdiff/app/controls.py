"""What can be moved beside every view, and how a handler says that something cannot be done."""

from __future__ import annotations

import functools
from collections.abc import Callable
from html import escape
from typing import Any, NamedTuple, TypeVar

import gradio as gr

from sdiff.app.query import LONGEST, K
from sdiff.app.words import told
from sdiff.base.errors import SDiffError
from sdiff.config import BOUNDS, HELP, Config

T = TypeVar("T")

# name -> (label, hint, range, step): what can be moved without training again, Section 3.2 and Algorithm 2
SLIDERS = {
    "half_life": (
        "Recency half-life h",
        "items back from the newest that halve the weight; 0: all alike",
        (0, 20),
        0.1,
    ),
    "guidance": ("Guidance s", "how strongly the list leans on this history", (0, 5), 0.01),
    "alpha_min": ("Signal floor αₘᵢₙ", "what even the highest frequency keeps", BOUNDS["alpha_min"], 0.01),
    "sigma_max": ("Noise ceiling σₘₐₓ", "the most noise that any frequency gets", BOUNDS["sigma_max"], 0.01),
    "tau": ("Diffusion time τ", "how far the history is smoothed along the graph", (0.1, 3), 0.1),
    "T": ("Reverse steps T", "how many times it is denoised", (1, 20), 1),
}
FIRST = ("half_life", "guidance", "alpha_min", "sigma_max")  # the others are folded away


class Controls(NamedTuple):
    """The panel's components; `settings` are the sliders in their order and the switch for noise."""

    settings: list[Any]
    seed: gr.Number
    k: gr.Slider
    seen: gr.Checkbox
    only: gr.Accordion
    genres: gr.Dropdown
    years: list[gr.Number]
    changed: gr.Markdown
    reset: gr.Button

    @property
    def moved(self) -> list[Any]:
        """The events after which a list follows: a slider when it is let go, a box when it is left."""
        switches = [self.settings[-1].input, self.seen.input, self.genres.input]
        boxes = [event for box in (self.seed, *self.years) for event in (box.submit, box.blur)]
        return [*(slider.release for slider in (*self.settings[:-1], self.k)), *switches, *boxes]


def control_panel() -> Controls:
    """Builds the panel."""
    gr.HTML('<button type="button" id="sheet" aria-expanded="false">Controls</button>', padding=False)
    first = [slider(name) for name in FIRST]
    with gr.Accordion("More settings", open=False):
        rest = [slider(name) for name in SLIDERS if name not in FIRST]
        noise = gr.Checkbox(label="Sampling noise", info=HELP["noise"], elem_id="noise")
        seed = gr.Number(0, label="Noise seed", precision=0, minimum=0, maximum=2**31 - 1)
        k = gr.Slider(1, LONGEST, K, step=1, precision=0, label="List length k", elem_id="k", buttons=[])
        seen = gr.Checkbox(label="List what was seen, too", info="items of the history are ranked with the others")
    with gr.Accordion("Only some items", open=False) as only:
        genres = gr.Dropdown([], multiselect=True, label="Genres", info="any of these", elem_id="genres")
        with gr.Row():
            years = [
                gr.Number(None, label=label, placeholder="any", precision=0, elem_id=id, min_width=90)
                for id, label in (("first-year", "From year"), ("last-year", "To year"))
            ]
    changed = gr.Markdown(elem_id="changed")
    reset = gr.Button("Reset to the checkpoint's values", size="sm")
    return Controls([*first, *rest, noise], seed, k, seen, only, genres, years, changed, reset)


def any_range(self: gr.Slider, payload: float) -> float:
    """Passes the value of a slider to its handlers, whatever the slider's range is.

    Gradio refuses a value outside the range that the server sent last. The page may not have received that range yet,
    or the server may have forgotten it together with the session, so valid values would be refused. Handlers check
    values where they use them (`Config`, `Query`).
    """
    return gr.Number.round_to_precision(payload, self.precision)


def any_choice(self: gr.Dropdown, payload: Any) -> Any:
    """As `any_range`, for the choices of a dropdown. Where nothing was chosen yet, the value is an empty text."""
    return "" if payload is None else payload


# Not in subclasses: gradio would write a stub file for them into this package.
gr.Slider.preprocess = any_range
gr.Dropdown.preprocess = any_choice


def slider(name: str, prefix: str = "") -> gr.Slider:
    """The slider of a setting."""
    label, hint, (low, high), step = SLIDERS[name]
    value = getattr(Config(), name)
    look: dict[str, Any] = dict(label=label, info=hint, elem_id=prefix + name, min_width=200, buttons=[])
    return gr.Slider(low, high, value, step=step, precision=0 if step == 1 else None, **look)


def values(config: Config) -> tuple[Any, ...]:
    """Of the sliders and the switch for noise."""
    sliders = []
    for name, (_, _, (low, high), _) in SLIDERS.items():
        value = getattr(config, name)  # which may lie beyond what is usual
        shown = name != "half_life" or value > 0  # a model that ignores the order has no memory
        sliders.append(gr.Slider(value=value, minimum=min(low, value), maximum=max(high, value), visible=shown))
    return *sliders, config.noise


def named(values: list[Any]) -> dict[str, Any]:
    """The values of sliders and switch by their names."""
    return dict(zip((*SLIDERS, "noise"), values, strict=True))


def said(attempt: Callable[[], T], otherwise: T) -> T:
    """What comes of an attempt; where it raises SDiffError, that is said on the page."""
    try:
        return attempt()
    except SDiffError as error:
        warn(error)
        return otherwise


def warn(error: SDiffError) -> None:
    """Shows an error at the foot of the page."""
    gr.Warning(escape(told(error)), duration=15)


def guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose SDiffError becomes a message on the page; everything on it stays as it was."""

    @functools.wraps(handler)
    def run(*values: Any) -> Any:
        return said(lambda: handler(*values), gr.skip())

    return run
