"""Serves the app: `python app.py`. This is also the entry point of a Hugging Face Space."""

import os
import sys

import sdiff  # noqa: F401 (sets OMP_WAIT_POLICY, which must happen before torch is imported)

if os.environ.get("SPACES_ZERO_GPU") == "true":
    import spaces  # noqa: F401 # pyright: ignore[reportMissingImports] (ZeroGPU requires this import before torch)

if __name__ == "__main__":  # skipped when a spawned training process imports this file
    from sdiff.__main__ import main

    sys.exit(main(["app", *sys.argv[1:]]))
