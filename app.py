"""S-Diff in a browser: `python app.py`. On a Hugging Face Space this file is what runs."""

import argparse
import os
import sys

import sdiff  # noqa: F401 (sets how OpenMP's threads wait, which has to be before torch)

if os.environ.get("SPACES_ZERO_GPU") == "true":
    import spaces  # noqa: F401 # pyright: ignore[reportMissingImports] (ZeroGPU wants it before torch)


def main() -> int:
    from sdiff.app import serving
    from sdiff.base import terminal

    parser = argparse.ArgumentParser(description=__doc__)
    words = "write a line of JSON for every event, not only for those that were slow or failed"
    parser.add_argument("--verbose", action="store_true", help=words)
    verbose = parser.parse_args().verbose
    serving.check_address()  # before gradio reads it
    with terminal.interruptible_imports():
        from sdiff.app.layout import build, launch
    demo = build()
    serving.end_on_signals(demo)
    try:
        launch(demo, verbose)
    except OSError:
        serving.check_address()  # says so where another program has taken the port meanwhile
        raise
    return 0


if __name__ == "__main__":  # not where a run's process reads this file, which needs no page
    from sdiff.base import terminal

    sys.exit(terminal.run("S-Diff", main))
