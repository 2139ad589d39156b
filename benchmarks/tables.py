"""Markdown tables of the results of speed, load, crash and fuzz tests in benchmarks/results."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sdiff.base.paths import RESULTS


def lists() -> str:
    """Milliseconds for the top-20 lists of a batch, and ratios of S-Diff to the floor and the baselines."""
    cells = []
    for run in at_rest("inference-*.json"):
        times, ratios = run["milliseconds"], run["ratios"]
        cells.append(
            [
                f"{run['items']:,}",
                str(run["batch"]),
                *(_brief(times[name]) for name in ("floor", "S-Diff", "S-Diff, fused", "DiffRec")),
                *(f"{ratio:.3g} ×" for ratio in ratios.values()),
                run["device"],
            ]
        )
    head = ["items", "users", "floor", "S-Diff", "S-Diff `tuned`", "DiffRec", *ratios, "device"]  # pyright: ignore
    return markdown([name.replace(", fused", " `tuned`") for name in head], cells)


def training() -> str:
    """Training speed of each model in users per second, and seconds of training to its best epoch."""
    cells = []
    for run in at_rest("training-*.json"):
        of = [run["dataset"], "{:,} × {:,}".format(*run["users, items"])]
        for name, rate in run["users a second"].items():
            best = run["epochs to the best"].get(name)
            seconds = f"{run['seconds to the best'][name]} s, {best} epochs" if best else ""
            cells.append([*of, name, f"{rate:,}", seconds, run["device"]])
    return markdown(["data", "users × items", "model", "users a second", "to the best validation", "device"], cells)


def spectra() -> str:
    """The spectral basis compared with SciPy's svds."""
    cells = []
    for run in read("basis-*.json"):
        ours, theirs = run["spectral_basis"], run["svds"]
        of = [run["dataset"], "{:,} × {:,}, {:,}".format(*run["users, items, pairs"])]
        numbers = [f"{x['seconds']} s, {x['residual']:.0e}, {x['peak MB']:,} MB" for x in (ours, theirs)]
        cells.append([*of, *numbers, f"{run['ratio']} ×", run["device"]])
    return markdown(["data", "users × items, pairs", "ours", "svds", "time relative to svds", "device"], cells)


def updates() -> str:
    """Test recall and CPU seconds of an updated model, the former one and one that is trained anew."""
    cells = []
    for run in read("update-*.json"):
        mean, anew = run["mean"], run["mean"]["anew"]
        recalls = [f"{mean[name]['recall@20']:.4f}" for name in ("before", "placed", "updated", "anew")]
        parts = [f"{mean['updated'][key] / anew[key]:.1%}".replace("%", " %") for key in ("recall@20", "seconds")]
        seconds = [f"{mean[name]['seconds']:.1f}" for name in ("updated", "anew")]
        cells.append([run["dataset"], run["preset"], str(run["seeds"]), *recalls, parts[0], *seconds, parts[1]])
    models = ["before", "placed", "updated", "anew"]
    head = ["data", "preset", "seeds", *(f"R@20 {name}" for name in models), "recall kept"]
    return markdown([*head, "seconds updated", "seconds anew", "time taken"], cells)


def cold() -> str:
    """Test recall among items that nobody has had, ranked by their titles and genres and by popularity."""
    runs = read("cold-items-*.json")
    cells = [[run["dataset"], *(f"{value:.4f}" for value in run["mean"].values())] for run in runs]
    return markdown(["data", *(f"R@20 {name}" for name in runs[0]["mean"])], cells)


def ecosystem() -> str:
    """Accuracy, seconds, memory and lines of code of models of other libraries, those that use the order last."""
    cells = []
    for run in read("ecosystem-*.json"):
        for row in sorted(run["rows"], key=lambda row: row["order"]):
            test = [f"{row['test'][key]:.4f}" for key in ("recall@10", "recall@20", "ndcg@10", "ndcg@20")]
            chosen = row["seconds of the choice"]
            cost = [
                f"{row['seconds']:g}",
                f"{chosen:g}" if chosen else "",
                f"{row['peak memory MB']:,}",
                str(row["lines"]),
            ]
            settings = ", ".join(f"{key}={value}" for key, value in row["settings"].items() if row["candidates"] > 1)
            cells.append([run["dataset"], row["model"], "✓" * row["order"], *test, *cost, settings])
    head = ["data", "model", "order", "R@10", "R@20", "N@10", "N@20", "seconds", "choice, s", "MB", "lines"]
    return markdown([*head, "chosen on validation"], cells)


def growth() -> str:
    """Seconds and memory by size, and the fitted exponents."""
    cells = []
    for run in read("growth.json"):
        for row in run["rows"]:
            values = [f"{_brief(s)} s, {mb:,} MB" for s, mb in zip(row["seconds"], row["MB"], strict=True)]
            exponents = [f"{row[f'exponent of {unit}']:.2f}" for unit in ("seconds", "MB")]
            cells.append([row["grows"], row["work"], *values, *exponents])
    return markdown(["increasing", "work", "1 ×", "10 ×", "100 ×", "p of time", "p of memory"], cells)


def app() -> str:
    """Start time of the app and response times of its events, for each data set."""
    documents = at_rest("app-*.json")
    events = list(documents[0]["milliseconds"])
    cells = []
    for document in documents:
        start = [f"{document['seconds to the first list']} s", f"{document['resident MB then']} MB"]
        times = [document["milliseconds"][event] for event in events]
        latencies = [f"{t['client'][0]}, {t['client'][1]} ({t['function'][0]}, {t['function'][1]})" for t in times]
        cells.append([document["dataset"], f"`{document['checkpoint']}`", *start, *latencies, document["device"]])
    return markdown(["data", "model", "first list", "memory then", *events, "device"], cells)


def beside() -> str:
    """Slowdown of lists, clicks and training next to busy processes."""
    cells = []
    for pattern, figures in (("inference-*.json", _lists), ("app-*.json", _clicks), ("training-*.json", _training)):
        rest = {run["command"]: run for run in at_rest(pattern)}
        for run in read(pattern):
            if n := run.get("busy processes beside"):
                command = run["command"].removesuffix(f" --beside {n}")
                for name, busy in figures(run).items():
                    alone = figures(rest[command])[name]
                    slower = busy / alone if figures is not _training else alone / busy
                    cells.append([f"`{command}`", name, f"{alone:,.4g}", f"{busy:,.4g}", f"{slower:.1f} ×", str(n)])
    return markdown(["command", "measure", "idle machine", "busy machine", "slowdown", "busy processes"], cells)


def _lists(run: dict[str, Any]) -> dict[str, float]:
    return {f"{name}, ms": run["milliseconds"][name] for name in ("S-Diff", "S-Diff, fused")}


def _clicks(run: dict[str, Any]) -> dict[str, float]:
    first = {"first list, s": run["seconds to the first list"]}
    return first | {f"{name}, ms": run["milliseconds"][name]["client"][0] for name in ("list", "plots")}


def _training(run: dict[str, Any]) -> dict[str, float]:
    ours = (name for name in run["users a second"] if name.startswith("S-Diff"))
    return {f"{name}, users a second": run["users a second"][name] for name in ours}


def paint() -> str:
    """What a visitor waits for, in seconds."""
    cells = []
    for run in read("paint-*.json"):
        for width, page in run["page"].items():
            plain = run["a Gradio page that does nothing"][width]
            times = [f"{page[name]:.2f}" for name in ("first paint", "list", "plots")]
            tabs = ", ".join(
                f"{tab} {seconds:.2f}" for tab, seconds in run["seconds from the click on a tab"][width].items()
            )
            plain_times = f"{plain['first paint']:.2f}, {plain['page']:.2f}"
            start = str(run["seconds from the command to the first answer"])
            size = f"{page['kilobytes']:,.0f}"
            cells.append([run["dataset"], width, start, *times, size, plain_times, tabs, run["device"]])
    head = [
        "data",
        "page",
        "start",
        "first paint",
        "list",
        "plots",
        "kB",
        "an empty Gradio page: paint, page",
        "tabs",
        "device",
    ]
    return markdown(head, cells)


def soak() -> str:
    """Results of the load test."""
    cells = []
    for run in read("soak-*.json"):
        clicks, times, memory = run["clicks"], run["milliseconds"], run["MB of the app alone by minute"]
        latencies = ", ".join(f"{name} {t[0]:.0f}, {t[1]:.0f}" for name, t in times.items())
        wrong = ", ".join(f"{error}: {n}" for error, n in run["wrong"].items()) or "none"
        counts = [f"{run['sessions opened']:,}", f"{sum(clicks.values()):,}", f"{run['lists checked']:,}", wrong]
        counts.append(str(run["models trained"]))
        slope, error = run["MB a minute at the end"]
        usage = f"{memory[1]:.0f} MB, {max(memory):.0f} MB, {slope} ± {error}"
        limits = "; ".join(run["broken"]) or "none"
        cells.append([f"`{run['command']}`", *counts, latencies, usage, limits, run["device"]])
    head = ["command", "sessions opened", "clicks", "lists checked", "errors", "models trained"]
    head += [
        "median and 95th percentile, ms",
        "memory: second minute, peak, growth in MB/min after 15 minutes",
        "limits that are not kept",
        "device",
    ]
    return markdown(head, cells)


def broken() -> str:
    """Results of the crash test and of the fuzz test."""
    cells = []
    for run in read("faults.json"):
        kills = ", ".join(f"{kind} {n}" for kind, n in run["kills"].items())
        cells.append([f"`{run['command']}`", kills, ", ".join(map(str, run["broken"])) or "none"])
    for run in read("fuzz.json"):
        counts = (f"{kind} {of['read']} read, {of['refused']} refused" for kind, of in run["counts"].items())
        cells.append([f"`{run['command']}`", ", ".join(counts), ", ".join(run["against the law"]) or "none"])
    return markdown(["command", "cases", "violations"], cells)


def markdown(head: list[str], cells: Iterable[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells))


def _brief(number: float) -> str:
    return f"{number:.3g}" if number < 1000 else f"{number:,.0f}"


def at_rest(pattern: str) -> list[dict[str, Any]]:
    """Runs without busy background processes."""
    return [run for run in read(pattern) if not run.get("busy processes beside")]


def read(pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob(pattern))]
