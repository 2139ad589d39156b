"""S-Diff in a browser: `python app.py`. On a Hugging Face Space this file is what runs."""

from sdiff.ui.layout import build, launch

demo = build()

if __name__ == "__main__":
    launch(demo)
