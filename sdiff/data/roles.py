"""The usual names of columns, by role, in order of preference. They are compared in lower case without punctuation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

USERS = (
    *("user", "customer", "visitor", "client", "member", "reviewer", "buyer", "shopper", "account", "person", "reader"),
    *("viewer", "listener", "player", "guest", "cust", "subscriber", "student", "patient", "consumer", "purchaser"),
    *("patron", "borrower", "critic", "profile"),
)
ITEMS = (
    *("item", "product", "movie", "film", "book", "track", "song", "artist", "album", "game", "app", "anime", "show"),
    *("video", "article", "news", "business", "venue", "place", "poi", "restaurant", "hotel", "listing", "recipe"),
    *("beer", "wine", "dish", "joke", "course", "job", "content", "offer", "document", "doc", "paper", "series"),
    *("manga", "photo", "podcast", "variant", "material"),
)
# What a table with one of the above may have, too: the session of a customer, or the store of a product.
WEAK_USERS = ("household", "device", "anonymous", "session")
WEAK_ITEMS = ("post", "page", "ad", "channel", "station", "location", "merchant", "store")
ENDINGS = ("id", "", "code", "sku", "no", "number", "key", "uuid", "name", "title")


def _named(nouns: tuple[str, ...], endings: tuple[str, ...] = ENDINGS) -> tuple[str, ...]:
    return tuple(noun + ending for ending in endings for noun in nouns)


ITEM_IDS = (
    *("itemid", "item", "iid", "asin", "parentasin", "isbn", "isbn13", "isbn10", "sku", "skuid", "stockcode"),
    *("lineitemsku", "ean", "upc", "gtin", "barcode", "partnumber"),
    *_named(ITEMS),
    *_named(WEAK_ITEMS),
    *("appids", "goods", "goodsid", "gmapid"),
)
ITEM_NAMES = (  # and ids of other sites
    *("title", "name", "lineitemname", "itemdescription", "productdescription"),
    *("tconst", "imdbid", "tmdbid", "url", "uri", "trackuri", "pageurl"),
)
PAIR = {
    "user": (
        *("userid", "user", "uid", *_named(USERS), "msno", "nickname", "login", "email", "steamid"),
        *_named(WEAK_USERS),
    ),
    "item": (*ITEM_IDS, *ITEM_NAMES),
    "rating": (
        *("rating", "score", "stars", "star", "starrating", "overall", "ratings", "userrating", "bookrating"),
        *("myrating", "ratingscore", "reviewscore", "reviewrating", "reviewoverall", "rate", "preference", "weight"),
        *("userscore", "ratingvalue", "scores", "points", "grade", "vote", "votes"),
        *("listencount", "playcount", "plays", "numplays", "count", "counts", "clicks", "views", "purchases"),
        *("frequency", "quantity", "qty", "units", "orderquantity", "lineitemquantity", "watchtime", "msplayed"),
        *("hours", "hoursplayed", "playtime", "playtimeforever", "isread", "liked", "like", "feedback"),
    ),
    "timestamp": (
        *("timestamp", "datetime", "ts", "unixtime", "unixreviewtime", "unixtimestamp", "timems", "uts", "utctime"),
        *("eventtimestamp", "ratingtimestamp", "purchasetimestamp", "orderpurchasetimestamp"),
        *("date", "time", "day"),  # beside a date, a time may be only that of the day
        *("reviewdate", "reviewtime", "createdat", "created", "boughtat", "purchasedat", "purchasedate", "orderdate"),
        *("orderedat", "invoicedate", "eventdate", "eventtime", "tdat", "ratedat", "ratingdate"),
        *("reviewedat", "watchedat", "playedat", "listenedat", "readat", "viewedat", "clickedat", "visitedat"),
        *("visittime", "transactiondate", "transactiontime", "dateadded", "addedat", "updatedat", "checkintime"),
        *("localtime", "clicktime", "interactiontime", "when", "ordertime", "saledate", "soldat", "boughton"),
        *("orderedon", "purchasedon", "createdon", "createdtime", "creationdate", "datecreated", "submittedat"),
        *("reviewedon", "watchedon", "watcheddate", "dateread", "playedon", "lastplayed", "scrobbledat", "endtime"),
        *("startedat", "servedat"),
        *("datum", "fecha", "dt", "zeit", "zeitpunkt", "zeitstempel", "bestelldatum", "kaufdatum", "fechahora"),
        *("datahora", "horodatage", "orderts", "eventts", "purchasets", "purchased", "日期", "时间"),
        *("occurredat", "logdate", "logtime", "sessiondate", "checkoutdate", "borrowedat", "loandate", "rentaldate"),
    ),
}
METADATA = {
    "item": (*(name for name in ITEM_IDS if not name.endswith(("name", "title"))), "id", *ITEM_IDS, *ITEM_NAMES),
    "title": (
        *("title", "movietitle", "itemname", "itemtitle", *_named(ITEMS + WEAK_ITEMS, ("title", "name"))),
        *("name", "originaltitle", "primarytitle", "prodname", "lineitemname", "headline"),
        *("description", "itemdescription", "productdescription"),
    ),
    "year": (
        *("year", "releaseyear", "yearofpublication", "publicationyear", "originalpublicationyear", "startyear"),
        *("publishedyear", "releasedate", "publicationdate", "released", "published"),
    ),
    "genres": (
        *("genres", "genre", "class", "categories", "category", "categoryname", "maincategory", "subcategory"),
        *("listedin", "tags", "productcategory", "producttype", "producttypename", "productgroup", "productgroupname"),
        *("mastercategory", "categorycode", "department", "departmentname", "section", "cuisine", "topic", "topics"),
        *("style", "shelves", "keywords"),
    ),
}
# How values look, if nothing else is known about them.
LIST = r"[\w-]+([ ,;|]+[\w-]+)+"  # ids and what separates them, if all have the same form
RATING, FRACTION = r"\d{1,2}([.,][05])?", r"[+-]?\d*[.,]\d*[1-9]\d*"
TIME_OF_DAY = r"\d\d?:\d\d(:\d\d([.,]\d+)?)?(\s?[AaPp]\.?[Mm]\.?)?"
DATE = r".*\d\d?:\d\d.*|\d{1,4}[-/.]\d\d?[-/.]\d{1,4}.*"
# Seconds from 1989 to 2033, also in smaller units, or dates in digits. Ids may look like them.
SECONDS = r"([6-9]\d{8}|1\d{9})(\d{3}){0,3}|(19|20)\d\d[01]\d[0-3]\d(\d{4}|\d{6})?"


def recognised(names: Sequence[str], roles: Mapping[str, tuple[str, ...]] = PAIR) -> dict[str, str]:
    """The names of columns by role. A role gets the first of its usual names that there is."""
    return {role: found[0] for role, usual in roles.items() if (found := candidates(names, usual))}


def candidates(names: Sequence[str], usual: Iterable[str]) -> list[str]:
    """Those of the names that are among the usual ones of a role, in the order of these."""
    plain = {re.sub(r"[\W_]", "", name.lower()): name for name in reversed([*names])}
    return list(dict.fromkeys(plain[name] for name in usual if name in plain))


def parts_of_dates(names: Iterable[str]) -> bool:
    """Whether columns hold the parts of dates, and none whole ones."""
    return {"year", "month", "day"} <= {*names} and recognised([*names]).get("timestamp") == "day"


def describing(names: Sequence[str], pair: Mapping[str, str]) -> dict[str, str]:
    """The columns of interactions that may describe the items, by role: title, year and genres.

    Args:
        pair: the columns of `PAIR` by role. That of items may hold their titles; the others are not considered.
    """
    names = [name for name in names if name != "year" or not parts_of_dates(names)]
    others = [name for name in names if name == pair.get("item") or name not in pair.values()]
    return {role: name for role, name in recognised(others, METADATA).items() if role != "item"}


def suggested_names(rows: list[list[str]]) -> tuple[str, ...]:
    """Names for the columns of a file without a header, from its first rows.

    One that looks like times is the timestamp, and the first two others are user and item. An item is no number with a
    fraction, such as a rating or a latitude. Lists of ids are neither. If the first of at least three columns counts
    the rows, it is called row.
    """
    columns = [[row[n].strip() for row in rows if len(row) > n] for n in range(max(map(len, rows), default=0))]
    free = [*range(len(columns))]
    names: dict[int, str] = {}

    def name(role: str, candidates: list[int]) -> None:
        for n in candidates[:1]:
            names[n] = role
            free.remove(n)

    def like(form: str) -> list[int]:
        return [n for n in free if all(re.fullmatch(form, value) for value in columns[n])]

    if len(columns) > 2 and len(rows) > 2 and columns[0] in ([str(n + k) for n in range(len(rows))] for k in (0, 1)):
        name("row", [0])
    times = like(DATE) or like(SECONDS)[-1:]
    lists = [n for n in free if 2 * sum(map(is_list, columns[n])) > len(columns[n])]
    others = [n for n in free if n not in (*times, *lists)]
    if len(others) >= 2 or lists:
        name("timestamp", times)
    else:
        others = [*free]
    name("user", others)
    fractions = [n for n in others[1:] if any(re.fullmatch(FRACTION, value) for value in columns[n])]
    name("item", [n for n in others[1:] if n not in fractions] or others[1:])
    name("rating", like(RATING))
    return tuple(names.get(n, f"column{n + 1}") for n in range(len(columns)))


def is_list(text: str) -> bool:
    """Whether a text seems to be a list of ids, such as "N55189 N42782"."""
    if not re.fullmatch(LIST, text):
        return False
    forms = {re.sub(r"\d+", "9", part) for part in re.split("[ ,;|]+", text)}
    return len(forms) == 1 and "9" in forms.pop()


def suggested_item_names(width: int) -> tuple[str, ...]:
    """Names for the columns of a table of items without a header."""
    return (*("item", "title", "genres")[:width], *(f"column{n}" for n in range(4, width + 1)))
