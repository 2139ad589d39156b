"""`sdiff reproduce`: runs the experiments of the paper and those beyond it."""

from __future__ import annotations

import argparse
from typing import Any

from sdiff.base.errors import SDiffError
from sdiff.experiments import reproduce


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Runs an experiment, or all of them."""
    options = arguments.dataset, arguments.preset, arguments.seed, arguments.quick, arguments.out
    if arguments.what != "all":
        return reproduce.reproduce(arguments.what, *options, arguments.only)
    if arguments.only:
        raise SDiffError("--only selects jobs of one experiment: name that experiment instead of all.")
    fitting = [
        what
        for what, experiment in reproduce.EXPERIMENTS.items()
        if not experiment.by_preset or arguments.preset in experiment.by_preset
    ]
    return {what: reproduce.reproduce(what, *options) for what in fitting}
