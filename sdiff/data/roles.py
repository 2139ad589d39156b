"""The usual names of columns, by role, in order of preference. They are compared in lower case without punctuation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

USERS = (
    *("user", "customer", "visitor", "client", "member", "reviewer", "buyer", "shopper", "account", "person", "reader"),
    *("viewer", "listener", "player", "guest", "cust", "subscriber", "student", "patient", "session"),
)
ITEMS = (
    *("item", "product", "movie", "film", "book", "track", "song", "artist", "album", "game", "app", "anime", "show"),
    *("video", "article", "news", "business", "venue", "place", "poi", "restaurant", "hotel", "listing", "recipe"),
    *("beer", "joke", "course", "job", "ad", "content", "offer", "post", "document", "doc", "page", "location"),
    *("podcast", "station", "merchant", "store"),
)
ENDINGS = ("id", "", "code", "no", "number", "key", "uuid", "name", "title")


def _named(nouns: tuple[str, ...], endings: tuple[str, ...] = ENDINGS) -> tuple[str, ...]:
    return tuple(noun + ending for ending in endings for noun in nouns)


PAIR = {
    "user": ("user", "userid", "uid", *_named(USERS), "msno", "nickname", "login", "email"),
    "item": (
        *("item", "itemid", "iid", "asin", "parentasin", "isbn", "isbn13", "sku", "skuid", "stockcode", "ean", "upc"),
        *_named(ITEMS),
        *("appids", "goods", "goodsid", "title", "name", "product", "url", "uri", "trackuri"),
    ),
    "rating": (
        *("rating", "score", "stars", "star", "starrating", "overall", "ratings", "userrating", "bookrating"),
        *("myrating", "ratingscore", "reviewscore", "reviewrating", "reviewoverall", "rate", "preference", "weight"),
        *("listencount", "playcount", "plays", "count", "clicks", "views", "frequency", "quantity", "qty"),
        *("hours", "hoursplayed", "playtime", "playtimeforever", "isread", "liked", "like", "feedback"),
    ),
    "timestamp": (
        *("timestamp", "time", "ts", "date", "datetime", "day", "unixtime", "unixreviewtime", "reviewtime"),
        *("utctime", "createdat", "created", "boughtat", "purchasedat", "purchasedate", "orderdate", "orderedat"),
        *("invoicedate", "eventtime", "eventtimestamp", "eventdate", "tdat", "ratedat", "ratingdate", "reviewdate"),
        *("reviewedat", "watchedat", "playedat", "listenedat", "readat", "viewedat", "clickedat", "visitedat"),
        *("visittime", "transactiondate", "transactiontime", "dateadded", "addedat", "updatedat", "timems"),
        *("checkintime", "localtime", "clicktime", "interactiontime", "ratingtimestamp", "unixtimestamp", "when"),
    ),
}
METADATA = {
    "item": (*PAIR["item"], "id"),
    "title": (
        *("title", "movietitle", "itemname", "itemtitle", *_named(ITEMS, ("title", "name"))),
        *("name", "originaltitle", "prodname", "headline", "description", "productdescription"),
    ),
    "year": ("year", "releaseyear", "yearofpublication", "publicationyear", "originalpublicationyear", "releasedate"),
    "genres": (
        *("genres", "genre", "class", "categories", "category", "categoryname", "maincategory", "subcategory"),
        *("listedin", "tags", "productcategory", "producttypename", "department", "topic", "topics", "style"),
    ),
}
# How values look, if nothing else is known about them.
LOOKS = {"rating": r"\d{1,2}([.,]\d)?", "timestamp": r"\d{9,19}|.*\d\d?:\d\d.*|\d{1,4}[-/.]\d\d?[-/.]\d{1,4}.*"}


def recognised(names: Iterable[str], roles: Mapping[str, tuple[str, ...]] = PAIR) -> dict[str, str]:
    """The names of columns by role. A role gets the first of its usual names that there is."""
    plain = {re.sub(r"[\W_]", "", name.lower()): name for name in reversed([*names])}
    matches = {role: [plain[name] for name in usual if name in plain] for role, usual in roles.items()}
    return {role: found[0] for role, found in matches.items() if found}


def suggested_names(rows: list[list[str]]) -> tuple[str, ...]:
    """Names for the columns of a file without a header, from its first rows: user, item, and what looks like others."""
    width = max(map(len, rows), default=0)
    names = ["user", "item"][:width]
    for n in range(2, width):
        values = [row[n].strip() for row in rows if len(row) > n]
        looks = {role for role, form in LOOKS.items() if all(re.fullmatch(form, value) for value in values)}
        names.append(next((role for role in looks - {*names}), f"column{n + 1}"))
    return tuple(names)
