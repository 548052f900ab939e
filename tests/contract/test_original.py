"""The original product's published sample: its data through ours, its scores by ours.

The files lie beside the repository where they may be used, and nowhere in it.
"""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from lstm_ad import artifacts
from lstm_ad.scoring.gaussian import Gaussian

ORIGINAL = Path(__file__).parents[3] / "shared" / "original"

pytestmark = pytest.mark.skipif(
    not ORIGINAL.is_dir(), reason="the original's sample data are not at ../shared"
)


def read(name: str) -> np.ndarray:
    """Return a published table; empty cells are NaN."""
    with (ORIGINAL / name).open() as stream:
        return np.array(
            [[float(c or "nan") for c in row] for row in csv.reader(stream)]
        )


@pytest.fixture
def model_dir(original_training) -> Path:
    """Return the model that the real ``train`` makes with default hyperparameters."""
    job, end = original_training.result()

    assert end.returncode == 0, end.log
    return job.model_dir


def test_the_reconstructions_are_near_the_noise_floor(model_dir: Path) -> None:
    """At most 1.3 in raw units; the noise is about 1.0, the original's were 6.54."""
    series = read("valid.csv")

    scores = artifacts.load(model_dir).score(series)

    assert np.mean(np.square((series - scores.reconstruction)[50:])) <= 1.3


def test_the_labelled_rows_are_the_least_normal(model_dir: Path) -> None:
    """ROC AUC 1.0: each labelled row scores lower than each other row."""
    is_anomaly = read("test_labels.csv")[:, 0] == 1.0

    scores = artifacts.load(model_dir).score(read("test_data.csv")).normality_score

    assert is_anomaly.sum() == 2
    assert scores[is_anomaly].max() < np.nanmin(scores[~is_anomaly])


def test_the_answer_has_a_row_per_row_and_the_first_50_are_empty(
    model_dir: Path, start_server
) -> None:
    """The layout of the published predictions, from the real server."""
    server = start_server(model_dir.parent)
    published = (ORIGINAL / "batch_predictions.csv").read_text().split("\n")

    answer = server.request(
        "POST",
        "/invocations",
        (ORIGINAL / "test_data.csv").read_bytes(),
        {"Content-Type": "text/csv"},
    )

    lines = answer.body.decode().split("\n")
    assert len(lines) == len(published) == 2500 + 1
    assert lines[:50] == published[:50] == [",,"] * 50
    assert [line.count(",") for line in lines[50:-1]] == [2] * 2450
    assert "" not in ",".join(lines[50:-1]).split(",")
    assert lines[-1] == published[-1] == ""


def test_the_saved_model_says_how_good_it_is(model_dir: Path) -> None:
    """The loss in the JSON is that of the reconstructions, in standardised units.

    To 1e-6: torch computes it in single precision, as it does after every epoch, and
    the scored reconstructions are those of ONNX Runtime.
    """
    series = read("valid.csv")
    detector = artifacts.load(model_dir)
    errors = (series - detector.score(series).reconstruction)[50:]
    expected = np.mean(np.square(errors / detector.reconstructor.scaler.scale))

    losses = json.loads((model_dir / "model.json").read_text())["losses"]

    assert losses["valid"]["mse"] == pytest.approx(expected, rel=1e-6)


def test_our_gaussian_gives_the_published_scores() -> None:
    """From the published reconstructions, whose absolute errors the original took.

    Its parameters are the ones that all its scores imply; to 1e-5 on normal rows, to
    1e-6 relative on the two anomalies.
    """
    gaussian = Gaussian(
        mean=np.array([2.03545623, 2.03124185]),
        covariance=np.array([[2.06902088, 1.13356129], [1.13356129, 2.07829329]]),
    )
    published = read("batch_predictions.csv")[50:]
    errors = np.abs(read("test_data.csv")[50:] - published[:, 1:])
    is_anomaly = read("test_labels.csv")[50:, 0] == 1.0

    scores = gaussian.log_likelihood(errors)

    np.testing.assert_allclose(
        scores[~is_anomaly], published[~is_anomaly, 0], rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(
        scores[is_anomaly], published[is_anomaly, 0], rtol=1e-6, atol=0
    )
