"""The control panel beside every tab: sliders, filters, list length and seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from sdiff.app.query import LONGEST, K, Query
from sdiff.app.settings import FIRST, SLIDERS
from sdiff.config import Config

Values = dict[Any, Any]  # values of an event's inputs, by component
Parts = dict[Any, Any]  # new values or updates, by component
Settings = dict[str, Any]  # components by setting


class Controls:
    """The control panel. `settings`: the sliders, by name."""

    def __init__(self) -> None:
        gr.HTML('<button type="button" id="sheet" aria-expanded="false">Controls</button>', padding=False)
        self.changed = gr.Markdown(elem_id="changed")
        self.settings: Settings = {name: slider(name) for name in FIRST}
        with gr.Accordion("More settings", open=False):
            self.settings |= {name: slider(name) for name in SLIDERS if name not in FIRST}
            self.seed = gr.Number(0, label="Noise seed", precision=0, minimum=0, maximum=2**31 - 1, elem_id="seed")
            self.k = gr.Slider(1, LONGEST, K, step=1, precision=0, label="List length", elem_id="k", buttons=[])
            self.seen = gr.Checkbox(label="Include seen items", info="items of the history are ranked with the others")
        with gr.Accordion("Filter items", open=False) as self.only:
            self.genres = gr.Dropdown([], multiselect=True, label="Genres", info="any of these", elem_id="genres")
            with gr.Row():
                self.first_year, self.last_year = (
                    gr.Number(None, label=label, placeholder="any", precision=0, elem_id=id, min_width=90)
                    for id, label in (("first-year", "From year"), ("last-year", "To year"))
                )
        self.reset = gr.Button("Back to the model's own settings", size="sm")

    @property
    def inputs(self) -> set[Any]:
        """The components that affect lists."""
        filters = self.genres, self.first_year, self.last_year
        return {*self.settings.values(), self.seed, self.k, self.seen, *filters}

    @property
    def moved(self) -> list[Any]:
        """The events that update the list: a slider is released, or a field is left."""
        boxes = self.seed, self.first_year, self.last_year
        left = [event for box in boxes for event in (box.submit, box.blur)]
        return [*moves(self.settings), self.k.release, self.seen.input, self.genres.input, *left]


def any_range(self: gr.Slider, payload: float) -> float:
    """Passes the value of a slider to its handlers, whatever the slider's range is.

    Gradio refuses a value outside the range that the server sent last. The page may not have received that range yet,
    or the server may have forgotten it together with the session, so valid values would be refused. Handlers check
    values where they use them (`Config`, `Query`).
    """
    return gr.Number.round_to_precision(payload, self.precision)


def any_choice(self: gr.Dropdown, payload: Any) -> Any:
    """Like `any_range`, for the choices of a dropdown. No choice becomes an empty string."""
    return "" if payload is None else payload


# Not in subclasses: gradio would write a stub file for them into this package.
gr.Slider.preprocess = any_range
gr.Dropdown.preprocess = any_choice


def slider(name: str, prefix: str = "") -> gr.Slider:
    """The slider of a setting."""
    label, hint, (low, high), step, _ = SLIDERS[name]
    value = getattr(Config(), name)
    look: dict[str, Any] = dict(label=label, info=hint, elem_id=prefix + name, min_width=200, buttons=[])
    return gr.Slider(low, high, value, step=step, precision=0 if step == 1 else None, **look)


def moves(settings: Settings) -> list[Any]:
    """The events of settings that update the list."""
    return [part.release for part in settings.values()]


def at(config: Config, settings: Settings) -> Parts:
    """Sets the sliders to the values of a configuration."""
    return {settings[name]: gr.Slider(**look) for name, look in looks(config).items()}


def looks(config: Config) -> dict[str, dict[str, Any]]:
    """Value, range and visibility of each slider with a configuration."""
    found: dict[str, dict[str, Any]] = {}
    for name, setting in SLIDERS.items():
        low, high = setting.range
        value = getattr(config, name)  # may be outside the slider's default range
        visible = name != "half_life" or value > 0  # 0: the model ignores the order
        found[name] = dict(value=value, minimum=min(low, value), maximum=max(high, value), visible=visible)
    return found


def adjustable(query: Query) -> Query:
    """The query without settings that have no slider, such as the schedule in a URL. Warns of them."""
    other = [name for name in query.settings if name not in SLIDERS]
    if other:
        gr.Warning(f"This page has no control for {', '.join(other)}: the model keeps its own value.", duration=15)
    return replace(query, settings={name: value for name, value in query.settings.items() if name in SLIDERS})


def changed(settings: Settings, values: Values, trained: Config) -> dict[str, Any]:
    """The settings that differ from the checkpoint's, by name."""
    now = {name: values[part] for name, part in settings.items()}
    return {name: value for name, value in now.items() if value != getattr(trained, name)}
