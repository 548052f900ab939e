"""Look closely at a fitted detector: the numbers of its report, as plain arrays."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lstm_ad.artifacts import Fit
from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.partition import Held
from lstm_ad.scoring.detector import LSTMAD, moving_average
from lstm_ad.scoring.gaussian import needed_shrinkage
from lstm_ad.scoring.reconstruction import error_vectors

MAX_SHOWN = 4
"""Series that are shown row by row."""

_SHARE = 0.05
"""The part of all rows that training has read that is read once more for a look."""
_FEWEST_ROWS = 5000
_MAX_NUMBERS = 2**21
"""Errors that are looked at: what bounds the memory, however much data there is."""
_MIN_STRETCH = 60


@dataclasses.dataclass(frozen=True)
class Stretch:
    """The rows of the file that has the lowest score, and where it has it."""

    name: str
    """The name of the file."""
    first_row: int
    """The row of the file that comes first here, counted from 0."""
    columns: IndexArray
    """The series that are shown, counted from 0, of shape ``(S,)``: those that are
    reconstructed worst, and the one that is so at the lowest score."""
    values: FloatArray
    """Of these series, of shape ``(T, S)``, in their units."""
    reconstruction: FloatArray
    """Likewise; NaN for the first rows."""
    normality_score: FloatArray
    """Of shape ``(T,)``; NaN for the first rows."""
    lowest: int
    """The one of these rows that has the lowest score."""
    around: slice
    """Some of them before and after it."""


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What can be seen of a detector on data that the LSTM has not learnt from."""

    part: str
    """Which data: ``valid``, or ``calibration`` if there are no validation series."""
    n_rows: int
    """How many rows were looked at: the first ones."""
    n_available: int
    """How many there are."""
    normality_score: FloatArray
    """Of all files, one after the other, of shape ``(n,)``: rows without one are left
    out."""
    n_alarms: int
    """How many of them are below the threshold."""
    error_by_position: FloatArray
    """How far reconstructions are from the truth at each time step of a sequence: the
    root of the mean square in standardised units, of shape ``(P,)``."""
    repeated_by_position: FloatArray
    """Likewise, of repeating the last value before the sequence."""
    error_by_series: FloatArray
    """Likewise, of the reconstructions of each series, of shape ``(D,)``."""
    stretch: Stretch
    """A closer look."""
    constant: IndexArray
    """The series that are constant in the rows that fit the LSTM, counted from 0."""
    dependent: IndexArray
    """The series whose errors depend on each other linearly, counted from 0."""


def inspect(
    fit: Fit,
    training: Mapping[str, FloatArray],
    validation: Mapping[str, FloatArray],
) -> Inspection:
    """Return what a report shows of a detector, in bounded time and memory.

    Args:
        fit: The detector, and how it came about.
        training: What it was fitted to: series by the name of their file.
        validation: Likewise; the calibration parts are looked at if it is empty.
    """
    cuts = {k: fit.hyperparameters.n_fitting(len(s)) for k, s in training.items()}
    # Cut where sequences start, so that reconstructions are those that were learnt.
    n_before = fit.hyperparameters.layout.n_borrowed
    return _inspect(
        fit,
        [s[: cuts[k]] for k, s in training.items()],
        [(k, cuts[k] - n_before, s[cuts[k] - n_before :]) for k, s in training.items()],
        [(name, 0, series) for name, series in validation.items()],
    )


def inspect_held(fit: Fit, held: Held) -> Inspection:
    """Return what a report shows of a detector, from what one of its processes holds.

    Args:
        fit: The detector, and how it came about.
        held: What that process holds of the data.
    """
    shares, rank = held.shares, held.rank
    calibrating = zip(shares.calibrating[rank], held.calibrating, strict=True)
    validating = zip(shares.validating[rank], held.validating, strict=True)
    return _inspect(
        fit,
        held.fitting,
        [(shares.training[p.file].name, p.first, part) for p, part in calibrating],
        [(shares.validation[p.file].name, p.first, part) for p, part in validating],
    )


Parts = Sequence[tuple[str, int, FloatArray]]
"""Names of files, first rows, and the values from there on."""


def _inspect(
    fit: Fit, fitting: Sequence[FloatArray], calibration: Parts, validation: Parts
) -> Inspection:
    """Return what a report shows, of what validates or else of what calibrates."""
    available = validation or calibration
    looks = [
        _Look(name, first_row, series, fit.detector)
        for name, first_row, series in _first_rows(available, fit)
    ]
    score = np.concatenate([look.score for look in looks])
    squares = np.sum([look.squares for look in looks], axis=0)
    counts = np.sum([look.counts for look in looks], axis=0)
    by_series = np.sum([look.by_series for look in looks], axis=0)
    n_series = len(by_series)
    lowest = min(looks, key=lambda look: float(look.score.min()))
    return Inspection(
        part="valid" if validation else "calibration",
        n_rows=sum(len(look.series) for look in looks),
        n_available=sum(len(series) for _, _, series in available),
        normality_score=score,
        n_alarms=int(fit.detector.decision.is_anomaly(score).sum()),
        error_by_position=_root(squares[0], counts * n_series),
        repeated_by_position=_root(squares[1], counts * n_series),
        error_by_series=_root(by_series, counts.sum()),
        stretch=_stretch(lowest, by_series, fit),
        constant=_constant(fitting),
        dependent=_dependent(fit.calibration_errors[:, :n_series]),
    )


class _Look:
    """One series, its scores, and the sums of its squared errors."""

    def __init__(
        self, name: str, first_row: int, series: FloatArray, detector: LSTMAD
    ) -> None:
        self.name, self.first_row, self.series = name, first_row, series
        layout = detector.reconstructor.network.layout
        scale = detector.reconstructor.scaler.scale
        n_each, stride = layout.n_reconstructions, layout.stride
        length = layout.prediction_length
        self.squares = np.zeros((2, length))
        """Of reconstructing and of repeating, at each position in a sequence."""
        self.counts = np.zeros(length)
        self.by_series = np.zeros(series.shape[1])
        scores, reconstruction = [], []
        for rows, reconstructions in detector.reconstructor.reconstruct(series):
            errors = error_vectors(series[rows], reconstructions)
            scores.append(detector.gaussian.log_likelihood(errors))
            reconstruction.append(reconstructions.mean(axis=1))
            row = np.arange(rows.start, rows.stop)[:, np.newaxis]
            # The k-th reconstruction is from k strides ago, further into its sequence.
            position = (row - layout.n_unscored) % stride + stride * np.arange(n_each)
            origin = row - position - 1  # (rows, K)
            standardised = errors.reshape(len(row), n_each, -1) / scale
            repeated = (series[rows][:, np.newaxis] - series[origin]) / scale
            for sums, kind in zip(self.squares, (standardised, repeated), strict=True):
                each = np.square(kind).sum(axis=2)
                sums += np.bincount(position.ravel(), each.ravel(), minlength=length)
            self.counts += np.bincount(position.ravel(), minlength=length)
            self.by_series += np.square(standardised).sum(axis=(0, 1))
        self.score = moving_average(np.concatenate(scores), detector.smoothing)
        self.reconstruction = np.concatenate(reconstruction)


def _first_rows(available: Parts, fit: Fit) -> Iterator[tuple[str, int, FloatArray]]:
    """Yield the first rows of the data: as many as may be looked at, at least one file.

    The time for it is a small part of that of training, which has read the rows that
    fit the LSTM forwards and backwards.
    """
    layout, n_epochs = fit.hyperparameters.layout, len(fit.history)
    selection = sum(len(series) for _, _, series in available)
    n_read = n_epochs * (3 * fit.n_rows["train"] + selection) + sum(fit.n_rows.values())
    n_numbers = layout.n_reconstructions * len(fit.detector.reconstructor.scaler.scale)
    room = min(max(int(_SHARE * n_read), _FEWEST_ROWS), _MAX_NUMBERS // n_numbers)
    room = max(room, layout.n_unscored + layout.prediction_length)
    for name, first_row, series in available:
        if room <= layout.n_unscored:
            return
        yield name, first_row, series[:room]
        room -= len(series)


def _stretch(look: _Look, by_series: FloatArray, fit: Fit) -> Stretch:
    """Return a closer look at the file that has the lowest score."""
    n_unscored = len(look.series) - len(look.score)
    at = int(look.score.argmin())
    lowest = n_unscored + at
    errors = np.abs(look.series[lowest] - look.reconstruction[at])
    blamed = int((errors / fit.detector.reconstructor.scaler.scale).argmax())
    order = np.argsort(-by_series, kind="stable")
    others = order[order != blamed][: MAX_SHOWN - 1]
    columns = np.sort(np.append(others, blamed))
    n_around = max(_MIN_STRETCH, fit.hyperparameters.layout.prediction_length)
    return Stretch(
        name=look.name,
        first_row=look.first_row,
        columns=columns,
        values=look.series[:, columns],
        reconstruction=_after(n_unscored, look.reconstruction[:, columns]),
        normality_score=_after(n_unscored, look.score),
        lowest=lowest,
        around=slice(max(lowest - n_around, 0), lowest + n_around + 1),
    )


def _after(n_rows: int, values: FloatArray) -> FloatArray:
    """Return ``values`` after some rows that have none."""
    nothing = np.full((n_rows, *values.shape[1:]), np.nan)
    return np.concatenate([nothing, values])


def _root(sums: FloatArray, counts: FloatArray | float) -> FloatArray:
    """Return the root of the mean; NaN of nothing."""
    with np.errstate(invalid="ignore"):
        root: FloatArray = np.sqrt(np.divide(sums, counts))
    return root


def _constant(parts: Sequence[FloatArray]) -> IndexArray:
    """Return the series that have one value in all rows of all parts."""
    low = np.min([part.min(axis=0) for part in parts], axis=0)
    high = np.max([part.max(axis=0) for part in parts], axis=0)
    return np.flatnonzero(low == high)


def _dependent(errors: FloatArray) -> IndexArray:
    """Return the series whose errors depend on each other linearly.

    By the rule of the Gaussian, which is then shrunk; only said of as many rows as can
    show it.

    Args:
        errors: Of shape ``(m, D)``.
    """
    deviation = errors.std(axis=0)
    if len(errors) <= 2 * errors.shape[1] or not (deviation > 0).all():
        return np.empty(0, dtype=np.int64)
    standardised = (errors - errors.mean(axis=0)) / deviation
    correlation = standardised.T @ standardised / len(errors)
    _, is_dependent = needed_shrinkage(correlation)
    return np.flatnonzero(is_dependent)
