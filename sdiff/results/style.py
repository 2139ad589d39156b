"""The look of all plots: colours, a template that sets their style, and empty figures in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio

from sdiff.base.paths import ASSETS

PALETTE = json.loads((ASSETS / "palette.json").read_text(encoding="utf-8"))
SERIES = PALETTE["series"]
# Each schedule has the same colour in all figures.
NAMES = {"vp": "VP", "ve": "VE", "ddpm": "DDPM"}
COLOURS = dict(zip(NAMES, (SERIES[0], SERIES[1], SERIES[3]), strict=True))
LINES = ("solid", "dash", "dot")
DASHES = dict(zip(NAMES, LINES, strict=True))
GENRE_COLOURS = (*SERIES[:3], *SERIES[4:], "#8c6bb1", "#b15928", "#5b9a3b")
STYLES = {NAMES[kind]: (COLOURS[kind], DASHES[kind]) for kind in NAMES}
# Transparent, because app.css sets the text colour for light and dark mode. A template is validated once; the same
# values in a figure's layout would be validated for each figure, which takes longer than everything else.
AXIS = {"gridcolor": "rgba(128,128,128,0.18)", "zeroline": False}
LOOK = {
    "margin": {"l": 56, "r": 16, "t": 36, "b": 44},
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"family": "system-ui, sans-serif", "size": 12},
    "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0},
    "hovermode": "closest",
    "xaxis": AXIS,
    "yaxis": AXIS,
}
# The template is sent with each figure, so the styles of unused trace types are left out.
DEFAULT = pio.templates["plotly"].to_plotly_json()
DRAWN = {
    "data": {kind: DEFAULT["data"][kind] for kind in ("bar", "heatmap")},
    "layout": {key: look for key, look in DEFAULT["layout"].items() if key not in ("polar", "ternary", "scene", "geo")},
}
pio.templates["sdiff"] = pio.templates.merge_templates(go.layout.Template(DRAWN), go.layout.Template(layout=LOOK))
pio.templates.default = "sdiff"


def plain(x: str, y: str, height: int) -> go.Figure:
    """An empty figure with axis titles."""
    return go.Figure(layout={"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}, "height": height})


def unchecked(
    lines: list[dict[str, Any]],
    x: str,
    y: str,
    height: int,
    of_y: dict[str, Any],
    of_x: Mapping[str, Any] = MappingProxyType({}),
    **layout: Any,
) -> go.Figure:
    """Like `plain`, with lines, but without Plotly's validation, which takes longer than everything else.

    For figures that are drawn for each list or epoch. Tests validate them.
    """
    axes = {"xaxis": {"title": {"text": x}, **of_x}, "yaxis": {"title": {"text": y}, **of_y}}
    return go.Figure(
        [{"type": "scatter"} | line for line in lines], axes | {"height": height} | layout, _validate=False
    )
