"""The app's named API endpoints, which are also the tools of its MCP server."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any, TypeVar, get_type_hints

from sdiff.app import answers, state
from sdiff.app.endpoints import answering, present
from sdiff.app.handlers import comparison, explanations, pickers, ranking, spectral
from sdiff.app.handlers import leaderboard as standings
from sdiff.app.handlers import waves as named_waves
from sdiff.app.query import MOST, K, Query, text
from sdiff.app.server.public import public_message
from sdiff.base.checks import whole
from sdiff.base.errors import SDiffError, brief
from sdiff.data.catalog import Row
from sdiff.data.registry import REGISTRY, default_key

T = TypeVar("T")

DATASET = default_key()
NO_SETTINGS: dict[str, Any] = {}


def make_query(
    dataset: str,
    checkpoint: str,
    user: str,
    history: list[str] | None,
    settings: dict[str, Any],
    seed: int,
    k: int = K,
) -> Query:
    """Builds the query of an endpoint.

    Defaults: the first model of the data set, and the user that the page shows first unless a history is given.
    """
    query = Query(dataset, checkpoint, user, history, settings, seed, k)
    model = query.model or pickers.models(query.dataset)[0]
    user = query.user or (pickers.pick_user(query.dataset, "typical") if history is None else "")
    return replace(query, model=model, user=user)


@answering
def list_datasets() -> list[answers.DataSet]:
    """Lists the data sets: key, title, terms, origin, and whether the files are available."""
    return [
        {
            "key": source.key,
            "title": source.title,
            "terms": source.terms,
            "origin": source.origin,
            "available": not source.missing,
        }
        for source in REGISTRY.values()
    ]


@answering
def list_checkpoints(dataset: str = DATASET) -> list[answers.Model]:
    """Lists the models of a data set, the default one first: name, and a description with metrics, or an error message.

    Args:
        dataset: key of a data set whose files are available.
    """
    dataset = Query(dataset).dataset
    state.open_dataset(dataset)  # its errors concern all models
    return [{"name": name, "card": _card(dataset, name)} for name in pickers.models(dataset)]


def _card(dataset: str, name: str) -> str:
    try:
        return pickers.model_card(dataset, name)
    except SDiffError as error:
        return public_message(error)


@answering
def recommend(
    dataset: str = DATASET,
    checkpoint: str = "",
    user: str = "",
    k: int = 20,
    seed: int = 0,
    history: list[str] | None = None,
    settings: dict[str, Any] = NO_SETTINGS,
) -> list[answers.RankedItem]:
    """Recommends k items for a user, with titles. held_out marks items that the user chose later.

    Args:
        dataset: key of a data set.
        checkpoint: name of a model of the data set. By default, the first of /list_checkpoints.
        user: id of the user. By default, a user with a history of median length.
        k: length of the list.
        seed: seed of the sampling noise.
        history: item ids that replace the user's history, oldest first.
    """
    query = make_query(dataset, checkpoint, user, history, settings, seed, k)
    return [_as(answers.RankedItem, row) for row in ranking.recommend(query).recommendations]


@answering
def search_items(dataset: str = DATASET, question: str = "", limit: int = 20) -> list[answers.Item]:
    """Searches items by title, genre and year, best match first. Words may be prefixes or have a typo.

    Args:
        dataset: key of a data set.
        question: words of the title, the genres and the year, or an item id. If empty, returns the most popular items.
        limit: maximum number of items.
    """
    catalog = state.open_dataset(Query(dataset).dataset).catalog
    question, limit = text("question", question), whole("limit", limit, 1, MOST)
    return [_as(answers.Item, row) for row in catalog.rows(catalog.search(question, limit))]


@answering
def similar_items(
    item: str, dataset: str = DATASET, checkpoint: str = "", limit: int = 20
) -> list[answers.SimilarItem]:
    """Lists the items that are closest to an item in the item graph of a model, most similar first.

    Args:
        item: id of the item.
        dataset: key of a data set.
        checkpoint: name of a model of the data set. By default, the first of /list_checkpoints.
        limit: maximum number of items.
    """
    query, limit = make_query(dataset, checkpoint, "", [], NO_SETTINGS, 0), whole("limit", limit, 1, MOST)
    item = text("item", item)
    opened, model = state.serve(query.dataset, query.model)
    similar = model.similar_items(item, limit)
    common = opened.dataset.split.train.co_occurrence(model.items.index[item])
    rows = zip(opened.catalog.rows(similar.indices), similar.scores, common[similar.indices].tolist(), strict=True)
    return [_as(answers.SimilarItem, row, similarity=cosine, users=users) for row, cosine, users in rows]


@answering
def explain(
    item: str,
    dataset: str = DATASET,
    checkpoint: str = "",
    user: str = "",
    seed: int = 0,
    history: list[str] | None = None,
    settings: dict[str, Any] = NO_SETTINGS,
) -> answers.Explanation:
    """Explains the score of an item as two sums: by items of the history, and by frequencies.

    Args:
        item: id of the item.
        dataset: key of a data set.
        checkpoint: name of a model of the data set. By default, the first of /list_checkpoints.
        user: id of the user. By default, a user with a history of median length.
        seed: seed of the sampling noise.
        history: item ids that replace the user's history, oldest first.
    """
    query = make_query(dataset, checkpoint, user, history, settings, seed)
    why = explanations.why(query, text("item", item))
    by_item = [(part if isinstance(part, str) else part.title, value) for part, value in why.by_item]
    return {
        "id": why.row.id,
        "title": why.row.title,
        "causes": [row.title for row in why.causes],
        "unit": why.unit,
        "score": why.score,
        "by_item": by_item,
        "by_frequency": why.by_frequency,
    }


@answering
def compare(
    dataset: str = DATASET,
    checkpoint: str = "",
    other: str = "popularity",
    other_settings: answers.Settings | None = None,
    user: str = "",
    k: int = 20,
    seed: int = 0,
    history: list[str] | None = None,
    settings: dict[str, Any] = NO_SETTINGS,
) -> answers.ComparedLists:
    """Compares two lists for one history: their overlap, and how many places higher each item is than in the other list
    (null if it is not among the first 1,000, or k, there).

    Args:
        dataset: key of a data set.
        checkpoint: name of a model of the data set. By default, the first of /list_checkpoints.
        other: name of a model, which may be the same one, or a baseline: popularity, or A x (a linear graph filter).
        other_settings: settings of the other model, with the names of this endpoint's, such as {"guidance": 0.5}.
        user: id of the user. By default, a user with a history of median length.
        k: length of the lists.
        seed: seed of the sampling noise.
        history: item ids that replace the user's history, oldest first.
    """
    if other_settings is not None and not isinstance(other_settings, dict):
        raise SDiffError(f'other_settings must be an object, such as {{"guidance": 0.5}}, not {brief(other_settings)}.')
    a = make_query(dataset, checkpoint, user, history, settings, seed, k)
    result = comparison.compare([a, replace(a, model=other, settings=present({**(other_settings or {})}))])
    first, second = (
        [_as(answers.ComparedItem, row, shift=shift) for row, shift in zip(rows, shifts, strict=True)]
        for rows, shifts in zip(result.lists, result.shifts, strict=True)
    )
    return {"list": first, "other_list": second, "overlap": result.overlaps[0], "words": result.words}


@answering
def spectrum(
    dataset: str = DATASET,
    checkpoint: str = "",
    user: str = "",
    seed: int = 0,
    settings: dict[str, Any] = NO_SETTINGS,
) -> answers.Spectrum:
    """The eigenvalues of a model, the SNR at tau of each schedule with the noise that sampling adds (null: no noise),
    and a user's energy by band.

    Args:
        dataset: key of a data set.
        checkpoint: name of a model of the data set. By default, the first of /list_checkpoints.
        user: id of the user. By default, a user with a history of median length.
        seed: seed of the sampling noise.
    """
    view = spectral.spectral_view(make_query(dataset, checkpoint, user, None, settings, seed))

    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    history, noised, denoised = (energy.tolist() for energy in view.energy)
    snr = {kind: [finite(value) for value in values.tolist()] for kind, values in view.snr_at_tau.items()}
    return {
        "eigenvalues": view.lam.tolist(),
        "tau": view.tau,
        "snr_at_tau": answers.SNR(**snr),
        "bands": view.bands.tolist(),
        "energy": {"history": history, "noised": noised, "denoised": denoised},
        "words": answers.SpectrumWords(**view.words),
    }


@answering
def waves(
    dataset: str = DATASET, checkpoint: str = "", user: str = "", history: list[str] | None = None
) -> list[answers.Wave]:
    """Names the graph frequencies by the items at their two ends, and tells how much of a history each one carries.

    Args:
        dataset: key of a data set.
        checkpoint: name of a model of the data set. By default, the first of /list_checkpoints.
        user: id of the user. By default, a typical one.
        history: item ids that replace the user's history, oldest first.
    """
    found = named_waves.carried(make_query(dataset, checkpoint, user, history, {}, 0))
    rows = zip(found.waves, found.amplitude.tolist(), found.share.tolist(), strict=True)
    return [
        answers.Wave(
            number=wave.number,
            eigenvalue=wave.lam,
            name=wave.name,
            negative=[] if wave.negative is None else wave.negative.titles,
            positive=wave.positive.titles,
            amplitude=amplitude,
            share=share,
        )
        for wave, amplitude, share in rows
    ]


@answering
def leaderboard(dataset: str = DATASET) -> list[answers.LeaderboardRow]:
    """Measures all models of a data set and the baselines on the same users, best first. Repeated calls are fast.

    Args:
        dataset: key of a data set.
    """
    *_, rows = standings.leaderboard(Query(dataset).dataset)
    return [_standing(row) for row in rows]


def _standing(row: standings.Standing) -> answers.LeaderboardRow:
    measured = {"valid": None, "test": None, **row.measured} if row.measured else None
    return {
        "model": row.model,
        "origin": row.origin,
        "recorded": {"valid": row.recorded.get("valid"), "test": row.recorded.get("test")},
        "measured": answers.Measures(**measured) if measured else None,
        "seconds": row.seconds,
        "bytes": row.size,
        "foreign": row.foreign,
        "error": row.error,
    }


def _as(kind: type[T], row: Row, **more: Any) -> T:
    """An item of an answer, from a row of a list and further fields."""
    fields = asdict(row) | more
    return kind(**{name: fields[name] for name in get_type_hints(kind)})


ENDPOINTS = (
    list_datasets,
    list_checkpoints,
    leaderboard,
    recommend,
    search_items,
    similar_items,
    explain,
    compare,
    spectrum,
    waves,
)
LONG = (leaderboard,)  # in one line with the measurements of the page
