"""What limits the accuracy of a preset: the choice of the epoch, the variance between seeds, or the data?

    python -m sdiff.experiments.limits --dataset ml-1m-diffrec --preset tuned --epochs 66 --seeds 4 --save

Computes three results:
- the curves of loss, validation and test metrics over the epochs, far beyond the best epoch;
- the oracle: the test metrics if the epoch were chosen on the test part (nothing else in this project does that);
- the mean of the probabilities of several models, each at its best epoch, which reduces the variance between seeds.

The last line is JSON; --save writes it to benchmarks/results.
"""

from __future__ import annotations

from typing import Any

import torch
from tqdm import tqdm

from sdiff.base.device import best_device, device_name
from sdiff.config import Config, preset
from sdiff.data.datasets import load_dataset
from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import Scorer
from sdiff.evaluation.evaluate import evaluate
from sdiff.experiments.accuracy import PARTS, fitted
from sdiff.experiments.record import report, run_script, script_parser, versions
from sdiff.method.diffusion import score
from sdiff.method.model import Model
from sdiff.training.trainer import Trainer

EVERY = 3  # epochs between two evaluations


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--epochs", type=int, default=66, help="number of epochs of the curves")
    parser.add_argument("--seeds", type=int, default=4, help="number of models to average")
    arguments = parser.parse_args()

    dataset, config = load_dataset(arguments.dataset), preset(arguments.preset)
    curves = curve(config.override({"epochs": arguments.epochs, "patience": arguments.epochs}), dataset.split)
    best, oracle = (max(curves, key=lambda row: row[part]["recall@20"]) for part in PARTS)
    result: dict[str, Any] = {
        "dataset": arguments.dataset,
        "data_fingerprint": dataset.split.fingerprint,
        "preset": arguments.preset,
        "command": f"python -m sdiff.experiments.limits --dataset {arguments.dataset} --preset {arguments.preset} "
        f"--epochs {arguments.epochs} --seeds {arguments.seeds}",
        "versions": versions("torch"),
        "device": device_name(best_device()),
        "curves": curves,
        "epoch chosen on valid": best,
        "epoch chosen on test": oracle,
        "mean of models": mean_of_models(config, dataset.split, arguments.seeds),
    }
    for name in ("epoch chosen on valid", "epoch chosen on test"):
        print(name, result[name]["epoch"], *(f"{key} {value:.4f}" for key, value in result[name]["test"].items()))
    report(result, f"limits-{arguments.dataset}-{arguments.preset}", arguments.save)


def curve(config: Config, split: Split) -> list[dict[str, Any]]:
    """Loss, validation and test metrics of seed 0 after every third epoch."""
    trainer = Trainer(config, split, seed=0)
    rows = []
    for progress in tqdm(trainer.iter_epochs(), total=config.epochs, unit="epoch", disable=None):
        if progress.epoch % EVERY == 0:
            score = scorer(trainer.ema_model.eval(), config)
            parts = {part: evaluate(score, split, part, trainer.device) for part in PARTS}
            rows.append({"epoch": progress.epoch, "loss": progress.loss} | parts)
            recalls = (f"{part} recall@20 {parts[part]['recall@20']:.4f}" for part in PARTS)
            print(f"epoch {progress.epoch:>3}  loss {progress.loss:.4f} ", *recalls, flush=True)
    return rows


def mean_of_models(config: Config, split: Split, seeds: int) -> list[dict[str, Any]]:
    """Metrics of the averaged probabilities of 1, 2, ... `seeds` models."""
    scorers: list[Scorer] = []
    rows = []
    for seed in range(seeds):
        trainer = fitted(config, split, seed)
        trainer.ema_model.load_state_dict(trainer.best.weights)
        scorers.append(scorer(trainer.ema_model.eval(), config))
        rows.append(
            {"models": len(scorers)}
            | {
                part: evaluate(lambda x: sum(scores(x).softmax(1) for scores in scorers), split, part, trainer.device)  # pyright: ignore
                for part in PARTS
            }
        )
        recalls = (f"{part} recall@20 {rows[-1][part]['recall@20']:.4f}" for part in PARTS)
        print(f"{len(scorers)} models ", *recalls, flush=True)
    return rows


def scorer(model: Model, config: Config) -> Scorer:
    noise = torch.Generator().manual_seed(0)
    return lambda x: score(model, x, config, noise)


if __name__ == "__main__":
    run_script(main)
