import dataclasses

import numpy as np
import pytest

from lstm_ad.scoring.detector import Scores
from lstm_ad.scoring.events import Event, event_rows, find_events
from lstm_ad.threshold.decision import Decision
from lstm_ad.threshold.tail import Tail

TAIL = Tail(np.array([-4.0, 0.0, 2.0]), fraction=0.1, scale=1.0, shape=0.2)

DECISION = Decision(
    max_alarm_rate=0.01,
    alarm_threshold=-TAIL.quantile(0.01),
    interval=(-9.0, -4.0),
    tail=TAIL,
    n_rows=1000,
    n_independent=1000,
    n_exceedances=100,
    error_range=np.zeros((2, 2)),
)
"""Alarms are scores below about -4.9."""


def scores_of(normality_score: list[float], main: int = 0) -> Scores:
    """Return scores of two series, one the main contributor, below throughout."""
    score = np.array(normality_score)
    has_none = np.isnan(score)[:, np.newaxis]
    contribution = np.where(np.arange(2) == main, 0.75, 0.25)
    direction = np.where(np.arange(2) == main, -1.0, 1.0)
    return Scores(
        normality_score=score,
        reconstruction=np.where(has_none, np.nan, np.zeros(2)),
        lasting=np.arange(len(score)),
        contribution=np.where(has_none, np.nan, contribution),
        direction=np.where(has_none, np.nan, direction),
    )


def test_an_event_says_where_how_bad_and_who() -> None:
    """Rows from the first alarm to the last; the lowest score is its peak."""
    scores = scores_of([np.nan, np.nan, 0, -6, -8, -6, 0], main=1)

    events = find_events(scores, DECISION, max_gap=0)

    (severity,) = DECISION.severity(np.array([-8.0]))
    assert 0.5 < severity < 1
    assert events == [
        Event(
            start=3,
            end=6,
            peak=4,
            normality_score=-8.0,
            severity=severity,
            lasting=4,
            series=1,
            direction=-1.0,
        )
    ]


def test_an_event_names_the_series_that_contributes_to_all_of_it() -> None:
    """Not who does at its lowest score, which may lie in the aftermath."""
    scores = dataclasses.replace(
        scores_of([-9.0, -9.0, -9.0, 0.0, -20.0]),
        contribution=np.array([[0.1, 0.9]] * 3 + [[0.5, 0.5]] + [[0.8, 0.2]]),
        direction=np.array([[1.0, -1.0]] * 2 + [[1.0, 1.0]] * 3),
    )

    (event,) = find_events(scores, DECISION, max_gap=1)

    assert (event.peak, event.series, event.direction) == (4, 1, -1.0)


@pytest.mark.parametrize(
    ("max_gap", "expected"),
    [
        (0, [(1, 3), (4, 5), (7, 8)]),
        (1, [(1, 5), (7, 8)]),
        (2, [(1, 8)]),
        (100, [(1, 8)]),
    ],
)
def test_alarms_are_one_event_over_gaps_up_to_the_largest(
    max_gap: int, expected: list[tuple[int, int]]
) -> None:
    """A gap is the rows between two alarms; the row after the last one is the end."""
    scores = scores_of([0, -9, -9, 0, -9, 0, 0, -9, 0])

    events = find_events(scores, DECISION, max_gap)

    assert [(event.start, event.end) for event in events] == expected


def test_an_event_may_reach_from_the_first_row_to_the_last() -> None:
    """Nothing has to be normal around it."""
    (event,) = find_events(scores_of([-9.0, -9.0]), DECISION, max_gap=0)

    assert (event.start, event.end, event.peak) == (0, 2, 0)


@pytest.mark.parametrize("score", [0.0, np.nan])
def test_where_nothing_is_an_anomaly_there_is_no_event(score: float) -> None:
    """Nor where nothing has a score."""
    assert find_events(scores_of([score] * 5), DECISION, max_gap=3) == []


def test_events_need_contributions() -> None:
    """No series could be named."""
    scores = dataclasses.replace(scores_of([-9.0]), contribution=None)

    with pytest.raises(ValueError, match=r"^Events need scores with contributions\.$"):
        find_events(scores, DECISION, max_gap=0)


@pytest.mark.parametrize(
    ("min_rows", "expected"),
    [(1, "0100111100110"), (2, "0000111100110"), (4, "0000111100000"), (5, "0" * 13)],
)
def test_rows_of_events_are_those_from_first_to_last(
    min_rows: int, expected: str
) -> None:
    """Normal rows between belong to them; short events can be left out."""
    is_low = np.array([0, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1, 1, 0])
    scores = scores_of((-9.0 * is_low).tolist())

    rows = event_rows(scores, DECISION, 1, min_rows)

    events = find_events(scores, DECISION, 1, min_rows)
    assert "".join(map(str, rows.astype(int))) == expected
    assert sum(event.end - event.start for event in events) == rows.sum()
