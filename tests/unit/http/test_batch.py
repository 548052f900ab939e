"""Recognising the pieces of a file that batch transform has split."""

import pytest

from lstm_ad.exceptions import SeriesError
from sagemaker_container.http.batch import refuse_piece


@pytest.mark.parametrize("mb", [10**6, 2**20])
def test_a_body_that_one_more_row_would_overfill_is_a_piece(mb: int) -> None:
    """A piece ends with the last row that fits; the sentence says what to set."""
    row = 40
    n_rows = (6 * mb - 1) // row
    with pytest.raises(SeriesError) as refusal:
        refuse_piece(n_bytes=n_rows * row, n_rows=n_rows, max_payload_mb=6)

    assert str(refusal.value) == (
        f"The body is a piece of a larger file: its {n_rows * row} bytes fill the "
        "payload of 6 MB to the last row that fits. In a batch transform set SplitType "
        "to None: every row depends on the rows before it, so a file cannot be split. "
        "(If it is a whole file, set another MaxPayloadInMB.)"
    )


@pytest.mark.parametrize(
    "n_bytes",
    [
        pytest.param(1000, id="small"),
        pytest.param(6 * 10**6 - 1000, id="a few rows below 6 MB of 10**6"),
        pytest.param(6 * 10**6 + 40, id="above 6 MB of 10**6"),
        pytest.param(6 * 2**20 - 1000, id="a few rows below 6 MB of 2**20"),
    ],
)
def test_a_body_of_another_size_is_a_whole_file(n_bytes: int) -> None:
    """Whole files are scored in a batch transform, whatever their size."""
    assert refuse_piece(n_bytes, n_bytes // 40, max_payload_mb=6) is None
