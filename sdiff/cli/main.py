"""Trains, evaluates and serves S-Diff recommenders. `python -m sdiff` is the same command."""

from __future__ import annotations

import argparse
import importlib
import json
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import sdiff
from sdiff.base import terminal
from sdiff.base.errors import SDiffError
from sdiff.base.paths import expanded
from sdiff.config import AUTO, PRESETS
from sdiff.evaluation.protocols import PROTOCOLS

EXTRA = ("gradio", "httptools", "orjson", "plotly", "uvicorn", "uvloop")  # installed only by the extra "app"
CHECKPOINT = "a folder, or the name of a checkpoint that was trained in the app or is included, such as demo"
DATASET = "a data set key, or the path of a table file or folder"


class Once(argparse._StoreAction):
    """Rejects an option that is given twice; argparse would keep the last."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        given = vars(namespace).setdefault("given", set())
        if option and self.dest in given:
            raise argparse.ArgumentError(self, "it is given more than once.")
        given.add(self.dest)
        super().__call__(parser, namespace, values, option)


class Parser(argparse.ArgumentParser):
    """Rejects repeated options, and does not hide a failure to write the output."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.register("action", None, Once)

    def _print_message(self, message: str, file: Any = None) -> None:
        (file or sys.stderr).write(message or "")


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
        from sdiff.app import serving

        return serving.serve(arguments.verbose)
    with terminal.interruptible_imports():  # importing torch takes seconds
        from sdiff.base.distributed import torchrun

        command = importlib.import_module(f"sdiff.cli.{arguments.run}")
    with torchrun() as arguments.ranks:
        document = command.run(arguments)
        if arguments.json:
            print(json.dumps(document))


def parser() -> argparse.ArgumentParser:
    """The parser of all commands. The attribute `run` of its result names a module of this package."""
    top = Parser(prog="sdiff", description=__doc__)
    top.add_argument("--version", action="version", version=f"sdiff {sdiff.__version__}")
    subparsers = top.add_subparsers(required=True, metavar="COMMAND")
    repeatable: Any = dict(nargs="+", action="extend", default=[])  # several values after one or more flags

    def command(name: str, help: str) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(name, help=help, description=help)
        sub.set_defaults(run=name)
        if name != "app":
            sub.add_argument("--json", action="store_true", help="print one JSON document as the last line of stdout")
        return sub

    sub = command("app", "start the app on this machine")
    sub.add_argument("--verbose", action="store_true", help="log all events as JSON, not only slow and failed ones")

    sub = command("datasets", "list, describe or download data sets")
    sub.add_argument(
        "words",
        nargs="*",
        metavar="KEY | fetch KEY",
        help="a data set to describe (size, popularity skew, time range) or to download; without it, list all",
    )

    sub = command("train", "train a model and save its best epoch by validation")
    sub.add_argument("--dataset", required=True, help=DATASET)
    sub.add_argument("--preset", default="paper", help=f"base configuration: {', '.join((*PRESETS, AUTO))}")
    sub.add_argument("--minutes", type=float, help="with --preset auto: time for all presets together (default: 10)")
    sub.add_argument("--set", metavar="KEY=VALUE", help="settings to change", **repeatable)
    sub.add_argument("--seed", type=int, default=0, help="seed of all random draws")
    sub.add_argument("--out", type=path, required=True, help="folder for the checkpoint")
    sub.add_argument("--resume", action="store_true", help="continue an interrupted run in --out")

    sub = command("update", "continue a trained model on data that have grown, with new interactions and items")
    sub.add_argument("--checkpoint", type=path, required=True, help=CHECKPOINT)
    sub.add_argument("--dataset", required=True, help=f"{DATASET}, with former and new interactions")
    sub.add_argument("--seed", type=int, default=0, help="seed of all random draws")
    sub.add_argument("--out", type=path, required=True, help="folder for the new checkpoint")

    sub = command("tune", "search the settings of a preset that are best on the validation part")
    sub.add_argument("--dataset", required=True, help=DATASET)
    sub.add_argument("--preset", default="tuned", help=f"base configuration: {', '.join(PRESETS)}")
    sub.add_argument(
        "--search",
        metavar="KEY=VALUES",
        help="settings to search: low:high, low:high:log or a,b,c (default: those that matter for the preset)",
        **repeatable,
    )
    sub.add_argument("--set", metavar="KEY=VALUE", help="settings to change in all trials", **repeatable)
    sub.add_argument(
        "--trials", type=int, help="number of trials, earlier ones included (default: 20, or no limit with --minutes)"
    )
    sub.add_argument("--minutes", type=float, help="time for the trials of this call")
    sub.add_argument("--seed", type=int, default=0, help="seed of the search and of each training")
    sub.add_argument("--out", type=path, required=True, help="folder for the best checkpoint, the study and its plot")
    sub.add_argument("--resume", action="store_true", help="continue the study in --out")

    sub = command("evaluate", "measure accuracy, coverage, novelty and diversity on held-out interactions")
    sub.add_argument("--checkpoint", type=path, required=True, help=CHECKPOINT)
    sub.add_argument("--dataset", help=f"{DATASET} (default: the one used for training)")
    sub.add_argument("--split", choices=("valid", "test"), default="test")
    sub.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="train",
        help="history and exclusions of test users; "
        + "; ".join(f"{name}: {text}" for name, text in PROTOCOLS.items()),
    )
    sub.add_argument("-k", type=int, nargs="+", default=[10, 20], help="lengths of the lists to measure")
    sub.add_argument("--out", type=path, metavar="FILE", help="write each user's metrics to a .parquet or .csv file")
    sub.add_argument("--set", metavar="KEY=VALUE", help="sampling settings to change", **repeatable)
    sub.add_argument("--seed", type=int, default=0, help="seed of the sampling noise and of the confidence intervals")

    sub = command("recommend", "recommend items for a user, a history or all users")
    sub.add_argument("--checkpoint", type=path, required=True, help=CHECKPOINT)
    who = sub.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", help="id of a user in the data set")
    who.add_argument("--history", help="item ids, oldest first, such as 12,7,31; quote ids with commas as in CSV")
    who.add_argument("--all", action="store_true", help="all users of the data set; writes to --out")
    sub.add_argument(
        "--out",
        type=path,
        metavar="FILE | FOLDER",
        help="with --all: a .parquet, .csv or .csv.gz file, or a folder",
    )
    sub.add_argument("--titles", action="store_true", help="with --all: add title, year and genres to each row")
    sub.add_argument(
        "--parts",
        choices=("train", "train+valid", "all"),
        help="with --user or --all: the parts of the data set that are a history, and left out of its list; with "
        "train, lists are those that are measured by sdiff evaluate (default: all)",
    )
    sub.add_argument("--dataset", help="source of users and titles (default: the one used for training)")
    sub.add_argument("-k", type=int, default=10, help="number of items to recommend")
    sub.add_argument("--set", metavar="KEY=VALUE", help="sampling settings to change", **repeatable)
    sub.add_argument("--seed", type=int, default=0, help="seed of the sampling noise")

    sub = command("similar", "list the items that are most similar to an item")
    sub.add_argument("--checkpoint", type=path, required=True, help=CHECKPOINT)
    sub.add_argument("--item", required=True, help="id of the item")
    sub.add_argument("--dataset", help="source of titles and common users (default: the one used for training)")
    sub.add_argument("-k", type=int, default=10, help="number of items to list")

    sub = command("reproduce", "reproduce a table or figure of the paper, or run another experiment")
    sub.add_argument("what", help="table1, table3, fig3, fig5, ... or all; an unknown name lists them")
    sub.add_argument("--dataset", default="demo", help="a data set key")
    sub.add_argument("--preset", default="paper", help=f"base configuration: {', '.join(PRESETS)}")
    sub.add_argument("--seed", type=int, default=0, help="seed of all random draws")
    sub.add_argument("--only", metavar="JOB", help="jobs to run, such as one model of table1", **repeatable)
    sub.add_argument("--quick", action="store_true", help="smoke test: two epochs of a tiny model")
    sub.add_argument(
        "--out",
        type=path,
        help="folder for numbers and figures (default: results, or benchmarks/results in a repository checkout)",
    )
    return top


def path(text: str) -> Path:
    """A path argument, with `~` expanded, which shells leave after "=". Rejects an empty one: the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty: name a file or a folder.")
    try:
        return expanded(text)
    except SDiffError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
