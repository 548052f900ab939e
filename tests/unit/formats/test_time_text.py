"""Tests of reading many times at once: as each by itself, or not at all."""

import datetime

import pytest

from sagemaker_container.formats import time_text
from sagemaker_container.formats.table import Cells

MIDNIGHT = datetime.datetime(2024, 3, 1)
MOMENTS = [MIDNIGHT + datetime.timedelta(minutes=at) for at in range(-20, 20)]
WRITTEN = {
    "seconds": [f"{at:%Y-%m-%dT%H:%M:%S}" for at in MOMENTS],
    "minutes": [f"{at:%Y-%m-%d %H:%M}" for at in MOMENTS],
    "UTC": [f"{at:%Y-%m-%d %H:%M}:59.999999999Z" for at in MOMENTS],
    "another offset within a day": [
        f"{at:%Y-%m-%d %H:%M:%S}.25+0{1 + (at.minute == 5)}:00" for at in MOMENTS
    ],
    "with and without a fraction": [
        f"{at:%Y-%m-%dT%H:%M:%S}{'.5' * (at.minute % 2)}Z" for at in MOMENTS
    ],
    "one with a fraction": [
        f"{at:%Y-%m-%dT%H:%M:%S}{'.5' * (at.minute == 1)}" for at in MOMENTS
    ],
    "in quotes": [f'"{at:%Y-%m-%d %H:%M:%S}"' for at in MOMENTS],
    "some in quotes": [
        ("%s", '"%s"')[at.minute % 2] % f"{at:%Y-%m-%d %H:%M}" for at in MOMENTS
    ],
    "days": ["2024-03-01"] * 8,
    "integers": [str(10**17 + 987654321 * at) for at in range(40)],
    "integers below 0": [str(-(10**9) - at) for at in range(40)],
}
BAD = {
    "no such hour": "2024-03-01T24:00:00",
    "no such minute": "2024-03-01T00:60:00",
    "no such second": "2024-03-01T00:00:60",
    "no such day": "2024-02-30T00:00:00",
    "no digit": "2024-03-01T00:0a:00",
    "a digit for a colon": "2024-03-01T00300:00",
    "another form": "1709251200",
    "a zone": "2024-03-01T00:00:00Z",
    "nothing": "",
    "nothing in quotes": '""',
    "quotes within quotes": '"2024-03-01T00"":00"',
}


@pytest.mark.parametrize("texts", WRITTEN.values(), ids=WRITTEN)
def test_many_times_are_those_of_each(texts: list[str]) -> None:
    """Whether days, offsets or all of them change."""
    cells = [text.encode() for text in texts]
    found = time_text.parse(Cells.of(cells))
    each = [time_text.parse(Cells.of([cell])) for cell in cells]
    assert found is not None
    assert found[0].tolist() == [int(one[0][0]) for one in each if one]
    assert {found[1]} == {one[1] for one in each if one}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_one_bad_time_among_many_is_found(bad: str) -> None:
    """Wherever it is."""
    texts = WRITTEN["seconds"].copy()
    texts[30] = bad
    assert time_text.parse(Cells.of([text.encode() for text in texts])) is None


@pytest.mark.parametrize("n_times", [1, 5])
@pytest.mark.parametrize("text", ["5\0", "2024-03-01\0"])
def test_a_nul_is_no_part_of_a_time(text: str, n_times: int) -> None:
    """Arrays of NumPy leave out those at the end."""
    assert time_text.parse(Cells.of([text.encode()] * n_times)) is None


def test_an_offset_takes_no_time_beyond_nanoseconds() -> None:
    """From a day that begins within them."""
    texts = [f"2262-04-11T{hour:02}:00:00-05:30" for hour in range(24)]
    assert time_text.parse(Cells.of([text.encode() for text in texts])) is None
