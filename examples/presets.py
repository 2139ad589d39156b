"""Compares presets on the validation part of a data set."""

import sys

from sdiff import Recommender, Trainer, evaluate, load_dataset, preset

dataset = load_dataset(sys.argv[1] if len(sys.argv) > 1 else "demo")
for name in ("filter", "gfcf", "instant"):  # add "tuned" and "temporal", which train for a minute or more
    model = Recommender(Trainer(preset(name), dataset.split, seed=0).fit().checkpoint(dataset.key, name))
    result = evaluate(model.scorer(), dataset.split, "valid", model.device)
    print(f"{name:<10} recall@20 {result['recall@20']:.4f}  NDCG@20 {result['ndcg@20']:.4f}")
