"""Several machines in one table, and rows that are absent in time."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ad.artifacts import Fit
from lstm_ad.exceptions import SeriesError
from lstm_ad.scoring import machines
from lstm_ad.scoring.detector import LSTMAD, Scores
from lstm_ad.scoring.events import find_events
from lstm_ad.scoring.machines import score, tracks

MAX_GAP = 4
STEP = 60


@pytest.fixture(scope="module", params=["apart", "overlapping"])
def detector(
    request: pytest.FixtureRequest, tiny_fit: Fit, overlapping_fit: Fit
) -> LSTMAD:
    """Return a detector of each layout that holds missing values."""
    fits = {"apart": tiny_fit, "overlapping": overlapping_fit}
    detector = fits[request.param].detector
    reconstructor = dataclasses.replace(detector.reconstructor, max_gap=MAX_GAP)
    return dataclasses.replace(detector, reconstructor=reconstructor)


def same(found: Scores, expected: Scores, rows: object = slice(None)) -> bool:
    """Return whether scores are those of some rows of others, to the last bit.

    Where no events were looked for, nothing is said of them.
    """
    return all(
        np.array_equal(
            getattr(found, field.name),
            getattr(expected, field.name)[rows],
            equal_nan=True,
        )
        for field in dataclasses.fields(Scores)
        if getattr(expected, field.name) is not None
    )


def all_scores(
    detector: LSTMAD, values: np.ndarray, numbers: Sequence[int], **of_tracks: object
) -> Scores:
    """Return the scores of a table with contributions, joined."""
    found = tracks(len(values), np.array(numbers), **of_tracks)
    return Scores.joined(score(detector, values, found, with_contributions=True)[0])


@given(data=st.data())
@settings(max_examples=25)
def test_each_machine_is_scored_as_if_it_were_alone(
    data: st.DataObject, detector: LSTMAD, make_series: Callable[..., np.ndarray]
) -> None:
    """However their rows are mixed; and the beginning of a table as the whole is."""
    n_rows = data.draw(st.integers(50, 120))
    some = st.integers(0, data.draw(st.integers(1, 4)))
    numbers = np.array(data.draw(st.lists(some, min_size=n_rows, max_size=n_rows)))
    numbers[: detector.n_unscored + 2] = 0
    values = make_series(n_rows, seed=1) * (1 + numbers[:, np.newaxis] / 10)

    found = all_scores(detector, values, numbers)

    for number in np.unique(numbers):
        rows = np.flatnonzero(numbers == number)
        if len(rows) > detector.n_unscored:
            alone = detector.score(values[rows], with_contributions=True)
            assert same(found.at(rows), alone)
        else:
            assert np.isnan(found.normality_score[rows]).all()
    n_first = data.draw(st.integers(detector.n_unscored + 1, n_rows))
    beginning = all_scores(detector, values[:n_first], numbers[:n_first])
    np.testing.assert_allclose(
        beginning.normality_score, found.normality_score[:n_first], rtol=1e-9
    )


@given(data=st.data())
@settings(max_examples=25)
def test_absent_rows_are_scored_as_rows_of_missing_values(
    data: st.DataObject, detector: LSTMAD, make_series: Callable[..., np.ndarray]
) -> None:
    """Where they are few the series goes on, where they are many it starts anew."""
    n_machines = data.draw(st.integers(1, 2))
    whole, times, numbers, expected = [], [], [], []
    for number in range(n_machines):
        lengths = st.tuples(st.integers(1, 40), st.integers(1, 2 * MAX_GAP))
        present: list[bool] = []
        for n_there, n_absent in data.draw(st.lists(lengths, min_size=1, max_size=3)):
            present += [True] * n_there + [False] * n_absent
        present += [True] * (detector.n_unscored + 2)
        series = make_series(len(present), seed=number)
        series[~np.array(present)] = np.nan
        at = np.flatnonzero(present)
        whole.append(series[at])
        times.append(at * STEP + number)
        numbers.append(np.full(len(at), number))
        expected.append(detector.score(series, with_contributions=True).at(at))
    order = np.argsort(np.concatenate(times), kind="stable")

    found = all_scores(
        detector,
        np.concatenate(whole)[order],
        np.concatenate(numbers)[order],
        times=np.concatenate(times)[order],
        step=STEP,
        max_gap=MAX_GAP,
    )

    assert same(found, Scores.joined(expected), order)


def test_events_are_those_of_each_machine_in_rows_of_the_table(
    detector: LSTMAD, make_series: Callable[..., np.ndarray]
) -> None:
    """In the order of their first rows; what is absent is not counted."""
    numbers = np.tile([0, 1], 100)
    values = make_series(200, seed=5)
    values[numbers == 1] = make_series(100, seed=6)
    values[[61, 120], 0] += 1000.0
    times = np.repeat(np.arange(100), 2) * STEP
    times[140:] += 2 * STEP

    found = tracks(200, numbers, times, STEP, MAX_GAP)
    parts, events = score(detector, values, found, True, min_rows=1)

    assert Scores.joined(parts).normality_score[[61, 120]].max() < -100
    assert [event.start for event in events] == [61, 120]
    for event, track in zip(events, reversed(found), strict=True):
        alone = np.full((track.n_steps, 2), np.nan)
        alone[track.steps] = values[track.rows]
        scores = detector.score(alone, with_contributions=True)
        (of_machine,) = find_events(scores, detector.decision, detector.event_gap)
        assert track.in_table(of_machine) == event
        assert of_machine.start == event.start // 2


def test_a_table_of_one_machine_without_gaps_is_not_copied() -> None:
    """It is scored as it stands."""
    assert tracks(5) == []
    assert tracks(5, np.zeros(5, int), np.arange(5) * STEP, STEP, MAX_GAP) == []


def test_a_long_gap_takes_no_more_memory_than_the_longest_that_is_held() -> None:
    """Centuries between two rows, in nanoseconds."""
    times = np.array([-(2**63), 0, 1, 2**63 - 1])

    (track,) = tracks(4, times=times, step=1, max_gap=MAX_GAP)

    assert track.steps.tolist() == [0, MAX_GAP + 2, MAX_GAP + 3, 2 * MAX_GAP + 5]


def test_what_cannot_be_scored_is_refused(
    detector: LSTMAD,
    make_series: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No machine has enough rows; or almost all rows would be inserted."""
    n_each = detector.n_unscored
    numbers = np.tile([0, 1], n_each)
    with pytest.raises(SeriesError) as too_short:
        score(detector, make_series(2 * n_each), tracks(2 * n_each, numbers))
    monkeypatch.setattr(machines, "_MOST_INSERTED", 50)
    gaps = tracks(30, times=np.arange(30) * 3 * STEP, step=STEP, max_gap=MAX_GAP)
    with pytest.raises(SeriesError) as too_sparse:
        score(detector, make_series(30), gaps)

    assert str(too_short.value) == (
        f"No machine has enough rows: the longest of 2 series has {n_each}, but at "
        f"least {n_each + 1} are needed, because the first {n_each} rows of each have "
        f"no score."
    )
    assert str(too_sparse.value).startswith(
        "Of row 1 to row 30, more rows are absent in time than were sent; send "
    )
