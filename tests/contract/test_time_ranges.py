"""Ranges of time say what is an anomaly, and what is not to be learnt from."""

import json

import numpy as np
import pytest

SETTINGS = {
    "sequence-length": "10",
    "hidden-size": "8",
    "epochs": "2",
    "timestamp-column": "time",
}
ARRAYS = ("network.onnx", "statistics.safetensors", "weights.safetensors")


def at(row: int) -> str:
    """Return the time of a row."""
    return f"{np.datetime64('2024-05-01T00:00', 's') + 60 * row}.000000"


def table(series: np.ndarray) -> bytes:
    """Return a file with times."""
    rows = [f"{at(row)},{p!r},{f!r}" for row, (p, f) in enumerate(series.tolist())]
    return "\n".join(["time,p,f", *rows]).encode()


@pytest.fixture(scope="module")
def jobs(make_opt_ml, make_series, run_train):
    """Return a job with labels per row and one with ranges; both exclude some rows."""
    found = []
    is_anomaly = np.zeros(123)
    is_anomaly[60:65] = 1
    for has_ranges in (False, True):
        opt_ml = make_opt_ml()
        opt_ml.write_config("hyperparameters", SETTINGS)
        training, validation = make_series(300), make_series(123, seed=1)
        validation[60:65] += 20
        for series in (training, validation):  # as no other rows, and not the same
            series[100:110] = 1e5 * (1 + has_ranges)
        excluded = f"{at(100)},{at(109)}\n"
        opt_ml.add_channel("training", {"a.csv": table(training)})
        opt_ml.add_channel("validation", {"v.csv": table(validation)})
        labels = "".join(f"{label:.0f}\n" for label in is_anomaly)
        labels = f"{at(60)},{at(64)}\n" if has_ranges else labels
        name = "labels.csv" if has_ranges else "v.csv"
        opt_ml.add_channel("labels", {name: labels.encode()})
        files = {"maintenance.csv": excluded.encode()}
        if has_ranges:
            files = dict.fromkeys(["a.csv", "v.csv"], excluded.encode())
        opt_ml.add_channel("exclude", files)
        found.append((opt_ml, run_train(opt_ml)))
        assert found[-1][1].returncode == 0, found[-1][1].log
    return found


def test_ranges_are_labels_and_leave_rows_out(jobs) -> None:
    """The model is that of labels per row; values that are excluded do not matter."""
    (rows, _), (ranges, ended) = jobs
    for name in ARRAYS:
        found = (rows.model_dir / name).read_bytes()
        assert found == (ranges.model_dir / name).read_bytes()
    one, other = (
        json.loads((job.model_dir / "model.json").read_bytes())
        for job in (rows, ranges)
    )
    assert one["decision"] == other["decision"]
    # 10 rows are excluded, and as many after them and at the start have no score.
    assert one["decision"]["labelled"]["n_rows"] == 123 - 10 - 2 * 10
    assert one["decision"]["labelled"]["n_anomalies"] == 5
    assert "a.csv: 10 of these rows are off or excluded." in ended.log


@pytest.mark.parametrize(
    ("settings", "files", "failure"),
    [
        (
            {},
            {"a.csv": b"1,2\n"},
            "The exclude channel holds ranges of time, which need the times of rows; "
            "name their column in timestamp-column, or leave the channel out.",
        ),
        (
            SETTINGS,
            {"a.csv": b"1,2\n", "b.csv": b"1,2\n"},
            "exclude/b.csv belongs to no file: use names of files of training or "
            "validation, or one file of ranges for all of them.",
        ),
    ],
)
def test_ranges_that_cannot_be_used_end_the_job(
    opt_ml, run_train, settings, files, failure
) -> None:
    """Before any data are read."""
    opt_ml.write_config("hyperparameters", settings)
    opt_ml.add_channel("training", {"a.csv": b"time,p\nx,y\n"})
    opt_ml.add_channel("exclude", files)
    assert run_train(opt_ml).failure == failure
