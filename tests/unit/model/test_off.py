import re

import numpy as np
import pytest

from lstm_ad.exceptions import SeriesError
from lstm_ad.model.off import Comparison, comparisons, is_off, parse

NAN = float("nan")
NAMES = ("current", "motor load", "3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("current < 0.5", [("current", "<", 0.5)]),
        ("2>=-1e3", [("2", ">=", -1000)]),
        (
            "motor load!=.5 and 3 == 0 and current<=1.",
            [("motor load", "!=", 0.5), ("3", "==", 0), ("current", "<=", 1)],
        ),
        ("current < 0.5 and", None),
        ("current < 0.5 or 3 < 1", None),
        ("current = 0.5", None),
        ("0 < current < 1", None),
        ("current < low", None),
        ("< 1", None),
        ("current < nan", None),
    ],
)
def test_a_condition_is_one_or_several_comparisons(text: str, expected) -> None:
    """And nothing else."""
    assert parse(text) == expected


def test_series_are_found_by_name_or_number() -> None:
    """A name that is a number comes first."""
    found = comparisons("motor load < 1 and 1 > 2 and 3 == 3", NAMES)
    assert found == (
        Comparison(1, "<", 1.0),
        Comparison(0, ">", 2.0),
        Comparison(2, "==", 3.0),
    )


@pytest.mark.parametrize("name", ["4", "0", "load"])
def test_an_unknown_series_is_refused(name: str) -> None:
    """With those that there are."""
    message = (
        f"off-when names {name}, but the series are current, motor load, 3; use one of "
        f"these names, or a number from 1 to 3."
    )
    with pytest.raises(SeriesError, match=f"^{re.escape(message)}$"):
        comparisons(f"{name} < 1", NAMES)


@pytest.mark.parametrize(
    ("sign", "expected"),
    [
        ("<", [True, False, False, False]),
        ("<=", [True, True, False, False]),
        (">", [False, False, True, False]),
        (">=", [False, True, True, False]),
        ("==", [False, True, False, False]),
        ("!=", [True, False, True, False]),
    ],
)
def test_a_missing_value_is_not_off(sign: str, expected: list[bool]) -> None:
    """With any sign."""
    values = np.array([[1, 0], [2, 0], [3, 0], [NAN, 0]])
    assert is_off(values, comparisons(f"1 {sign} 2", "ab")).tolist() == expected
    assert not is_off(values, comparisons(f"1 {sign} 2 and 2 > 0", "ab")).any()
