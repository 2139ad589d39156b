"""S-Diff in a browser: `python app.py`. On a Hugging Face Space this file is what runs."""

import argparse
import os

if os.environ.get("SPACES_ZERO_GPU") == "true":
    import spaces  # noqa: F401 # pyright: ignore[reportMissingImports] (ZeroGPU wants it before torch)

if __name__ == "__main__":  # not where a run's process reads this file, which needs no page
    from sdiff import SDiffError
    from sdiff.ui.layout import build, launch

    parser = argparse.ArgumentParser(description=__doc__)
    words = "write a line of JSON for every event, not only for those that were slow or failed"
    parser.add_argument("--verbose", action="store_true", help=words)
    verbose = parser.parse_args().verbose
    try:
        launch(build(), verbose)
    except SDiffError as error:
        raise SystemExit(f"S-Diff: {error}") from None
