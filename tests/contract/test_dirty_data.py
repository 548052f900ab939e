"""Dirty data through real jobs: named by series and row, and the model is no worse."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lstm_ad.artifacts import load
from lstm_ad.axes import FloatArray
from lstm_ad.data.rows import Rows
from lstm_ad.fitting import fit
from lstm_ad.hyperparameters import Hyperparameters

SETTINGS = Hyperparameters(
    sequence_length=10, hidden_size=8, batch_size=8, epochs=4, lr=0.02
)
OVERLAPPING = dataclasses.replace(SETTINGS, prediction_length=5, sequence_stride=1)
FAULTS = (range(60, 70), range(130, 140))


def sines(n_timesteps: int, seed: int) -> FloatArray:
    """Return two noisy sines, around 0 and around 50."""
    phase = 2 * np.pi * np.arange(n_timesteps) / 20
    x = np.column_stack([3 * np.sin(phase), 50 + 7 * np.sin(phase)])
    return x + np.random.default_rng(seed).normal(scale=0.2, size=x.shape)


@pytest.fixture(scope="module")
def faulty() -> FloatArray:
    """Return a test file with two faults, one in each series."""
    series = sines(200, seed=2)
    series[FAULTS[0], 0] += 5.0
    series[FAULTS[1], 1] -= 12.0
    return series


def found(detector: Any, faulty: FloatArray) -> list[int]:
    """Return how many rows of each fault are found."""
    scores = detector.score(faulty).normality_score
    is_alarm = detector.decision.is_anomaly(scores)
    return [int(is_alarm[rows].sum()) for rows in FAULTS]


@pytest.fixture(scope="module", params=[SETTINGS, OVERLAPPING], ids=["", "overlapping"])
def settings(request: pytest.FixtureRequest) -> Hyperparameters:
    """Return the settings of both algorithms."""
    chosen: Hyperparameters = request.param
    return chosen


@pytest.fixture(scope="module")
def found_if_clean(faulty: FloatArray, settings: Hyperparameters) -> list[int]:
    """Return what the model of clean data finds."""
    rows = Rows.of({"train.csv": sines(1500, 0)}, {"valid.csv": sines(300, 1)})
    return found(fit(rows, settings).detector, faulty)


CELLS = {
    "a sentinel in the training rows": ("train", [700], 0, -9999.0),
    "a sentinel in the calibration part": ("train", [1400], 0, -9999.0),
    "a sentinel in the validation data": ("valid", [77], 0, -9999.0),
    "a zero among 50s": ("train", [300], 1, 0.0),
    "the largest float": ("train", [1100], 0, 3.4e38),
    "1e20 in the last row": ("train", [1499], 0, 1e20),
    "three cells": ("train", [100, 101, 900], 1, 65535.0),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_few_absurd_cells_hide_no_fault(
    name: str,
    faulty: FloatArray,
    found_if_clean: list[int],
    settings: Hyperparameters,
) -> None:
    """At least 0.8 of the rows that the model of clean data finds."""
    channel, rows, series, value = CELLS[name]
    files = {"train": sines(1500, 0), "valid": sines(300, 1)}
    files[channel][rows, series] = value
    rows_of_job = Rows.of({"train.csv": files["train"]}, {"valid.csv": files["valid"]})

    dirty = found(fit(rows_of_job, settings).detector, faulty)

    assert min(found_if_clean) > 0
    assert all(n >= 0.8 * m for n, m in zip(dirty, found_if_clean, strict=True))


def test_a_job_says_what_is_wrong_and_its_model_is_good(
    opt_ml: Any,
    run_train: Callable[..., Any],
    faulty: FloatArray,
    found_if_clean: list[int],
    settings: Hyperparameters,
) -> None:
    """In the log, the verdict, metrics.json and the report: file, series and row."""
    series = np.column_stack([sines(1500, 0), np.zeros(1500)])
    series[1000, 0] = -9999.0
    given = {k: str(v) for k, v in settings.to_public().items()}
    opt_ml.write_config("hyperparameters", given)
    opt_ml.add_channel("training", {"train.csv": series})
    opt_ml.add_channel("validation", {"valid.csv": series[:300]})

    job = run_train(opt_ml)

    output = opt_ml.base / "output" / "data"
    metrics = json.loads((output / "metrics.json").read_text())
    names = [finding["name"] for finding in metrics["data"]["findings"]]
    page = (output / "report.html").read_text()
    sentence = "train.csv: row 1001, series 1: -9999 is far outside all other values"
    assert job.returncode == 0, job.log
    assert sentence in job.log
    assert sentence in metrics["reasons"][0]["finding"]
    assert metrics["verdict"] == "do not use"
    assert names == ["far value", "constant", "copied rows"]
    assert metrics["data"]["series"][0]["train"]["lowest_rows"] == [
        ["train.csv", 1001],
        ["train.csv", 1001],
    ]
    assert page.count('<svg class="small"') == 3
    assert "far value" in page
    with_constant = np.column_stack([faulty, np.zeros(len(faulty))])
    dirty = found(load(opt_ml.model_dir), with_constant)
    assert all(n >= 0.8 * m for n, m in zip(dirty, found_if_clean, strict=True))


def test_a_clock_is_refused(opt_ml: Any, run_train: Callable[..., Any]) -> None:
    """With any start and step, in any column."""
    clock = 1.7e9 + 60 * np.arange(600)
    series = np.column_stack([sines(600, 0), clock])
    opt_ml.add_channel("training", {"train.csv": series})

    job = run_train(opt_ml)

    assert job.returncode == 1
    assert job.failure == (
        "train.csv: column 3 goes from 1700000000 to 1700035940, by 60 in every row: "
        "it is an index or a clock, not a measurement. Leave column 3 out, here and in "
        "every request."
    )
