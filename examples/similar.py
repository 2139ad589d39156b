"""Finds items similar to one item, and counts the users they have in common."""

from sdiff import Recommender, load_dataset
from sdiff.data.catalog import Catalog

dataset = load_dataset("ml-latest-small")
films, model = Catalog(dataset), Recommender.load("ml-latest-small")
[film] = films.search("toy story", limit=1)
similar = model.similar_items(dataset.split.items.ids[film], k=10)
common = dataset.split.train.co_occurrence(film)
for row, i in zip(films.rows(similar.indices, similar.scores), similar.indices, strict=True):
    print(f"{row.score:.3f}  {common[i]:4d} users in common  {row.title}")
