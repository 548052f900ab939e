"""Rows at irregular times are averaged: in training, in requests, with ranges."""

import json

import numpy as np
import pytest

from lstm_ad.data.sampling import means

SETTINGS = {
    "sequence-length": "10",
    "hidden-size": "8",
    "epochs": "2",
    "timestamp-column": "time",
}
START = 1714521600  # 2024-05-01
CSV = {"Content-Type": "text/csv", "Accept": "text/csv"}


def irregular(make_series, n_minutes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of two series, and their times in seconds: one to five a minute."""
    random = np.random.default_rng(seed)
    minutes = np.repeat(np.arange(n_minutes), random.integers(1, 6, n_minutes))
    within = random.permutation(np.arange(60))[np.arange(len(minutes)) % 60]
    times = np.unique(60 * minutes + within)
    minutes = times // 60
    assert set(minutes) == set(range(n_minutes))
    return make_series(n_minutes, seed=seed)[minutes] + random.normal(
        size=(len(times), 2)
    ), times


def table(values: np.ndarray, seconds: np.ndarray) -> bytes:
    """Return a file."""
    times = np.datetime64("2024-05-01T00:00:00", "s") + seconds
    rows = zip(times, values.tolist(), strict=True)
    lines = (f"{time}Z,{p!r},{f!r}" for time, (p, f) in rows)
    return "\n".join(["time,p,f", *lines]).encode()


def averaged(values: np.ndarray, seconds: np.ndarray) -> bytes:
    """Return the file of the means of each minute."""
    found, begins, _ = means(values, START + seconds, 60)
    return table(found, begins - START)


@pytest.fixture(scope="module")
def jobs(make_opt_ml, make_series, run_train):
    """Return a job with rows as they come, and one with means."""
    found = []
    for is_averaged in (False, True):
        opt_ml = make_opt_ml()
        settings = {} if is_averaged else {"sampling-interval": "PT1M"}
        opt_ml.write_config("hyperparameters", SETTINGS | settings)
        write = averaged if is_averaged else table
        for channel, n_minutes in (("training", 300), ("validation", 100)):
            rows = irregular(make_series, n_minutes, seed=n_minutes)
            opt_ml.add_channel(channel, {"a.csv": write(*rows)})
        ranges = b"2024-05-01T00:50:10Z,2024-05-01T00:52:00Z\n"
        if is_averaged:
            ranges = ranges.replace(b":10Z", b":00Z")
        opt_ml.add_channel("labels", {"ranges.csv": ranges})
        found.append((opt_ml, run_train(opt_ml)))
        assert found[-1][1].returncode == 0, found[-1][1].log
    return [opt_ml for opt_ml, _ in found]


def test_a_model_of_means_is_that_of_a_file_of_means(jobs) -> None:
    """To the bit; it knows that its rows are means."""
    sampled, averaged = jobs
    for name in ("network.onnx", "statistics.safetensors", "weights.safetensors"):
        found = (sampled.model_dir / name).read_bytes()
        assert found == (averaged.model_dir / name).read_bytes()
    one, other = (json.loads((j.model_dir / "model.json").read_bytes()) for j in jobs)
    assert one["decision"] == other["decision"]
    assert one["decision"]["labelled"]["n_anomalies"] == 3
    assert one["schema"]["clock"]["is_sampled"] is True
    assert other["schema"]["clock"]["is_sampled"] is False


def test_an_answer_is_that_to_means(jobs, start_server, make_series) -> None:
    """With a row for each minute."""
    rows = irregular(make_series, 60, seed=9)
    bodies = [
        start_server(opt_ml.base).request("POST", "/invocations", body, CSV).body
        for opt_ml, body in zip(jobs, (table(*rows), averaged(*rows)), strict=True)
    ]
    assert bodies[0] == bodies[1]
    assert bodies[0].splitlines()[1].startswith(b"2024-05-01T00:00:00Z,")
    assert bodies[0].count(b"\n") == 61


def test_labels_per_row_are_refused(opt_ml, run_train) -> None:
    """They say nothing of a mean."""
    opt_ml.write_config("hyperparameters", SETTINGS | {"sampling-interval": "PT1M"})
    opt_ml.add_channel("training", {"a.csv": b"x"})
    opt_ml.add_channel("validation", {"v.csv": b"x"})
    opt_ml.add_channel("labels", {"v.csv": b"0\n1\n"})
    assert run_train(opt_ml).failure == (
        "labels/v.csv has a label per row, but sampling-interval averages rows; use "
        "ranges of time, start,end per line."
    )
