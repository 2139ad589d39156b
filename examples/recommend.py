"""Recommends films to somebody who is not in the training data."""

from sdiff import Recommender, load_dataset
from sdiff.data.catalog import Catalog

films = Catalog(load_dataset("ml-latest-small"))
model = Recommender.load("ml-latest-small")
liked = [film for title in ("alien 1979", "terminator", "blade runner") for film in films.search(title, limit=1)]
for row in films.rows(model.recommend([film.id for film in films.rows(liked)], k=10).indices):
    print(row.rank, row.title)
