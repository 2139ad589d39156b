"""The arguments of the `sdiff` command. Imports nothing that takes long, so that --help is fast."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import sdiff
from sdiff.base.errors import SDiffError
from sdiff.base.paths import expanded
from sdiff.config import AUTO, PRESETS
from sdiff.evaluation.protocols import PROTOCOLS

DESCRIPTION = "Trains, evaluates and serves S-Diff recommenders. `python -m sdiff` is the same command."
CHECKPOINT = "a folder, or the name of a checkpoint that was trained in the app or is included, such as demo"
DATASET = "a data set key, or the path of a table file or folder"
REPEATABLE: Any = dict(nargs="+", action="extend", default=[])  # several values after one or more flags


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


def parser() -> argparse.ArgumentParser:
    """The parser of all commands. The attribute `run` of its result names a module of this package."""
    top = Parser(prog="sdiff", description=DESCRIPTION)
    top.add_argument("--version", action="version", version=f"sdiff {sdiff.__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for name, (help, add_arguments) in COMMANDS.items():
        command = commands.add_parser(name, help=help, description=help)
        command.set_defaults(run=name)
        if name != "app":
            command.add_argument(
                "--json", action="store_true", help="print one JSON document as the last line of stdout"
            )
        add_arguments(command)
    return top


def _app(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--verbose", action="store_true", help="log all events as JSON, not only slow and failed ones")


def _datasets(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "words",
        nargs="*",
        metavar="KEY | fetch KEY",
        help="a data set to describe (size, popularity skew, time range) or to download; without it, list all",
    )


def _train(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--dataset", required=True, help=DATASET)
    sub.add_argument("--preset", default="paper", help=f"base configuration: {', '.join((*PRESETS, AUTO))}")
    sub.add_argument("--minutes", type=float, help="with --preset auto: time for all presets together (default: 10)")
    sub.add_argument("--set", metavar="KEY=VALUE", help="settings to change", **REPEATABLE)
    sub.add_argument("--seed", type=int, default=0, help="seed of all random draws")
    sub.add_argument("--out", type=path, required=True, help="folder for the checkpoint")
    sub.add_argument("--resume", action="store_true", help="continue an interrupted run in --out")


def _update(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--checkpoint", type=path, required=True, help=CHECKPOINT)
    sub.add_argument("--dataset", required=True, help=f"{DATASET}, with former and new interactions")
    sub.add_argument("--seed", type=int, default=0, help="seed of all random draws")
    sub.add_argument("--out", type=path, required=True, help="folder for the new checkpoint")


def _tune(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--dataset", required=True, help=DATASET)
    sub.add_argument("--preset", default="tuned", help=f"base configuration: {', '.join(PRESETS)}")
    sub.add_argument(
        "--search",
        metavar="KEY=VALUES",
        help="settings to search: low:high, low:high:log or a,b,c (default: those that matter for the preset)",
        **REPEATABLE,
    )
    sub.add_argument("--set", metavar="KEY=VALUE", help="settings to change in all trials", **REPEATABLE)
    sub.add_argument(
        "--trials", type=int, help="number of trials, earlier ones included (default: 20, or no limit with --minutes)"
    )
    sub.add_argument("--minutes", type=float, help="time for the trials of this call")
    sub.add_argument("--seed", type=int, default=0, help="seed of the search and of each training")
    sub.add_argument("--out", type=path, required=True, help="folder for the best checkpoint, the study and its plot")
    sub.add_argument("--resume", action="store_true", help="continue the study in --out")


def _evaluate(sub: argparse.ArgumentParser) -> None:
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
    sub.add_argument("--set", metavar="KEY=VALUE", help="sampling settings to change", **REPEATABLE)
    sub.add_argument("--seed", type=int, default=0, help="seed of the sampling noise and of the confidence intervals")


def _recommend(sub: argparse.ArgumentParser) -> None:
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
    sub.add_argument("--set", metavar="KEY=VALUE", help="sampling settings to change", **REPEATABLE)
    sub.add_argument("--seed", type=int, default=0, help="seed of the sampling noise")


def _similar(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--checkpoint", type=path, required=True, help=CHECKPOINT)
    sub.add_argument("--item", required=True, help="id of the item")
    sub.add_argument("--dataset", help="source of titles and common users (default: the one used for training)")
    sub.add_argument("-k", type=int, default=10, help="number of items to list")


def _reproduce(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("what", help="table1, table3, fig3, fig5, ... or all; an unknown name lists them")
    sub.add_argument("--dataset", default="demo", help="a data set key")
    sub.add_argument("--preset", default="paper", help=f"base configuration: {', '.join(PRESETS)}")
    sub.add_argument("--seed", type=int, default=0, help="seed of all random draws")
    sub.add_argument("--only", metavar="JOB", help="jobs to run, such as one model of table1", **REPEATABLE)
    sub.add_argument("--quick", action="store_true", help="smoke test: two epochs of a tiny model")
    sub.add_argument(
        "--out",
        type=path,
        help="folder for numbers and figures (default: results, or benchmarks/results in a repository checkout)",
    )


COMMANDS = {
    "app": ("start the app on this machine", _app),
    "datasets": ("list, describe or download data sets", _datasets),
    "train": ("train a model and save its best epoch by validation", _train),
    "update": ("continue a trained model on data that have grown, with new interactions and items", _update),
    "tune": ("search the settings of a preset that are best on the validation part", _tune),
    "evaluate": ("measure accuracy, coverage, novelty and diversity on held-out interactions", _evaluate),
    "recommend": ("recommend items for a user, a history or all users", _recommend),
    "similar": ("list the items that are most similar to an item", _similar),
    "reproduce": ("reproduce a table or figure of the paper, or run another experiment", _reproduce),
}


def path(text: str) -> Path:
    """A path argument, with `~` expanded, which shells leave after "=". Rejects an empty one: the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty: name a file or a folder.")
    try:
        return expanded(text)
    except SDiffError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
