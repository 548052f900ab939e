"""Blocks: views of bounded size, of narrow and of wide rows."""

import numpy as np
import pytest

from lstm_ad import blocks
from lstm_ad.blocks import in_blocks


@pytest.mark.parametrize(
    ("n_columns", "expected"), [(1, [5]), (2, [3, 2]), (9, [1] * 5)]
)
def test_blocks_are_bounded_in_numbers_not_in_rows(
    monkeypatch: pytest.MonkeyPatch, n_columns: int, expected: list[int]
) -> None:
    """Wide rows would else be copied by the gigabyte; together they are all rows."""
    monkeypatch.setattr(blocks, "BLOCK_NUMBERS", 6)
    rows = np.arange(5 * n_columns).reshape(5, n_columns)

    found = [*in_blocks(rows, rows[:0])]

    assert [len(block) for block in found] == expected
    np.testing.assert_array_equal(np.concatenate(found), rows)


def test_small_arrays_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of files would else cost as many steps; a large one is not copied."""
    monkeypatch.setattr(blocks, "BLOCK_NUMBERS", 6)
    parts = [np.arange(n) for n in (2, 0, 3, 2, 8, 1)]

    found = [*in_blocks(*parts)]

    assert [len(block) for block in found] == [5, 2, 6, 2, 1]
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(parts))
    assert np.shares_memory(found[2], parts[4])
