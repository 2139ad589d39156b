"""Sides B and C of the Compare tab: the choice of a model, its settings, and the place of its list."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from sdiff.app.controls import Parts, Settings, Values, adjustable, changed, looks, slider
from sdiff.app.handlers import comparison
from sdiff.app.handlers.pickers import model_choices
from sdiff.app.labels import BASELINE_LABELS
from sdiff.app.messages import attempt
from sdiff.app.query import Query
from sdiff.app.settings import SLIDERS, without_effect
from sdiff.app.state import serve
from sdiff.base.errors import SDiffError
from sdiff.config import INFERENCE_KEYS, Config

NONE = "-"  # in place of a model: no third list; models have no such name


class Side:
    """Side B or C: the widgets for its model, its settings and its list. The keys of its settings in the URL have a
    prefix."""

    def __init__(self, name: str, optional: bool = False) -> None:
        self.name, self.prefix, self.optional = name, f"{name.lower()}-", optional

    def pick(self) -> None:
        """Draws the choice of the model."""
        with gr.Column(min_width=310):
            with gr.Row(elem_id=f"{self.prefix}pick"):
                gr.Markdown(f"## {self.name} ·")
                self.model = gr.Dropdown(
                    [],
                    label=f"Model of {self.name}",
                    elem_id=f"{self.prefix}model",
                    scale=9,
                    min_width=160,
                    container=False,
                )
            self.words = gr.Markdown(elem_classes="words", elem_id=f"{self.prefix}words")

    def fold(self) -> None:
        """Draws the settings."""
        panel_id = f"{self.prefix}panel"
        with gr.Accordion(
            f"Settings of {self.name}", open=False, elem_id=panel_id, visible=not self.optional
        ) as self.panel:
            with gr.Row():
                self.settings: Settings = {name: slider(name, self.prefix) for name in SLIDERS}
            self.reset = gr.Button(f"Reset {self.name} to its own settings", size="sm", elem_id=f"{self.prefix}reset")

    def table(self) -> None:
        """Draws the list."""
        self.list = gr.HTML(elem_id=f"{self.prefix}list", padding=False, min_width=310, visible=not self.optional)

    @property
    def inputs(self) -> set[Any]:
        return {self.model, *self.settings.values()}

    @property
    def outputs(self) -> list[Any]:
        return [self.model, self.words, self.panel, self.list, *self.settings.values()]

    def open(self, request: gr.Request, a: Query, model: str | None) -> Parts:
        """The choices for the data set of A, with their settings.

        `model`: the choice until now, which stays if there is such a model. The first choice is that of the URL, or
        else another model than A's for B, and none for C.
        """
        named, linked = self.choices(a.dataset), Query()
        choices = [name for _, name in named]
        if not model:
            linked = self.linked(request)
            if linked.model not in ("", *choices):
                message = f"There is no model {linked.model:.200} to compare with here: choose another."
                gr.Warning(escape(message), duration=15)
        others = (name for name in choices if name != a.model)
        chosen = next(name for name in (model, linked.model, *others) if name in choices)
        given = linked.settings if chosen == linked.model else {}
        own = attempt(lambda: self.settings_of(a.dataset, chosen, given), Parts())
        return {self.model: gr.update(choices=named, value=chosen), **own}

    def choices(self, dataset: str) -> list[tuple[str, str]]:
        """(title, name) of the models that can be chosen."""
        titles = {name: label for label, name in model_choices(dataset)} | BASELINE_LABELS | {NONE: "no third list"}
        return [(titles.get(name, name), name) for name in [NONE] * self.optional + comparison.sides(dataset)]

    def settings_of(self, dataset: str, model: str, given: dict[str, Any] | None = None) -> Parts:
        """The checkpoint's settings, or those that are `given` and valid. Hidden for a baseline, which has none."""
        if model in (NONE, *comparison.BASELINES):
            return {self.panel: gr.update(visible=False)}
        config = serve(dataset, model)[1].config
        config = attempt(lambda: config.at_inference(given or {}), config)
        effects = self._effects(config)
        sliders = {self.settings[name]: gr.update(**look, **effects[name]) for name, look in looks(config).items()}
        return {self.panel: gr.update(visible=True), **sliders}

    def effects(self, query: Query) -> Parts:
        """Disables the sliders without effect on the list of this side, and enables the others."""
        if query.model in comparison.BASELINES:
            return {}
        config = serve(query.dataset, query.model)[1].config.at_inference(query.settings)
        return {self.settings[name]: gr.Slider(**effect) for name, effect in self._effects(config).items()}

    def _effects(self, config: Config) -> dict[str, dict[str, Any]]:
        """Whether each slider can be moved, and its hint, or why it has no effect."""
        idle = without_effect(config)
        return {name: dict(interactive=name not in idle, info=idle.get(name, SLIDERS[name].hint)) for name in SLIDERS}

    def query(self, a: Query, values: Values) -> Query | None:
        """The query of this side, beside that of A, or None for no list. Raises SDiffError."""
        model = values[self.model]
        if model in ("", NONE):
            if self.optional:
                return None
            raise SDiffError(f"Choose a model for {self.name} first.")
        if model in comparison.BASELINES:
            return replace(a, model=model, settings={})
        trained = serve(a.dataset, model)[1].config
        return replace(a, model=model, settings=changed(self.settings, values, trained))

    def linked(self, request: gr.Request) -> Query:
        """The model and settings in the URL."""
        start = len(self.prefix)
        pairs = [(name[start:], value) for name, value in request.query_params.items() if name.startswith(self.prefix)]
        keys = ("model", *INFERENCE_KEYS)
        return adjustable(attempt(lambda: Query.parse(pair for pair in pairs if pair[0] in keys), Query()))
