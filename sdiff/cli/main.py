"""Runs the `sdiff` command; `python -m sdiff` is the same."""

from __future__ import annotations

import argparse
import importlib
import json
import shlex
import sys
from functools import partial

from sdiff.base import terminal
from sdiff.base.errors import SDiffError
from sdiff.cli.arguments import parser

EXTRA = ("gradio", "httptools", "orjson", "plotly", "uvicorn", "uvloop")  # installed only by the extra "app"


def main(argv: list[str] | None = None) -> int:
    return terminal.run("sdiff", partial(dispatch, sys.argv[1:] if argv is None else argv))


def dispatch(argv: list[str]) -> int:
    """Parses the arguments and runs the command. Errors are raised for `terminal.run` to print."""
    if any("\ud800" <= letter <= "\udfff" for text in argv for letter in text):  # undecodable bytes
        raise SDiffError("An argument cannot be decoded as text: set PYTHONUTF8=1, or rename the file.")
    arguments = parser().parse_args(argv, argparse.Namespace(command=f"sdiff {shlex.join(argv)}"))
    try:
        run(arguments)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in EXTRA:
            raise
        raise SDiffError(
            f"{library} is not installed: install the extra app, with pip install 'sdiff[app]' or, in a clone, with "
            "pip install -e '.[app]'."
        ) from error
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Runs a command. Imports it only now, so that --help is fast."""
    if arguments.run == "app":
        from sdiff.app import lifecycle

        return lifecycle.serve(arguments.verbose)
    with terminal.interruptible_imports():  # importing torch takes seconds
        from sdiff.base.distributed import torchrun

        command = importlib.import_module(f"sdiff.cli.{arguments.run}")
    with torchrun() as arguments.ranks:
        document = command.run(arguments)
        if arguments.json:
            print(json.dumps(document))
