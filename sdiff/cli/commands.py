"""The commands of the command line. Each prints its results and returns them for --json."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sdiff.base.checks import generator
from sdiff.base.device import device_name, peak_memory_mb
from sdiff.base.distributed import Ranks
from sdiff.base.errors import SDiffError
from sdiff.base.files import claimed
from sdiff.config import AUTO, Config, parse_assignments, preset
from sdiff.data.catalog import Catalog
from sdiff.data.datasets import Dataset, download, load_dataset
from sdiff.data.registry import REGISTRY
from sdiff.data.summary import summarize
from sdiff.evaluation.baselines import baseline_metrics
from sdiff.evaluation.evaluate import Part, evaluate
from sdiff.evaluation.protocols import Protocol
from sdiff.serving import export
from sdiff.serving.recommender import Recommender
from sdiff.serving.shards import write_shards
from sdiff.training.auto import MINUTES, compare
from sdiff.training.checkpointing import checkpointed
from sdiff.training.run_state import resume
from sdiff.training.trainer import CRITERION, Progress, Trainer


def datasets(arguments: argparse.Namespace) -> list[dict[str, Any]] | dict[str, Any]:
    """Lists the registered data sets, or describes or downloads one."""
    if arguments.words[:1] == ["fetch"] and len(arguments.words) == 2:
        with tqdm(unit="B", unit_scale=True, disable=None) as bar:

            def progress(done: int, total: int | None) -> None:
                bar.total = total
                bar.update(done - bar.n)

            source = download(arguments.words[1], progress)
        print(f"{source.title} is in {source.path} ({source.terms}).")
        return {"key": source.key, "path": str(source.path), "terms": source.terms}
    if len(arguments.words) > 1:
        raise SDiffError("Give one data set, or use `sdiff datasets fetch KEY`.")
    if arguments.words:
        summary = asdict(summarize(load_dataset(arguments.words[0])))
        for name, value in summary.items():
            print(f"{name:<14} {value:.4g}" if isinstance(value, float) else f"{name:<14} {value}")
        return summary
    rows = [
        {
            "key": source.key,
            "title": source.title,
            "users, items, interactions": source.counts,
            "terms": source.terms,
            "origin": source.origin,
            "available": not source.missing,
            "path": str(source.path),
        }
        for source in REGISTRY.values()
    ]
    for row in rows:
        print(f"{row['key']:<16} {'available' if row['available'] else 'missing':<9} {row['title']}")
        if size := row["users, items, interactions"]:
            print(f"{'':<16} {size[0]:,} users, {size[1]:,} items, {size[2]:,} interactions")
        print(f"{'':<16} {row['terms']}; from {row['origin']}; in {row['path']}")
    return rows


def train(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains a model and saves its checkpoint to --out."""
    started = time.perf_counter()
    if arguments.preset == AUTO:
        if arguments.set or arguments.resume or arguments.ranks.launched:
            raise SDiffError(
                "The preset auto cannot be used with --set, --resume or several processes: choose another preset."
            )
        dataset = load_dataset(arguments.dataset)
        with output(arguments.out, arguments.ranks):
            return train_best(arguments, dataset, started)
    if arguments.minutes is not None:
        raise SDiffError("--minutes needs --preset auto: limit other presets by --set epochs=N.")
    config = preset(arguments.preset).override(parse_assignments(arguments.set))
    dataset = load_dataset(arguments.dataset)
    with output(arguments.out, arguments.ranks):
        return train_into(arguments, config, dataset, started)


@contextmanager
def output(folder: Path, ranks: Ranks) -> Iterator[None]:
    """Claims the folder of a run during the block.

    Raises:
        SDiffError: another run uses the folder, or it is not writable.
    """
    with ExitStack() as claim:
        try:
            if ranks.first:
                claim.enter_context(claimed(folder))  # fail before hours of training, not after
        except BlockingIOError:
            raise SDiffError(f"Another run writes to {folder}: wait until it ends, or choose another --out.") from None
        except OSError as error:
            raise SDiffError(f"Cannot write to {folder}: {error.strerror}.") from error
        yield


def train_into(arguments: argparse.Namespace, config: Config, dataset: Dataset, started: float) -> dict[str, Any]:
    """Trains in the claimed folder --out, evaluates the best epoch and saves both. Returns the metrics."""
    ranks = arguments.ranks
    trainer = Trainer(config, dataset.split, arguments.seed, ranks=ranks)
    state = arguments.out / "training.safetensors"
    if arguments.resume:
        if state.exists() or not ranks.launched:  # a cluster restarts a run with the same command
            resume(trainer, state)
    else:
        check_empty(arguments.out)
    with (
        closing(checkpointed(trainer, arguments.out, dataset.key, arguments.preset, state)) as run,
        tqdm(total=config.epochs, initial=trainer.epoch, unit="epoch", disable=hidden(ranks)) as bar,
    ):
        for progress in run:
            bar.total = progress.epochs
            bar.update(1)
            if progress.valid:
                bar.set_postfix(loss=f"{progress.loss:.4f}", best=f"{progress.best:.4f} at {progress.best_epoch}")
    return finish(arguments, trainer, dataset, arguments.preset, started)


def check_empty(folder: Path) -> None:
    """Raises SDiffError if the folder already has a checkpoint."""
    if (folder / "config.json").exists():
        raise SDiffError(f"{folder} already has a checkpoint: choose another --out, or add --resume to continue.")


def train_best(arguments: argparse.Namespace, dataset: Dataset, started: float) -> dict[str, Any]:
    """Trains the presets that fit the data set, prints their validation metrics and saves the best model."""
    check_empty(arguments.out)
    rows: list[dict[str, Any]] = []
    best = None
    with tqdm(unit="epoch", leave=False, disable=None) as bar:

        def progress(name: str, step: Progress) -> None:
            bar.set_description(name)
            bar.total, bar.n = step.epochs, step.epoch
            bar.refresh()

        for candidate in compare(dataset.split, arguments.seed, arguments.minutes or MINUTES, progress=progress):
            row = {"preset": candidate.preset, "beta": candidate.beta, **candidate.valid}
            rows.append(row | {"epoch": candidate.epoch, "seconds": round(candidate.seconds, 1)})
            bar.write(
                f"{candidate.preset:<10} valid {CRITERION} {candidate.valid[CRITERION]:.4f}  "
                f"ndcg@20 {candidate.valid['ndcg@20']:.4f}  beta {candidate.beta:.1f}  {candidate.seconds:.0f} s",
                file=sys.stdout,
            )
            if best is None or candidate.valid[CRITERION] > best.valid[CRITERION]:
                best = candidate
    assert best is not None
    return finish(arguments, best.trainer, dataset, best.preset, started) | {"candidates": rows}


def finish(
    arguments: argparse.Namespace, trainer: Trainer, dataset: Dataset, preset: str, started: float
) -> dict[str, Any]:
    """Evaluates the best epoch and saves the checkpoint with its metrics to --out. Returns the metrics."""
    ranks = arguments.ranks
    checkpoint = trainer.checkpoint(dataset.key, preset)
    model = Recommender(checkpoint, trainer.device)
    metrics: dict[str, Any] = {
        "dataset": dataset.key,
        "data_fingerprint": dataset.split.fingerprint,
        "seed": arguments.seed,
        "command": arguments.command,
        "device": device_name(trainer.device),
        "processes": ranks.size,
        "epoch": checkpoint.provenance.epoch,
        "train_seconds": round(trainer.seconds, 1),
    }
    parts: list[Part] = [part for part in ("valid", "test") if len(getattr(dataset.split, part))]
    for part in parts:
        metrics[part] = measure(model, dataset, part, {}, arguments.seed, ranks)
    if not ranks.first:
        return metrics
    metrics["references"] = baseline_metrics(dataset.split, parts)
    replace(checkpoint, metrics=metrics).save(arguments.out)
    metrics |= {"seconds": round(time.perf_counter() - started, 1), "peak_memory_mb": peak_memory_mb()}
    print(
        f"{arguments.out}: epoch {metrics['epoch']} of {trainer.epoch}, {metrics['seconds']} s",
        *([f"{metrics['peak_memory_mb']} MB"] if metrics["peak_memory_mb"] else []),
        *(f"{part} {CRITERION} {metrics[part][CRITERION]:.4f}" for part in ("valid", "test") if part in metrics),
        sep=", ",
    )
    return metrics | {"checkpoint": str(arguments.out)}


def evaluate_checkpoint(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures a checkpoint on a part of the data set."""
    model = Recommender.load(arguments.checkpoint)
    key, dataset = dataset_of(model, arguments)
    if dataset.split.fingerprint != model.checkpoint.provenance.data_fingerprint:
        print(
            f"sdiff: {arguments.checkpoint} was trained on another split ({model.checkpoint.provenance.dataset}): "
            f"its training data may include held-out interactions of {key}.",
            file=sys.stderr,
        )
    started = time.perf_counter()
    settings = parse_assignments(arguments.set)
    part, seed, ranks, protocol = arguments.split, arguments.seed, arguments.ranks, arguments.protocol
    metrics = measure(model, dataset, part, settings, seed, ranks, protocol)
    seconds = round(time.perf_counter() - started, 3)
    for name, value in metrics.items():
        print(f"{name:<14} {value:.4f}" if isinstance(value, float) else f"{name:<14} {value}")
    of = {"dataset": key, "split": part, "protocol": protocol, "seed": seed}
    return metrics | {"seconds": seconds} | of


def dataset_of(model: Recommender, arguments: argparse.Namespace) -> tuple[str, Dataset]:
    """Key and data set of --dataset, by default that of the training, with the model's item vocabulary."""
    key = arguments.dataset or model.checkpoint.provenance.dataset
    return key, load_dataset(key).served_by(model.items)


def measure(
    model: Recommender,
    dataset: Dataset,
    part: Part,
    settings: dict[str, Any],
    seed: int,
    ranks: Ranks,
    protocol: Protocol = "train",
) -> dict[str, float]:
    """Metrics of a model on a part of a data set. `settings` override the sampling settings."""
    config = model.config.at_inference(settings)
    noise = generator(seed, ranks.rank)
    bar = partial(tqdm, desc=part, unit="batch", leave=False, disable=hidden(ranks))
    score = lambda x: model.scores(x, config, noise)  # noqa: E731
    return evaluate(score, dataset.split, part, model.device, progress=bar, ranks=ranks, protocol=protocol)


def hidden(ranks: Ranks) -> bool | None:
    """Value of tqdm's `disable`: only rank 0 shows a progress bar, and only on a terminal."""
    return None if ranks.first else True


def recommend(arguments: argparse.Namespace) -> list[dict[str, Any]] | dict[str, Any]:
    """Prints recommendations for a user or a history, or writes those of all users to --out."""
    if arguments.all:
        return recommend_all(arguments)
    if arguments.out or arguments.titles:
        raise SDiffError("--out and --titles need --all: a single list is printed, with titles.")
    model = Recommender.load(arguments.checkpoint)
    dataset = None
    try:
        _, dataset = dataset_of(model, arguments)
    except SDiffError as error:
        if arguments.user is not None:
            raise
        print(f"sdiff: no titles: {error}", file=sys.stderr)
    if arguments.user is not None:
        assert dataset is not None
        user = int(dataset.split.users.encode([arguments.user], "user")[0])
        history = [dataset.split.items.ids[i] for i in dataset.split.train.history(user)]
    else:
        history = [id.strip() for id in arguments.history.split(",")] if arguments.history else []
        if "" in history:
            raise SDiffError("--history has an empty id: separate ids with one comma, or give '' for an empty history.")
    settings = parse_assignments(arguments.set)
    model.config.at_inference(settings)  # check now: a key such as "seed" would be taken for a parameter below
    recommendations = model.recommend(history, arguments.k, seed=arguments.seed, **settings)
    if dataset is not None:
        rows = [asdict(row) for row in Catalog(dataset).rows(recommendations.indices, recommendations.scores)]
        rows = [{key: row[key] for key in ("rank", "id", "title", "year", "genres", "score")} for row in rows]
    else:
        pairs = zip(recommendations.ids, recommendations.scores, strict=True)
        rows = [{"rank": n, "id": id, "title": None, "score": score} for n, (id, score) in enumerate(pairs, 1)]
    print(f"{'rank':>4}  {'item':>8}  {'score':>8}  title")
    for row in rows:
        title = f"{row['title']} ({row['year']})" if row.get("year") else row["title"] or ""
        print(f"{row['rank']:>4}  {row['id']:>8}  {row['score']:>8.4f}  {title}")
    return rows


def recommend_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Writes the recommendations of all users to one file, or to shards in a folder."""
    if arguments.out is None:
        raise SDiffError("--all needs a file or a folder for the lists: give one with --out.")
    out, ranks = arguments.out, arguments.ranks
    in_shards = out.is_dir() or not out.suffix
    if ranks.size > 1 and not in_shards:
        raise SDiffError(f"{ranks.size} processes cannot write one file: give --out a folder, a name without a suffix.")
    model = Recommender.load(arguments.checkpoint)
    _, dataset = dataset_of(model, arguments)
    config = model.config.at_inference(parse_assignments(arguments.set))
    started = time.perf_counter()
    bar = partial(tqdm, unit="batch", leave=False, disable=hidden(ranks))
    k, seed, titles = arguments.k, arguments.seed, arguments.titles
    if in_shards:
        rows, users = write_shards(out, model, dataset, k, config, seed, titles, ranks, bar)
    else:
        lists = export.ranked(model, dataset.split.train, k, config, seed, progress=bar)
        rows, users = export.write(out, lists, dataset, titles)
    seconds = round(time.perf_counter() - started, 3)
    print(f"{out}: {rows:,} rows for {users:,} users, {seconds} s")
    return {"users": users, "rows": rows, "seconds": seconds, "file": str(out)}


def reproduce(arguments: argparse.Namespace) -> dict[str, Any]:
    """Runs an experiment, or all of them."""
    from sdiff.experiments import reproduce as experiments

    options = arguments.dataset, arguments.preset, arguments.seed, arguments.quick, arguments.out
    if arguments.what != "all":
        return experiments.reproduce(arguments.what, *options, arguments.only)
    if arguments.only:
        raise SDiffError("--only selects jobs of one experiment: name that experiment instead of all.")
    return {what: experiments.reproduce(what, *options) for what in experiments.EXPERIMENTS}
