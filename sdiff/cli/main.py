"""The command line: `sdiff app | datasets | train | evaluate | recommend | reproduce` (also `python -m sdiff`)."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import sdiff
from sdiff.base import terminal
from sdiff.base.errors import SDiffError
from sdiff.config import PRESETS

EXTRA = ("gradio", "httptools", "orjson", "plotly", "uvicorn", "uvloop")  # what only the extra "app" installs
CHECKPOINT = "a folder, or the name of an included checkpoint, such as demo"


def main(argv: list[str] | None = None) -> int:
    return terminal.run("sdiff", partial(dispatch, sys.argv[1:] if argv is None else argv))


def dispatch(words: list[str]) -> int:
    if any("\ud800" <= letter <= "\udfff" for word in words for letter in word):  # bytes that Python could not decode
        raise SDiffError("An argument is not text in this terminal's encoding: set PYTHONUTF8=1, or rename the file.")
    arguments = parser().parse_args(words, argparse.Namespace(command=f"sdiff {shlex.join(words)}"))
    try:
        run(arguments)
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        raise SDiffError(f"{error.name} is not installed: run pip install 'sdiff[app]'.") from error
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Runs a command, which is imported only now: --help takes no time."""
    if arguments.run == "app":
        from sdiff.app import serving

        return serving.serve(arguments.verbose)
    with terminal.interruptible_imports():  # torch takes seconds
        from sdiff.base.distributed import torchrun
        from sdiff.cli import commands

    with torchrun() as arguments.ranks:
        document = getattr(commands, arguments.run)(arguments)
        if arguments.json:
            print(json.dumps(document))


def parser() -> argparse.ArgumentParser:
    """The parser of all commands. `run` names the function in `commands`."""
    top = argparse.ArgumentParser(prog="sdiff", description=__doc__)
    top.add_argument("--version", action="version", version=f"sdiff {sdiff.__version__}")
    subparsers = top.add_subparsers(required=True, metavar="COMMAND")
    several: Any = dict(nargs="+", action="extend", default=[])  # values after one flag, or after repeated flags

    def command(name: str, help: str, run: str = "") -> argparse.ArgumentParser:
        sub = subparsers.add_parser(name, help=help, description=help)
        sub.set_defaults(run=run or name)
        if name != "app":
            sub.add_argument("--json", action="store_true", help="print one JSON document as the last line of stdout")
        return sub

    sub = command("app", "serve the app on this machine")
    sub.add_argument("--verbose", action="store_true", help="log every event as JSON, not only slow and failed ones")

    sub = command("datasets", "list the data sets that are here or known; describe or fetch one")
    sub.add_argument(
        "words", nargs="*", metavar="KEY | fetch KEY", help="counts, long tail and range in time, or download"
    )

    sub = command("train", "train a model and keep its best epoch by validation")
    sub.add_argument("--dataset", required=True, help="a data-set key, or the path of a CSV or Parquet file")
    sub.add_argument("--preset", default="paper", help=f"starting configuration: {', '.join(PRESETS)}")
    sub.add_argument("--set", metavar="KEY=VALUE", help="settings to change", **several)
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--out", type=path, required=True, help="folder for the checkpoint")
    sub.add_argument("--resume", action="store_true", help="go on with the run that was interrupted in --out")

    sub = command("evaluate", "recall and NDCG of a checkpoint on held-out interactions", "evaluate_checkpoint")
    sub.add_argument(
        "--checkpoint", type=path, required=True, help="a folder, or the name of one that is included, such as demo"
    )
    sub.add_argument("--dataset", help="a data-set key or path (default: the one it was trained on)")
    sub.add_argument("--split", choices=("valid", "test"), default="test")
    sub.add_argument("--set", metavar="KEY=VALUE", help="sampling settings to change", **several)
    sub.add_argument("--seed", type=int, default=0, help="seed of the sampling noise")

    sub = command("recommend", "the list of a user or a history, or a file of all users' lists")
    sub.add_argument(
        "--checkpoint", type=path, required=True, help="a folder, or the name of one that is included, such as demo"
    )
    who = sub.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", help="a user of the data set, by id; the history is the train part")
    who.add_argument("--history", help="item ids, oldest first: ID,ID,...")
    who.add_argument("--all", action="store_true", help="every user of the data set, to --out")
    sub.add_argument(
        "--out",
        type=path,
        metavar="FILE | FOLDER",
        help="with --all: lists.parquet, lists.csv, lists.csv.gz, or a folder",
    )
    sub.add_argument("--titles", action="store_true", help="with --all: title, year and genres in each row")
    sub.add_argument("--dataset", help="where users and titles are read (default: what it was trained on)")
    sub.add_argument("-k", type=int, default=10, help="length of the list")
    sub.add_argument("--set", metavar="KEY=VALUE", help="sampling settings to change", **several)
    sub.add_argument("--seed", type=int, default=0, help="seed of the sampling noise")

    sub = command("reproduce", "a table or figure of the paper, or an experiment beyond it")
    sub.add_argument("what", help="its name: table1, table3, fig3, fig5 ... (anything else lists them), or all")
    sub.add_argument("--dataset", default="demo", help="a data-set key")
    sub.add_argument("--preset", default="paper", help=f"what it starts from: {', '.join(PRESETS)}")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--only", metavar="JOB", help="some of its jobs, such as one model of table1", **several)
    sub.add_argument("--quick", action="store_true", help="a smoke run: two epochs of a tiny model")
    sub.add_argument(
        "--out",
        type=path,
        help="folder for numbers and picture (default: results, in the repository benchmarks/results)",
    )
    return top


def path(text: str) -> Path:
    """Of an argument. An empty one would mean the folder that the terminal is in."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty: name a file or a folder.")
    return Path(text)
