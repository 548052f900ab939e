"""Measure the rate of alarms and the coverage of the threshold's interval.

Thresholds are estimated from scores of known distribution and dependence, so the rate
on new rows and the true quantile are known exactly.

    python benchmarks/threshold.py [--samples 200]
"""

import argparse
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
