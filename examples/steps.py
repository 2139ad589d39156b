"""Accuracy of one model against the number of denoising steps T and the share of noise in sampling."""

from sdiff import Recommender, evaluate, load_dataset

dataset, model = load_dataset("demo"), Recommender.load("demo")
for T in (1, 2, 5):
    for noise in (0.0, 0.2, 1.0):
        result = evaluate(model.scorer(T=T, noise=noise), dataset.split, "valid", model.device)
        print(f"T={T} noise={noise}: recall@20 {result['recall@20']:.4f}")
