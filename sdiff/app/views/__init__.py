"""Figures and HTML, drawn from what `handlers` returns. Without gradio."""
