"""``GET /metrics``: the counts of all workers in Prometheus' text format, 0.0.4.

prometheus_client writes the text. It does not count: its mode for several processes
keeps files of each process in a folder that can be written, which a container need not
have, so the counts are those of :mod:`sagemaker_container.monitoring.counts`.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from lstm_ad.quality.drift import RANKS
from sagemaker_container.monitoring.counts import SECONDS, STATUSES, Counts, Totals
from sagemaker_container.monitoring.model import ServedModel
from sagemaker_container.monitoring.model_counts import ModelCounts

_PREFIX = "lstm_ad_"
_BOUNDS = [*map(str, SECONDS[:-1]), "+Inf"]


def exposition(
    counts: Counts, model: ServedModel | None, models: ModelCounts | None = None
) -> bytes:
    """Return the answer to a scrape.

    Args:
        counts: Those of all workers.
        model: What they serve; None if there are several models.
        models: What is counted of each of these.
    """
    return generate_latest(_Metrics(counts, model, models))


@dataclasses.dataclass(frozen=True)
class _Metrics:
    """What prometheus_client asks for metrics."""

    counts: Counts
    model: ServedModel | None
    models: ModelCounts | None

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, as they are now."""
        totals = self.counts.totals()
        yield from _service(totals)
        yield _gauge("requests_held", "Requests in progress.", self.counts.n_held)
        yield _counter(
            "worker_restarts", "Workers that were replaced.", self.counts.n_restarts
        )
        if self.model:
            yield from _data(totals)
            yield from _model(self.model)
            yield from _drift(self.model, self.counts)
        if self.models:
            yield from _data_of_each(self.models.totals())


def _model(model: ServedModel) -> Iterator[Metric]:
    """Yield what is known of the model."""
    yield _gauge(
        "alarm_rate_expected",
        "Fraction of normal rows that are anomalies to the model's threshold.",
        model.expected_alarm_rate,
    )
    info = GaugeMetricFamily(
        f"{_PREFIX}model_info",
        "1; the labels say which model is served.",
        labels=["digest", "trained_rows"],
    )
    info.add_metric([model.identity.digest, str(model.identity.n_trained)], 1)
    yield info


def _drift(model: ServedModel, counts: Counts) -> Iterator[Metric]:
    """Yield how far the last rows have drifted, if there are enough."""
    drift = model.drift(counts.last_rows(len(model.series)))
    shift = GaugeMetricFamily(
        f"{_PREFIX}series_shift",
        "Shift of the mean of the last 10 000 rows, in training deviations.",
        labels=["series"],
    )
    for series, value in drift.shifts.items():
        shift.add_metric([series], value)
    yield shift
    if drift.index is not None:
        yield _gauge(
            "drift_index",
            "Drift of the last 10 000 rows: look at 0.1, train anew at 0.25.",
            drift.index,
        )


def _service(totals: Totals) -> Iterator[Metric]:
    """Yield what is counted of requests."""
    yield _counter_by(
        "requests",
        "Answers, except those to pings and scrapes.",
        "status",
        zip(STATUSES, totals.requests, strict=True),
    )
    within = totals.durations.cumsum()
    yield HistogramMetricFamily(
        f"{_PREFIX}request_seconds",
        "Time from the head of a request to the end of its answer.",
        buckets=list(zip(_BOUNDS, within, strict=True)),
        sum_value=totals.seconds,
    )


_ROWS = {
    "rows": ("rows", "Rows that were returned."),
    "rows_scored": ("scored", "Rows that have a score."),
    "anomalies": ("anomalies", "Anomalies to the model's own threshold."),
    "missing_cells": ("missing", "Missing values in the rows."),
}
"""What is counted of rows: the metric, the count and the meaning."""


def _data_of_each(totals: Mapping[str, Mapping[str, int]]) -> Iterator[Metric]:
    """Yield what is counted of the rows of each model."""
    for metric, (field, meaning) in _ROWS.items():
        values = [(name, counts[field]) for name, counts in totals.items()]
        yield _counter_by(metric, meaning, "model", values)


def _data(totals: Totals) -> Iterator[Metric]:
    """Yield what is counted of rows."""
    for metric, (field, meaning) in _ROWS.items():
        yield _counter(metric, meaning, getattr(totals, field))
    yield _counter_by(
        "score_rank",
        "Rows whose scores are as rare as this, or rarer, on calibration data.",
        "le",
        zip([f"{rank:g}" for rank in RANKS], totals.ranks.cumsum(), strict=True),
    )


def _gauge(name: str, meaning: str, value: float) -> Metric:
    """Return a gauge without labels."""
    return GaugeMetricFamily(_PREFIX + name, meaning, value=value)


def _counter(name: str, meaning: str, value: int) -> Metric:
    """Return a counter without labels."""
    return CounterMetricFamily(_PREFIX + name, meaning, value=value)


def _counter_by(
    name: str, meaning: str, label: str, values: Iterable[tuple[str, int]]
) -> Metric:
    """Return a counter with one label."""
    family = CounterMetricFamily(_PREFIX + name, meaning, labels=[label])
    for value, number in values:
        family.add_metric([value], number)
    return family
