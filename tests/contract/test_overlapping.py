"""A detector whose sequences overlap, through the doors: train, save, load, serve."""

import dataclasses
import json
import logging

import numpy as np
import pytest

from lstm_ad import artifacts
from lstm_ad.artifacts import Fit
from lstm_ad.data.rows import Rows
from lstm_ad.fitting import fit
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.scoring.scan import SINGLE_ROWS, Scan
from sagemaker_container.formats.csv_answer import write_scores
from sagemaker_container.http.app import create_app

SETTINGS = {
    "sequence-length": "10",
    "context-length": "10",
    "prediction-length": "6",
    "sequence-stride": "2",
    "max-anomaly-length": "4",
    "hidden-size": "8",
    "batch-size": "8",
    "epochs": "3",
    "lr": "0.01",
}
N_UNSCORED = 10 + 6 - 2


def sine(n_timesteps: int, seed: int) -> np.ndarray:
    """Return one noisy sine of period 20."""
    clean = np.sin(2 * np.pi * np.arange(n_timesteps) / 20)
    noise = np.random.default_rng(seed).normal(scale=0.05, size=n_timesteps)
    return (clean + noise)[:, np.newaxis]


@pytest.fixture(scope="module")
def found_in() -> Fit:
    """Return a detector fitted to a sine, as small as does what it must."""
    return fit(
        Rows.of({"train.csv": sine(1000, seed=0)}),
        Hyperparameters(
            context_length=20,
            prediction_length=5,
            sequence_stride=1,
            hidden_size=16,
            num_layers=1,
            epochs=30,
            lr=0.01,
            batch_size=4,
        ),
    )


@pytest.mark.parametrize("scan", [SINGLE_ROWS, Scan(1, np.log([3.0, 2.5, 2.0]))])
def test_an_anomaly_within_the_normal_range_is_found(found_in: Fit, scan: Scan) -> None:
    """Half a period, held at a value of every period, scores lowest; nothing else."""
    series = sine(400, seed=1)
    series[237:247] = series[237]
    detector = dataclasses.replace(found_in.detector, scan=scan)

    scores = detector.score(series).normality_score

    away = np.concatenate([scores[24:237], scores[270:]])
    assert np.abs(series[237]) <= 1.1
    assert 237 <= np.nanargmin(scores) < 247 + 5 + scan.lengths[-1]
    assert np.nanmin(scores) < away.min()


def test_a_job_with_overlapping_sequences_is_served_as_it_scores(
    opt_ml, run_train, make_series, as_csv
) -> None:
    """From hyperparameters in strings to a row of scores per row that was sent."""
    opt_ml.write_config("hyperparameters", SETTINGS)
    opt_ml.add_channel("training", {"train.csv": make_series(400)})
    series = make_series(83, seed=5)

    job = run_train(opt_ml)

    assert job.returncode == 0, job.log
    detector = artifacts.load(opt_ml.model_dir)
    client = create_app(detector, max_payload_mb=1).test_client()
    answer = client.post("/invocations", data=as_csv(series), content_type="text/csv")
    lines = answer.data.decode().splitlines()
    document = json.loads((opt_ml.model_dir / "model.json").read_text())
    assert answer.status_code == 200
    assert answer.data == write_scores(detector.score(series))
    assert lines[:N_UNSCORED] == [",,"] * N_UNSCORED
    assert all(",," not in line for line in lines[N_UNSCORED:])
    assert len(lines) == 83
    assert document["shortest_window"] == 1


def test_lengths_spelled_out_leave_the_same_files_as_none(
    opt_ml, make_opt_ml, run_train, make_series
) -> None:
    """The network, its weights and the statistics are the same bytes."""
    lengths = ("context-length", "prediction-length", "sequence-stride")
    common = {k: v for k, v in SETTINGS.items() if k not in lengths}
    jobs = [opt_ml, make_opt_ml()]
    for job, extra in zip(jobs, ({}, dict.fromkeys(lengths, "10")), strict=True):
        job.write_config("hyperparameters", common | extra)
        job.add_channel("training", {"train.csv": make_series(400)})

    ends = [run_train(job) for job in jobs]

    assert [end.returncode for end in ends] == [0, 0], ends[0].log + ends[1].log
    for name in ("network.onnx", "weights.safetensors", "statistics.safetensors"):
        first, second = (job.model_dir / name for job in jobs)
        assert first.read_bytes() == second.read_bytes()


def test_a_stride_that_divides_nothing_fails_with_one_sentence(
    opt_ml, run_train, make_series
) -> None:
    """The job ends before it trains, and says what is accepted."""
    opt_ml.write_config("hyperparameters", SETTINGS | {"sequence-stride": "4"})
    opt_ml.add_channel("training", {"train.csv": make_series(400)})

    job = run_train(opt_ml)

    assert job.returncode == 1
    assert job.failure == (
        "sequence-stride must be a divisor of prediction-length, which is 6, but "
        '"4" was given.'
    )


def test_the_log_says_what_the_preset_sets_for_the_data(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The number of series is known when they have been read; what is given stays."""
    strings = {"preset": "detection", "epochs": "1", "hidden-size": "2"}

    with caplog.at_level(logging.INFO):
        result = fit(
            Rows.of({"a.csv": sine(1000, seed=0)}),
            Hyperparameters.from_strings(strings),
        )

    assert (
        "For data of 1 series, preset=detection sets: early-stopping-patience=0, "
        "max-anomaly-length=100"
    ) in caplog.messages
    assert result.detector.scan.lengths == (25, 50, 100)
    assert result.detector.reconstructor.has_level
    assert result.detector.n_unscored == 104 + 24
