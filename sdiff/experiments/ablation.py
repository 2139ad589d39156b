"""Ablation study: trains a preset with each of its parts switched off, one at a time.

    python -m sdiff.experiments.ablation --dataset ml-1m-diffrec --preset tuned --save

Prints one line per part. The last line is JSON; --save writes it to benchmarks/results.
"""

from __future__ import annotations

import argparse

from tqdm import tqdm

from sdiff.base.device import best_device, device_name
from sdiff.config import parse_assignments, preset
from sdiff.data.datasets import load_dataset
from sdiff.experiments.accuracy import run
from sdiff.experiments.record import report, versions

# Parts of both `tuned` and `temporal`
SHARED = {
    "L1 norm of the history": "normalise=off",
    "neighbours in the graph": "graph_entries=0",
    "cross-fitting": "folds=0",
    "the fourth root of the users' degrees (the root instead)": "user_power=0.5",
    "several steps (one without noise instead)": "T=1 noise=0",
    "noise in sampling": "noise=0",
    "a fifth of the noise in sampling (all of it instead)": "noise=1",
    "dropout": "dropout=0",
    "running mean of the weights": "ema=0",
    "FiLM (concatenation instead)": "fusion=concat",
    "nothing, but with a popularity discount": "beta=0.2",
}
# Part that is switched off -> settings. For `paper`: one reading of the text -> settings of another that it allows.
OFF = {
    "paper": {
        "nothing": "",
        "the root of the users' degrees (the fourth root instead)": "user_power=0.25",
        "sums over histories (means instead)": "normalise=on",
        "eigenvalues as frequencies (stretched to [0, 2] instead)": "frequency_scale=stretched",
        "eigenvalues as frequencies (ranks in [0, 2] instead)": "frequency_scale=rank",
        "the same, with noise up to the preserved variance": "frequency_scale=rank sigma_max=1",
        "v_t of the whole history (as in sampling instead)": "sampled=1",
        "guidance": "guidance=0",
        "noise in sampling": "noise=0",
        "several steps (one without noise instead)": "T=1 noise=0",
        "a learning rate of 0.0001 (0.0003 instead)": "lr=0.0003",
        "1,000 hidden units (500 instead)": "hidden=500",
        "1,000 hidden units (2,000 instead)": "hidden=2000",
        "a graph of all users (cross-fitting instead)": "folds=10",
    },
    "tuned": {
        "nothing": "",
        # With means and sigma_max=1, the squared error fails for reasons of its own: this is its best neighbour.
        "softmax over the unseen (squared error instead, sums and sigma_max=0.5)": "loss=mse graph_entries=0 "
        "normalise=off sigma_max=0.5",
        "less weight for the unlikely": "q=0",
        "v_t as in sampling for half of the users": "sampled=0",
        "noise in training and sampling": "sigma_max=0",
        "noise up to the preserved variance (0.5 instead)": "sigma_max=0.5",
        "eigenvectors (a learnt basis instead)": "basis=tied",
    }
    | SHARED,
    "temporal": {
        "nothing": "",
        "order": "half_life=0 memories=1",
        "three memories (one instead)": "memories=1 half_life=5.6",
        "fading of the target": "horizon=1000000",
        "v_t as in sampling (of the whole history instead)": "sampled=0",
        "two bases (one, tied)": "basis=tied",
        "learnable basis": "basis=fixed",
        "residual denoiser": "residual=off",
    }
    | SHARED,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--preset", required=True, choices=OFF)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true", help="write the result to benchmarks/results")
    arguments = parser.parse_args()

    dataset = load_dataset(arguments.dataset)
    rows = []
    for off, settings in tqdm(OFF[arguments.preset].items(), unit="run", disable=None):
        config = preset(arguments.preset).override(parse_assignments(settings.split()))
        row = run(config, dataset, arguments.seed)
        rows.append({"off": off, "set": settings} | row)
        recalls = (f"{part} recall@20 {row[part]['recall@20']:.4f}" for part in ("valid", "test"))
        print(f"{off:<42}", *recalls, f"{row['seconds']:.0f} s", flush=True)
    result = {
        "dataset": arguments.dataset,
        "data_fingerprint": dataset.split.fingerprint,
        "preset": arguments.preset,
        "command": f"python -m sdiff.experiments.ablation --dataset {arguments.dataset} --preset {arguments.preset}",
        "seed": arguments.seed,
        "versions": versions("torch"),
        "device": device_name(best_device()),
        "rows": rows,
    }
    report(result, f"ablation-{arguments.dataset}-{arguments.preset}", arguments.save)


if __name__ == "__main__":
    main()
