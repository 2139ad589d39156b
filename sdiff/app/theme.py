"""Gradio theme with the project's palette. The layout is in assets/app.css."""

from __future__ import annotations

import json

from gradio.themes import Base, Color

from sdiff.base.paths import ASSETS


def theme() -> Base:
    """The theme. It uses system fonts, so the page loads none from other servers."""
    palette = json.loads((ASSETS / "palette.json").read_text(encoding="utf-8"))
    accent, neutral = (Color(*palette[name], name=name) for name in ("accent", "neutral"))
    base = Base(
        primary_hue=accent,
        secondary_hue=accent,
        neutral_hue=neutral,
        text_size="md",
        spacing_size="sm",
        radius_size="md",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    )
    return base.set(  # gradio's defaults lack contrast
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_500",
        block_info_text_color_dark="*neutral_400",
    )
