"""Exports: the list and the plots' data as CSV, and a Python script that reproduces the list."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from sdiff.app.handlers.ranking import history_of, recommend
from sdiff.app.handlers.spectral import schedule_view, spectral_view
from sdiff.app.query import Query
from sdiff.app.state import INSTANT, open_dataset, serve
from sdiff.app.uploads.store import KEY
from sdiff.data.catalog import ALL
from sdiff.serving.export import FORMULA


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Formats a table as CSV. Texts that a spreadsheet would treat as formulas get an apostrophe; numbers do not."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in [head, *rows]:
        writer.writerow(f"'{cell}" if isinstance(cell, str) and re.match(FORMULA, cell) else cell for cell in row)
    return out.getvalue()


def list_csv(query: Query) -> str:
    """The list of a query as CSV. Raises SDiffError like `recommend`."""
    rows = recommend(query).recommendations
    names = list(open_dataset(query.dataset).dataset.items.extra)
    head = ["rank", "item", "title", "year", "genres", "score", "seen_by", "held_out", *names]
    return csv_text(
        head,
        (
            [row.rank, row.id, row.title, row.year, row.genres, row.score, row.popularity, int(row.held_out)]
            + [row.extra.get(name, "") for name in names]
            for row in rows
        ),
    )


def spectrum_csv(query: Query) -> str:
    """The data of a query's spectral plots as CSV, one row per point. Raises SDiffError like `recommend`."""
    spectral, schedule = spectral_view(query), schedule_view(query)
    rows: list[list[Any]] = []
    for k, lam in enumerate(schedule.lam, 1):
        rows.append(["eigenvalue", "", "", k, lam, lam])
    for kind, snr in spectral.snr_at_tau.items():
        rows += [["SNR", kind, spectral.tau, k, spectral.lam[k - 1], value] for k, value in enumerate(snr, 1)]
    for name, energy in zip(("history", "noised", "denoised"), spectral.energy, strict=True):
        rows += [["energy", name, "", band, "", value] for band, value in zip(spectral.bands, energy, strict=True)]
    for kind, pair in schedule.schedules.items():
        for symbol, values in zip(("alpha", "sigma"), pair, strict=True):
            for t, at_t in zip(schedule.times, values, strict=True):
                rows += [[symbol, kind, t, "", lam, v] for lam, v in zip(schedule.shown_lam, at_t, strict=True)]
    for kind, values in schedule.maps.items():
        for t, at_t in zip(schedule.times, values, strict=True):
            rows += [
                ["SNR map", kind, t, k, schedule.lam[k - 1], v] for k, v in zip(schedule.mapped, at_t, strict=True)
            ]
    return csv_text(["plot", "series", "t", "frequency", "lambda", "value"], rows)


def python(query: Query) -> str:
    """A script that prints the list of a query. Run it beside app.py. Raises SDiffError like `recommend`."""
    history = list(dict.fromkeys(history_of(query)))
    _, model = serve(query.dataset, query.model)
    changed = {name: value for name, value in query.settings.items() if value != getattr(model.config, name)}
    arguments = [f"k={query.k}", *(f"{name}={value!r}" for name, value in changed.items())]
    noisy = bool(model.config.at_inference(changed).noise)
    arguments += [f"seed={query.seed}"] * noisy + ["exclude_seen=False"] * query.seen
    imports = {
        "sdiff.data.catalog": "Catalog",
        "sdiff.data.datasets": "load_dataset",
        "sdiff.serving.recommender": "Recommender",
    }
    if query.wanted != ALL:
        imports["sdiff.data.catalog"] = "Catalog, Filter"
        arguments.append(f"candidates=catalog.allowed({query.wanted!r})")
    own = KEY.fullmatch(query.dataset)  # an upload, whose path on the server stays private
    key = query.dataset.partition("/")[2].replace(own["title"], f"{own['title']}.csv", 1) if own else query.dataset
    lines = [f"dataset = load_dataset({key!r})" + ("  # the path of your table" if own else "")]
    if query.model == INSTANT:
        imports |= {"sdiff.config": "preset", "sdiff.training.trainer": "Trainer"}
        lines += [
            'trainer = Trainer(preset("instant"), dataset.split, seed=0)',
            "trainer.fit()",
            'model = Recommender(trainer.checkpoint(dataset.key, "instant"))',
        ]
    else:
        lines.append(f"model = Recommender.load({query.model!r})")
    return "\n".join(
        [
            *sorted(f"from {module} import {names}" for module, names in imports.items()),
            "",
            *lines,
            "catalog = Catalog(dataset.served_by(model.items))",
            f"history = {history}  # ids, oldest first",
            f"found = model.recommend(history, {', '.join(arguments)})",
            "for row in catalog.rows(found.indices, found.scores):",
            '    print(row.rank, row.id, row.title, f"{row.score:.4f}", sep="\\t")',
            "",
        ]
    )
