import contextlib
import dataclasses
import json
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from lstm_ad.artifacts import Fit
from lstm_ad.exceptions import SeriesError
from lstm_ad.parallel import Cores
from lstm_ad.scoring.detector import LSTMAD
from lstm_ad.scoring.events import event_rows, find_events
from lstm_ad.threshold.decision import LabelledThreshold
from sagemaker_container.formats.columns import (
    CSV,
    DEFAULT_COLUMNS,
    JSON,
    JSON_LINES,
    OUTPUTS,
    column_names,
)
from sagemaker_container.formats.csv_answer import write_scores
from sagemaker_container.formats.frame import Frame
from sagemaker_container.formats.table import Table
from sagemaker_container.http import answers
from sagemaker_container.http.answers import answer as measured
from sagemaker_container.http.request import Asked
from sagemaker_container.monitoring.monitor import Monitor

SCHEMA = json.loads(
    (Path(__file__).parents[3] / "docs" / "answer.schema.json").read_text()
)
ROW = {"$ref": "#/$defs/row", "$defs": SCHEMA["$defs"]}

SPIKES = [60, 61, 64, 140, 199]
"""Rows of the series where the first of the two is far too high, or far too low."""


@pytest.fixture(params=["apart", "overlapping"])
def detector(request: pytest.FixtureRequest, tiny_fit: Fit, overlapping_fit: Fit):
    """Return a detector of each layout."""
    fits = {"apart": tiny_fit, "overlapping": overlapping_fit}
    return fits[request.param].detector


@pytest.fixture
def series(make_series) -> np.ndarray:
    """Return a series with some spikes."""
    series = make_series(200, seed=5)
    series[SPIKES[:3], 0] += 1000.0
    series[SPIKES[3:], 1] -= 1000.0
    return series


def answer(detector: LSTMAD, series: np.ndarray, asked: Asked) -> str:
    """Return the text of an answer."""
    return b"".join(measured(detector, Table(series), asked)[1]).decode()


def objects(detector: LSTMAD, series: np.ndarray, n_last: int | None = None) -> list:
    """Return the rows of an answer in JSON Lines."""
    text = answer(detector, series, Asked(JSON_LINES, n_last=n_last))
    assert text.endswith("\n")
    return [json.loads(line) for line in text[:-1].split("\n")]


def table(text: str) -> np.ndarray:
    """Return the numbers of CSV, empty cells as NaN."""
    lines = text.removesuffix("\n").split("\n")
    return np.array([[float(c or "nan") for c in line.split(",")] for line in lines])


def test_by_default_the_bytes_are_those_of_always(
    detector: LSTMAD, series: np.ndarray
) -> None:
    """As a list, whose length can be announced; also where they are asked for."""
    scores = detector.score(series)

    length, text = measured(detector, Table(series), Asked(CSV, DEFAULT_COLUMNS))

    assert length == len(write_scores(scores))
    assert b"".join(text) == write_scores(scores)


def test_every_column_is_what_the_detector_says(
    detector: LSTMAD, series: np.ndarray
) -> None:
    """To the last bit, in the order of the request; no cell of a row without score."""
    scores = detector.score(series, with_contributions=True)
    decision = detector.decision
    lower, upper = decision.normal_range(scores.reconstruction)
    is_scored = ~np.isnan(scores.normality_score)
    expected = np.column_stack(
        [
            upper,
            np.where(is_scored, scores.anomalies(decision), np.nan),
            scores.contribution,
            np.where(is_scored, decision.threshold, np.nan),
            scores.normality_score,
            lower,
            decision.severity(scores.normality_score),
            scores.reconstruction,
            np.where(is_scored, scores.lasting, np.nan),
            scores.n_missing,
            np.where(
                is_scored, event_rows(scores, decision, detector.event_gap), np.nan
            ),
            np.full(200, np.nan)
            if scores.regime is None
            else np.where(is_scored, scores.regime >= 0, np.nan),
        ]
    )
    columns = ("upper", "is_anomaly", "contribution", "threshold", "score", "lower")
    columns += (
        "severity",
        "reconstruction",
        "lasting",
        "missing",
        "is_event",
        "regime",
    )

    text = answer(detector, series, Asked(CSV, columns))

    assert set(columns) == set(OUTPUTS)
    assert np.array_equal(table(text), expected, equal_nan=True)
    assert text.startswith("," * 12 + ",0,,\n")
    assert {line.split(",")[2] for line in text.splitlines()} == {"", "0", "1"}


@pytest.mark.parametrize("column", OUTPUTS)
def test_a_column_alone_has_a_line_per_row(
    detector: LSTMAD, series: np.ndarray, column: str
) -> None:
    """With a name at the head of each of its cells, if asked for."""
    n_unscored = detector.reconstructor.network.layout.n_unscored
    names = column_names([column], Frame(("1", "2")))

    text = answer(detector, series, Asked(CSV, (column,), has_header=True))

    head, *lines, end = text.split("\n")
    assert head == ",".join(names)
    assert end == ""
    assert len(lines) == 200
    nothing = "0" if column == "missing" else "," * (len(names) - 1)
    assert [line == nothing for line in lines] == [
        row < n_unscored
        or column == "missing"
        or (column == "regime" and detector.seen is None)
        for row in range(200)
    ]


def test_only_what_is_asked_for_is_computed(
    detector: LSTMAD, series: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contributions take longer than scores, and most answers have none."""
    columns = tuple(name for name in OUTPUTS if name != "contribution")
    monkeypatch.delattr(type(detector.gaussian), "distance_drops")

    assert answer(detector, series, Asked())
    assert answer(detector, series, Asked(CSV, columns, True, 50))
    with pytest.raises(AttributeError, match="distance_drops"):
        answer(detector, series, Asked(CSV, ("contribution",)))


def test_rows_in_json_lines_say_what_the_detector_says(
    detector: LSTMAD, series: np.ndarray
) -> None:
    """Each one is as the schema has it, and its numbers are the detector's bits."""
    scores = detector.score(series, with_contributions=True)
    severity = detector.decision.severity(scores.normality_score)
    is_anomaly = scores.anomalies(detector.decision)
    n_unscored = detector.reconstructor.network.layout.n_unscored

    rows = objects(detector, series)

    validator = jsonschema.Draft202012Validator(ROW)
    assert [error for row in rows for error in validator.iter_errors(row)] == []
    assert len(rows) == 200
    assert [row["prediction_reason"] for row in rows[:n_unscored]] == [
        "WARM_UP"
    ] * n_unscored
    scored = rows[n_unscored:]
    assert [row["prediction"] for row in scored] == is_anomaly[n_unscored:].tolist()
    reasons = np.where(is_anomaly, "ANOMALY_DETECTED", "NO_ANOMALY_DETECTED")
    if scores.tells_regime is not None:
        reasons = np.where(scores.tells_regime, "UNSEEN_REGIME", reasons)
    assert [row["prediction_reason"] for row in scored] == reasons[n_unscored:].tolist()
    assert [row["anomaly_score"] for row in scored] == severity[n_unscored:].tolist()
    assert [row["normality_score"] for row in scored] == scores.normality_score[
        n_unscored:
    ].tolist()
    assert [row["reconstruction"] for row in scored] == scores.reconstruction[
        n_unscored:
    ].tolist()
    assert [[d["value"] for d in row["diagnostics"]] for row in scored] == (
        scores.contribution[n_unscored:].tolist()
    )
    sides = np.where(scores.direction[n_unscored:] > 0, "above", "below")
    assert [[d["direction"] for d in row["diagnostics"]] for row in scored] == (
        sides.tolist()
    )
    assert {tuple(d["name"] for d in row["diagnostics"]) for row in scored} == {
        ("1", "2")
    }


def test_an_unseen_regime_is_one_event_that_says_so_once(
    overlapping_fit: Fit, make_series
) -> None:
    """A level never seen from row 100 on: alarms end, though no score recovers."""
    series = make_series(300, seed=5)
    series[100:, 1] += 1000.0
    detector = overlapping_fit.detector
    below = detector.score(series).normality_score < detector.decision.threshold
    assert below[100:].all()

    document = json.loads(answer(detector, series, Asked(JSON)))

    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    told = [row["prediction_reason"] == "UNSEEN_REGIME" for row in document["rows"]]
    assert np.flatnonzero(told).tolist() == [101]
    assert document["events"][0]["regime"] == "2"
    assert document["events"][0]["start_row"] == 101
    alarms = [row["prediction"] for row in document["rows"]][100:]
    assert 2 <= sum(map(bool, alarms)) < 100


def test_an_anomaly_in_json_lines_names_the_main_contributor(
    tiny_fit: Fit, series: np.ndarray
) -> None:
    """A spike of 1000 leaves no doubt, neither of the series nor of the direction."""
    rows = objects(tiny_fit.detector, series)

    for spike in SPIKES:
        row = rows[spike]
        main = max(row["diagnostics"], key=lambda d: d["value"])
        assert (row["prediction"], row["anomaly_score"]) == (1, 1.0)
        assert (main["name"], main["direction"]) == (
            ("1", "above") if spike < 100 else ("2", "below")
        )


def test_json_is_the_rows_the_threshold_and_the_events(
    detector: LSTMAD, series: np.ndarray
) -> None:
    """The rows are those of JSON Lines; events are counted as a person counts."""
    scores = detector.score(series, with_contributions=True)
    events = find_events(scores, detector.decision, detector.event_gap)

    document = json.loads(answer(detector, series, Asked(JSON)))

    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert document["threshold"] == detector.decision.threshold
    assert document["first_row"] == 1
    assert document["rows"] == objects(detector, series)
    assert len(events) >= 2
    assert document["events"] == [
        {
            "start_row": event.start + 1,
            "end_row": event.end,
            "peak_row": event.peak + 1,
            "anomaly_score": event.severity,
            "normality_score": event.normality_score,
            "lasting": event.lasting,
            "name": str(event.series + 1),
            "direction": "above" if event.direction > 0 else "below",
            **({} if event.regime is None else {"regime": str(event.regime + 1)}),
        }
        for event in events
    ]
    for event in document["events"]:
        of_event = document["rows"][event["start_row"] - 1 : event["end_row"]]
        peak = document["rows"][event["peak_row"] - 1]
        assert of_event[0]["prediction"] == of_event[-1]["prediction"] == 1
        assert peak["normality_score"] == event["normality_score"]
        assert peak["normality_score"] == min(r["normality_score"] for r in of_event)


@pytest.mark.parametrize("n_last", [1, 2, 60, 136, 199, 200, 201, 10**17])
def test_the_last_rows_are_the_end_of_all_rows(
    detector: LSTMAD, series: np.ndarray, n_last: int
) -> None:
    """In any format; all of them, if there are no more. A header stays at the head."""
    columns = ("is_anomaly", "score", "contribution")
    lines = answer(detector, series, Asked(CSV, columns)).splitlines()
    rows = objects(detector, series)
    events = json.loads(answer(detector, series, Asked(JSON)))["events"]

    csv = answer(detector, series, Asked(CSV, columns, True, n_last))
    document = json.loads(answer(detector, series, Asked(JSON, n_last=n_last)))

    first_row = max(1, 201 - n_last)
    assert csv.splitlines()[1:] == lines[-n_last:]
    assert csv.startswith("is_anomaly,score,contribution_1,contribution_2\n")
    assert objects(detector, series, n_last) == rows[-n_last:]
    assert document["rows"] == rows[-n_last:]
    assert document["first_row"] == first_row
    assert document["events"] == [e for e in events if e["end_row"] >= first_row]


@pytest.mark.parametrize("asked", [Asked(), Asked(JSON_LINES)])
def test_rows_are_written_while_the_network_computes_the_next(
    tiny_fit: Fit, make_series, asked: Asked
) -> None:
    """Else one core would write while the other waits."""
    order = []

    class Watched(Cores):
        def map(self, function: Callable, items: Iterable) -> Iterator:
            return super().map(
                lambda item: [order.append("run"), function(item)][1], items
            )

        @contextlib.contextmanager
        def turn(self) -> Iterator[None]:
            with super().turn():
                order.append("write")
                yield

    detector = tiny_fit.detector
    reconstructor = dataclasses.replace(detector.reconstructor, cores=Watched())
    detector = dataclasses.replace(detector, reconstructor=reconstructor)

    measured(detector, Table(make_series(20_000)), asked)

    until_last_run = order[: len(order) - order[::-1].index("run")]
    assert until_last_run.count("write") > order.count("write") // 2 > 10


@pytest.mark.parametrize("max_scored", [answers.MAX_SCORED, 0])
@pytest.mark.parametrize(
    "asked", [Asked(), Asked(CSV, tuple(OUTPUTS)), Asked(JSON_LINES), Asked(JSON)]
)
def test_a_long_answer_has_a_length_and_is_not_held(
    tiny_fit: Fit,
    make_series,
    asked: Asked,
    max_scored: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond the limit it is written twice, in small pieces: the bytes are the same.

    They are also the same where the scores themselves are not held.
    """
    series = make_series(20_000)
    length, held = measured(tiny_fit.detector, Table(series), asked)
    monkeypatch.setattr(answers, "MAX_HELD", length - 1)
    monkeypatch.setattr(answers, "MAX_SCORED", max_scored)

    announced, pieces = measured(tiny_fit.detector, Table(series), asked)

    assert isinstance(held, list)
    assert isinstance(pieces, Iterator)
    sent = list(pieces)
    assert length == announced == sum(map(len, sent))
    assert sent == held
    assert max(map(len, sent)) < length / 20


def test_of_an_answer_that_will_be_long_nothing_is_held(
    tiny_fit: Fit, make_series, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the limit it would be held for nothing: its first lines tell."""
    detector, table = tiny_fit.detector, Table(make_series(40_000))
    length, whole = measured(detector, table, Asked())
    monkeypatch.setattr(answers, "MAX_HELD", length * 2 // 3)
    monkeypatch.setattr(answers, "MAX_SCORED", 0)
    monkeypatch.setattr(answers, "SAMPLE_BYTES", length // 20)

    tracemalloc.start()
    announced, pieces = measured(detector, table, Asked())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < length / 2
    assert announced == length
    assert b"".join(pieces) == b"".join(whole)


@pytest.mark.parametrize("content_type", [CSV, JSON, JSON_LINES])
def test_a_series_that_cannot_be_scored_is_refused_before_anything_is_written(
    detector: LSTMAD, series: np.ndarray, content_type: str
) -> None:
    """A status cannot be taken back."""
    with pytest.raises(
        SeriesError, match=r"^The series is too short: 3 rows were found"
    ):
        measured(detector, Table(series[:3]), Asked(content_type, n_last=1))


@pytest.mark.parametrize("max_scored", [answers.MAX_SCORED, 0])
@pytest.mark.parametrize("n_last", [None, 90])
@pytest.mark.parametrize("content_type", [CSV, JSON, JSON_LINES])
def test_the_rows_of_an_answer_are_counted_once(
    detector: LSTMAD,
    series: np.ndarray,
    content_type: str,
    n_last: int | None,
    max_scored: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where it is written twice, and those alone that are returned."""
    monkeypatch.setattr(answers, "MAX_HELD", 0)
    monkeypatch.setattr(answers, "MAX_SCORED", max_scored)
    monitor = Monitor.alone(detector)
    asked = Asked(content_type, n_last=n_last)

    _, pieces = measured(detector, Table(series), asked, monitor.rows)
    list(pieces)

    totals = monitor.counts.totals()
    n_unscored = 0 if n_last else detector.n_unscored
    assert totals.rows == (n_last or len(series))
    assert totals.scored == totals.rows - n_unscored


@pytest.mark.parametrize("content_type", [CSV, JSON])
def test_another_alarm_rate_has_the_threshold_of_its_own(
    detector: LSTMAD, series: np.ndarray, content_type: str
) -> None:
    """As if the model had been trained with it; a threshold from labels is ignored."""
    labelled = LabelledThreshold(1e9, 1.0, 0.5, 0.5, 0.5, 100, 10)
    decision = dataclasses.replace(detector.decision, labelled=labelled)
    rate = dataclasses.replace(
        detector.decision,
        max_alarm_rate=0.2,
        alarm_threshold=-detector.decision.tail.quantile(0.2),
    )
    columns = ("threshold", "is_anomaly", "severity", "is_event")

    found = answer(
        dataclasses.replace(detector, decision=decision),
        series,
        Asked(content_type, columns, max_alarm_rate=0.2),
    )

    expected = dataclasses.replace(detector, decision=rate)
    assert found == answer(expected, series, Asked(content_type, columns))
    assert found != answer(detector, series, Asked(content_type, columns))


def test_short_events_can_be_left_out(detector: LSTMAD, series: np.ndarray) -> None:
    """What an anomaly is stays as it is."""
    scores = detector.score(series, with_contributions=True)
    found = find_events(scores, detector.decision, detector.event_gap)
    lengths = sorted(event.end - event.start for event in found)
    asked = Asked(CSV, ("is_anomaly", "is_event"), min_rows=lengths[0] + 1)

    rows = table(answer(detector, series, asked))
    document = json.loads(
        answer(detector, series, Asked(JSON, min_rows=lengths[0] + 1))
    )

    kept = [event for event in found if event.end - event.start > lengths[0]]
    is_event = np.zeros(len(series))
    for event in kept:
        is_event[event.start : event.end] = 1
    is_event[np.isnan(scores.normality_score)] = np.nan
    assert 0 < len(kept) < len(found)
    np.testing.assert_array_equal(rows[:, 1], is_event)
    assert np.nansum(rows[:, 0]) == np.sum(
        detector.decision.is_anomaly(scores.normality_score)
    )
    assert [event["start_row"] for event in document["events"]] == [
        event.start + 1 for event in kept
    ]


@pytest.mark.parametrize("n_top", [1, 2, 99])
def test_diagnostics_can_be_those_of_the_largest_contributions(
    detector: LSTMAD, series: np.ndarray, n_top: int
) -> None:
    """The largest first; the values are those of all series."""
    every = answer(detector, series, Asked(JSON_LINES)).splitlines()
    some = answer(detector, series, Asked(JSON_LINES, n_top=n_top)).splitlines()

    for whole, part in zip(map(json.loads, every), map(json.loads, some), strict=True):
        if whole["diagnostics"]:
            ordered = sorted(whole["diagnostics"], key=lambda d: -d["value"])
            whole["diagnostics"] = ordered[:n_top]
        assert whole == part
        jsonschema.validate(part, ROW)
