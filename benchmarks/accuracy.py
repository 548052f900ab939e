"""Measure how well detectors find anomalies in labelled series.

    python benchmarks/accuracy.py FOLDER [--setting recommended] [--seeds 3]

Each series of the folder's ``index.csv`` is fitted and scored by the code that
``train`` and ``serve`` run, on one thread, two series at a time. Results are kept in
``build/accuracy.jsonl``; what is there is not computed again.

Measures: UCR accuracy (a hit if the lowest score lies within 100 rows of the labelled
interval), VUS-PR (the ``vus`` package, with the index's window) and ROC AUC. A row
without a score takes the most normal one. CPU seconds are those of fitting and scoring.
"""

import os

# One thread a series: set before anything that computes is loaded.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import json
import logging
import sys
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "src"))

FloatArray = npt.NDArray[np.float64]

OVERLAPPING = {
    "context-length": 100,
    "prediction-length": 5,
    "sequence-stride": 1,
    "hidden-size": 64,
    "dropout": 0,
    "lr": 0.005,
    "batch-size": 32,
}
SETTINGS: dict[str, dict[str, dict[str, float]]] = {
    "default": {"univariate": {}, "multivariate": {}},
    "recommended": {
        "univariate": OVERLAPPING | {"epochs": 300, "score-smoothing": 25},
        "multivariate": OVERLAPPING | {"epochs": 200, "score-smoothing": 18},
    },
    "linear": {
        "univariate": {"lags": 100, "ahead": 10},
        "multivariate": {"lags": 10, "ahead": 5},
    },
}
"""The hyperparameters of each setting: the same for all series of a kind."""

UCR_MARGIN = 100
"""Rows beside the labelled interval that still count as a hit."""

PUBLISHED = ("linear_floor", "LSTMAD", "CNN", "PCA", "KMeansAD")


def main() -> None:
    """Measure what has not been measured, and print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with index.csv")
    parser.add_argument("--setting", choices=SETTINGS, default="recommended")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--family", help="only this one")
    parser.add_argument("--results", type=Path, default=Path("build/accuracy.jsonl"))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    index = pd.read_csv(options.folder / "index.csv")
    if options.family:
        index = index[index.family == options.family]
    options.results.parent.mkdir(parents=True, exist_ok=True)
    done = {key(result): result for result in read(options.results)}
    wanted = [
        {"setting": options.setting, "seed": seed, **row}
        for seed in range(options.seeds)
        for row in index.to_dict("records")
    ]
    todo = [job for job in wanted if key(job) not in done]
    with (
        ProcessPoolExecutor(options.processes) as pool,
        options.results.open("a") as out,
    ):
        for future in as_completed(
            [pool.submit(measure, options.folder, job) for job in todo]
        ):
            result = future.result()
            done[key(result)] = result
            out.write(json.dumps(result) + "\n")
            out.flush()
            print(result["family"], result["name"], result["seed"], flush=True)
    report([done[key(job)] for job in wanted], index)


def key(result: dict[str, Any]) -> tuple[Any, ...]:
    """Return what names a result."""
    return tuple(result[name] for name in ("setting", "family", "name", "seed"))


def read(path: Path) -> list[dict[str, Any]]:
    """Return the results kept in a file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def measure(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Return the measures of one series with one setting and seed."""
    logging.disable(logging.WARNING)
    series = folder / job["family"] / job["name"]
    train, test = (
        np.loadtxt(series / f"{part}.csv.gz", delimiter=",", ndmin=2)
        for part in ("train", "test")
    )
    labels = np.loadtxt(series / "labels.csv.gz", delimiter=",").ravel() > 0
    kind = "univariate" if job["dims"] == 1 else "multivariate"
    setting = SETTINGS[job["setting"]][kind]
    result = {name: job[name] for name in ("setting", "family", "name", "seed")}
    detect = linear if job["setting"] == "linear" else lstm_ad
    began = time.process_time()
    try:
        score, fitted = detect(train, test, setting, job["seed"])
    except Exception as error:  # a failed run is a result
        return result | {"error": f"{type(error).__name__}: {error}"}
    scored = time.process_time()
    anomaly = -np.where(np.isnan(score), np.nanmax(score), score)
    return result | {
        "hit": ucr_hit(anomaly, labels),
        "vus_pr": vus_pr(anomaly, labels, int(job["vus_window"])),
        "roc_auc": roc_auc(anomaly, labels),
        "fit_seconds": fitted - began,
        "score_seconds": scored - fitted,
    }


def lstm_ad(
    train: FloatArray, test: FloatArray, setting: dict[str, float], seed: int
) -> tuple[FloatArray, float]:
    """Return the scores of the product, and the CPU time when it was fitted."""
    from lstm_ad.data.rows import Rows
    from lstm_ad.fitting import fit
    from lstm_ad.hyperparameters import Hyperparameters
    from sagemaker_container.memory import keep_freed_memory

    keep_freed_memory()  # as ``train`` does
    strings = {name: str(value) for name, value in setting.items()}
    hyperparameters = Hyperparameters.from_strings(strings | {"seed": str(seed)})
    detector = fit(Rows.of({"train": train}), hyperparameters).detector
    fitted = time.process_time()
    return detector.score(test).normality_score, fitted


def linear(
    train: FloatArray, test: FloatArray, setting: dict[str, float], seed: int
) -> tuple[FloatArray, float]:
    """Return the scores of a ridge regression on the last rows: the floor to beat."""
    del seed  # nothing is random
    lags, ahead = int(setting["lags"]), int(setting["ahead"])
    mean, scale = train.mean(axis=0), train.std(axis=0)
    scale[scale == 0] = 1.0

    def errors(series: FloatArray) -> FloatArray:
        """Return the errors of each row's reconstructions, aligned."""
        scaled = (series - mean) / scale
        inputs = windows(scaled[:-1], lags)
        outputs = np.column_stack([inputs, np.ones(len(inputs))]) @ weights
        made = outputs.reshape(len(inputs), ahead, -1)
        first, n_rows = lags + ahead - 1, len(series) - lags - ahead + 1
        return np.concatenate(
            [
                scaled[first:] - made[ahead - 1 - lead :][:n_rows, lead]
                for lead in range(ahead)
            ],
            axis=1,
        )

    scaled = (train - mean) / scale
    inputs = np.column_stack(
        [windows(scaled[:-ahead], lags), np.ones(len(scaled) - ahead - lags + 1)]
    )
    targets = windows(scaled[lags:], ahead)
    gram = inputs.T @ inputs + np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, inputs.T @ targets)
    fitted_errors = errors(train)
    center = fitted_errors.mean(axis=0)
    covariance = np.cov(fitted_errors.T) + 1e-6 * np.eye(fitted_errors.shape[1])
    fitted = time.process_time()
    found = errors(test) - center
    distance = np.einsum("td,td->t", found, np.linalg.solve(covariance, found.T).T)
    score = np.full(len(test), np.nan)
    score[lags + ahead - 1 :] = -distance
    return score, fitted


def windows(series: FloatArray, length: int) -> FloatArray:
    """Return every run of ``length`` rows, flattened, of shape ``(N, length * D)``."""
    view = np.lib.stride_tricks.sliding_window_view(series, length, axis=0)
    return view.swapaxes(1, 2).reshape(len(view), -1)


def ucr_hit(anomaly: FloatArray, labels: npt.NDArray[np.bool_]) -> float:
    """Return 1 if the most anomalous row is in the labelled interval or near it."""
    rows = np.flatnonzero(labels)
    found = int(np.argmax(anomaly))
    return float(rows[0] - UCR_MARGIN <= found <= rows[-1] + UCR_MARGIN)


def vus_pr(anomaly: FloatArray, labels: npt.NDArray[np.bool_], window: int) -> float:
    """Return the volume under the surface of precision and recall."""
    # The module beneath vus.metrics, which would import every detector of its authors.
    from vus.utils.metrics import metricor

    n_thresholds = 250  # as in the published figures
    measures = metricor().RangeAUC_volume_opt(
        labels.astype(int), anomaly, window, n_thresholds
    )
    return float(measures[-1])


def roc_auc(anomaly: FloatArray, labels: npt.NDArray[np.bool_]) -> float:
    """Return the area under the receiver operating characteristic."""
    n_anomalous, n_normal = labels.sum(), (~labels).sum()
    above = rankdata(anomaly)[labels].sum() - n_anomalous * (n_anomalous + 1) / 2
    return float(above / (n_anomalous * n_normal))


def report(results: list[dict[str, Any]], index: pd.DataFrame) -> None:
    """Print a row of means per family, beside what the index has."""
    families = defaultdict(list)
    for result in results:
        families[result["family"]].append(result)
    names = ["hit", "vus_pr", "roc_auc", "fit_seconds", "score_seconds"]
    print("\n| family | runs | failed | " + " | ".join([*names, *PUBLISHED]) + " |")
    print("|---" * (3 + len(names) + len(PUBLISHED)) + "|")
    for family, runs in families.items():
        good = [run for run in runs if "error" not in run]
        means = [np.mean([run[name] for run in good]) for name in names]
        published = index[index.family == family][list(PUBLISHED)].mean()
        cells = [f"{value:.3f}" for value in [*means, *published]]
        failed = len(runs) - len(good)
        print(f"| {family} | {len(runs)} | {failed} | " + " | ".join(cells) + " |")
    for result in results:
        if "error" in result:
            print(result["family"], result["name"], result["error"])


if __name__ == "__main__":
    main()
