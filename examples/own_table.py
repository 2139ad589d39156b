"""Trains on a data frame, recommends for three of its users, and evaluates on held-out interactions."""

import pandas as pd

from sdiff import Recommender
from sdiff.base.paths import ASSETS

log = pd.read_csv(ASSETS / "demo" / "interactions.csv").sort_values("timestamp")
items = pd.read_csv(ASSETS / "demo" / "items.csv")
test = log.groupby("user").tail(5)
model = Recommender.fit(log.drop(test.index), preset="instant", items=items)
print(model.recommend(users=test["user"].unique()[:3], k=5))
print(model.evaluate(test, k=[5, 10], unknown="ignore").means)
