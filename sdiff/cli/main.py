"""The command line: `sdiff datasets | train | evaluate | recommend | reproduce` (also `python -m sdiff`)."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

from sdiff.base import terminal
from sdiff.base.errors import SDiffError


def main(argv: list[str] | None = None) -> int:
    return terminal.run("sdiff", partial(dispatch, sys.argv[1:] if argv is None else argv))


def dispatch(words: list[str]) -> int:
    if any("\ud800" <= letter <= "\udfff" for word in words for letter in word):  # bytes that Python could not decode
        raise SDiffError("An argument is not text in this terminal's encoding: set PYTHONUTF8=1, or rename the file.")
    with terminal.interruptible_imports():  # torch takes seconds
        from sdiff.base.distributed import torchrun

        arguments = parser().parse_args(words, argparse.Namespace(command=f"sdiff {shlex.join(words)}"))
    with torchrun() as arguments.ranks:
        document = arguments.run(arguments)
        if arguments.json:
            print(json.dumps(document))
    return 0


def parser() -> argparse.ArgumentParser:
    from sdiff.cli import commands
    from sdiff.config import PRESETS

    top = argparse.ArgumentParser(prog="sdiff", description=__doc__)
    subparsers = top.add_subparsers(required=True, metavar="COMMAND")
    several: Any = dict(nargs="+", action="extend", default=[])  # values after one flag, or after repeated flags

    def command(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(name, help=help, description=help)
        sub.add_argument("--json", action="store_true", help="print one JSON document as the last line of stdout")
        sub.set_defaults(run=run)
        return sub

    sub = command("datasets", commands.datasets, "list the data sets that are here or known; describe or fetch one")
    sub.add_argument(
        "words", nargs="*", metavar="KEY | fetch KEY", help="counts, long tail and range in time, or download"
    )

    sub = command("train", commands.train, "train a model and keep its best epoch by validation")
    sub.add_argument("--dataset", required=True, help="a data-set key, or the path of a CSV or Parquet file")
    sub.add_argument("--preset", default="paper", help=f"starting configuration: {', '.join(PRESETS)}")
    sub.add_argument("--set", metavar="KEY=VALUE", help="settings to change", **several)
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--out", type=path, required=True, help="folder for the checkpoint")
    sub.add_argument("--resume", action="store_true", help="go on with the run that was interrupted in --out")

    sub = command("evaluate", commands.evaluate_checkpoint, "recall and NDCG of a checkpoint on held-out interactions")
    sub.add_argument("--checkpoint", type=path, required=True)
    sub.add_argument("--dataset", help="a data-set key or path (default: the one it was trained on)")
    sub.add_argument("--split", choices=("valid", "test"), default="test")
    sub.add_argument("--set", metavar="KEY=VALUE", help="sampling settings to change", **several)
    sub.add_argument("--seed", type=int, default=0, help="seed of the sampling noise")

    sub = command("recommend", commands.recommend, "the list of a user or a history, or a file of all users' lists")
    sub.add_argument("--checkpoint", type=path, required=True)
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

    sub = command("reproduce", commands.reproduce, "a table or figure of the paper, or an experiment beyond it")
    sub.add_argument("what", help="its name: table1, table3, fig3, fig5 ... (anything else lists them), or all")
    sub.add_argument("--dataset", default="demo", help="a data-set key")
    sub.add_argument("--preset", default="paper", help=f"what it starts from: {', '.join(PRESETS)}")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--only", metavar="JOB", help="some of its jobs, such as one model of table1", **several)
    sub.add_argument("--quick", action="store_true", help="a smoke run: two epochs of a tiny model")
    sub.add_argument("--out", type=path, help="folder for numbers and picture (default: benchmarks/results)")
    return top


def path(text: str) -> Path:
    """Of an argument. An empty one would mean the folder that the terminal is in."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty: name a file or a folder.")
    return Path(text).expanduser()
