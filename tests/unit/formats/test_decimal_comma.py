from pathlib import Path

import numpy as np
import pytest

from sagemaker_container.formats import csv_text
from sagemaker_container.formats.csv_file import read_blocks
from sagemaker_container.formats.decimal_comma import find

ANGLES = np.arange(200) / 20
DIGITS = np.arange(200) % 10
RNG = np.random.default_rng(0)


def commas(values: np.ndarray, spelling: str = "{:.1f}") -> bytes:
    """Return the CSV of a program that writes one number per row, with a comma."""
    return "".join(
        spelling.format(value).replace(".", ",") + "\n" for value in values
    ).encode()


def columns(*series: np.ndarray) -> bytes:
    """Return the CSV of integer series."""
    return "".join(
        ",".join(map(str, row)) + "\n" for row in np.transpose(series)
    ).encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"23,5\n23,75\n24,05\n24,1\n", (3, "24,05")),
        (b"1,5,-2,05\n", (1, "-2,05")),
        (commas(RNG.normal(20, 5, 50), "{:.2f}"), (19, "22,06")),
        (commas(20 + 5 * np.sin(ANGLES)), (1, "20,0")),
        (commas(5 * np.sin(ANGLES)), (1, "0,0")),
    ],
    ids=["a leading zero", "of two numbers", "noise", "smooth", "through zero"],
)
def test_numbers_with_a_decimal_comma_are_noticed(
    text: bytes, expected: tuple[int, str]
) -> None:
    """With the first of them that tells, or the first of all."""
    assert find(text) == expected


def test_training_warns_of_them_once_per_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the file, the row and the remedy; the file is read as it stands."""
    monkeypatch.setattr(csv_text, "BLOCK_SIZE", 12)
    path = tmp_path / "a.csv"
    path.write_bytes(b"23,5\n24,05\n" * 20)

    blocks = [*read_blocks(path, "a.csv")]

    assert np.vstack(blocks).shape == (40, 2)
    assert caplog.messages == [
        'a.csv: row 2 holds "24,05", which looks like one number with a decimal comma '
        "but is read as two series; use a decimal point if it is one."
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        commas(RNG.normal(20, 5, 200)),
        columns(RNG.poisson(20, 200), RNG.poisson(4.5, 200)),
        columns(np.cumsum(RNG.integers(-1, 2, 200)), RNG.integers(0, 10, 200)),
        columns((12 - 3 * np.sin(ANGLES)).astype(int), 4 + np.rint(4 * np.sin(ANGLES))),
        columns(DIGITS >= 5, 9 - DIGITS),
        b"007,05\n008,04\n",
        b"0,1\n" + b"20.1,05\n" * 9,
        b"2,05\n2,5,1\n",
        b"23,0\n",
    ],
    ids=[
        "nothing",
        "jumps",
        "counts",
        "a walk",
        "a mirror",
        "a switch",
        "codes",
        "floats",
        "ragged",
        "one row",
    ],
)
def test_series_of_whole_numbers_are_not_taken_for_one(text: bytes) -> None:
    """Whether they go together or not."""
    assert find(text) is None
