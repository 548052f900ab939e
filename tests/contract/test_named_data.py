"""A job whose files have names, times and ids gives the model of one without them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from sagemaker_container.formats.table import quoted

SETTINGS = {"sequence-length": "10", "hidden-size": "8", "epochs": "2"}
NAMES = ["Druck, links", "Temperatur <°C>", "Ventil"]
ARRAYS = ("network.onnx", "statistics.safetensors", "weights.safetensors")


def table(make_series, n_rows: int, seed: int) -> np.ndarray:
    """Return three series, the last of which is constant."""
    return np.column_stack([make_series(n_rows, seed=seed), np.full(n_rows, 7.0)])


def named(values: np.ndarray, order: list[int], start: str) -> bytes:
    """Return a file with names, times and ids; its columns are in some order."""
    times = np.datetime64(start, "s") + 60 * np.arange(len(values))
    columns = [
        [quoted(name), *(b"%r" % value for value in column.tolist())]
        for name, column in zip(NAMES, values.T, strict=True)
    ]
    columns.append([b"time", *(f"{time}Z".encode() for time in times)])
    columns.append([b"pump", *[b'"P, 7"'] * len(values)])
    rows = zip(*(columns[at] for at in order), strict=True)
    return b"\r\n".join(map(b",".join, rows))


@pytest.fixture(scope="module")
def jobs(make_opt_ml, make_series, run_train):
    """Return the folders and the ends of a job without names and of one with them."""
    training, validation = (table(make_series, n, n) for n in (300, 123))
    plain, other = make_opt_ml(), make_opt_ml()
    plain.write_config("hyperparameters", SETTINGS)
    plain.add_channel("training", {"train.csv": training})
    plain.add_channel("validation", {"valid.csv": validation})
    columns = {"timestamp-column": "time", "id-columns": "pump", "group-column": "pump"}
    other.write_config("hyperparameters", SETTINGS | columns)
    train = named(training, [3, 0, 1, 4, 2], "2024-03-30T12:00:00")
    valid = named(validation, [2, 4, 1, 3, 0], "2024-06-01T00:00:00")
    other.add_channel("training", {"train.csv": train})
    other.add_channel("validation", {"valid.csv": valid})
    return [(opt_ml, run_train(opt_ml)) for opt_ml in (plain, other)]


def test_the_model_is_the_same(jobs) -> None:
    """Byte for byte, but for the names and what the job was given."""
    (plain, _), (other, ended) = jobs
    assert ended.returncode == 0, ended.log
    for name in ARRAYS:
        found = (other.model_dir / name).read_bytes()
        assert found == (plain.model_dir / name).read_bytes()
    documents = [
        json.loads(Path(opt_ml.model_dir, "model.json").read_bytes())
        for opt_ml in (plain, other)
    ]
    differing = [key for key in documents[0] if documents[0][key] != documents[1][key]]
    assert differing == [
        "schema",
        "hyperparameters",
        "data_digest",
        "fingerprint",
        "digest",
    ]
    columns = documents[1]["schema"]["columns"]
    roles = {column["name"]: column["role"] for column in columns}
    assert roles == dict.fromkeys(NAMES, "series") | {"time": "timestamp", "pump": "id"}
    assert [*roles] == ["time", *NAMES[:2], "pump", NAMES[2]]
    assert documents[1]["schema"]["clock"] == {
        "form": "iso",
        "step": 60 * 10**9,
        "is_sampled": False,
    }
    assert documents[1]["schema"]["group"] == "pump"


def test_the_log_tells_the_same_story_with_names(jobs) -> None:
    """And says that columns were put in order; it repeats no id."""
    (_, plain), (_, ended) = jobs
    assert "Constant in the rows that fit the LSTM: series 3." in plain.log
    assert "Constant in the rows that fit the LSTM: series Ventil." in ended.log
    assert "valid.csv: the columns are in another order than in train.csv" in ended.log
    losses = [
        re.findall(r"^epoch: .*", job.log, re.MULTILINE) for job in (plain, ended)
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 2
    assert "P, 7" not in ended.log
