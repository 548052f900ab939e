"""The benchmarks run what they measure."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accuracy import Scored, report, threshold_of

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("n_series", [1, 3])
def test_the_passes_that_training_is_compared_with_can_be_made(n_series: int) -> None:
    """Of the preset, once; it follows what training itself calls.

    In a process of its own, whose memory it sets up as training does.
    """
    code = f"""
import training

setting = training.DETECTION | {{"epochs": "1"}}
print(training.seconds_of_passes(600, {n_series}, setting))
"""
    output = subprocess.check_output(
        [sys.executable, "-c", code],
        cwd=ROOT / "benchmarks",
        env={"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
    )

    assert float(output) > 0


def test_the_linear_model_is_scored_by_the_products_own_code() -> None:
    """A fault of six deviations in a sine scores lowest; its first rows have none."""
    from accuracy import linear

    rows = np.arange(1500.0)
    series = np.column_stack([np.sin(rows / 5), np.cos(rows / 7)])
    series += np.random.default_rng(0).normal(scale=0.05, size=series.shape)
    test = series[1000:].copy()
    test[300:310, 0] += 0.6

    scored = linear(series[:1000], test, {})

    assert isinstance(scored, Scored)
    assert 300 <= np.nanargmin(scored.score) < 320
    assert np.isnan(scored.score[:14]).all()
    assert threshold_of(scored.calibration_scores, 0.01) < np.nanmedian(scored.score)


def test_the_report_compares_series_by_series(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By hand: two series, .1 and .3 better than the linear model."""
    results = pd.DataFrame(
        {
            "setting": ["linear", "linear", "detection", "detection"],
            "family": "asd",
            "name": ["a", "b", "a", "b"],
            "seed": 0,
            "main": [0.2, 0.4, 0.3, 0.7],
            "runs": 3,
        }
    )

    report(results)

    lines = capsys.readouterr().out.splitlines()
    assert "| detection | asd | 2 | 0.500 (0.500) | 3 |" in lines
    assert "| detection | asd | +0.200 [+0.100, +0.300] |" in lines
