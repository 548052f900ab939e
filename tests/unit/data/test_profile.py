import numpy as np
import numpy.typing as npt
import pytest

from lstm_ad.data import chunks
from lstm_ad.data.profile import Profile, profile
from lstm_ad.model.fences import SAMPLE_ROWS

Table = npt.NDArray[np.float64]


def some_files() -> list[Table]:
    """Return files of many kinds of series: noise, states, constant, rising, spiky."""
    rng = np.random.default_rng(0)
    n = 901
    columns = [
        rng.normal(size=n),
        (rng.random(n) < 0.02).cumsum() % 2 * 4.0,
        np.full(n, 0.25),
        np.arange(n) * 0.1,
        np.where(rng.random(n) < 0.1, rng.normal(size=n), 1.0),
        np.where(np.arange(n) == 700, -9999.0, rng.normal(size=n)),
        np.arange(n) // 5 * 0.5,
    ]
    table = np.column_stack(columns)
    return [table[:1], table[1:400], table[400:]]


@pytest.fixture(autouse=True, params=[2**17, 64], ids=["one chunk", "many chunks"])
def chunk_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read files in chunks of two sizes, in all tests of this module."""
    monkeypatch.setattr(chunks, "_N_VALUES", request.param)
    monkeypatch.setattr(chunks, "_MIN_ROWS", 4)


@pytest.fixture
def described(chunk_size: None) -> Profile:
    """Return the profile of these files."""
    return profile(some_files())


def test_extremes_are_exact_and_have_their_first_and_last_row(
    described: Profile,
) -> None:
    """What numpy says of all rows at once."""
    x = np.concatenate(some_files())
    last = len(x) - 1

    np.testing.assert_array_equal(described.low, x.min(axis=0))
    np.testing.assert_array_equal(described.high, x.max(axis=0))
    np.testing.assert_array_equal(
        described.extremes[0].rows, [x.argmin(axis=0), last - x[::-1].argmin(axis=0)]
    )
    np.testing.assert_array_equal(
        described.extremes[1].rows, [x.argmax(axis=0), last - x[::-1].argmax(axis=0)]
    )
    np.testing.assert_allclose(described.mean, x.mean(axis=0))


def test_rows_and_visits_of_the_extremes_are_counted(described: Profile) -> None:
    """By going through each file; and the nearest other value is known."""
    files = some_files()
    x = np.concatenate(files)
    for extreme, value, nearest in zip(
        described.extremes,
        (x.min(axis=0), x.max(axis=0)),
        (
            np.where(x > x.min(axis=0), x, np.inf).min(axis=0),
            np.where(x < x.max(axis=0), x, -np.inf).max(axis=0),
        ),
        strict=True,
    ):
        visits = [np.diff((f == value).astype(int), axis=0, prepend=0) for f in files]

        np.testing.assert_array_equal(extreme.n_rows, (x == value).sum(axis=0))
        np.testing.assert_array_equal(
            extreme.n_visits, sum((v == 1).sum(axis=0) for v in visits)
        )
        np.testing.assert_array_equal(extreme.nearest, nearest)


def test_steps_stay_within_a_file(described: Profile) -> None:
    """Between two files there is no step."""
    steps = np.concatenate([np.diff(file, axis=0) for file in some_files()])

    assert described.n_steps == len(steps)
    np.testing.assert_array_equal(described.n_rises, (steps > 0).sum(axis=0))
    np.testing.assert_array_equal(described.n_falls, (steps < 0).sum(axis=0))
    np.testing.assert_array_equal(
        described.steps, [steps.min(axis=0), steps.max(axis=0)]
    )


def test_longest_constant_stretch_is_found_with_its_first_row(
    described: Profile,
) -> None:
    """By going through the rows one by one."""
    for series in range(7):
        best, first, start = 0, 0, 0
        for file in some_files():
            values = [*file[:, series].tolist(), None]
            run = 0
            for row in range(1, len(values)):
                if values[row] != values[row - 1]:
                    if row - run > best:
                        best, first = row - run, start + run
                    run = row
            start += len(file)

        assert described.longest[series] == best
        assert described.longest_first[series] == first


def test_states_are_counted_and_many_values_are_none(described: Profile) -> None:
    """Rows, visits and the first row of each value of the switch."""
    x = np.concatenate(some_files())[:, 1]
    files = [file[:, 1] for file in some_files()]
    states = described.states[1]

    assert states is not None
    few = [series for series, found in enumerate(described.states) if found]
    assert few == [1, 2]
    for index, value in enumerate(states.values):
        visits = sum(
            int((np.diff((file == value).astype(int), prepend=0) == 1).sum())
            for file in files
        )
        assert states.n_rows[index] == (x == value).sum()
        assert states.n_visits[index] == visits
        assert states.first_rows[index] == (x == value).argmax()


@pytest.mark.parametrize(
    ("first", "last", "end", "decimals", "is_line"),
    [
        (600, 800, 55, 15, True),
        (600, 800, 55, 2, True),
        (600, 629, 55, 15, True),
        (600, 628, 55, 15, False),
        (600, 800, 50, 15, False),
        (0, 100, 55, 3, True),
        (980, 1019, 55, 3, False),  # in two files
        (1900, 1999, 45, 3, True),
    ],
)
def test_lines_have_their_first_and_last_row(
    first: int, last: int, end: float, decimals: int, is_line: bool
) -> None:
    """Rounded or not, across chunks and to the ends of a file, but not level ones."""
    x = 50 + np.random.default_rng(0).normal(scale=9, size=(2000, 3))
    x[first : last + 1, 1] = np.linspace(50, end, last - first + 1)
    found = profile(np.split(x.round(decimals), [1000])).lines

    assert found[0] == found[2] == ()
    assert [(one.first, one.last) for one in found[1]] == [(first, last)] * is_line


def test_a_value_far_away_is_kept_with_its_row(described: Profile) -> None:
    """And the range of all others."""
    x = np.delete(np.concatenate(some_files())[:, 5], 700)
    far = described.far[5]

    assert (far.values.tolist(), far.rows.tolist()) == ([-9999.0], [700])
    assert far.inner == (x.min(), x.max())
    assert described.locate(700) == (2, 300)


def test_stretches_have_level_and_range(described: Profile) -> None:
    """Sixty equal ones."""
    x = np.concatenate(some_files())
    edges = np.arange(61) * len(x) // 60
    first = x[edges[7] : edges[8]]

    np.testing.assert_allclose(described.stretch_mean[7], first.mean(axis=0))
    np.testing.assert_array_equal(described.stretch_range[0, 7], first.min(axis=0))
    np.testing.assert_array_equal(described.stretch_range[1, 7], first.max(axis=0))


def test_median_and_deviation_come_from_a_bounded_sample() -> None:
    """Of a Gaussian, within its estimation error, whatever the number of rows."""
    x = np.random.default_rng(1).normal(5.0, 2.0, size=(50_000, 1))
    found = profile([x])

    assert len(found.sample) == SAMPLE_ROWS
    np.testing.assert_array_equal(found.sample, x[found.sample_rows])
    np.testing.assert_allclose(found.quantiles[:, 0], [3.65, 5.0, 6.35], atol=0.15)
    np.testing.assert_allclose(found.deviation, [2.0], rtol=0.05)


def test_fewer_rows_than_stretches_have_extremes() -> None:
    """A stretch without rows has no mean and no range, and decides nothing."""
    found = profile([np.arange(7.0)[:, np.newaxis]])

    assert (found.low.tolist(), found.high.tolist()) == ([0.0], [6.0])
    assert np.isnan(found.stretch_mean).sum() == 53


def test_missing_values_are_counted_and_change_nothing_else() -> None:
    """Across chunks and files; what is left has its extremes, states and steps."""
    values = np.tile([[1.0, 5.0], [2.0, 5.0], [3.0, 7.0]], (1000, 1))
    holed = values.copy()
    holed[10:14, 1] = np.nan
    holed[2998:, 1] = np.nan

    whole, found = profile([values, values]), profile([holed, holed])

    assert found.n_missing.tolist() == [0, 12]
    assert found.longest_missing.tolist() == [0, 4]
    assert found.longest_missing_first[1] == 10
    for name in ("low", "high", "steps", "change_share", "mean"):
        ours, expected = getattr(found, name), getattr(whole, name)
        np.testing.assert_allclose(ours, expected, rtol=0.01)
    states = found.states[1]
    assert states is not None
    assert (states.values.tolist(), states.n_rows.sum()) == ([5.0, 7.0], 5988)
    assert np.isfinite(found.sample).all()
