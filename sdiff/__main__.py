"""The command `sdiff`, also as `python -m sdiff`."""

from __future__ import annotations

import sys

from sdiff.base.terminal import interruptible_imports


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit status. Ctrl-C ends it without a traceback, even while it is imported."""
    with interruptible_imports():
        from sdiff.cli.main import main as run
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
