"""The gradio app. Only this package and app.py depend on gradio."""
