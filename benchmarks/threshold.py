"""Measure the rate of alarms and the coverage of the threshold's interval.

Thresholds are estimated from scores of known distribution and dependence, so the rate
on new rows and the true quantile are known exactly. A second table says how far rates
are from the target where the interval says so, over all kinds of dependence and tails.

    python benchmarks/threshold.py [--samples 200]
"""

import argparse
import itertools
import logging
import math

import numpy as np
from scipy import signal, stats

from lstm_ad.axes import FloatArray
from lstm_ad.threshold.calibration import decide

TAILS = {
    "light (Gaussian)": (stats.norm.isf, stats.norm.sf),
    "exponential": (stats.expon.isf, stats.expon.sf),
    "heavy (t, 4, squared)": (
        lambda p: stats.t.isf(p / 2, 4) ** 2,
        lambda x: 2 * stats.t.sf(np.sqrt(np.maximum(x, 0)), 4),
    ),
}
"""Of minus the scores: the value that is exceeded with a probability, and back."""

CASES = [
    ("independent", 0.0, 1, 400, 0.001),
    ("independent", 0.0, 1, 2000, 0.001),
    ("independent", 0.0, 1, 2000, 0.01),
    ("AR(0.9)", 0.9, 1, 2000, 0.001),
    ("AR(0.9)", 0.9, 1, 8000, 0.001),
    ("AR(0.9)", 0.9, 500, 120, 0.001),
    ("AR(0.97)", 0.97, 1, 400, 0.001),
    ("AR(0.97)", 0.97, 1, 2000, 0.001),
    ("AR(0.99)", 0.99, 1, 400, 0.001),
    ("averages of 25", 25, 1, 2000, 0.001),
    ("averages of 100", 100, 1, 2000, 0.001),
    ("averages of 100", 100, 1, 8000, 0.001),
]
"""Name, correlation or length of the average, files, rows of each, target."""

KINDS = (0.0, 0.9, 0.97, 0.99, 25, 100)
N_ROWS = (100, 200, 400, 1000, 2000, 4000, 8000, 20_000)
RATES = (0.01, 0.001, 0.0001)
"""The dependence, the rows of the only file, and the targets of the second table."""

FACTORS = (0.0, 10.0, 20.0, 33.0, 75.0, 150.0, 500.0, math.inf)
"""Between the alarm rates of the interval's ends: the limits of its rows."""

MIN_CALIBRATIONS = 20
"""Of fewer, the tenths are not shown."""


def main() -> None:
    """Print a table row per case and tail."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=200)
    n_samples = parser.parse_args().samples
    logging.disable(logging.WARNING)
    print("| scores | files x rows | target | tail | mean rate / target | coverage |")
    print("|---|---|---|---|---|---|")
    for name, kind, n_files, n_rows, rate in CASES:
        for tail in TAILS:
            achieved, coverage = measure(tail, kind, n_files, n_rows, rate, n_samples)
            print(
                f"| {name} | {n_files} x {n_rows} | {rate} | {tail} "
                f"| {achieved:.2f} | {coverage:.3f} |",
                flush=True,
            )
    print("\n| target | factor | calibrations | tenth | median | nine tenths |")
    print("|---|---|---|---|---|---|")
    for rate in RATES:
        found = np.concatenate(
            [
                uncertainty(tail, kind, n_rows, rate, max(n_samples // 5, 2))
                for kind in KINDS
                for n_rows in N_ROWS
                for tail in TAILS
            ]
        )
        place = np.digitize(found[:, 0], FACTORS) - 1
        for low, high in itertools.pairwise(FACTORS):
            some = found[place == FACTORS.index(low), 1]
            if len(some) >= MIN_CALIBRATIONS:
                tenths = np.quantile(some, [0.1, 0.5, 0.9])
                said = " | ".join(f"{one:.2f}" for one in tenths)
                print(f"| {rate} | {low:g} to {high:g} | {len(some)} | {said} |")


def uncertainty(
    tail: str, kind: float, n_rows: int, rate: float, n_samples: int
) -> FloatArray:
    """Return the factor between the interval's ends, and the rate over the target.

    Returns:
        Of shape ``(n_samples, 2)``.
    """
    quantile, survival = TAILS[tail]
    random = np.random.default_rng(n_rows)
    found = []
    for _ in range(n_samples):
        values = quantile(stats.norm.sf(dependent(random, 1, n_rows, kind)))
        decision = decide(-values, np.empty((n_rows, 0)), rate)
        low, high = decision.rate_range
        factor = high / low if low > 0 else FACTORS[-2]
        found.append((factor, survival(-decision.threshold) / rate))
    return np.array(found)


def measure(
    tail: str, kind: float, n_files: int, n_rows: int, rate: float, n_samples: int
) -> tuple[float, float]:
    """Return the mean achieved rate over the target, and the interval's coverage."""
    quantile, survival = TAILS[tail]
    random = np.random.default_rng(1)
    truth = -quantile(rate)
    thresholds, n_covered = [], 0
    for _ in range(n_samples):
        values = quantile(stats.norm.sf(dependent(random, n_files, n_rows, kind)))
        decision = decide(-values, np.empty((values.size, 0)), rate, [n_rows] * n_files)
        thresholds.append(decision.threshold)
        n_covered += decision.interval[0] <= truth <= decision.interval[1]
    return survival(-np.array(thresholds)).mean() / rate, n_covered / n_samples


def dependent(
    random: np.random.Generator, n_files: int, n_rows: int, kind: float
) -> FloatArray:
    """Return Gaussian values that depend on those before them in the same file."""
    if kind < 1:
        noise = random.normal(size=(n_files, n_rows)) * math.sqrt(1 - kind**2)
        noise[:, 0] /= math.sqrt(1 - kind**2)
        return signal.lfilter([1], [1, -kind], noise).ravel()
    n_before = int(kind) - 1
    noise = random.normal(size=(n_files, n_rows + n_before))
    averages = signal.lfilter(np.full(int(kind), kind**-0.5), [1], noise)
    return averages[:, n_before:].ravel()


if __name__ == "__main__":
    main()
