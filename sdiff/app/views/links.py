"""Links to the pages of items on other sites, for metadata that hold their ids."""

from __future__ import annotations

import re

# Metadata columns with ids of other sites: name of the site, form of an id, and address of an item's page.
LINKS = {
    "imdbid": ("IMDb", "(?:tt)?([0-9]{1,12})", "https://www.imdb.com/title/tt{}/"),
    "tmdbid": ("TMDB", "([0-9]{1,12})", "https://www.themoviedb.org/movie/{}"),
}


def link(column: str, text: str) -> tuple[str, str] | None:
    """(site, URL) of an item's page, if `text` in a metadata column of this name is an id of another site.

    Names are compared without case and punctuation, such as "IMDb ID".
    """
    known = LINKS.get(re.sub(r"[\W_]", "", column.lower()))
    if known is None:
        return None
    site, form, url = known
    found = re.fullmatch(form, text)
    return (site, url.format(found[1])) if found else None
