"""Writes what benchmarks/results holds into the README and docs/results.md: `python -m benchmarks.report`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import tables
from benchmarks.tables import markdown, read
from sdiff.app import results
from sdiff.config import PRESETS
from sdiff.experiments.peers.recency import RECENT

ROOT = Path(__file__).parent.parent
IN_ORDER = {"temporal", "sasrec", *RECENT}  # what sees in which order a user chose
MARK = re.compile(r"(<!-- (\w+) -->\n).*?(?=<!-- /\2 -->)", flags=re.S)
LEFT_OUT = {"epoch", "valid R@20", "paper R@10", "paper N@10"}  # in the README, for want of room
PREFACE = """\
# What was measured

Written by `python -m benchmarks.report` from `benchmarks/results`, where commands, seeds, data fingerprints, versions
and machine stand in full. Test part, mean over users (± standard deviation over seeds), recall = hits / min(K, held-out
items), the train part as the history; every choice is made without the test part. ✓ marks what sees in which order a
user chose. What follows from it, and where it disagrees with the paper, stands in [paper.md](paper.md).

## Accuracy over seeds

`python -m sdiff.experiments.accuracy`, beside plain references on the same split. On yelp2018 models are trained once
more on train and validation part before the test, as others publish it.

{accuracy}

## What each part brings

Each part of `tuned` and `temporal` switched off alone (`python -m sdiff.experiments.ablation`, one seed; the change is
that of test R@20, which differs by about 0.001 from seed to seed; parts were chosen on validation and inside the train
part).

{ablation}

## How fast the app is

`python -m benchmarks.app`: app.py in a process of its own, driven over the loopback by a session that does what the
page does, one event after the other. Median and 95th percentile in milliseconds, as the client sees it with gradio's
queue and two HTTP requests in it, and in brackets what the app's own function takes of that; the floor is a function
that does nothing.

{app}

## Lists, beside rivals and the floor

`python -m benchmarks.inference --items N --batch B`: top-20 lists of a batch of users from their sparse histories, in
milliseconds, the median of turns in one process. The floor is the product U v and torch's top-k of it. `tuned` has the
fusion head; of GiffCF only its propagation is counted.

{lists}

## Training, beside rivals and the floor

`python -m benchmarks.training --dataset KEY`: an epoch each in turns, in one process, without validation. The floor is
the matrix products of a preset's layers (and of U v, where its loss ranks items), forwards and backwards. The epochs to
the best validation are those of Table 1, and the seconds what these epochs take of training alone.

{training}

## The spectrum

`python -m benchmarks.basis --dataset KEY`, K = 200: seconds, largest residual of L u - lam u, memory beyond the graph;
`amazon-book-size` is a synthetic graph.

{spectra}

## How time and memory grow

`python -m benchmarks.growth`: synthetic graphs from 1,000 users, 1,000 items and 20,000 pairs on. p is the exponent of
time ~ size^p and memory ~ size^p, fitted to the three sizes.

{growth}

## Beside busy processes

The commands above with `--beside 2`: two processes keep both cores busy, as others do on a shared host. A list of two
threads then has half of the cores, and what takes one thread two thirds of one.

{beside}

## While many use it

`python -m benchmarks.soak`: sessions that do what visitors do, with pauses of five seconds on average, and two of them
that train all the while. A click is answered when its list, words or titles are there. Every list is made again alone,
and compared.

{soak}

## What is tried to break it

`make soak`: processes that are killed while they write, files that are damaged before they are read.

{broken}

{experiments}
"""


def filled(readme: str) -> str:
    """The README with each table between its marks."""
    between = {"table1": table1, "lists": tables.lists, "training": tables.training}
    return MARK.sub(lambda mark: f"{mark[1]}{between[mark[2]]()}\n", readme)


def report() -> str:
    """The whole of docs/results.md."""
    return PREFACE.format(
        accuracy=accuracy(),
        ablation=ablation(),
        app=tables.app(),
        lists=tables.lists(),
        training=tables.training(),
        spectra=tables.spectra(),
        growth=tables.growth(),
        beside=tables.beside(),
        soak=tables.soak(),
        broken=tables.broken(),
        experiments="\n\n".join(experiments()),
    )


def table1() -> str:
    """Every model of Table 1, on every data set, beside what the paper prints of it."""
    parts = []
    for label in results.runs("table1"):
        run = results.read_run("table1", label)
        kept = [i for i, name in enumerate(run.head) if name not in LEFT_OUT]
        rows = [[f"**{row[i]}**" if row[i].startswith("S-Diff") else row[i] for i in kept] for row in run.cells]
        parts += [f"`{label}`:", markdown([run.head[i] for i in kept], rows)]
    return "\n\n".join(parts)


def accuracy() -> str:
    """For each data set what does not look at the order, then what does: our presets, rivals, plain references."""
    cells = []
    documents = read("accuracy-*.json")
    for dataset in dict.fromkeys(d["dataset"] for d in documents):
        runs = [d for d in documents if d["dataset"] == dataset]
        rows = {run["preset"]: _reached(run) for run in runs}
        changed = {run["preset"]: f" ({', '.join(run['set'])})" for run in runs if run["set"]}
        for name, reached in max((run["references"] for run in runs), key=len).items():
            rows[name] = [f"{reached['test'][key]:.4f}" for key in results.METRICS] + [""]
        for name in sorted(rows, key=lambda name: name in IN_ORDER):
            label = f"**S-Diff `{name}`**" if name in PRESETS else {"sasrec": "SASRec"}.get(name, name)
            cells.append([dataset, f"{label}{changed.get(name, '')}", "✓" * (name in IN_ORDER), *rows[name]])
    return markdown(["data", "model", "order", *results.METRICS.values(), "training"], cells)


def ablation() -> str:
    """For each ablated preset what it reaches without one of its parts, and the difference that makes on test."""
    cells = []
    for document in read("ablation-*.json"):
        whole = document["rows"][0]["test"]["recall@20"]
        for row in document["rows"]:
            test = row["test"]
            values = [row["valid"]["recall@20"], test["recall@20"], test["ndcg@20"]]
            change = f"{test['recall@20'] - whole:+.4f}" if row["set"] else ""
            of = [document["dataset"], f"`{document['preset']}`", row["off"]]
            cells.append([*of, *(f"{value:.4f}" for value in values), change])
    return markdown(["data", "preset", "without", "valid R@20", "test R@20", "test N@20", "change"], cells)


def experiments() -> Iterator[str]:
    """Each experiment that was run: picture, command and table of each of its runs."""
    for title, name in results.titles():
        yield f"## {title}"
        for label in results.runs(name):
            run = results.read_run(name, label)
            picture = f"{name}-{label.replace(', ', '-')}.svg"
            yield f"### {label}\n\n![{title}, {label}](../benchmarks/results/{picture})\n\nMade by {run.source}"
            if run.cells:
                yield markdown(run.head, run.cells)


def _reached(run: dict[str, Any]) -> list[str]:
    cells = [_spread(run["mean"]["test"][key], run["std"]["test"][key], run["seeds"]) for key in results.METRICS]
    return [*cells, f"{run['seconds']:.0f} s, {run['seeds']} seed{'s' if run['seeds'] > 1 else ''}, {run['device']}"]


def _spread(mean: float, std: float, seeds: int) -> str:
    return f"{mean:.4f}" + (f" ± {std:.4f}" if seeds > 1 else "")


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(filled(readme.read_text(encoding="utf-8")), encoding="utf-8")
    (ROOT / "docs" / "results.md").write_text(report(), encoding="utf-8")
