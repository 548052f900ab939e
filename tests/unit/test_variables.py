"""What is read of the environment variables."""

from pathlib import Path

import pytest

from lstm_ad.exceptions import SettingError
from sagemaker_container.variables import base_dir, n_threads, positive_integer


def test_the_root_is_opt_ml_unless_it_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """SageMaker's own place is the default."""
    monkeypatch.delenv("SAGEMAKER_BASE_DIR", raising=False)

    assert base_dir() == Path("/opt/ml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, 7), ("", 7), ("  ", 7), (" 3 ", 3), ("4.0", 4), ("0012", 12), ("9.", 9)],
)
def test_a_positive_integer_is_read(
    monkeypatch: pytest.MonkeyPatch, text: str | None, expected: int
) -> None:
    """Also as JSON tools write it; an empty variable is one that is not set."""
    monkeypatch.delenv("A", raising=False)
    if text is not None:
        monkeypatch.setenv("A", text)

    assert positive_integer("A", default=7) == expected


@pytest.mark.parametrize(
    "text", ["0", "0.0", "-1", "1.5", "many", "1e3", "4,2", ".0", "3 0", "\u00b2"]
)
def test_anything_else_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The message has the variable, what it must be and what was given."""
    monkeypatch.setenv("A", text)
    expected = f'^A must be a positive integer, but "{text}" was given.$'

    with pytest.raises(SettingError, match=expected):
        positive_integer("A", default=7)


@pytest.mark.parametrize(
    ("text", "expected"), [("", 7), ("4,2", 4), (" 4 , 2", 4), ("3", 3)]
)
def test_of_openmps_list_the_first_number_counts(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: int
) -> None:
    """The others are for teams within teams, which nothing here starts."""
    monkeypatch.setenv("OMP_NUM_THREADS", text)

    assert n_threads(default=7) == expected


@pytest.mark.parametrize("text", ["x,2", ",2", "0,1"])
def test_a_list_that_begins_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """OpenMP refuses it, too."""
    monkeypatch.setenv("OMP_NUM_THREADS", text)

    with pytest.raises(SettingError, match=r"^OMP_NUM_THREADS must be a positive int"):
        n_threads(default=7)
