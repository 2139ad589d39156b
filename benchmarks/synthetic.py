"""Generates the demo data: fictional films and the viewing histories of fictional users.

    python -m benchmarks.synthetic --out assets/demo --seed 0

writes `items.csv` and `interactions.csv`, with identical bytes for the same seed. The data has structure that a
sequential recommender can learn: long-tailed popularity, shared tastes that change over time, series watched in order,
and some noise.
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

FIRST_YEAR, LAST_YEAR = 1950, 2024  # of release
FIRST_DAY = np.datetime64("2019-01-01", "s").astype(int)  # of viewing, in unix seconds
N_DAYS = 2192  # of viewing, to the end of 2024
MIN_LENGTH, MAX_LENGTH = 20, 150  # films in one history
MIN_ITEMS = 3 * MIN_LENGTH  # no user watches more than a third of the catalogue

N_TASTES = 24
SHARPNESS = 14.0  # how strongly a taste prefers similar films
POPULARITY_DECAY = 0.75  # exponent of the Zipf-like law
CROWD_SHARE = 0.04  # share of viewings chosen by popularity alone
ROAMING = 1.3  # at film n, the probability of switching to a new taste is ROAMING / (n + 10)
SERIES_SHARE = 0.06  # share of films that start a series
SEQUEL_RATE = 0.4  # probability per viewing of continuing a series

# fmt: off
# Each genre: frequency, related genres (closest first), and the adjectives, nouns and patterns of its titles.
GENRES = {
    "Action": (8, "Adventure Thriller Crime", "Iron Rapid Burning Steel Relentless Scarlet Loaded Blazing",
        "Strike Vanguard Bullet Convoy Blade Hammer Fuse Pursuit Detonator Falcon Bounty Overdrive",
        "{noun} {code}|The {adj} {noun} Protocol|{adj} {noun}: {place}|Hold the {adj} {noun}"),
    "Adventure": (7, "Fantasy Action Animation", "Uncharted Emerald Sunken Distant Windward Forgotten Stormy",
        "Compass Island Caravan Lagoon Expedition Idol Summit Archipelago Cartographer Sextant Voyage",
        "The {adj} {noun}|In Search of the {adj} {noun}|Beyond {place}|{name} and the {adj} {noun}"),
    "Animation": (6, "Fantasy Comedy Adventure", "Little Paper Clockwork Sleepy Tiny Marmalade Purple Wobbly",
        "Badger Kite Teapot Hedgehog Snowman Robot Owl Carousel Otter Firefly Balloon Rabbit",
        "{name} and the {adj} {noun}|The {noun} Who Missed {place}|Goodnight, {adj} {noun}|The {adj} {noun}"),
    "Comedy": (14, "Romance Drama Musical", "Awkward Reluctant Borrowed Unlikely Cheerful Hopeless Tipsy",
        "Bridesmaid Landlord Vacation Cousin Dentist Neighbor Wedding Sofa Inheritance Casserole Alibi",
        "My {adj} {noun}|Too Many {adj} {noun}s|{name} versus the {noun}|{name} Is Late for {place}"),
    "Crime": (8, "Thriller Drama Action", "Crooked Midnight Nickel Velvet Dirty Tarnished Backroom",
        "Ledger Racket Informant Heist Docket Alley Syndicate Safecracker Witness Payoff Getaway Precinct",
        "The {place} {noun}|{nth} Street|The \"{adj} {noun}\" Affair|{noun} on {nth} Street"),
    "Drama": (18, "Romance Crime Thriller", "Quiet Broken Long Tender Faithful Patient Bitter Distant",
        "Orchard Harbor Harvest Window Season Inheritance Letter Kitchen Winter Lantern Confession Bridge",
        "A {adj} Sort of {mood}|What {name} Left Behind|The {noun} Keeper|The {noun} on {nth} Street"),
    "Fantasy": (6, "Adventure Animation Romance", "Silver Enchanted Thorned Ancient Moonlit Gilded Sapphire",
        "Dragon Grimoire Crown Oracle Citadel Sorcerer Griffin Amulet Kingdom Wyvern Forest Prophecy",
        "Chronicle of the {adj} {noun}|{name} of the {adj} {noun}|Oath of the {adj} {noun}|The {adj} {noun}"),
    "Horror": (8, "Thriller Sci-Fi Fantasy", "Hollow Withered Pale Crawling Bleeding Buried Starved Faceless",
        "Cellar Marrow Scarecrow Crypt Whisper Tooth Asylum Coffin Effigy Doll Attic Graveyard",
        "Don't Open the {adj} {noun}|The {noun} under {nth} Street|The {adj} {noun}|{noun} of the {adj}"),
    "Musical": (4, "Romance Comedy Animation", "Golden Dancing Syncopated Velvet Starlit Swinging Barefoot",
        "Serenade Cabaret Melody Chorus Trumpet Ballroom Encore Tango Overture Songbird Bandstand",
        "Sing for {place}|{place} {noun}|One More {adj} {noun}|{nth} Street {noun}"),
    "Romance": (9, "Drama Comedy Musical", "Sweet Borrowed Summer Honeyed Gentle Starlit Tender Sunday",
        "Kiss Promise Rendezvous Heart Valentine Waltz Letter Garden Proposal Blossom Embrace Springtime",
        "Letters to {name}|{name} in {place}|Meet Me in {place}|The {adj} {noun}|{time} with {name}"),
    "Sci-Fi": (8, "Action Thriller Horror", "Quantum Orbital Synthetic Parallel Binary Infinite Stellar",
        "Horizon Android Signal Colony Nebula Eclipse Reactor Paradox Satellite Singularity Starship Exodus",
        "{noun} {code}|Beyond the {adj} {noun}|The {noun} over {place}|{adj} {noun}"),
    "Thriller": (10, "Crime Action Horror", "Cold Blind Hidden Silent Fractured Sleepless Shattered Unlit",
        "Motive Stranger Passenger Corridor Hostage Deception Cipher Mirror Suspect Verdict Accomplice",
        "{noun} in Room {code}|Twelve Hours to {place}|{name} Is Missing|The {adj} {noun}|{place} {code}"),
    "Western": (4, "Action Drama Adventure", "Dusty Lonesome Crooked Copper Rattlesnake Sundown Painted",
        "Canyon Saddle Marshal Revolver Stagecoach Mesa Gulch Mustang Homestead Spur Drifter Ranchero",
        "Showdown at {adj} Creek|{name} Rides Alone|The {adj} {noun}|Last {noun} to {adj} Pass"),
}
ANY_GENRE = ("{noun} of {place}|{time} in {place}|{name} and the {noun}|{mood}, for {name}|"
             "The {mood} of {name}|No {noun} for {name}|Before the {adj} {noun}|{adj} {noun}")
WORDS = {
    "name": "Amaranth|Señora Luz|Odile|Ingrid|Mateo|Yusuf|Clémence|Søren|Beatriz|Ottilie|Ravi|Naomi|Iñaki|"
            "Zofia|Tomás|Adaeze|Hana|Leopold|Marisol|Björn|Élodie|Doctor Vane|Aunt Philippa|Captain Orlov",
    "place": "Valparaíso|Trieste|Lisbon|Marrakesh|Odessa|Kyoto|Malmö|Galway|Tangier|São Paulo|Tbilisi|Oaxaca|"
             "Bergen|Kraków|Montevideo|Dakar|Hobart|Halifax|Zanzibar|Córdoba|Saskatoon|Gdańsk|Macau|Tallinn",
    "time": "Midnight|Winter|Three Days|A Wet Sunday|One Long Summer|Snowfall|Sunrise|Carnival|Seven Nights",
    "mood": "Thunder|Mercy|Silence|Hunger|Luck|Weather|Grace|Sorrow|Wonder|Élan|Gravity|Patience|Mischief",
    "nth": "Third|Fifth|Seventh|Ninth|Eleventh|Fourteenth|Nineteenth|Twenty-Second",
    "code": "Zero|Five|Nine|Eleven|Seventeen|Forty|Ninety",
}
# fmt: on


class Film(NamedTuple):
    title: str
    year: int
    genres: list[str]  # main genre first
    opener: int  # row of the first film in its series; its own row if there is no series


@dataclass(frozen=True)
class World:
    """Films and viewings, as columns. Users and items are numbered from 1."""

    title: tuple[str, ...]  # (n_items,) unique; item i is at position i - 1
    year: np.ndarray  # (n_items,) year of release
    genres: tuple[str, ...]  # (n_items,) separated by |
    user: np.ndarray  # (n_interactions,) ascending
    item: np.ndarray  # (n_interactions,) no repeated items per user
    timestamp: np.ndarray  # (n_interactions,) unix seconds, ascending per user


def synthesize(n_users: int = 900, n_items: int = 1200, seed: int = 0) -> World:
    """Generates `n_items` films and the histories of `n_users` viewers. Raises ValueError if `n_items` is too small."""
    if n_items < MIN_ITEMS:
        raise ValueError(f"n_items must be at least {MIN_ITEMS}, not {n_items}.")
    rng = np.random.default_rng(seed)
    films = make_films(rng, n_items)
    spread = np.exp(2.6 + 0.95 * rng.standard_normal(n_users))  # a few users watch very many films
    length = np.minimum(MIN_LENGTH + spread.astype(int), min(MAX_LENGTH, n_items // 3))
    time = make_times(rng, length)
    history = watch(rng, films, length, time)
    real = np.arange(length.max()) < length[:, None]
    user = np.repeat(np.arange(1, n_users + 1), length)
    title, year, genres, _ = zip(*films, strict=True)
    genres = tuple("|".join(mix) for mix in genres)
    return World(title, np.array(year), genres, user, history[real] + 1, time[real])


def make_films(rng: np.random.Generator, n_items: int) -> list[Film]:
    """Generates the catalogue. The parts of a series are consecutive."""
    films: list[Film] = []
    titles = set()
    urn = [name for name, (share, *_) in GENRES.items() for _ in range(share)]
    while len(films) < n_items:
        genres = [pick(rng, urn)]
        related = GENRES[genres[0]][1].split()
        for chance in (0.7, 0.35):
            if rng.random() < chance:
                genres.append(related.pop(int(len(related) * rng.random() ** 1.5)))
        title = make_title(rng, genres[0])
        while title in titles:  # a subtitle makes it unique
            title += ": " + make_title(rng, genres[-1])
        titles.add(title)
        n_parts = 2 + int(3 * rng.random()) if rng.random() < SERIES_SHARE else 1
        age = int((LAST_YEAR - FIRST_YEAR + 1) * rng.random() ** 1.5)  # recent years are the most common
        year = max(FIRST_YEAR, LAST_YEAR - age - 3 * (n_parts - 1))
        opener = len(films)
        for part, numeral in enumerate(("", " II", " III", " IV")[:n_parts]):
            films.append(Film(title + numeral, year + 3 * part, genres, opener))
    return films[:n_items]


def make_title(rng: np.random.Generator, genre: str) -> str:
    """Fills in a title pattern: one of the genre with probability 2/3, else one of `ANY_GENRE`."""
    _, _, adjectives, nouns, patterns = GENRES[genre]
    pattern = pick(rng, (patterns if rng.random() < 2 / 3 else ANY_GENRE).split("|"))
    words = {slot: pick(rng, choices.split("|")) for slot, choices in WORDS.items()}
    return pattern.format(adj=pick(rng, adjectives.split()), noun=pick(rng, nouns.split()), **words)


def pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.random() * len(choices))]


def make_times(rng: np.random.Generator, length: np.ndarray) -> np.ndarray:
    """Unix seconds (n_users, longest history), ascending. Evenings come in bursts, with one or a few films each."""
    n_users, column = len(length), np.arange(length.max())
    elapsed = np.cumsum(rng.standard_exponential((n_users, len(column))) ** 2, axis=1)
    elapsed /= elapsed[np.arange(n_users), length - 1][:, None]
    span = np.minimum(length * (4 + 20 * rng.random(n_users)), N_DAYS - 30)  # days from the first film to the last
    start = rng.random(n_users) * (N_DAYS - 2 - span)
    day = (start[:, None] + span[:, None] * elapsed).astype(int)
    new_day = np.diff(day, axis=1, prepend=-1) > 0
    nth_tonight = column - np.maximum.accumulate(np.where(new_day, column, 0), axis=1)
    hour = 18 + 3 * rng.random((n_users, 1)) + 2 * nth_tonight + 0.8 * rng.random(day.shape)
    # Sorted, because a very long night may overlap the next evening.
    return np.sort(FIRST_DAY + 86400 * day + (3600 * hour).astype(int), axis=1)


def taste_odds(rng: np.random.Generator, films: list[Film]) -> np.ndarray:
    """Cumulative probabilities (N_TASTES + 1, n_items) of the films per taste; the last row is popularity alone."""
    year, opener = (np.array([getattr(film, name) for film in films]) for name in ("year", "opener"))
    genre = np.array([[name in film.genres for name in GENRES] for film in films], dtype=float)
    era = np.exp(-(((year[:, None] - np.arange(1955, 2030, 15)) / 12) ** 2))
    niche = rng.standard_normal((len(films), 6))  # not explained by genre or year
    parts = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (genre, era, niche)]
    vector = np.hstack([0.7 * parts[0], 0.35 * parts[1], 0.62 * parts[2]])[opener]  # a series shares one vector
    taste = vector[rng.permutation(len(films))[:N_TASTES]]  # each taste is centred on one film
    similarity = np.vstack([taste @ vector.T, np.zeros(len(films))])
    popularity = (5.0 + rng.permutation(len(films))) ** -POPULARITY_DECAY
    popularity[opener != np.arange(len(films))] = 0  # sequels are only watched after the previous part
    odds = np.cumsum(popularity * np.exp(SHARPNESS * similarity), axis=1)
    return odds / odds[:, -1:]


def watch(rng: np.random.Generator, films: list[Film], length: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Rows of the watched films (n_users, longest history), in viewing order. All users advance in parallel."""
    n_users, n_items = len(length), len(films)
    year, opener = (np.array([getattr(film, name) for film in films]) for name in ("year", "opener"))
    sequel = np.append(np.where(opener[1:] == opener[:-1], np.arange(1, n_items), -1), -1)
    view_year = time.astype("datetime64[s]").astype("datetime64[Y]").astype(int) + 1970
    # One ascending table for all draws: the range of taste k is from k to k + 1.
    ladder = (taste_odds(rng, films) + np.arange(N_TASTES + 1)[:, None]).ravel()
    taste = rng.integers(N_TASTES, size=n_users)
    awaited = np.full(n_users, -1)  # next part of the most recent series
    history = np.full(time.shape, -1)
    for step in range(length.max()):
        who = np.flatnonzero(length > step)
        today = view_year[who, step]
        movers = who[rng.random(len(who)) < ROAMING / (step + 10)]
        taste[movers] = rng.integers(N_TASTES, size=len(movers))
        item = awaited[who]
        continues = (item >= 0) & (year[item] <= today) & (rng.random(len(who)) < SEQUEL_RATE)
        undecided = np.flatnonzero(~continues)
        while len(undecided):  # draw again if the film was seen before or is not released yet
            user = who[undecided]
            row = np.where(rng.random(len(user)) < CROWD_SHARE, N_TASTES, taste[user])
            drawn = np.searchsorted(ladder, row + rng.random(len(user)), side="right") % n_items
            seen = (history[user, :step] == drawn[:, None]).any(axis=1)
            item[undecided] = drawn
            undecided = undecided[seen | (year[drawn] > today[undecided])]
        history[who, step] = item
        in_series = (sequel[item] >= 0) | (item == awaited[who])
        awaited[who] = np.where(in_series, sequel[item], awaited[who])
    return history


def write(world: World, folder: Path) -> None:
    """Writes `items.csv` and `interactions.csv` to `folder`."""
    items = zip(range(1, len(world.title) + 1), world.title, world.year.tolist(), world.genres, strict=True)
    interactions = zip(world.user.tolist(), world.item.tolist(), world.timestamp.tolist(), strict=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name, header, rows in (
        ("items.csv", ("item", "title", "year", "genres"), items),
        ("interactions.csv", ("user", "item", "timestamp"), interactions),
    ):
        with open(folder / name, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate a synthetic catalogue of films and viewing histories.")
    parser.add_argument("--out", type=Path, required=True, help="folder for items.csv and interactions.csv")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    world = synthesize(seed=args.seed)
    write(world, args.out)
    print(f"{len(world.title)} items, {world.user[-1]} users, {len(world.item)} interactions in {args.out}")


if __name__ == "__main__":
    main()
