"""Table 1: S-Diff and the baselines, on the same split and with the same evaluation.

Every model is tested under each protocol of `evaluation.protocols`; figures of different protocols are not comparable.
Each model is trained in a separate process, so that its peak memory can be measured. All peaks include the memory of
Python, torch and the data, which is about the peak of the popularity baseline.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import torch

from sdiff.base.device import peak_memory_mb
from sdiff.base.errors import SDiffError
from sdiff.config import PRESETS, Config
from sdiff.data.datasets import Dataset, load_dataset
from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import BASELINES, Scorer
from sdiff.evaluation.evaluate import evaluate
from sdiff.evaluation.protocols import PROTOCOLS
from sdiff.experiments.accuracy import DENSE, PARTS, fitted
from sdiff.experiments.baselines.bspm import bspm
from sdiff.experiments.baselines.cdae import cdae
from sdiff.experiments.baselines.codigem import codigem
from sdiff.experiments.baselines.diffrec import diffrec
from sdiff.experiments.baselines.ease import ease
from sdiff.experiments.baselines.gfcf import gfcf
from sdiff.experiments.baselines.giffcf import giffcf
from sdiff.experiments.baselines.lightgcn import lightgcn, mf
from sdiff.experiments.baselines.linkprop import linkprop
from sdiff.experiments.baselines.multivae import multi_dae, multi_dae_pp, multi_vae
from sdiff.experiments.baselines.recency import RECENT
from sdiff.experiments.record import in_process
from sdiff.experiments.study import Job, Row, Study
from sdiff.serving.recommender import Recommender

CPU = torch.device("cpu")
QUICK_EPOCHS = 1
CLOSED: dict[str, Callable[[Split], Scorer]] = {
    **BASELINES,
    "GF-CF": gfcf,
    "EASE": ease,
    "LinkProp": linkprop,
    "BSPM": bspm,
    **RECENT,
}
LEARNT: dict[str, Callable[[Split, int, int | None], tuple[Scorer, int]]] = {
    "MF": mf,
    "LightGCN": lightgcn,
    "CDAE": cdae,
    "MultiDAE": multi_dae,
    "MultiDAE++": multi_dae_pp,
    "MultiVAE": multi_vae,
    "CODIGEM": codigem,
    "DiffRec": diffrec,
    "Giff": giffcf,
}
OURS = {f"S-Diff {name}": name for name in ("paper", "instant", "tuned", "sparse", "temporal")}
IN_ORDER = {"S-Diff temporal", *RECENT}  # models that use the order of the interactions
DENSE_MODELS = {"EASE", "Giff", "EASE, recency", "next-items ridge"}  # need a dense matrix over all pairs of items
PAPER = {
    "ml-1m-diffrec": {
        "MF": (0.0876, 0.1503, 0.0749, 0.0966),
        "LightGCN": (0.0987, 0.1707, 0.0833, 0.1083),
        "CDAE": (0.0991, 0.1705, 0.0829, 0.1078),
        "MultiDAE": (0.0995, 0.1753, 0.0803, 0.1067),
        "MultiDAE++": (0.1009, 0.1771, 0.0815, 0.1079),
        "MultiVAE": (0.1007, 0.1726, 0.0825, 0.1076),
        "CODIGEM": (0.0972, 0.1699, 0.0837, 0.1087),
        "DiffRec": (0.1058, 0.1787, 0.0901, 0.1148),
        "LinkProp": (0.1039, 0.1509, 0.0852, 0.1031),
        "BSPM": (0.1107, 0.1740, 0.0838, 0.1079),
        "Giff": (0.1108, 0.1977, 0.0952, 0.1176),
        "S-Diff paper": (0.1277, 0.2018, 0.0970, 0.1225),
    }
}
COLUMNS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


def fits(model: str, dataset: Dataset) -> bool:
    """Whether a model can run on a data set: some need the order of the interactions, some a small catalog."""
    small = len(dataset.split.items) <= DENSE
    return (dataset.split.train.ordered or model not in IN_ORDER) and (small or model not in DENSE_MODELS)


def current(rows: list[Row]) -> bool:
    """Whether the models of S-Diff in the rows were trained with the present presets."""
    with suppress(SDiffError):  # a setting of another version
        return all(
            "config" in row and Config.from_dict(row["config"]) == PRESETS[OURS[row["model"]]]
            for row in rows
            if row["model"] in OURS
        )
    return False


def jobs() -> dict[str, Job]:
    names = sorted((*CLOSED, *LEARNT, *OURS), key=lambda name: name in IN_ORDER)
    return {name: partial(measure_in_process, name) for name in names}


def measure_in_process(model: str, study: Study) -> list[Row]:
    """`measure` in a new process."""
    return [in_process(measure, model, study.dataset.key, study.seed, study.quick)]


def measure(model: str, key: str, seed: int, quick: bool) -> Row:
    """Accuracy, seconds to train and to score all test users, and peak memory of one model."""
    dataset = load_dataset(key)
    split = dataset.split
    started = time.perf_counter()
    epoch = None
    if model in OURS:
        config = PRESETS[OURS[model]].override({"epochs": QUICK_EPOCHS} if quick else {})
        trainer = fitted(config, split, seed)
        ours = Recommender(trainer.checkpoint(key, ""), trainer.device)
        epoch, device = trainer.best.epoch, trainer.device
        score: Scorer = ours.scorer(seed)
    else:
        device = CPU
        if model in CLOSED:
            score = CLOSED[model](split)
        else:
            score, epoch = LEARNT[model](split, seed, QUICK_EPOCHS if quick else None)
    trained = time.perf_counter()
    test = evaluate(score, split, "test", device)
    scored = time.perf_counter()
    memory = peak_memory_mb()
    valid = evaluate(score, split, "valid", device)
    others = {p: evaluate(score, split, "test", device, protocol=p) for p in PROTOCOLS if p != "train"}
    return {
        "model": model,
        "order": model in IN_ORDER,
        "epoch": epoch,
        "training seconds": round(trained - started, 1),
        "scoring seconds": round(scored - trained, 2),
        "peak memory MB": memory,
        **dict(zip(PARTS, (valid, test), strict=True)),
        "protocols": others,
    } | ({"config": PRESETS[OURS[model]].to_dict()} if model in OURS else {})
