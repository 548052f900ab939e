"""What is counted of requests and rows."""

import contextlib
import dataclasses

import numpy as np
import pytest

from lstm_ad.model.off import Comparison
from lstm_ad.quality.drift import RANKS
from lstm_ad.scoring.detector import LSTMAD
from sagemaker_container.monitoring.counts import SECONDS, STATUSES, Counts
from sagemaker_container.monitoring.model import ServedModel
from sagemaker_container.monitoring.recorder import RowRecorder


def test_the_rows_that_all_workers_return_are_counted(
    worker, counts, detector, make_series
):
    """Those without a score as well, in however many parts they come."""
    series = make_series(300)
    scores = detector.score(series)
    last = [scores.at(slice(260, 290)), scores.at(slice(290, None))]
    worker(0).rows.returned(series, [scores])
    worker(1).rows.returned(series[260:], last)
    totals = counts.totals()

    anomalies = scores.anomalies(detector.decision)
    assert totals.rows == 340
    assert totals.scored == 290 + 40
    assert totals.anomalies == anomalies.sum() + anomalies[260:].sum()
    assert totals.ranks.sum() == totals.scored
    assert totals.missing == 0


def test_anomalies_and_ranks_are_counted(worker, counts, detector, make_series):
    """A rank says how rare a score is on calibration data: spikes are the rarest."""
    series = make_series(200)
    series[100:103, 0] += 1e6

    worker(0).rows.returned(series, list(detector.score_in_parts(series)))

    totals = counts.totals()
    assert totals.anomalies >= 3
    assert totals.ranks[RANKS.index(0.001)] >= 3


def test_missing_values_are_counted(worker, counts: Counts, detector, make_series):
    """They are no values of any series."""
    series = make_series(200)
    scores = detector.score(series)
    series[20:30, 1] = np.nan

    worker(0).rows.returned(series, [scores])

    assert counts.totals().missing == 10
    assert counts.last_rows(2).n_values.sum(axis=0).tolist() == [200, 190]
    assert np.isfinite(counts.last_rows(2).sums).all()


@pytest.mark.parametrize("n_rows", [11, 250, 251, 12_345])
def test_of_many_rows_all_count_and_the_last_are_kept(
    worker, counts: Counts, detector: LSTMAD, make_series, n_rows: int
) -> None:
    """The sums of one large request are those of its last rows."""
    series = make_series(n_rows)
    worker(0).rows.returned(series, list(detector.score_in_parts(series)))
    blocks = counts.last_rows(2)

    n_kept = int(blocks.n_values[:, 0].sum())
    scaler = detector.reconstructor.scaler
    expected = ((series[n_rows - n_kept :] - scaler.mean) / scaler.scale).sum(axis=0)
    assert counts.totals().rows == n_rows
    assert min(n_rows, 10_000) <= n_kept <= min(n_rows, 10_250)
    np.testing.assert_allclose(blocks.sums.sum(axis=0), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("status", "counted"), [(200, "200"), (503, "503"), (418, "other")]
)
def test_answers_are_counted_by_known_statuses(worker, counts, status, counted):
    """Nothing that a client sends makes another label."""
    worker(0).requests.answered(status)

    assert counts.totals().requests.tolist() == [int(s == counted) for s in STATUSES]


def test_durations_are_counted_up_to_their_bounds(worker, counts: Counts) -> None:
    """A bound belongs to its bin; the last bin has none."""
    for seconds in (0.0, 0.0025, 0.003, 999.0):
        worker(0).requests.sent(seconds)

    expected = [2, 1, *[0] * (len(SECONDS) - 3), 1]
    assert counts.totals().durations.tolist() == expected
    assert counts.totals().seconds == pytest.approx(999.0055)


def test_a_request_is_held_until_it_has_ended(worker, counts: Counts) -> None:
    """Even by an exception."""
    requests = worker(0).requests

    with contextlib.suppress(ZeroDivisionError), requests.holding():
        with requests.holding():
            held = counts.n_held
        _ = 1 / 0

    assert held == 2
    assert counts.n_held == 0


def test_rows_in_which_the_machine_is_off_do_not_drift(
    counts: Counts, model: ServedModel, detector: LSTMAD, make_series
) -> None:
    """They are returned and have no score; nothing says what they should be."""
    knows_off = dataclasses.replace(detector, off_when=(Comparison(1, "<", -999.0),))
    series = make_series(5_000)
    series[100:3_000, 1] = -1000.0
    parts = list(knows_off.score_in_parts(series))
    recorder = RowRecorder(counts.slot(0), model.reference, model.decision)

    recorder.returned(series, parts)

    blocks = counts.last_rows(2)
    assert counts.totals().rows == 5_000
    assert counts.totals().scored <= 2_100
    assert blocks.n_values.sum(axis=0).tolist() == [2_100, 2_100]
    assert abs(blocks.sums.sum() / blocks.n_values.sum()) < 0.1
