"""S-Diff in a browser: `python app.py`. On a Hugging Face Space this file is what runs."""

import os

if os.environ.get("SPACES_ZERO_GPU") == "true":
    import spaces  # noqa: F401 # pyright: ignore[reportMissingImports] (ZeroGPU wants it before torch)

from sdiff.ui.layout import build, launch

demo = build()

if __name__ == "__main__":
    launch(demo)
