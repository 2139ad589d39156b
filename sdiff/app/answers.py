"""What the endpoints take and return, as types. Programs and MCP clients see them as JSON schemas."""

from __future__ import annotations

from typing import TypedDict


class Settings(TypedDict, total=False):
    """Settings of a model. One that is missing or null has the checkpoint's value. See `sdiff.config.Config`."""

    guidance: float | None
    alpha_min: float | None
    sigma_max: float | None
    tau: float | None
    T: int | None
    noise: float | None
    beta: float | None
    half_life: float | None


class DataSet(TypedDict):
    """`available`: whether its files are on the server, so that the other endpoints can open it."""

    key: str
    title: str
    terms: str
    origin: str
    available: bool


class Model(TypedDict):
    """`card`: description with metrics, or why the model cannot be used."""

    name: str
    card: str


class Item(TypedDict):
    """An item of the catalog. `popularity`: number of users who have it in their training history; `year`: null if
    unknown."""

    id: str
    title: str
    year: int | None
    genres: str
    popularity: int
    extra: dict[str, str]


class ListedItem(Item):
    """An item of a list. `held_out`: whether the user chose it later."""

    rank: int
    held_out: bool


class RankedItem(ListedItem):
    """An item of a list, with its score."""

    score: float


class ComparedItem(ListedItem):
    """`shift`: how many places higher the item is than in the other list; null if below rank 1,000 and k there."""

    shift: int | None


class SimilarItem(Item):
    """`similarity`: cosine of both items in the spectrum of the item graph; `users`: number of users who have both."""

    similarity: float
    users: int


class Explanation(TypedDict):
    """Two sums of named parts, each equal to the score. `causes`: titles of the history items that raise it most."""

    id: str
    title: str
    causes: list[str]
    unit: str
    score: float
    by_item: list[tuple[str, float]]
    by_frequency: list[tuple[str, float]]


class Wave(TypedDict):
    """A graph frequency. `negative`, `positive`: titles at its ends; `amplitude`: of the history on it; `share`: of its
    energy on all of them."""

    number: int
    eigenvalue: float
    name: str
    negative: list[str]
    positive: list[str]
    amplitude: float
    share: float


Compared = list[ComparedItem]


class ComparedLists(TypedDict):
    """`overlap`: number of items that both lists have."""

    list: Compared
    other_list: Compared
    overlap: int
    words: str


class SNR(TypedDict):
    """Signal-to-noise ratio by frequency under each schedule; null where there is no noise."""

    vp: list[float | None]
    ve: list[float | None]
    ddpm: list[float | None]


class Energy(TypedDict):
    """Mean energy of a user's spectrum by band of frequencies."""

    history: list[float]
    noised: list[float]
    denoised: list[float]


class SpectrumWords(TypedDict):
    snr: str
    energy: str


class Spectrum(TypedDict):
    """`bands`: middle index of each band of frequencies, from 1 on."""

    eigenvalues: list[float]
    tau: float
    snr_at_tau: SNR
    bands: list[float]
    energy: Energy
    words: SpectrumWords


class Recalls(TypedDict):
    """Recall@20 on the validation and on the test part; null if unknown."""

    valid: float | None
    test: float | None


class Measures(Recalls):
    """Of lists of 20 for the same users for all models. `novelty` is in bits."""

    coverage: float
    novelty: float


class LeaderboardRow(TypedDict):
    """A model or a baseline.

    `recorded` is what the checkpoint says about itself, over all users. `measured` is what was measured now over a
    sample of users. `foreign`: the model was trained on another split and may know held-out items of this one.
    `seconds`: time of its training. `bytes`: size of its files. `error`: why it could not be measured, or empty.
    """

    model: str
    origin: str
    recorded: Recalls
    measured: Measures | None
    seconds: float | None
    bytes: int | None
    foreign: bool
    error: str
