"""Say whether a model is better than the one it came from.

Both are measured on the same normal rows, by two numbers: the loss of the LSTM, and
how far the fraction of alarms is from the target, ``max-alarm-rate``. The new model
takes the place of the old one if one of them is clearly better, neither is clearly
worse, and nothing forbids its use: its own verdict, or an LSTM that was trained on what
cannot be predicted.
"""

import dataclasses
import math

from lstm_ad.artifacts import Fit, Rival
from lstm_ad.quality.reasons import Level

MAX_SAME_LOSS = 1.05
"""By which factor losses may differ and still count as equal."""

MAX_SAME_ALARMS = 2.0
"""By which factor alarms may differ, likewise, where one more always may."""


MIN_GAIN = 0.9
"""Which part of the loss of repeating the mean an LSTM may have that has learnt
something: noise cannot be predicted."""


@dataclasses.dataclass(frozen=True)
class Promotion:
    """Whether a model is better than the one it came from."""

    promote: bool
    """Whether to use it in place of the other."""
    reason: str
    """Why, in a sentence."""


def judge_promotion(fit: Fit, parent: Rival, level: Level) -> Promotion:
    """Return whether a model is better than the one it came from.

    Args:
        fit: The model.
        parent: The one it came from.
        level: The verdict on the model by itself.
    """
    target = fit.detector.decision.max_alarm_rate
    old_loss, new_loss = parent.loss.mse, parent.new_loss.mse
    rates = parent.alarm_rate, parent.new_alarm_rate
    old_miss, new_miss = (_miss(rate, target, parent.n_rows) for rate in rates)
    gains = {
        "loss": _gain(old_loss, new_loss, MAX_SAME_LOSS),
        "alarms": _gain(math.exp(old_miss), math.exp(new_miss), MAX_SAME_ALARMS),
    }
    said = (
        f"{parent.part}_loss {old_loss:.4g} before, {new_loss:.4g} now; alarms on "
        f"{rates[0]:.2%} of {parent.n_rows:,} rows before, {rates[1]:.2%} now "
        f"(target {target:.2%})"
    )
    if level is Level.DO_NOT_USE:
        return Promotion(False, f"No: its own verdict is {level} ({said}).")
    if fit.history and new_loss > MIN_GAIN * parent.spread:
        return Promotion(
            False,
            f"No: its LSTM has learnt nothing from these data, repeating the mean of "
            f"each series has a loss of {parent.spread:.4g} ({said}).",
        )
    if worse := [name for name, gain in gains.items() if gain < 0]:
        return Promotion(False, f"No: worse by {' and '.join(worse)} ({said}).")
    if better := [name for name, gain in gains.items() if gain > 0]:
        return Promotion(True, f"Yes: better by {' and '.join(better)} ({said}).")
    return Promotion(False, f"No: as good as before ({said}).")


def _gain(old: float, new: float, factor: float) -> int:
    """Return 1 for clearly smaller, -1 for clearly larger, and 0 else."""
    if not math.isfinite(old):
        return int(math.isfinite(new))
    if not new <= factor * old:
        return -1
    return int(factor * new < old)


def _miss(rate: float, target: float, n_rows: int) -> float:
    """Return by which factor alarms are off, as a logarithm; one more is no matter."""
    return abs(math.log((rate * n_rows + 1) / (target * n_rows + 1)))
