"""The app: gradio widgets around the engine. Nothing outside this folder and app.py knows of gradio."""
