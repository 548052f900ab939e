"""Whether a model is better than the one it came from."""

import dataclasses

import pytest

from lstm_ad.artifacts import Fit, Rival
from lstm_ad.losses import Loss
from lstm_ad.quality.promotion import judge_promotion
from lstm_ad.quality.reasons import Level

SAME = {"old": 0.2, "new": 0.2, "rate": 0.001, "new_rate": 0.001, "spread": 1.0}


@pytest.mark.parametrize(
    ("found", "promote", "reason"),
    [
        ({}, False, "No: as good as before"),
        ({"new": 0.19, "new_rate": 0.0015}, True, "Yes: better by loss ("),
        ({"rate": 0.01}, True, "Yes: better by alarms ("),
        ({"rate": 0.01, "new": 0.1}, True, "Yes: better by loss and alarms ("),
        # So few rows that an alarm more is chance.
        ({"rate": 0.0012}, False, "No: as good as before"),
        ({"new": 0.22}, False, "No: worse by loss ("),
        ({"new": 0.1, "new_rate": 0.01}, False, "No: worse by alarms ("),
        ({"new": 0.95, "old": 3.0}, False, "No: its LSTM has learnt nothing"),
        ({"old": float("inf")}, True, "Yes: better by loss ("),
        ({"new": 0.1, "level": Level.DO_NOT_USE}, False, "No: its own verdict is do "),
    ],
)
def test_a_model_is_promoted_if_it_is_clearly_better(
    found: dict, promote: bool, reason: str, tiny_fit: Fit
) -> None:
    """By one of two numbers, not worse by the other, and fit for use."""
    given = {**SAME, **found}
    rival = Rival(
        digest="",
        part="valid",
        loss=Loss(given["old"], 1.0),
        new_loss=Loss(given["new"], 1.0),
        alarm_rate=given["rate"],
        new_alarm_rate=given["new_rate"],
        n_rows=5000,
        spread=given["spread"],
    )

    result = judge_promotion(tiny_fit, rival, given.get("level", Level.CHECK))

    assert result.promote is promote
    assert result.reason.startswith(reason)


def test_an_lstm_that_stays_need_not_have_learnt(tiny_fit: Fit) -> None:
    """Where only the Gaussian is new, it is as good as it was."""
    rival = Rival("", "valid", Loss(2, 1), Loss(1, 1), 0.5, 0.001, 5000, 1.0)
    calibrated = dataclasses.replace(tiny_fit, history=())

    assert judge_promotion(calibrated, rival, Level.GOOD).promote is True
