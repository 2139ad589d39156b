"""`sdiff similar`: prints the items that are most similar to an item."""

from __future__ import annotations

import argparse
from typing import Any

from sdiff.cli.common import shown, with_titles
from sdiff.serving.recommender import Recommender


def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Prints the items most similar to --item. With the data set, also titles and the number of common users."""
    model = Recommender.load(arguments.checkpoint)
    similar = model.similar_items(arguments.item, arguments.k)
    dataset = with_titles(model, arguments)
    if dataset is None:
        return shown(similar, None)
    common = dataset.split.train.co_occurrence(model.items.index[arguments.item])
    return shown(similar, dataset, {"common": common[similar.indices].tolist()})
