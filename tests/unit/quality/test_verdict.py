"""Each rule of the verdict, and that nothing speaks against a good model."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from lstm_ad.artifacts import Fit, Rival
from lstm_ad.data.rows import Rows
from lstm_ad.losses import EpochMetrics, Loss
from lstm_ad.quality.data_parts import Finding
from lstm_ad.quality.inspection import Inspection, inspect
from lstm_ad.quality.reasons import Level, Reason
from lstm_ad.quality.verdict import judge
from lstm_ad.threshold.decision import LabelledThreshold

LABELLED = LabelledThreshold(
    threshold=-10.0,
    beta=1.0,
    f_beta=0.9,
    precision=0.9,
    recall=0.9,
    n_rows=1000,
    n_anomalies=10,
)


def loss(mse: float) -> Loss:
    """Return a loss."""
    return Loss(mse=mse, mae=math.sqrt(mse))


def history(*losses: float) -> tuple[EpochMetrics, ...]:
    """Return epochs with these losses on the validation data."""
    return tuple(
        EpochMetrics(epoch=i + 1, train=loss(mse), valid=loss(mse), calibration=None)
        for i, mse in enumerate(losses)
    )


def with_decision(fit: Fit, **changes: Any) -> Fit:
    """Return a fit whose decision is another one."""
    decision = dataclasses.replace(fit.detector.decision, **changes)
    detector = dataclasses.replace(fit.detector, decision=decision)
    return dataclasses.replace(fit, detector=detector)


@pytest.fixture(scope="module")
def good(tiny_fit: Fit) -> Fit:
    """Return a fit that nothing can be said against: 30 epochs, the last ones flat."""
    tail = tiny_fit.detector.decision.tail
    threshold = -tail.quantile(0.001)
    certain: dict[str, Any] = {
        "max_alarm_rate": 0.001,
        "alarm_threshold": threshold,
        "interval": (threshold - 0.01, threshold + 0.01),
        "n_rows": 4000,
        "n_independent": 2000,
    }
    fit = dataclasses.replace(
        tiny_fit,
        hyperparameters=dataclasses.replace(tiny_fit.hyperparameters, epochs=30),
        losses={"train": loss(0.1), "valid": loss(0.11), "calibration": loss(0.1)},
        repeated=loss(1.0),
        history=history(*np.linspace(1.0, 0.11, 25), *[0.11] * 5),
        best_epoch=30,
    )
    return with_decision(fit, **certain)


@pytest.fixture(scope="module")
def seen(good: Fit, make_series) -> Inspection:
    """Return what is seen of it on validation data with the alarms that were meant."""
    inspection = inspect(
        good, Rows.of({"a.csv": make_series(400)}, {"b.csv": make_series(123, seed=1)})
    )
    return dataclasses.replace(
        inspection, normality_score=np.zeros(20_000), n_alarms=20
    )


def test_nothing_speaks_against_a_good_model(good: Fit, seen: Inspection) -> None:
    """Good, without a reason."""
    verdict = judge(good, seen)

    assert (verdict.level, verdict.reasons) == (Level.GOOD, ())


def of_losses(**mse: float) -> dict[str, Any]:
    """Return other losses of the parts."""
    known = {"train": 0.1, "valid": 0.11, "calibration": 0.1} | mse
    return {"losses": {part: loss(value) for part, value in known.items()}}


FITS: dict[str, tuple[dict[str, Any], Level, str]] = {
    "a loss is no number": (
        of_losses(train=math.nan),
        Level.DO_NOT_USE,
        "The losses are not all finite numbers.",
    ),
    "a loss is infinite": (
        of_losses(valid=math.inf),
        Level.DO_NOT_USE,
        "The losses are not all finite numbers.",
    ),
    "no better than repeating": (
        {"repeated": loss(0.11)},
        Level.DO_NOT_USE,
        "The model is no better than repeating the last value: its loss on the "
        "validation data is 0.11, that of repeating is 0.11.",
    ),
    "hardly better than repeating": (
        {"repeated": loss(0.12)},
        Level.CHECK,
        "The model is hardly better than repeating the last value: its loss on the "
        "validation data is 0.11, that of repeating is 0.12.",
    ),
    "exported otherwise than trained": (
        {"export_difference": 4.7e-4},
        Level.CHECK,
        "The exported network differs from the trained one by up to 4.7e-04 standard "
        "deviations: rounding has grown.",
    ),
    "stopped": (
        {"history": history(*[0.11] * 12), "best_epoch": 12},
        Level.CHECK,
        "Training ended after 12 of 30 epochs: it was stopped, or its loss was not "
        "a finite number. The log says which.",
    ),
    "stopped before an epoch was over": (
        {"history": (), "best_epoch": 0},
        Level.CHECK,
        "Training ended after 0 of 30 epochs: it was stopped, or its loss was not "
        "a finite number. The log says which.",
    ),
    "still improving": (
        {"history": history(*np.linspace(1.0, 0.13, 27), 0.13, 0.12, 0.11)},
        Level.CHECK,
        "The model was still improving when training ended: its loss fell by 15% in "
        "the last tenth of the epochs.",
    ),
    "worse on other data": (
        of_losses(valid=0.21),
        Level.CHECK,
        "The model does worse on the validation data than on the rows that it was "
        "trained on: the losses are 0.21 and 0.1. Either the data differ, or the model "
        "is overfitting.",
    ),
    "worse on the calibration part, though there are validation data": (
        of_losses(calibration=0.21),
        Level.CHECK,
        "The model does worse on the calibration part than on the rows that it was "
        "trained on: the losses are 0.21 and 0.1. Either the data differ, or the model "
        "is overfitting.",
    ),
    "much better on other data": (
        of_losses(valid=0.049),
        Level.CHECK,
        "The model does much better on the validation data than on the rows that it "
        "was trained on: the losses are 0.049 and 0.1. Extreme values among the "
        "training rows do that, or calmer data in the validation data.",
    ),
}


@pytest.mark.parametrize("name", FITS)
def test_what_is_wrong_with_a_training_is_said(
    good: Fit, seen: Inspection, name: str
) -> None:
    """One reason, in these words, and something to do about it."""
    changes, level, finding = FITS[name]

    verdict = judge(dataclasses.replace(good, **changes), seen)

    assert [(r.level, r.finding) for r in verdict.reasons] == [(level, finding)]
    assert verdict.reasons[0].advice
    assert verdict.level == level


def test_one_epoch_says_nothing_of_the_next(good: Fit, seen: Inspection) -> None:
    """Even if one epoch was all that was asked for."""
    settings = dataclasses.replace(good.hyperparameters, epochs=1)
    short = dataclasses.replace(
        good, history=history(0.11), best_epoch=1, hyperparameters=settings
    )

    (reason,) = judge(short, seen).reasons

    assert reason.finding == (
        "Only one epoch was run, so it is unknown whether more would help."
    )


def test_weights_that_no_epoch_has_bettered_are_told(
    good: Fit, seen: Inspection
) -> None:
    """Not that more epochs would help, however the losses fall."""
    rival = Rival("", "valid", loss(1), loss(1), 0.0, 0.0, 100, 1.0)
    fit = dataclasses.replace(
        good, parent=rival, best_epoch=0, history=history(*range(40, 10, -1))
    )

    (reason,) = judge(fit, seen).reasons
    assert reason.finding == (
        "No epoch is better than the model that training started from, so its weights "
        "stay."
    )


def test_an_lstm_that_was_not_trained_is_advised_otherwise(
    good: Fit, seen: Inspection
) -> None:
    """Where only the Gaussian was learnt: no word of epochs that were not run."""
    settings = dataclasses.replace(good.hyperparameters, warm_start="calibrate")
    losses = {k: v for k, v in good.losses.items() if k != "train"}
    fit = dataclasses.replace(
        good,
        hyperparameters=settings,
        losses=losses,
        repeated=loss(0.11),
        history=(),
        best_epoch=0,
    )

    (reason,) = judge(fit, seen).reasons
    assert reason.advice.startswith("Train it on, with warm-start=continue.")


@pytest.mark.parametrize(("n_epochs", "is_fault"), [(5, True), (6, False)])
def test_early_stopping_is_no_fault(
    good: Fit, seen: Inspection, n_epochs: int, is_fault: bool
) -> None:
    """It ended because nothing was gained any more; but not before that end."""
    settings = dataclasses.replace(
        good.hyperparameters, epochs=100, early_stopping_patience=2
    )
    stopped = dataclasses.replace(
        good,
        history=history(*[0.11, *[0.2] * 5][:n_epochs]),
        best_epoch=1,
        hyperparameters=settings,
    )

    found = [reason.finding for reason in judge(stopped, seen).reasons]
    assert any("ended after 5 of 6 epochs" in text for text in found) == is_fault


def test_a_wide_interval_makes_the_threshold_uncertain(
    good: Fit, seen: Inspection
) -> None:
    """Wide is said of alarm rates: scores have no scale of their own."""
    tail = good.detector.decision.tail
    ends = (-tail.quantile(0.0002), -tail.quantile(0.0102))
    wide = with_decision(good, interval=ends, n_independent=61)
    narrow = with_decision(good, interval=(ends[0], -tail.quantile(0.0098)))

    (reason,) = judge(wide, seen).reasons

    assert reason.finding == (
        f"The threshold is uncertain: it lies between {ends[0]:.4g} and {ends[1]:.4g}, "
        f"where the fraction of normal rows below it goes from 0.0002 to 0.01. The "
        f"4,000 calibration rows are worth only 61 independent ones."
    )
    assert judge(narrow, seen).reasons == ()


def test_the_end_of_a_short_tail_is_no_division_by_zero(
    good: Fit, seen: Inspection
) -> None:
    """A tail of negative shape has an end, beyond which nothing is normal."""
    tail = dataclasses.replace(good.detector.decision.tail, shape=-0.5)
    beyond = -(tail.body[-1] + 3 * tail.scale)
    short = with_decision(good, tail=tail, interval=(beyond, -tail.quantile(0.001)))

    (reason,) = judge(short, seen).reasons

    assert "goes from 0 to 0.001." in reason.finding


@pytest.mark.parametrize(
    ("n_rows", "n_alarms", "is_said"),
    [
        (20_000, 60, False),
        (20_000, 61, True),
        (20_000, 7, False),
        (20_000, 6, True),
        # Two meant, and nine by bad luck; ten are too many for that.
        (2000, 9, False),
        (2000, 10, True),
        (2000, 0, False),
    ],
)
def test_alarms_on_the_validation_data_are_counted(
    good: Fit, seen: Inspection, n_rows: int, n_alarms: int, is_said: bool
) -> None:
    """Off by more than a factor of 3, and not by chance."""
    other = dataclasses.replace(
        seen, normality_score=np.zeros(n_rows), n_alarms=n_alarms
    )

    findings = [reason.finding for reason in judge(good, other).reasons]

    expected = (
        f"{n_alarms:,} of {n_rows:,} rows of the validation data are alarms, but "
        f"{n_rows / 1000:.3g} are expected."
    )
    assert findings == [expected] * is_said


@pytest.mark.parametrize("changes", [{"labelled": LABELLED}, {}])
def test_alarms_are_no_fault_where_they_are_no_surprise(
    good: Fit, seen: Inspection, changes: dict[str, Any]
) -> None:
    """In labelled data with anomalies, or in the rows that the Gaussian was fitted to.

    Nor are the larger errors of anomalies.
    """
    part = "valid" if changes else "calibration"
    many = dataclasses.replace(seen, part=part, n_alarms=1000)
    fit = dataclasses.replace(good, **of_losses(valid=0.9 if changes else 0.11))

    assert judge(with_decision(fit, **changes), many).reasons == ()


def test_what_is_wrong_with_the_data_is_said_first(good: Fit, seen: Inspection) -> None:
    """Before what follows from it, however bad that is; the level is the worst."""
    finding = Finding(
        "constant",
        Level.CHECK,
        (2,),
        "a.csv",
        None,
        "It is 7.",
        "So what.",
        "Leave it.",
    )
    useless = dataclasses.replace(good, repeated=loss(0.1))

    verdict = judge(useless, seen, [finding])

    assert verdict.level == Level.DO_NOT_USE
    assert verdict.reasons[0] == Reason(Level.CHECK, "It is 7. So what.", "Leave it.")
    assert verdict.reasons[1].level == Level.DO_NOT_USE


def test_dependent_series_are_named(good: Fit, seen: Inspection) -> None:
    """Likewise."""
    dependent = dataclasses.replace(seen, dependent=np.array([0, 1]))

    (reason,) = judge(good, dependent).reasons

    assert reason.finding == (
        "The errors of series 1 and 2 depend on each other linearly: they say the same "
        "thing several times, or add up."
    )


def test_the_worst_reason_comes_first_and_decides(good: Fit, seen: Inspection) -> None:
    """Several may be given."""
    bad = dataclasses.replace(good, repeated=loss(0.1), history=history(0.2, 0.11))

    verdict = judge(bad, dataclasses.replace(seen, dependent=np.array([0])))

    assert verdict.level == Level.DO_NOT_USE
    assert [reason.level for reason in verdict.reasons] == [
        Level.DO_NOT_USE,
        Level.CHECK,
        Level.CHECK,
        Level.CHECK,
    ]
