"""Metrics for CloudWatch without an agent: lines in the Embedded Metric Format.

A line is a JSON object that says which of its members are metrics. Of what a container
writes to its standard output, CloudWatch finds such lines by themselves, so nothing
comes before one. One line a minute is about all workers; any of them writes it. In a
batch transform, there is one line for each file.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import fcntl
import math
import sys
import time
from collections.abc import Callable

import numpy as np
import orjson

from lstm_ad.axes import IndexArray
from sagemaker_container.monitoring.counts import SECONDS, Counts, Totals
from sagemaker_container.monitoring.model import ServedModel

PERIOD_SECONDS = 60.0
"""From one line to the next."""

UNITS = {
    "Rows": "Count",
    "Anomalies": "Count",
    "AlarmRate": "None",
    "DriftIndex": "None",
    "MissingShare": "None",
    "P99Milliseconds": "Milliseconds",
}
"""The metrics. Those that are not known at a time, such as a rate of no rows, are left
out of its line."""

DIMENSION = "Model"


class EmfWriter:
    """Writes the lines.

    Args:
        namespace: That of the metrics.
        name: The value of the dimension; empty = the first characters of the digest.
        counts: Those of all workers.
        model: What they serve.
        write: Called with each line.
    """

    def __init__(
        self,
        namespace: str,
        name: str,
        counts: Counts,
        model: ServedModel,
        write: Callable[[str], object] | None = None,
    ) -> None:
        self._namespace, self._name = namespace, name or model.identity.digest[:8]
        self._counts, self._model = counts, model
        self._write = write or _write_line

    def write_if_due(self) -> None:
        """Write a line if the last one is a minute old, whoever has written it."""
        told, now = self._counts.told, time.monotonic()
        if now < told["due"]:
            return
        try:
            # Given back with the process, however that ends.
            fcntl.lockf(self._counts.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another worker is about to write it
            return
        try:
            is_first, is_due = told["due"] == 0, now >= told["due"]
            if is_due:
                told["due"] = now + PERIOD_SECONDS
            if is_due and not is_first:
                self.write()
        finally:
            fcntl.lockf(self._counts.lock, fcntl.LOCK_UN)

    def write(self) -> None:
        """Write a line about what was counted since the last one."""
        self._write(self._line(self._counts.news(), int(1000 * time.time())))

    def _line(self, new: Totals, timestamp: int) -> str:
        """Return a line, without the end of it."""
        metrics = self._metrics(new)
        definitions = [{"Name": name, "Unit": UNITS[name]} for name in metrics]
        directive = {
            "Namespace": self._namespace,
            "Dimensions": [[DIMENSION]],
            "Metrics": definitions,
        }
        document = {
            "_aws": {"Timestamp": timestamp, "CloudWatchMetrics": [directive]},
            DIMENSION: self._name,
            **metrics,
        }
        return orjson.dumps(document).decode()

    def _metrics(self, new: Totals) -> dict[str, float]:
        """Return the metrics that are known."""
        n_series = len(self._model.series)
        metrics: dict[str, float] = {
            "Rows": int(new.rows),
            "Anomalies": int(new.anomalies),
        }
        if new.scored:
            metrics["AlarmRate"] = float(new.anomalies / new.scored)
        drift = self._model.drift(self._counts.last_rows(n_series))
        if drift.index is not None:
            metrics["DriftIndex"] = drift.index
        if new.rows:
            metrics["MissingShare"] = float(new.missing / new.rows / n_series)
        if new.durations.any():
            metrics["P99Milliseconds"] = 1000 * quantile(new.durations, 0.99)
        return metrics


def quantile(durations: IndexArray, probability: float) -> float:
    """Return about the duration, in seconds, that a fraction of some do not exceed.

    Args:
        durations: How many there are in each bin of ``SECONDS``, at least 1 in all.
        probability: The fraction.
    """
    within = durations.cumsum()
    number = int(np.searchsorted(within, probability * within[-1]))
    upper = SECONDS[number]
    if math.isinf(upper):
        return SECONDS[number - 1]  # beyond the last bound, nothing is known
    lower = SECONDS[number - 1] if number else 0.0
    above = (within[number] - probability * within[-1]) / durations[number]
    return float(upper - above * (upper - lower))


def _write_line(line: str) -> None:
    """Write a line to the standard output, as a whole."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
