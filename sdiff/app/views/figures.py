"""Plots of spectra, training and data: pure functions from arrays to figures, in the look of `sdiff.results.style`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from sdiff.results.style import COLOURS, DASHES, GENRE_COLOURS, NAMES, PALETTE, SERIES, plain, unchecked

if TYPE_CHECKING:
    from sdiff.app.handlers.waves import Map

SNR_RANGE = (-5.0, 5.0)  # log10; an infinite SNR (no noise) is drawn at the upper end
POINTS = 400  # maximum number of points of a training curve
MAP_RANGE = (-3.0, 3.0)  # log10 SNR at the ends of the colour scale


def eigenvalues(lam: Sequence[float], names: Sequence[str]) -> go.Figure:
    """The kept part of the Laplacian's spectrum, lam (K,) ascending, with the waves' names. The last one is marked."""
    K = len(lam)
    index = np.unique(np.linspace(1, K, min(K, 500)).round().astype(int)).tolist()
    figure = plain("wave, slow to fast", "eigenvalue λ of L = I − A", height=260)
    figure.add_scatter(
        x=index,
        y=[lam[k - 1] for k in index],
        customdata=[escape(str(names[k - 1])) for k in index],
        mode="lines",
        line={"color": SERIES[0], "width": 2.5},
        name="λ",
        hovertemplate="wave %{x}: λ = %{y:.3f}<br>%{customdata}<extra></extra>",
    )
    figure.add_vline(x=K, line={"color": SERIES[3], "dash": "dash", "width": 1.5})
    figure.add_annotation(x=K, y=0.04, yref="paper", text=f"K = {K} are kept ", showarrow=False, xanchor="right")
    figure.update_yaxes(range=[0, 1.02])
    return _picking("wave", figure)


def amplitudes(v: np.ndarray, names: Sequence[str]) -> go.Figure:
    """The spectrum v (K,) of a history, one signed bar for each wave."""
    figure = plain("wave, slow to fast", "amplitude", height=300)
    figure.add_bar(
        x=np.arange(1, len(v) + 1),
        y=v,
        customdata=[*map(escape, names)],
        marker={"color": np.where(v < 0, SERIES[5], SERIES[0]), "line": {"width": 0}},
        hovertemplate="wave %{x}: %{y:.2f}<br>%{customdata}<extra></extra>",
    )
    figure.update_layout(bargap=0.15)
    return _picking("wave", figure)


def item_map(found: Map) -> go.Figure:
    """Items on two waves: a colour for each genre, and two empty series, the list (rings) and the history (dots).

    The page's script fills the last two, so that a new list does not need a new map.
    """
    figure = plain(f"wave {found.waves[0].number}", f"wave {found.waves[1].number}", height=560)
    kinds = [kind for kind, _ in Counter(found.kind).most_common() if kind != "other"] + ["other"]
    of_kind = np.array(found.kind)
    names = kinds if len(kinds) > 1 else ["items"]
    colours = [*GENRE_COLOURS[: len(kinds) - 1], "#97a1ae"]
    groups: list[tuple[str, Any, dict[str, Any]]] = [
        (name, np.flatnonzero(of_kind == kind), {"color": colour, "size": 6, "opacity": 0.6})
        for name, kind, colour in zip(names, kinds, colours, strict=True)
    ]
    ring = {"symbol": "circle-open", "size": 14, "color": SERIES[3], "line": {"width": 2.5}}
    dot = {"size": 9, "color": "#232a33", "line": {"color": "#fff", "width": 1.5}}
    nothing = np.array([], int)
    for name, members, marker in [*groups, ("the list", nothing, ring), ("the history", nothing, dot)]:
        rows = [found.rows[i] for i in members]
        figure.add_scattergl(
            x=found.x[members],
            y=found.y[members],
            ids=[row.id for row in rows],
            text=[escape(row.title) + (f" ({row.year})" if row.year else "") for row in rows],
            mode="markers",
            name=escape(name),
            marker=marker,
            hovertemplate="%{text}<extra></extra>",
        )
    return _picking("item", figure)


def snr_by_frequency(lam: np.ndarray, snr: dict[str, np.ndarray], t: float, names: Sequence[str]) -> go.Figure:
    """log10 SNR (K,) of each schedule at time t, over the waves with eigenvalues lam (K,) and these names."""
    lines = [
        {
            "x": np.arange(1, len(lam) + 1),
            "y": _log10(values),
            "mode": "lines",
            "name": NAMES[kind],
            "line": {"color": COLOURS[kind], "width": 2.5, "dash": DASHES[kind]},
        }
        | (
            {"customdata": [*map(escape, names)], "hovertemplate": "wave %{x}: %{y:.2f}<br>%{customdata}"}
            if kind == "vp"
            else {"hovertemplate": "wave %{x}: %{y:.2f}"}
        )
        for kind, values in snr.items()
    ]
    span = {"range": [SNR_RANGE[0] - 0.3, SNR_RANGE[1] + 0.3]}
    return unchecked(lines, "wave, slow to fast", f"log₁₀ SNR at t = {t:g}", 220, span, meta={"click": "wave"})


def schedules(times: np.ndarray, lam: Sequence[float], values: dict[str, tuple[np.ndarray, np.ndarray]]) -> go.Figure:
    """alpha_t and sigma_t over times (n,) for a few eigenvalues: `values[kind]` = two arrays (n, len(lam))."""
    titles = [f"{symbol} · {NAMES[kind]}" for symbol in ("α", "σ") for kind in values]
    figure = make_subplots(2, len(values), shared_xaxes=True, shared_yaxes=True, subplot_titles=titles)
    for column, pair in enumerate(values.values(), start=1):
        for row, array in enumerate(pair, start=1):
            for i, eigenvalue in enumerate(lam):
                figure.add_scatter(
                    x=times,
                    y=array[:, i],
                    row=row,
                    col=column,
                    mode="lines",
                    name=f"λ = {eigenvalue:.2f}",
                    legendgroup=str(i),
                    showlegend=row == column == 1,
                    line={"color": SERIES[i % len(SERIES)], "width": 2},
                    hovertemplate="t %{x:.2f}: %{y:.3f}",
                )
    figure.update_xaxes(title_text="time t", row=2)
    figure.update_yaxes(range=[-0.03, 1.05])
    return _styled(figure, height=430)


def snr_maps(times: np.ndarray, index: np.ndarray, snr: dict[str, np.ndarray]) -> go.Figure:
    """log10 SNR as heat maps over times (n,) and frequency indices (m,): `snr[kind]` is (n, m)."""
    figure = make_subplots(1, len(snr), shared_yaxes=True, subplot_titles=[NAMES[kind] for kind in snr])
    for column, (kind, values) in enumerate(snr.items(), start=1):
        figure.add_heatmap(
            x=times,
            y=index,
            z=_log10(values).T,
            row=1,
            col=column,
            coloraxis="coloraxis",
            name=NAMES[kind],
            hovertemplate="t %{x:.2f}, wave %{y}: %{z:.2f}",
        )
    _picking("wave", figure)
    figure.update_xaxes(title_text="time t")
    figure.update_yaxes(title_text="wave", col=1)
    figure.update_layout(
        coloraxis={
            "colorscale": PALETTE["scale"],
            "cmin": MAP_RANGE[0],
            "cmax": MAP_RANGE[1],
            "colorbar": {"title": {"text": "log₁₀ SNR"}, "thickness": 12, "outlinewidth": 0},
        }
    )
    return _styled(figure, height=340)


def band_energy(
    bands: np.ndarray,
    before: np.ndarray,
    noised: np.ndarray,
    after: np.ndarray,
    names: Sequence[str],
) -> go.Figure:
    """Mean energy v^2 in each band of frequencies: of the history, of its noised version and of the estimate.

    A point has the name of the wave in the middle of its band, of the names (K,) of all waves.
    """
    middle = _middle(bands, names)
    lines = [
        _band_line(bands, values, name, {"color": SERIES[i], "width": 2.5, "dash": dash}, middle)
        | {"mode": "lines+markers", "marker": {"symbol": symbol, "size": 7}}
        for i, (name, values, dash, symbol) in enumerate(
            (
                ("history", before, "solid", "circle"),
                ("noised", noised, "dot", "x"),
                ("denoised", after, "solid", "diamond"),
            )
        )
    ]
    axis = {"type": "log", "dtick": 1}
    return unchecked(lines, "wave, slow to fast", "mean energy v²", 240, axis, meta={"click": "wave"})


def film(
    bands: np.ndarray, history: np.ndarray, frames: Sequence[Mapping[str, np.ndarray]], names: Sequence[str]
) -> go.Figure:
    """Mean energy v^2 by band of the history, and of each schedule's spectrum at each frame: `frames[n][kind]`.

    The traces of one frame are visible at a time. `meta` of a trace is its frame; the page's script shows another one.
    A point has the name of the wave in the middle of its band, of the names (K,) of all waves.
    """
    middle = _middle(bands, names)
    lines = [_band_line(bands, history, "history", {"color": SERIES[5], "width": 5}, middle) | {"opacity": 0.5}]
    for n, energy in enumerate(frames):
        for kind, values in energy.items():
            line = {"color": COLOURS[kind], "width": 2.5, "dash": DASHES[kind]}
            shown = {"meta": n, "visible": n == len(frames) - 1}
            lines.append(_band_line(bands, values, NAMES[kind], line, middle) | shown)
    everything = np.concatenate([history, *(values for energy in frames for values in energy.values())])
    low, high = np.log10(np.clip(everything, 1e-9, None)).min(), np.log10(everything.max() + 1e-9)
    axis = {"type": "log", "dtick": 1, "range": [low - 0.1, high + 0.1]}
    return unchecked(lines, "wave, slow to fast", "energy v²", 280, axis, meta={"click": "wave"})


def _band_line(
    bands: np.ndarray, values: np.ndarray, name: str, line: dict[str, Any], middle: Sequence[str]
) -> dict[str, Any]:
    return {
        "x": bands,
        "y": values,
        "customdata": middle,
        "name": name,
        "mode": "lines",
        "line": line,
        "hovertemplate": "around wave %{x:.0f}: %{y:.3g}<br>%{customdata}",
    }


def _middle(bands: np.ndarray, names: Sequence[str]) -> list[str]:
    """The name of the wave that a click on each band picks, of the names (K,) of all waves."""
    return [escape(names[int(band + 0.5) - 1]) for band in bands]


def degrees(users: Sequence[int], items: Sequence[int]) -> go.Figure:
    """Number of users and items with 1, 2-3, 4-7, ... interactions, on a logarithmic axis.

    Labels are short and not rotated: for rotated labels, Plotly moves the axis after it has drawn the bars, and the
    labels overlap them.
    """
    figure = plain("interactions, from … on", "how many", height=260)
    for name, counts, colour in (("users", users, SERIES[0]), ("items", items, SERIES[1])):
        figure.add_bar(
            x=[f"{2 ** (n % 10)}{('', 'k', 'M', 'G')[n // 10]}" for n in range(len(counts))],
            y=list(counts),
            customdata=["1", *(f"{2**n:,}–{2 ** (n + 1) - 1:,}" for n in range(1, len(counts)))],
            name=name,
            marker={"color": colour, "line": {"width": 0}},
            hovertemplate=f"%{{y:,}} {name} have %{{customdata}}",
        )
    figure.update_xaxes(type="category", tickangle=0, automargin=False)
    largest = max(*users, *items)
    figure.update_yaxes(type="log", exponentformat="none", dtick=1, range=[np.log10(0.7), np.log10(1.5 * largest)])
    figure.update_layout(bargap=0.25)
    return figure


def training_curves(epochs: Sequence[int], loss: Sequence[float], valid: Sequence[tuple[int, float]]) -> go.Figure:
    """Loss (left axis) and validation recall (right axis) over epochs. The best epoch is marked."""
    shown, validated = _thinned([*zip(epochs, loss, strict=True)]), _thinned(valid)
    losses = {
        "x": [epoch for epoch, _ in shown],
        "y": [value for _, value in shown],
        "name": "training loss",
        "mode": "lines",
        "line": {"color": SERIES[0], "width": 2},
    }
    recalls = {
        "x": [epoch for epoch, _ in validated],
        "y": [value for _, value in validated],
        "yaxis": "y2",
        "name": "validation recall@20",
        "mode": "lines+markers",
        "line": {"color": SERIES[3], "width": 2},
        "marker": {"size": 5},
    }
    lines = [losses]
    if valid:
        epoch, value = max(valid, key=lambda point: point[1])
        star = {"symbol": "star", "size": 14, "color": SERIES[2]}
        best = {"x": [epoch], "y": [value], "name": f"best: epoch {epoch}", "mode": "markers", "marker": star}
        lines += [recalls, {"yaxis": "y2"} | best]
    right = {"title": {"text": "recall@20"}, "overlaying": "y", "side": "right", "showgrid": False}
    return unchecked(
        lines, "epoch", "loss", 340, of_y={}, of_x={"tickformat": "d", "rangemode": "tozero"}, yaxis2=right
    )


def _picking(what: str, figure: go.Figure) -> go.Figure:
    """Tells the page's script that a click on a point picks a "wave", by x (y in a heat map), or an "item", by id."""
    figure.update_layout(meta={"click": what})
    return figure


def _styled(figure: go.Figure, height: int) -> go.Figure:
    """Sets the height of a figure of subplots, and moves the legend away from their titles."""
    figure.update_layout(height=height)
    if len(list(figure.select_annotations())) > 1:
        figure.update_layout(legend={"y": -0.16, "yanchor": "top"}, margin={"b": 80})
    return figure


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most `POINTS` points, including the first and the last one."""
    return [points[i] for i in np.unique(np.linspace(0, len(points) - 1, min(len(points), POINTS)).round().astype(int))]


def _log10(snr: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.clip(np.log10(snr), *SNR_RANGE).astype(np.float32)
