"""The layout: what the three lengths mean, in rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ad.model.layout import Layout, adds_origin


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Return any small layout, overlapping or not."""
    stride, n_reconstructions = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    return Layout(draw(st.integers(1, 8)), stride * n_reconstructions, stride)


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (Layout(50, 50, 50), (False, 1, 50, 100, 0, 100)),
        (Layout(100, 10, 1), (True, 10, 109, 110, 109, 10)),
        (Layout(30, 10, 5), (True, 2, 35, 40, 35, 10)),
        (Layout(30, 10, 10), (False, 1, 30, 40, 0, 40)),
        (Layout(1, 1, 1), (False, 1, 1, 2, 0, 2)),
    ],
)
def test_a_layout_says_how_many_rows_it_takes(
    layout: Layout, expected: tuple[bool, int, int, int, int, int]
) -> None:
    """Worked by hand: the first row with all reconstructions is C + P - S.

    By default the parts of a file share no row, and each needs two sequences; only
    overlapping sequences borrow rows.
    """
    assert expected == (
        layout.is_overlapping,
        layout.n_reconstructions,
        layout.n_unscored,
        layout.n_shortest,
        layout.n_borrowed,
        layout.n_calibrating,
    )


@given(layouts())
def test_a_layout_survives_its_spelling(layout: Layout) -> None:
    """What the graph keeps is what it was made for; it keeps strings alone."""
    metadata = layout.to_metadata()

    assert all(isinstance(value, str) for value in metadata.values())
    assert Layout.from_metadata(metadata) == layout


@pytest.mark.parametrize(
    ("layout", "n_series", "expected"),
    [
        (Layout(100, 10, 1), 1, True),
        (Layout(100, 10, 1), 2, False),
        (Layout(50, 50, 50), 1, False),
    ],
)
def test_a_single_overlapping_series_is_reconstructed_from_its_origin(
    layout: Layout, n_series: int, expected: bool
) -> None:
    """Several are not, and by default none is: the document's algorithm."""
    assert adds_origin(layout, n_series) == expected
