"""Figures of experiments: lines, bars and heat maps of rows from result files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from sdiff.results.style import LINES, NAMES, PALETTE, SERIES, STYLES, plain

Row = dict[str, Any]  # settings and measures of a row; test metrics under "test"
MEASURE = "recall@20"
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "star", "x")
# Names of settings and of their values
AXES = {
    "K": "number of frequencies K",
    "T": "reverse steps T",
    "guidance": "guidance s",
    "tau": "diffusion time τ",
    "alpha_min": "signal floor αₘᵢₙ",
    "sigma_max": "noise ceiling σₘₐₓ",
    "size": "number of items or users",
}
VALUES = NAMES | {
    "film": "FiLM",
    "concat": "concatenation",
    "popularity": "most popular items",
    "A x": "linear graph filter",
    "A x, recency": "linear graph filter, recency",
}


def picture(rows: Sequence[Row], paper: Mapping[str, Row], kind: str, **options: Any) -> go.Figure:
    """Draws the rows of an experiment.

    Args:
        rows: rows of a run.
        paper: the paper's figures by value of x, drawn over bars.
        kind: lines, bars or heat_map.
        options: keyword arguments of the function of that name.
    """
    if kind == "bars":
        return bars(rows, paper, **options)
    return {"lines": lines, "heat_map": heat_map}[kind](rows, **options)


def lines(rows: Sequence[Row], x: str, y: str = MEASURE, group: str = "", log: bool = False) -> go.Figure:
    """A measure over one setting, with a line for each value of `group`."""
    figure = plain(AXES.get(x, x), y, height=320)
    for i, (name, members) in enumerate(_groups(rows, group).items()):
        colour, dash = STYLES.get(name, (SERIES[i % len(SERIES)], LINES[i % len(LINES)]))
        figure.add_scatter(
            x=[row[x] for row in members],
            y=[_measured(row, y) for row in members],
            name=name,
            mode="lines+markers" if len(members) < 50 else "lines",
            line={"color": colour, "width": 2.5, "dash": dash},
            hovertemplate=f"{AXES.get(x, x)} %{{x}}: %{{y:.4g}}",
        )
    figure.update_yaxes(type="log" if log else "linear", exponentformat="power")
    figure.update_layout(showlegend=bool(group))
    return figure


def bars(rows: Sequence[Row], paper: Mapping[str, Row], x: str, y: str = MEASURE, group: str = "") -> go.Figure:
    """A measure for each choice, with a bar for each value of `group`, and the paper's figures as markers."""
    choices = list(dict.fromkeys(str(row[x]) for row in rows))
    grouped = len(choices) < len(rows)  # several bars per choice
    figure = plain(y, "", height=110 + len(choices) * (20 * len(_groups(rows, group)) if grouped else 24))
    for i, (name, members) in enumerate(_groups(rows, group).items()):
        values = [_measured(row, y) for row in members]
        figure.add_bar(
            x=values,
            y=[called(row[x]) for row in members],
            orientation="h",
            name=name,
            marker={"color": SERIES[i % len(SERIES)], "line": {"width": 0}},
            texttemplate="%{x:.3f}",
            textposition="inside",
            insidetextanchor="start",
            hovertemplate="%{y}: %{x:.4f}",
        )
    printed = {choice: paper[choice][y] for choice in choices if y in paper.get(choice, {})}
    if printed:
        figure.add_scatter(
            x=list(printed.values()),
            y=[called(choice) for choice in printed],
            name="printed in the paper",
            mode="markers",
            marker={"symbol": "diamond-open", "size": 9, "color": SERIES[3], "line": {"width": 2}},
            hovertemplate="%{y}: %{x:.4f}",
        )
    figure.update_layout(showlegend=bool(group or printed), barmode="group" if grouped else "overlay")
    figure.update_layout(bargap=0.25, uniformtext={"minsize": 8, "mode": "hide"})
    figure.update_yaxes(
        categoryorder="array", categoryarray=[*map(called, choices)], autorange="reversed", automargin=True
    )
    return figure


def heat_map(rows: Sequence[Row], x: str, y: str, z: str = MEASURE) -> go.Figure:
    """A measure over two settings."""
    figure = plain(AXES.get(x, x), AXES.get(y, y), height=360)
    figure.add_heatmap(
        x=[str(row[x]) for row in rows],
        y=[str(row[y]) for row in rows],
        z=[_measured(row, z) for row in rows],
        texttemplate="%{z:.4f}",
        colorscale=PALETTE["scale"],
        colorbar={"title": {"text": z}, "thickness": 12, "outlinewidth": 0},
        hovertemplate=f"{AXES.get(x, x)} %{{x}}, {AXES.get(y, y)} %{{y}}: %{{z:.4f}}",
    )
    figure.update_xaxes(type="category")
    figure.update_yaxes(type="category")
    return figure


def points(rows: Sequence[Row], x: str, y: str, name: str) -> go.Figure:
    """Named points over a logarithmic axis. The values of x must be positive."""
    figure = plain(x, y, height=320)
    for i, row in enumerate(rows):
        figure.add_scatter(
            x=[row[x]],
            y=[row[y]],
            name=str(row[name]),
            mode="markers",
            marker={"size": 13, "symbol": SYMBOLS[i % len(SYMBOLS)], "color": SERIES[i % len(SERIES)]},
            hovertemplate="%{x:.4g}: %{y:.4f}",
        )
    lowest, highest = (math.log10(limit(row[x] for row in rows)) for limit in (min, max))
    between = (1, 2, 5) if highest - lowest < 3 else (1,)
    # Plotly would label 0.2 and 20 with 2.
    ticks = [m * 10.0**n for n in range(math.floor(lowest) - 1, math.ceil(highest) + 1) for m in between]
    figure.update_xaxes(type="log", tickmode="array", tickvals=ticks, ticktext=[f"{tick:,g}" for tick in ticks])
    figure.update_yaxes(rangemode="tozero")
    return figure


def _measured(row: Row, key: str) -> float:
    return row[key] if key in row else row["test"][key]


def called(value: Any) -> str:
    """The label of a model or of the value of a setting."""
    return VALUES.get(str(value), str(value))


def _groups(rows: Sequence[Row], group: str) -> dict[str, list[Row]]:
    """Groups rows by their values of `group`, in order of appearance. Without `group`, all rows form one group."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        value = row.get(group)
        if isinstance(value, bool):
            name = f"{'with' if value else 'without'} {group}"
        elif group in ("model", "schedule"):
            name = called(value)
        else:
            name = f"{group} {value}" if group else "measured here"
        groups.setdefault(name, []).append(row)
    return groups
