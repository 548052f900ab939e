r"""Spell the metrics in the log, beside the regular expressions that find them there.

SageMaker scrapes a job's log. A metric's value is the last one found, so every metric
is written once per epoch, for charts and early stopping, and once more at the end for
the network that was saved.

Each number stands under every name that users of the original product may search for:
``train_loss`` (its document) and ``train:loss`` (its log), ``train_mse`` and
``train:mse`` (its later version). Numbers are fixed-point, because the original's
regular expression ``([0-9\.]+)`` reads ``6.3e-05`` as 6.3.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lstm_ad.losses import EpochMetrics, Loss

if TYPE_CHECKING:
    # A type alone: what the documents are made from loads no runtime.
    from lstm_ad.artifacts import Rival

_VALUE = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"

METRIC_DEFINITIONS = [
    {"Name": f"{part}_{measure}", "Regex": rf"\b{part}_{measure}: {_VALUE}"}
    for part in ("train", "valid", "calibration")
    for measure in ("loss", "mae")
] + [
    {"Name": name, "Regex": rf"\b{name}: {_VALUE}"}
    for name in (
        "previous_valid_loss",
        "previous_calibration_loss",
        "previous_alarm_rate",
        "alarm_rate",
    )
]
"""What a training or tuning job of SageMaker is given to find the metrics."""


def epoch_line(metrics: EpochMetrics) -> str:
    """Return the line of the log about one epoch."""
    return f"epoch: {metrics.epoch} {_spelled(metrics.losses)}"


def final_lines(losses: Mapping[str, Loss], best_epoch: int) -> list[str]:
    """Return the lines of the log about the network that was saved.

    Args:
        losses: Of each part of the data.
        best_epoch: The epoch whose weights it has.
    """
    lines = [f"best epoch: {best_epoch} {_spelled(losses)}"]
    for part, loss in losses.items():
        lines.append(f"{part}:loss {loss.mse:.12f}")
        lines.append(f"{part}:mse {loss.mse:.12f}")
        lines.append(f"{part}:mae {loss.mae:.12f}")
    return lines


def rival_line(rival: "Rival") -> str:
    r"""Return the line of the log about the model that a job started from.

    It comes before those about the new model: to a regular expression without ``\b``,
    ``previous_valid_loss`` is a ``valid_loss``, and the last one counts.
    """
    return (
        f"previous_{rival.part}_loss: {rival.loss.mse:.12f} "
        f"previous_alarm_rate: {rival.alarm_rate:.6f} "
        f"alarm_rate: {rival.new_alarm_rate:.6f}"
    )


def _spelled(losses: Mapping[str, Loss]) -> str:
    """Return every loss under every name, on one line."""
    return " ".join(
        f"{part}_loss: {loss.mse:.12f} {part}_mse: {loss.mse:.12f} "
        f"{part}_mae: {loss.mae:.12f}"
        for part, loss in losses.items()
    )
