import numpy as np
import pytest

from lstm_ad.axes import FloatArray
from lstm_ad.data.rows import Rows
from lstm_ad.fitting import fit
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.model.fences import Fences, sample

RNG = np.random.default_rng(0)
NOISE = RNG.normal(50.0, 2.0, size=(4000, 1))


def with_cells(rows: list[int], value: float) -> FloatArray:
    """Return noise with some cells replaced."""
    series = NOISE.copy()
    series[rows] = value
    return series


@pytest.mark.parametrize(
    "series",
    [
        NOISE,
        RNG.standard_t(5, size=(4000, 1)),
        np.eye(4)[RNG.integers(0, 4, 4000)],
        (np.arange(4000) % 1000 == 7).astype(float)[:, np.newaxis],
        np.where(np.arange(4000) % 500 < 20, RNG.normal(size=4000), 0.0)[:, np.newaxis],
        np.where(np.arange(4000) % 400 < 10, 500.0, NOISE[:, 0])[:, np.newaxis],
        np.where(np.arange(4000) % 20 < 16, 0.0, NOISE[:, 0])[:, np.newaxis],
        np.full((10, 1), 7.0),
    ],
    ids=[
        "noise",
        "tails",
        "one-hot",
        "rare",
        "seldom",
        "frequent peaks",
        "resting",
        "constant",
    ],
)
def test_series_without_absurd_cells_are_returned_as_they_are(
    series: FloatArray,
) -> None:
    """Not even copied: not one bit of a model changes."""
    assert Fences.of([series]).repair(series) is series


@pytest.mark.parametrize(
    ("share", "is_repaired"), [(0.8, True), (0.95, False)], ids=["rests", "switch"]
)
def test_what_rests_most_of_the_time_varies_and_a_rare_switch_does_not(
    share: float, is_repaired: bool
) -> None:
    """Told by the outer tenths: a broken cell of a pump is one, at rest or not."""
    series = np.where(np.arange(4000) % 20 < 20 * share, 0.0, NOISE[:, 0])[:, None]
    series[3000] = -9999.0

    repaired = Fences.of([series]).repair(series)

    assert (repaired is not series) == is_repaired


@pytest.mark.parametrize("value", [-9999.0, 0.0, 3.4e38, 80.0])
def test_a_few_absurd_cells_are_interpolated(value: float) -> None:
    """Whatever their size; the first and the last row take their neighbour's value."""
    series = with_cells([0, 2000, 2001, 3999], value)

    repaired = Fences.of([series]).repair(series)

    expected = NOISE.copy()
    before, after = NOISE[1999], NOISE[2002]
    expected[[0, 3999]] = NOISE[[1, 3998]]
    expected[[2000, 2001]] = [(2 * before + after) / 3, (before + 2 * after) / 3]
    np.testing.assert_allclose(repaired, expected, rtol=1e-15)


def test_what_happens_often_is_no_dirt_unless_it_is_far_away() -> None:
    """One row in a thousand; from ten ranges on, one in two hundred."""
    rows = list(range(100, 3700, 200))  # 18 of 4000

    for value, is_repaired in ((80.0, False), (-9999.0, True)):
        series = with_cells(rows, value)
        assert (Fences.of([series]).repair(series) is not series) == is_repaired


def test_codes_are_interpolated_however_often_they_come() -> None:
    """Two kinds side by side, too; nothing else changes, and what is missing stays."""
    codes = np.arange(4000) % 5 == 1
    series = np.where(codes[:, np.newaxis], -200.0, NOISE)
    series[2:4000:100] = 999.0
    series[50] = np.nan

    repaired = Fences.of([series], codes={0: [-200.0, 999.0]}).repair(series)

    other = ~codes
    other[2:4000:100] = False
    np.testing.assert_array_equal(repaired[other], series[other])
    np.testing.assert_allclose(repaired[6], (NOISE[5] + NOISE[7]) / 2)
    np.testing.assert_allclose(
        repaired[[101, 102]],
        [(2 * NOISE[100] + NOISE[103]) / 3, (NOISE[100] + 2 * NOISE[103]) / 3],
    )


def test_a_code_that_most_training_rows_have_is_none() -> None:
    """Whatever another host found: that is what the machine does."""
    rows = np.arange(4000)[:, np.newaxis]
    for period, is_repaired in ((4, True), (2, False)):
        series = np.where(rows % period, NOISE, 0.0)
        repaired = Fences.of([series], codes={0: [0.0]}).repair(series)
        assert (repaired is not series) == is_repaired


def test_a_sample_has_a_row_of_each_stretch_whatever_the_period() -> None:
    """Rows at equal distances would see one phase of a series of that period."""
    files = [np.arange(30_000.0)[:, np.newaxis], np.arange(30_000.0, 80_000)[:, None]]

    rows, values = sample(files, 1000)

    np.testing.assert_array_equal(values[:, 0], rows)
    np.testing.assert_array_equal(rows // 80, np.arange(1000))
    assert len(np.unique(rows % 80)) > 60


@pytest.mark.parametrize("row", [300, 1100])
def test_one_absurd_cell_leaves_the_model_as_it_was(
    row: int, tiny: Hyperparameters, make_series: object
) -> None:
    """In the training rows or in the calibration part: scaler, losses, Gaussian."""
    clean = make_series(1200)  # type: ignore[operator]
    dirty = clean.copy()
    dirty[row, 0] = -9999.0

    found, expected = (
        fit(Rows.of({"train.csv": series}), tiny) for series in (dirty, clean)
    )

    for name in ("train", "calibration"):
        np.testing.assert_allclose(
            found.losses[name].mse, expected.losses[name].mse, rtol=0.05
        )
    np.testing.assert_allclose(
        found.detector.reconstructor.scaler.scale,
        expected.detector.reconstructor.scaler.scale,
        rtol=0.01,
    )
    np.testing.assert_allclose(
        np.diag(found.detector.gaussian.covariance),
        np.diag(expected.detector.gaussian.covariance),
        rtol=0.1,
    )
    np.testing.assert_allclose(
        found.detector.decision.threshold,
        expected.detector.decision.threshold,
        rtol=0.1,
    )
