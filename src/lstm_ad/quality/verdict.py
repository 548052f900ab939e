"""Judge a fitted detector in plain words: good, check, or do not use.

====================================== ============ ==================================
what                                   verdict      when
====================================== ============ ==================================
losses                                 do not use   one is not a finite number
repeating the last value               do not use   its loss is no larger
                                       check        its loss is less than 1.1 times
                                                    as large
length of training                     check        it ended before its last epoch,
                                                    but not by early stopping
last tenth of the epochs               check        the loss fell by more than 5 % in
                                                    it, or there was one epoch only
training from a model                  check        no epoch is better than that model
losses of the parts of the data        check        calibration or validation loss is
                                                    more than twice the training loss,
                                                    or less than half of it
interval of the threshold              check        between its ends, the alarm rate
                                                    differs by more than a factor 50
alarms on the validation data          check        over 3 times as many as expected,
                                                    or fewer than a third, where 10
                                                    were expected or found
series that depend on each other       check        there are some
exported network                       check        it reconstructs otherwise than
                                                    rounding with small weights explains
====================================== ============ ==================================

What is wrong with the data is said first, by the rules of
:mod:`lstm_ad.quality.findings`. Otherwise it is good.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np

from lstm_ad.artifacts import Fit
from lstm_ad.axes import IndexArray
from lstm_ad.hyperparameters import CALIBRATE
from lstm_ad.model.scaling import name_series
from lstm_ad.quality.data_parts import Finding
from lstm_ad.quality.findings import reasons as explained
from lstm_ad.quality.inspection import Inspection
from lstm_ad.quality.reasons import Level, Reason
from lstm_ad.training.schedule import last_epoch

MAX_ROUNDING = 1e-5
"""How far ONNX Runtime is from torch at most where weights are small."""
MIN_GAIN = 1.1
"""How many times as large as the model's the loss of repeating should be."""
LAST_PART, MAX_PROGRESS = 0.1, 0.05
"""By how much the loss may still fall in the last part of the epochs."""
MAX_CONTRAST = 2.0
"""The largest factor between the losses of two parts of the data."""
MAX_MISS = 3.0
"""By which factor alarms on the validation data may be off."""
MIN_ALARMS = 10
"""How many must be expected or found to say that: fewer are off by chance."""

_DATA = {"valid": "the validation data", "calibration": "the calibration part"}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What to do with a model, and why."""

    level: Level
    """The worst of the reasons'."""
    reasons: tuple[Reason, ...]
    """Those in the data first, then the worst first; empty for a good model."""


def judge(
    fit: Fit, inspection: Inspection, findings: Iterable[Finding] = ()
) -> Verdict:
    """Return the verdict on a detector.

    Args:
        fit: The detector, and how it came about.
        inspection: What can be seen of it.
        findings: What is wrong with its data: said before what follows from it.
    """
    rules = (
        _loss,
        _length,
        _progress,
        _contrast,
        _threshold,
        _alarms,
        _series,
        _export,
    )
    causes = explained(findings, fit.detector.schema.series)
    effects = [reason for rule in rules for reason in rule(fit, inspection)]
    order = list(Level)
    effects.sort(key=lambda reason: -order.index(reason.level))
    reasons = (*causes, *effects)
    level = max((reason.level for reason in reasons), key=order.index, default=None)
    return Verdict(level or Level.GOOD, reasons)


def _loss(fit: Fit, inspection: Inspection) -> Iterator[Reason]:
    """Yield what is wrong with the losses themselves."""
    losses = [loss.mse for loss in [*fit.losses.values(), fit.repeated]]
    found, repeated = fit.losses[inspection.part].mse, fit.repeated.mse
    said = (
        f"its loss on {_DATA[inspection.part]} is {found:.4g}, that of repeating is "
        f"{repeated:.4g}."
    )
    if not all(map(math.isfinite, losses)):
        yield Reason(
            Level.DO_NOT_USE,
            "The losses are not all finite numbers.",
            "Train again with a smaller lr, and look for extreme values in the data.",
        )
    elif not found < repeated:
        yield Reason(
            Level.DO_NOT_USE,
            f"The model is no better than repeating the last value: {said}",
            f"{_more_training(fit)}. If that does not help, the series may have "
            f"nothing that can be predicted.",
        )
    elif repeated < MIN_GAIN * found:
        yield Reason(
            Level.CHECK,
            f"The model is hardly better than repeating the last value: {said}",
            f"{_more_training(fit)}.",
        )


def _more_training(fit: Fit) -> str:
    """Return the advice for an LSTM that has learnt too little."""
    if fit.hyperparameters.warm_start == CALIBRATE:
        return "Train it on, with warm-start=continue"
    return "Train for more epochs, or with another lr or sequence-length"


def _length(fit: Fit, inspection: Inspection) -> Iterator[Reason]:
    """Yield that training was cut short."""
    if fit.hyperparameters.warm_start == CALIBRATE:
        return
    settings, n_epochs = fit.hyperparameters, len(fit.history)
    losses = [epoch.selection.mse for epoch in fit.history]
    last = last_epoch(losses, settings.epochs, settings.early_stopping_patience)
    if n_epochs < last:
        yield Reason(
            Level.CHECK,
            f"Training ended after {n_epochs} of {last} epochs: "
            f"it was stopped, or its loss was not a finite number. The log says which.",
            "Train again, with checkpoints if instances are interrupted, or with a "
            "smaller lr if the loss was the reason.",
        )


def _progress(fit: Fit, inspection: Inspection) -> Iterator[Reason]:
    """Yield that more epochs would have given a better model."""
    losses = [epoch.selection.mse for epoch in fit.history]
    if fit.parent and losses and not fit.best_epoch:
        yield Reason(
            Level.CHECK,
            "No epoch is better than the model that training started from, so its "
            "weights stay.",
            "Train with a smaller lr, or use warm-start=calibrate.",
        )
        return
    if len(losses) == 1:
        yield Reason(
            Level.CHECK,
            "Only one epoch was run, so it is unknown whether more would help.",
            "Train for more epochs.",
        )
        return
    n_before = len(losses) - max(1, round(LAST_PART * len(losses)))
    if n_before < 1:
        return
    before, best = min(losses[:n_before]), min(losses)
    if best < (1 - MAX_PROGRESS) * before:
        yield Reason(
            Level.CHECK,
            f"The model was still improving when training ended: its loss fell by "
            f"{1 - best / before:.0%} in the last tenth of the epochs.",
            "Train for more epochs.",
        )


def _contrast(fit: Fit, inspection: Inspection) -> Iterator[Reason]:
    """Yield that the loss on other rows is far from that on the training rows."""
    others = {k: loss.mse for k, loss in fit.losses.items() if k != "train"}
    if fit.detector.decision.labelled:  # chosen on these data: they hold anomalies
        others.pop("valid", None)
    trained = fit.losses["train"].mse if "train" in fit.losses else 0.0
    positive = {k: v for k, v in others.items() if 0 < v < math.inf}
    if not positive or not 0 < trained < math.inf:  # or nothing was trained on
        return
    part = max(positive, key=lambda k: abs(math.log(positive[k] / trained)))
    found = positive[part]
    if found > MAX_CONTRAST * trained:
        yield Reason(
            Level.CHECK,
            f"The model does worse on {_DATA[part]} than on the rows that it was "
            f"trained on: the losses are {found:.4g} and {trained:.4g}. Either the "
            f"data differ, or the model is overfitting.",
            "See whether both are normal data of the same kind. If they are, try more "
            "data, a smaller hidden-size or more dropout.",
        )
    elif MAX_CONTRAST * found < trained:
        yield Reason(
            Level.CHECK,
            f"The model does much better on {_DATA[part]} than on the rows that it was "
            f"trained on: the losses are {found:.4g} and {trained:.4g}. Extreme values "
            f"among the training rows do that, or calmer data in {_DATA[part]}.",
            "Look for values far from all others in the training rows, and see whether "
            "both are normal data of the same kind.",
        )


def _export(fit: Fit, inspection: Inspection) -> Iterator[Reason]:
    """Yield that the network scores otherwise than it was trained."""
    if fit.export_difference > MAX_ROUNDING:
        yield Reason(
            Level.CHECK,
            f"The exported network differs from the trained one by up to "
            f"{fit.export_difference:.1e} standard deviations: rounding has grown.",
            "Scores and threshold are those of the exported network, so they agree "
            "with each other. A smaller lr or a shorter sequence-length keeps weights "
            "small.",
        )


def _threshold(fit: Fit, inspection: Inspection) -> Iterator[Reason]:
    """Yield that the threshold is uncertain."""
    decision = fit.detector.decision
    if decision.is_uncertain:
        ends, (low, high) = decision.interval, decision.rate_range
        yield Reason(
            Level.CHECK,
            f"The threshold is uncertain: it lies between {ends[0]:.4g} and "
            f"{ends[1]:.4g}, where the fraction of normal rows below it goes from "
            f"{low:.1g} to {high:.1g}. The {decision.n_rows:,} calibration rows are "
            f"worth only {decision.n_independent:,} independent ones.",
            "Use more calibration data, or a larger max-alarm-rate.",
        )


def _alarms(fit: Fit, inspection: Inspection) -> Iterator[Reason]:
    """Yield that the validation data have too many or too few alarms."""
    n_rows, found = len(inspection.normality_score), inspection.n_alarms
    expected = fit.detector.decision.max_alarm_rate * n_rows
    is_off = found > MAX_MISS * expected or MAX_MISS * found < expected
    is_said = inspection.part == "valid" and fit.detector.decision.labelled is None
    if is_said and is_off and max(found, expected) >= MIN_ALARMS:
        yield Reason(
            Level.CHECK,
            f"{found:,} of {n_rows:,} rows of the validation data are alarms, but "
            f"{expected:.3g} are expected.",
            "See whether they are normal data of the same kind as those trained on; "
            "the rows with the lowest scores are shown below.",
        )


def _series(fit: Fit, inspection: Inspection) -> Iterator[Reason]:
    """Yield what is wrong with single series."""
    if len(inspection.dependent):
        yield Reason(
            Level.CHECK,
            f"The errors of {_named(inspection.dependent, fit)} depend on each other "
            f"linearly: they say the same thing several times, or add up.",
            "Leave out what follows from the others.",
        )


def _named(columns: IndexArray, fit: Fit) -> str:
    """Return some series in words."""
    chosen = np.zeros(len(fit.detector.reconstructor.scaler.scale), dtype=np.bool_)
    chosen[columns] = True
    return name_series(chosen, fit.detector.schema.series)
