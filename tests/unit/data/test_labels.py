import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ad.artifacts import Fit
from lstm_ad.data.labels import (
    check,
    normal_stretches,
)
from lstm_ad.exceptions import SeriesError
from lstm_ad.threshold.decision import LabelledThreshold
from lstm_ad.threshold.labelled import BETA, best_threshold, choose_threshold

N_UNSCORED = 3


def column(*labels: float) -> np.ndarray:
    """Return labels as a file has them."""
    return np.array(labels, dtype=np.float64)[:, np.newaxis]


SERIES = {"a.csv": 8}
LABELS = column(0, 0, 0, 0, 0, 1, 0, 0)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (
            {},
            "labels/a.csv is missing: every file of the validation channel needs one "
            "of the same name, with a 0 or 1 per row.",
        ),
        (
            {"a.csv": LABELS, "b.csv": LABELS},
            "labels/b.csv has no series: there is no file of that name in the "
            "validation channel.",
        ),
        (
            {"a.csv": np.hstack([LABELS, LABELS])},
            "labels/a.csv has 2 columns; use one, with a 0 or 1 per row.",
        ),
        (
            {"a.csv": LABELS[:7]},
            "labels/a.csv has 7 rows, but validation/a.csv has 8: one label per row is "
            "needed.",
        ),
        (
            {"a.csv": column(0, 0, 0, 0, 0.5, 1, 2, 0)},
            "labels/a.csv: row 5: 0.5 was found; use 0 (normal) or 1 (anomaly).",
        ),
        (
            {"a.csv": column(1, 1, 1, 0, 0, 0, 0, 0)},
            "The labels name no anomaly that has a score: at least one 1 is needed "
            "after the first 3 rows of a file.",
        ),
        (
            {"a.csv": column(0, 0, 0, 1, 0, 0, 0, 1)},
            "The labels leave no stretch of normal rows to validate on: at least 4 "
            "rows in a row must be labelled 0.",
        ),
    ],
    ids=["missing", "too many", "wide", "short", "other values", "no 1", "no 0"],
)
def test_labels_that_do_not_fit_are_refused(
    labels: dict[str, np.ndarray], sentence: str
) -> None:
    """One sentence: what is wrong, where, and what is accepted."""
    with pytest.raises(SeriesError, match=f"^{re.escape(sentence)}$"):
        check(labels, SERIES, N_UNSCORED)


def test_labels_that_fit_are_let_pass() -> None:
    """One anomaly that has a score, and a stretch before it, in one of the files."""
    series = {**SERIES, "b.csv": 4}

    check({"a.csv": LABELS, "b.csv": column(1, 0, 1, 0)}, series, N_UNSCORED)


def test_normal_stretches_are_the_runs_between_anomalies() -> None:
    """In order, without the rows labelled 1, and none too short to be scored."""
    labels = np.zeros((20, 1))
    labels[[5, 9, 10]] = 1

    stretches = normal_stretches({"a": labels, "b": labels * 0}, N_UNSCORED)

    assert stretches == [("a", range(5)), ("a", range(11, 20)), ("b", range(20))]


def test_the_best_threshold_by_hand() -> None:
    """Two of three anomalies below all normal rows: precision 1, recall 2/3.

    All three would take three false alarms with them.
    """
    scores = np.array([-9.0, -8.0, -5.0, -4.0, -3.0, -2.0, 1.0])
    is_anomaly = np.array([True, True, False, False, False, True, False])

    found = best_threshold(scores, is_anomaly, near=-6.5)

    f_beta = (1 + 0.01) * (1 * 2 / 3) / (0.01 * 1 + 2 / 3)
    assert found == LabelledThreshold(
        threshold=-6.5,
        beta=0.1,
        f_beta=pytest.approx(f_beta),
        precision=1.0,
        recall=pytest.approx(2 / 3),
        n_rows=7,
        n_anomalies=3,
    )


@pytest.mark.parametrize(
    ("near", "expected"),
    [(-100.0, np.nextafter(-8.0, 0)), (-7.9, -7.9), (-5.0, -5.0), (0.0, -5.0)],
)
def test_of_equally_good_thresholds_the_nearest_is_chosen(
    near: float, expected: float
) -> None:
    """All from just above -8 to -5 make the same alarms."""
    scores = np.array([-8.0, -5.0, 0.0])

    found = best_threshold(scores, np.array([True, False, False]), near)

    assert found.threshold == expected


@given(
    st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=1, max_size=12),
    st.floats(-7, 7),
)
def test_no_other_threshold_is_better(
    rows: list[tuple[int, bool]], near: float
) -> None:
    """Against all alarms that there can be, with ties, and none nearer as good."""
    scores = np.array([float(score) for score, _ in [*rows, (0, True)]])
    is_anomaly = np.array([label for _, label in [*rows, (0, True)]])

    def f_beta(threshold: float) -> float:
        """Return what a threshold scores, from precision and recall."""
        is_alarm = scores < threshold
        if not (is_alarm & is_anomaly).any():
            return 0.0
        precision = is_anomaly[is_alarm].mean()
        recall = is_alarm[is_anomaly].mean()
        return (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)

    found = best_threshold(scores, is_anomaly, near)

    others = np.arange(-6, 8, 0.5)
    assert found.f_beta == pytest.approx(f_beta(found.threshold))
    assert found.f_beta >= max(map(f_beta, others)) - 1e-12
    nearer = [t for t in others if abs(t - near) < abs(found.threshold - near) - 1e-9]
    assert all(f_beta(t) < found.f_beta - 1e-12 for t in nearer)


def test_labelled_rows_without_a_score_choose_nothing(
    tiny_fit: Fit, make_series, caplog: pytest.LogCaptureFixture
) -> None:
    """Of two files with ten rows each at their start that have no score."""
    detector = tiny_fit.detector
    validation = {name: make_series(60, seed=seed) for seed, name in enumerate("ab")}
    validation["a"][40] += 100.0
    labels = {"a": np.zeros((60, 1)), "b": np.zeros((60, 1))}
    labels["a"][[3, 40]] = 1

    with caplog.at_level("INFO"):
        found = choose_threshold(
            np.hstack([detector.score(v).normality_score for v in validation.values()]),
            np.vstack([*labels.values()])[:, 0] == 1,
            detector.decision.alarm_threshold,
        )

    scores = detector.score(validation["a"]).normality_score
    assert (found.n_rows, found.n_anomalies) == (100, 1)
    assert (found.precision, found.recall, found.f_beta) == (1.0, 1.0, 1.0)
    assert scores[40] < found.threshold <= np.nanmin(np.delete(scores, 40))
    assert math.isfinite(found.threshold)
    assert caplog.messages == [
        f"Threshold of the labels: a score below {found.threshold:.6g} is an anomaly: "
        f"precision 1, recall 1 and F0.1 1 on 100 labelled rows, 1 of them anomalies."
    ]
