"""The benchmark's measures, by hand and by slow code of their definitions."""

import numpy as np
import pytest

from measures import alarms, roc_auc, runs, ucr_hit, vus_pr

LABELS = np.zeros(1000, dtype=bool)
LABELS[400:450] = True


@pytest.mark.parametrize(
    ("row", "expected"), [(299, 0.0), (300, 1.0), (420, 1.0), (549, 1.0), (550, 0.0)]
)
def test_a_hit_lies_within_100_rows_of_the_labelled_interval(
    row: int, expected: float
) -> None:
    """The archive's own measure: the most anomalous row, and no other, decides."""
    anomaly = np.zeros(1000)
    anomaly[row] = 1.0

    assert ucr_hit(anomaly, LABELS) == expected


def test_the_area_under_the_curve_counts_ties_as_half() -> None:
    """By hand: of the six pairs, three are in order, one is not and two are ties."""
    labels = np.array([True, True, False, False, False])
    anomaly = np.array([2.0, 3.0, 2.0, 3.0, 1.0])

    assert roc_auc(anomaly, labels) == pytest.approx((3 + 2 / 2) / 6)


def slow_vus_pr(anomaly: np.ndarray, labels: np.ndarray, window: int) -> float:
    """Return the volume by its definition, row by row and threshold by threshold."""
    spans = list(zip(*runs(labels), strict=True))
    rows = np.arange(len(labels))
    thresholds = np.sort(anomaly)[::-1]
    thresholds = thresholds[np.linspace(0, len(labels) - 1, 250).astype(int)]
    areas = []
    for width in range(window + 1):
        weights = labels.astype(float)
        for first, last in spans:
            distance = np.maximum(first - rows, rows - last)
            near = (distance > 0) & (distance <= width // 2)
            weights[near] += np.sqrt(1 - distance[near] / max(width, 1))
        weights = np.minimum(weights, 1.0)
        joined = [list(spans[0])]
        for first, last in spans[1:]:
            if joined[-1][1] + width // 2 < first - width // 2:
                joined.append([first, last])
            else:
                joined[-1][1] = last
        area, before = 0.0, 0.0
        for threshold in thresholds:
            passes = anomaly >= threshold
            met = [
                passes[max(a - width // 2, 0) : b + width // 2 + 1].any()
                for a, b in joined
            ]
            found = weights[passes].sum()
            wanted = (2 * labels.sum() + weights[passes & ~labels].sum()) / 2
            recall = min(found / wanted, 1.0) * np.mean(met)
            area += (recall - before) * found / passes.sum()
            before = recall
        areas.append(area)
    return float(np.mean(areas))


@pytest.mark.parametrize("seed", range(8))
def test_the_fast_volume_is_that_of_the_definition(seed: int) -> None:
    """Runs at the ends, runs whose margins meet, and ties among the scores."""
    random = np.random.default_rng(seed)
    labels = np.zeros(300, dtype=bool)
    for start in random.integers(0, 300, 5):
        labels[start : start + random.integers(1, 20)] = True
    labels[-1], labels[0] = seed % 2 == 0, seed % 3 == 0
    anomaly = np.round(random.normal(size=300) + labels, 3 - seed % 3)

    expected = slow_vus_pr(anomaly, labels, window=12)
    assert vus_pr(anomaly, labels, window=12) == pytest.approx(expected, abs=1e-12)


def test_the_volume_is_that_of_the_published_package() -> None:
    """Where that is installed: ``make benchmark-accuracy`` brings it."""
    package = pytest.importorskip("vus.utils.metrics")
    random = np.random.default_rng(0)
    anomaly = random.normal(size=1000) + LABELS

    expected = package.metricor().RangeAUC_volume_opt(
        LABELS.astype(int), anomaly, 40, 250
    )
    assert vus_pr(anomaly, LABELS, 40) == pytest.approx(expected[-1], abs=1e-12)


def test_alarms_by_hand() -> None:
    """Three false events, one with a gap; one of two runs, found after 3 rows."""
    labels = LABELS.copy()
    labels[700:710] = True
    is_alarm = np.zeros(1000, dtype=bool)
    is_alarm[[5, 100, 104, 111, 403, 350, 849]] = True
    is_scored = np.arange(1000) >= 20

    found = alarms(is_alarm, is_scored, labels, first_row=50, event_gap=5)

    n_normal = (300 - 49) + (600 - 548) + (999 - 808)  # 100 rows from a label
    assert (found.n_found, found.n_labelled, found.delay) == (1, 2, 3.0)
    assert found.false_rate == pytest.approx(4 / n_normal)
    assert found.false_events == pytest.approx(1000 * 3 / n_normal)
