"""The loop over a growing series in docs/serving.md, run as it stands, by a client.

The client is the one that sagemaker-core calls endpoints on this machine with; what it
is called with is what boto3 accepts.
"""

import dataclasses
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import botocore.session
import numpy as np
import pytest
from botocore.validate import ParamValidator

from lstm_ad import artifacts
from lstm_ad.artifacts import Fit
from lstm_ad.data.schema import Clock, Column, Role, Schema, TimeForm

DOCUMENT = (Path(__file__).parents[2] / "docs/serving.md").read_text()
(LOOP,) = re.findall(r"^```python\n(.*?last:.*?)^```", DOCUMENT, re.DOTALL | re.M)

INVOKE_ENDPOINT = (
    botocore.session.get_session()
    .get_service_model("sagemaker-runtime")
    .operation_model("InvokeEndpoint")
    .input_shape
)


@pytest.fixture
def stream(
    tmp_path: Path,
    start_server: Callable[..., Any],
    as_csv: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., np.ndarray]]:
    """Return the function that scores a series with the loop, some rows at a time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own dependencies are full of them
        from sagemaker.core.local import local_session

    def run(
        fitted: Fit,
        series: np.ndarray,
        n_new: int,
        carried: Sequence[str] = (),
        **constants: int,
    ) -> np.ndarray:
        artifacts.save(tmp_path / "model", fitted)
        server = start_server(tmp_path)
        client = local_session.LocalSagemakerRuntimeClient(
            {"local": {"serving_port": server.port}}
        )
        invoke = client.invoke_endpoint

        def checked(**parameters: Any) -> Any:
            report = ParamValidator().validate(parameters, INVOKE_ENDPOINT)
            assert not report.has_errors(), report.generate_report()
            return invoke(**parameters)

        monkeypatch.setattr(client, "invoke_endpoint", checked)
        monkeypatch.setattr(boto3, "client", {"sagemaker-runtime": client}.get)
        loop = LOOP
        for name, value in constants.items():
            loop, n_times = re.subn(rf"(?m)^({name} +=) \d+", rf"\1 {value}", loop)
            assert n_times == 1
        lines = as_csv(series).decode().splitlines()
        if carried:
            lines = [",".join(cells) for cells in zip(carried, lines, strict=True)]
        arrived = [lines[i : i + n_new] for i in range(0, len(lines), n_new)]
        answers: list[str] = []
        exec(loop, {"arriving": lambda: arrived, "act_on": answers.extend})
        if carried:
            cells, answers = zip(*(a.split(",", 1) for a in answers), strict=True)
            assert list(cells) == list(carried[-len(cells) :])
            answers = list(answers)
        # Before the first answer there was nothing to say.
        answers[:0] = [","] * (len(lines) - len(answers))
        return np.array([[float(c or "nan") for c in a.split(",")] for a in answers])

    with patch.object(local_session, "get_docker_host", return_value="localhost"):
        yield run


@pytest.fixture
def series(make_series: Callable[..., np.ndarray]) -> np.ndarray:
    """Return a series with an anomaly."""
    series = make_series(199, seed=5)
    series[122] += 10.0
    return series


@pytest.mark.parametrize("n_new", [1, 7, 25])
def test_rows_that_arrive_one_after_the_other_have_the_scores_of_the_whole(
    stream: Callable[..., np.ndarray], tiny_fit: Fit, series: np.ndarray, n_new: int
) -> None:
    """Every row of them, but for the last digit, and every decision."""
    detector = tiny_fit.detector
    expected = detector.score(series).normality_score

    found = stream(tiny_fit, series, n_new, FIRST=10, KEPT=10, STEP=10)

    assert len(found) == 199
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-12)
    is_anomaly = detector.decision.is_anomaly(expected)
    assert is_anomaly[122]
    assert (found[10:, 1] == is_anomaly[10:]).all()


def test_with_times_rows_that_arrive_one_after_the_other_are_scored_as_the_whole(
    stream: Callable[..., np.ndarray], tiny_fit: Fit, series: np.ndarray
) -> None:
    """The loop needs no change: each row goes and comes with its time."""
    columns = (Column("timestamp", Role.TIMESTAMP), *tiny_fit.detector.schema.columns)
    schema = Schema(columns, is_named=False, clock=Clock(TimeForm.ISO, 10**9))
    detector = dataclasses.replace(tiny_fit.detector, schema=schema)
    fitted = dataclasses.replace(tiny_fit, detector=detector)
    times = [f"2024-05-01 13:{row // 60:02d}:{row % 60:02d}" for row in range(199)]

    found = stream(fitted, series, 7, carried=times, FIRST=10, KEPT=10, STEP=10)

    expected = detector.score(series).normality_score
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("n_new", [1, 7])
def test_where_sequences_overlap_the_scores_come_near(
    stream: Callable[..., np.ndarray],
    overlapping_fit: Fit,
    series: np.ndarray,
    n_new: int,
) -> None:
    """With six times the context before the new rows, and those of the smoothing."""
    expected = overlapping_fit.detector.score(series).normality_score

    found = stream(overlapping_fit, series, n_new, FIRST=14, KEPT=6 * 10 + 3, STEP=2)

    assert len(found) == 199
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-3)
