"""Lines in the Embedded Metric Format, one a minute of all workers."""

import fcntl
import json
import os
import time
from collections.abc import Callable

import jsonschema
import numpy as np
import pytest

from sagemaker_container.monitoring.counts import SECONDS, Counts
from sagemaker_container.monitoring.emf import UNITS, EmfWriter, quantile
from sagemaker_container.monitoring.model import ServedModel

NAME = {"type": "string", "minLength": 1, "maxLength": 255}
SPECIFICATION = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "additionalProperties": False,
            "properties": {
                "Timestamp": {"type": "integer", "minimum": 10**12},
                "CloudWatchMetrics": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "additionalProperties": False,
                        "properties": {
                            "Namespace": NAME,
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "type": "array",
                                    "maxItems": 9,
                                    "items": NAME,
                                },
                            },
                            "Metrics": {
                                "type": "array",
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "Name": NAME,
                                        "Unit": {
                                            "enum": ["Count", "Milliseconds", "None"]
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}
"""The rules of CloudWatch's specification, with the units that are used here."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time by which lines are due, in seconds; a test moves it."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def lines() -> list[str]:
    """Return the lines that were written."""
    return []


@pytest.fixture
def writer(
    counts: Counts, model: ServedModel, lines: list[str]
) -> Callable[[], EmfWriter]:
    """Return the function that makes the writer of a worker."""
    return lambda: EmfWriter("LSTM-AD", "", counts, model, lines.append)


def metrics_of(line: str) -> dict[str, float]:
    """Return the metrics of a line, which is as CloudWatch reads it."""
    document = json.loads(line)
    jsonschema.validate(document, SPECIFICATION)
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    assert len(line) < 256 * 1024
    assert "\n" not in line
    assert directive["Dimensions"] == [["Model"]]
    assert isinstance(document["Model"], str)
    units = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    assert units == {name: UNITS[name] for name in units}
    return {name: document[name] for name in units}


def test_a_line_a_minute_is_about_all_workers(
    worker, writer, clock, lines, make_series, detector
) -> None:
    """Whichever writes it, and only about what came since the last one."""
    workers = [writer(), writer()]
    series = make_series(110)
    series[50, 1] += 1e6
    for tick in range(150):
        clock[0] = 1000.0 + tick
        if tick == 30:
            missing = series.copy()
            missing[:11, 0] = np.nan
            scores = detector.score(series)
            worker(0).rows.returned(missing, [scores])
            worker(1).rows.returned(series[100:], [scores.at(slice(100, None))])
            worker(1).requests.sent(0.02)
        for one in workers[:: 1 if tick % 2 else -1]:
            one.write_if_due()
    first, second = map(metrics_of, lines)

    assert first["Rows"] == 120
    assert first["Anomalies"] >= 1
    assert first["AlarmRate"] == pytest.approx(first["Anomalies"] / 110)
    assert first["MissingShare"] == pytest.approx(11 / 240)
    assert 10 < first["P99Milliseconds"] <= 25
    assert second == {"Rows": 0, "Anomalies": 0}
    assert json.loads(lines[0])["Model"] == "01234567"
    assert json.loads(lines[0])["_aws"]["CloudWatchMetrics"][0]["Namespace"] == (
        "LSTM-AD"
    )


def test_a_line_says_how_far_the_data_have_drifted(
    worker, counts, model, lines, make_series, detector
) -> None:
    """Under the name that an operator gave the model."""
    series = make_series(5_000)
    parts = list(detector.score_in_parts(series))
    worker(0).rows.returned(series + 100, parts)

    EmfWriter("LSTM-AD", "pump-7", counts, model, lines.append).write()

    assert metrics_of(lines[0])["DriftIndex"] > 0.25
    assert json.loads(lines[0])["Model"] == "pump-7"


def test_a_worker_that_writes_keeps_the_others_from_it(
    writer, counts: Counts, clock, lines
) -> None:
    """Until it has written or is gone: what it locks is given back with it."""
    writer().write_if_due()
    clock[0] += 60
    ready, go = os.pipe(), os.pipe()
    if (process := os.fork()) == 0:
        fcntl.lockf(counts.lock, fcntl.LOCK_EX)
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os.kill(os.getpid(), 9)
    os.read(ready[0], 1)
    writer().write_if_due()
    while_it_writes = list(lines)
    os.write(go[1], b"x")
    os.waitpid(process, 0)
    writer().write_if_due()

    assert while_it_writes == []
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("durations", "probability", "expected"),
    [
        ({0: 100}, 0.5, 0.00125),
        ({1: 99, 9: 1}, 0.99, 0.005),
        ({9: 1}, 0.99, SECONDS[-2]),
        ({4: 50, 5: 50}, 0.99, 0.099),
    ],
)
def test_quantiles_are_read_off_the_histogram(durations, probability, expected):
    """In proportion within a bin; beyond the last bound, it is the bound."""
    counted = np.zeros(len(SECONDS), dtype=np.int64)
    for number, count in durations.items():
        counted[number] = count

    assert quantile(counted, probability) == pytest.approx(expected)


def test_by_default_lines_go_to_the_standard_output(
    counts, model, capsys: pytest.CaptureFixture[str]
) -> None:
    """With nothing before them, or CloudWatch would not find them."""
    EmfWriter("LSTM-AD", "", counts, model).write()

    assert metrics_of(capsys.readouterr().out.removesuffix("\n")) == {
        "Rows": 0,
        "Anomalies": 0,
    }
