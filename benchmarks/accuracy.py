"""Measure how well detectors find anomalies in labelled series, and what alarms cost.

    python benchmarks/accuracy.py FOLDER [--setting detection] [--seeds 3]

Each series of the folder's ``index.csv`` is fitted and scored by the code that
``train`` and ``serve`` run, on one thread, two series at a time. Results are kept in
``benchmarks/accuracy.csv``, a row per series, setting and seed; what is there is not
computed again. The linear model is a ridge regression on the last rows, whose errors
are scored by the same code.

``main`` is the family's measure: of UCR a hit (the lowest score lies within 100 rows
of the labelled interval), else VUS-PR, with the index's window; a row without a score
takes the most normal one. Alarms are those of a ``max-alarm-rate`` of 0.001 and of
0.01: ``false`` is the fraction of normal rows that are alarms, ``events`` the alarm
events on normal rows per 1000 of them, ``found`` the labelled runs with an alarm, of
``runs``, and ``delay`` the rows to the first of these alarms. A family is compared with
the linear model by a paired bootstrap over its series, 90 %.
"""

import os

# One thread a series: set before anything that computes is loaded.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import dataclasses
import logging
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from linear import linear_model
from lstm_ad.data.rows import Rows
from lstm_ad.fitting import fit
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.model.scaling import Scaler
from lstm_ad.scoring.regime import RegimeWatch, Seen
from lstm_ad.scoring.scan import Scanner
from lstm_ad.threshold.calibration import decide
from measures import BoolArray, FloatArray, alarms, ucr_hit, vus_pr
from sagemaker_container.memory import keep_freed_memory

RESULTS = Path(__file__).with_name("accuracy.csv")

SETTINGS: dict[str, dict[str, str]] = {
    "detection": {"preset": "detection"},
    "adaptation": {"preset": "detection", "adaptation-rows": "1000"},
    "document": {},
    "linear": {},
}
"""The hyperparameters of each setting: the same for all series."""

RATES = (0.001, 0.01)
"""Target rates of false alarms."""

EVENT_GAP = 5
"""Rows without an alarm within one event, at most: the preset's prediction-length."""

KEYS = ["setting", "family", "name", "seed"]


@dataclasses.dataclass(frozen=True)
class Scored:
    """A test series as a detector sees it."""

    score: FloatArray
    """Low = anomalous, of shape ``(T,)``; NaN where there is none."""
    is_known: BoolArray
    """Whether an unseen regime explains the score, which is then no alarm."""
    calibration_scores: list[FloatArray]
    """Of normal rows, file by file."""
    fit_seconds: float
    """CPU time of fitting."""
    score_seconds: float
    """CPU time of scoring."""


def main() -> None:
    """Measure what has not been measured, and print the tables of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with index.csv")
    parser.add_argument("--setting", choices=SETTINGS, default="detection")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--family", help="only this one")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    index = pd.read_csv(options.folder / "index.csv")
    if options.family:
        index = index[index.family == options.family]
    results = pd.DataFrame(columns=KEYS)
    if options.results.exists():
        results = pd.read_csv(options.results)
    done = set(results[KEYS].itertuples(index=False, name=None))
    # The linear model comes with its only seed: it is what the others are compared to.
    wanted = [
        {"setting": setting, "seed": seed} | row
        for setting, n_seeds in {"linear": 1, options.setting: options.seeds}.items()
        for seed in range(n_seeds)
        for row in index.to_dict("records")
    ]
    todo = [job for job in wanted if tuple(job[key] for key in KEYS) not in done]
    with ProcessPoolExecutor(options.processes) as pool:
        for future in as_completed(
            [pool.submit(measure, options.folder, job) for job in todo]
        ):
            one = pd.DataFrame([future.result()])
            results = pd.concat([results, one]) if len(results) else one
            results.sort_values(KEYS).to_csv(
                options.results, index=False, float_format="%.5g"
            )
            print(*one[KEYS].iloc[0], flush=True)
    report(results[results.family.isin(index.family)])


def measure(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Return the measures of one series with one setting and seed."""
    logging.disable(logging.WARNING)
    series = folder / job["family"] / job["name"]
    train, test = (
        np.loadtxt(series / f"{part}.csv.gz", delimiter=",", ndmin=2)
        for part in ("train", "test")
    )
    labels = np.loadtxt(series / "labels.csv.gz", delimiter=",").ravel() > 0
    detect = linear if job["setting"] == "linear" else lstm_ad
    scored = detect(train, test, SETTINGS[job["setting"]] | {"seed": str(job["seed"])})
    has_score = ~np.isnan(scored.score)
    anomaly = -np.where(has_score, scored.score, np.nanmax(scored.score))
    is_ucr = job["family"] == "ucr"
    found: dict[str, Any] = {key: job[key] for key in KEYS}
    found["main"] = (
        ucr_hit(anomaly, labels)
        if is_ucr
        else vus_pr(anomaly, labels, int(job["vus_window"]))
    )
    # The whole file is scored in TSB-AD, but its first rows are those trained on.
    first_row = len(train) if job["family"].startswith("tsbad") else 0
    for rate in RATES:
        threshold = threshold_of(scored.calibration_scores, rate)
        is_alarm = has_score & (anomaly > -threshold) & ~scored.is_known
        worth = alarms(is_alarm, has_score, labels, first_row, EVENT_GAP)
        found |= {
            f"false_{rate}": worth.false_rate,
            f"events_{rate}": worth.false_events,
            f"found_{rate}": worth.n_found,
            f"delay_{rate}": worth.delay,
            "runs": worth.n_labelled,
        }
    return found | {
        "fit_seconds": scored.fit_seconds,
        "score_seconds": scored.score_seconds,
    }


def threshold_of(scores: list[FloatArray], rate: float) -> float:
    """Return the threshold that training would set for a rate of false alarms."""
    known = [part[~np.isnan(part)] for part in scores]
    known = [part for part in known if len(part)]
    values = np.concatenate(known)
    errors = np.zeros((len(values), 1))  # normal ranges are not asked for
    return decide(values, errors, rate, list(map(len, known))).alarm_threshold


def lstm_ad(train: FloatArray, test: FloatArray, strings: dict[str, str]) -> Scored:
    """Return what the product says."""
    keep_freed_memory()  # as ``train`` does
    began = time.process_time()
    found = fit(Rows.of({"train": train}), Hyperparameters.from_strings(strings))
    fitted = time.process_time()
    scores = found.detector.score(test)
    is_known = scores.is_known
    return Scored(
        scores.normality_score,
        np.zeros(len(test), np.bool_) if is_known is None else is_known,
        [found.calibration_scores],
        fitted - began,
        time.process_time() - fitted,
    )


def linear(train: FloatArray, test: FloatArray, strings: dict[str, str]) -> Scored:
    """Return what a linear model says whose errors are scored in the same way."""
    del strings  # nothing is random
    began = time.process_time()
    calibrated, errors, n_unscored = linear_model(train, test)
    fitted = time.process_time()
    score = np.concatenate([np.full(n_unscored, np.nan), calibrated.score(errors)])
    evidence, _ = Scanner(calibrated.scan).of(calibrated.gaussian.distances(errors))
    bounds = Seen.of([train], train.shape[1]).bounds(Scaler.fit([train]).scale)
    watch = RegimeWatch(bounds, calibrated.scan.lengths)
    is_known = watch.of(test[n_unscored:], evidence).is_known
    return Scored(
        score,
        np.concatenate([np.zeros(n_unscored, np.bool_), is_known]),
        list(calibrated.scores),
        fitted - began,
        time.process_time() - fitted,
    )


def report(results: pd.DataFrame) -> None:
    """Print a row per family and setting, and its distance from the linear model."""
    columns = [name for name in results.columns if name not in KEYS]
    print("| setting | family | series | main (seeds) |", " | ".join(columns[1:]), "|")
    print("|---" * (4 + len(columns) - 1) + "|")
    for (setting, family), some in results.groupby(["setting", "family"]):
        by_seed = some.groupby("seed").main.mean()
        seeds = " ".join(f"{value:.3f}" for value in by_seed)
        means = " | ".join(f"{some[name].mean():.4g}" for name in columns[1:])
        print(f"| {setting} | {family} | {some.name.nunique()} |", end=" ")
        print(f"{some.main.mean():.3f} ({seeds}) | {means} |")
    print("\n| setting | family | main minus the linear model's, 90 % |\n|---|---|---|")
    mean = results.groupby(["setting", "family", "name"]).main.mean()
    for setting in sorted(set(results.setting) - {"linear"}):
        for family, difference in (mean[setting] - mean["linear"]).groupby("family"):
            values = difference.dropna().to_numpy()
            random = np.random.default_rng(0)
            drawn = values[random.integers(0, len(values), (4000, len(values)))]
            low, high = np.quantile(drawn.mean(axis=1), [0.05, 0.95])
            print(f"| {setting} | {family} | {values.mean():+.3f}", end=" ")
            print(f"[{low:+.3f}, {high:+.3f}] |")


if __name__ == "__main__":
    main()
