"""The page's look: our palette on gradio's plain theme. assets/app.css lays the rest out."""

from __future__ import annotations

import json

from gradio.themes import Base, Color

from sdiff.base.paths import ASSETS


def theme() -> Base:
    """With the fonts that the machine has: the page asks no server for any."""
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
    return base.set(  # gradio's own values are too pale on white, or too dark on black, to be read
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_500",
        block_info_text_color_dark="*neutral_400",
    )
