"""S-Diff in a browser: `python app.py`. On a Hugging Face Space this file is what runs."""

import os
import sys

import sdiff  # noqa: F401 (sets how OpenMP's threads wait, which has to be before torch)

if os.environ.get("SPACES_ZERO_GPU") == "true":
    import spaces  # noqa: F401 # pyright: ignore[reportMissingImports] (ZeroGPU wants it before torch)

if __name__ == "__main__":  # not where a run's process reads this file, which needs no page
    from sdiff.cli.main import main

    sys.exit(main(["app", *sys.argv[1:]]))
