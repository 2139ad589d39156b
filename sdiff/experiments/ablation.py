"""Ablation study: the parts of each preset, and the settings that switch them off, one at a time."""

from __future__ import annotations

from sdiff.config import parse_assignments
from sdiff.experiments.study import Cell, Job, sweep

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


def jobs() -> dict[str, dict[str, Job]]:
    """Trains each preset without each of its parts: jobs by preset and part."""
    return {
        name: sweep(Cell({"without": off}, parse_assignments(settings.split())) for off, settings in rows.items())
        for name, rows in OFF.items()
    }
