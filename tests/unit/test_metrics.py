import re

import pytest

from lstm_ad.artifacts import Rival
from lstm_ad.losses import EpochMetrics, Loss
from sagemaker_container.metrics import (
    METRIC_DEFINITIONS,
    epoch_line,
    final_lines,
    rival_line,
)

TRAIN = Loss(mse=6.3e-5, mae=0.0123456789012)
VALID = Loss(mse=12.5, mae=2.0)

REGEXES = {entry["Name"]: entry["Regex"] for entry in METRIC_DEFINITIONS}


LOSSES = (
    "train_loss: 0.000063000000 train_mse: 0.000063000000 train_mae: 0.012345678901 "
    "valid_loss: 12.500000000000 valid_mse: 12.500000000000 valid_mae: 2.000000000000"
)


def test_every_loss_has_a_line_under_every_name() -> None:
    """Fixed point with twelve decimals, which the original's regex reads right.

    The saved network's come once more as in the epochs, and as the original printed
    them.
    """
    metrics = EpochMetrics(epoch=7, train=TRAIN, valid=VALID, calibration=None)

    assert epoch_line(metrics) == f"epoch: 7 {LOSSES}"
    assert final_lines({"train": TRAIN, "valid": VALID}, best_epoch=3) == [
        f"best epoch: 3 {LOSSES}",
        "train:loss 0.000063000000",
        "train:mse 0.000063000000",
        "train:mae 0.012345678901",
        "valid:loss 12.500000000000",
        "valid:mse 12.500000000000",
        "valid:mae 2.000000000000",
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train_loss", "0.000063000000"),
        ("train_mae", "0.012345678901"),
        ("valid_loss", "12.500000000000"),
        ("valid_mae", "2.000000000000"),
    ],
)
def test_each_regex_finds_its_own_metric_once_in_a_line(
    name: str, expected: str
) -> None:
    """And nothing in the lines that have the original's colon."""
    metrics = EpochMetrics(epoch=1, train=TRAIN, valid=VALID, calibration=None)
    first, *others = final_lines({"train": TRAIN, "valid": VALID}, best_epoch=1)

    assert re.findall(REGEXES[name], epoch_line(metrics)) == [expected]
    assert re.findall(REGEXES[name], first) == [expected]
    assert [re.findall(REGEXES[name], line) for line in others] == [[]] * 6


def test_without_validation_there_is_no_validation_metric() -> None:
    """The calibration part has a name of its own: it chose the epoch."""
    line = epoch_line(EpochMetrics(epoch=1, train=TRAIN, valid=None, calibration=VALID))

    assert re.findall(REGEXES["valid_loss"], line) == []
    assert re.findall(REGEXES["calibration_loss"], line) == ["12.500000000000"]


def test_the_rival_has_metrics_of_its_own() -> None:
    """And none of its numbers is taken for one of the model that was trained."""
    rival = Rival("", "valid", VALID, TRAIN, 0.25, 0.001, 1000, 1.0)
    line = rival_line(rival)

    found = {name: re.findall(regex, line) for name, regex in REGEXES.items()}
    assert {name: numbers for name, numbers in found.items() if numbers} == {
        "previous_valid_loss": ["12.500000000000"],
        "previous_alarm_rate": ["0.250000"],
        "alarm_rate": ["0.001000"],
    }


@pytest.mark.parametrize("text", ["1", "-1.5", "6.3e-05", "1E+10", ".5"])
def test_the_regexes_read_any_spelling_of_a_number(text: str) -> None:
    """Exponents, too: the original's read 6.3e-05 as 6.3."""
    assert re.findall(REGEXES["train_loss"], f"train_loss: {text} ") == [text]
