"""Look closely at a fitted detector: the numbers of its report, as plain arrays."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from lstm_ad.artifacts import Fit
from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.partition import Part, Partition
from lstm_ad.data.rows import Rows
from lstm_ad.processes import ALONE, ProcessGroup
from lstm_ad.scoring.correlation import needed_shrinkage
from lstm_ad.scoring.detector import LSTMAD
from lstm_ad.scoring.scan import Scanner

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
    """What can be seen of a detector on data that the LSTM was not trained on."""

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
    dependent: IndexArray
    """The series whose errors depend on each other linearly, counted from 0."""


def inspect(fit: Fit, rows: Rows, group: ProcessGroup = ALONE) -> Inspection:
    """Return what a report shows of a detector, in bounded time and memory.

    What fails in one process fails in all: none waits for the others in vain.

    Args:
        fit: The detector, and how it came about.
        rows: What it was fitted to: the rows of this host.
        group: The processes that fitted it; all of them look.
    """
    partition = Partition.of(rows, fit.hyperparameters, group, is_quiet=True)
    available = partition.validation or partition.calibration
    looks: dict[int, _Look] = {}
    problem = None
    try:
        for index, part in enumerate(_first_rows(available, fit)):
            if part.scorer == group.rank:
                looks[index] = _Look(part.values(rows), fit.detector)
        sums = {index: look.summary() for index, look in looks.items()}
    except Exception as error:
        sums, problem = {}, f"{type(error).__name__}: {error}"
    everything = group.gather((sums, problem))
    for _, other in everything:
        if other:
            raise RuntimeError(other)
    found = dict(pair for one, _ in everything for pair in one.items())
    summaries = [found[index] for index in sorted(found)]
    score = np.concatenate([summary.score for summary in summaries])
    squares = np.sum([summary.squares for summary in summaries], axis=0)
    counts = np.sum([summary.counts for summary in summaries], axis=0)
    by_series = np.sum([summary.by_series for summary in summaries], axis=0)
    lowest = min(
        found,
        key=lambda index: (float(found[index].score.min(initial=np.inf)), index),
    )
    stretch = None
    if lowest in looks:
        stretch = _stretch(looks[lowest], available[lowest], by_series[0], fit)
    n_series = by_series.shape[1]
    return Inspection(
        part="valid" if partition.validation else "calibration",
        n_rows=sum(map(len, _first_rows(available, fit))),
        n_available=sum(map(len, available)),
        normality_score=score,
        n_alarms=int(fit.detector.decision.is_anomaly(score).sum()),
        error_by_position=_root(squares[0], counts[0]),
        repeated_by_position=_root(squares[1], counts[1]),
        error_by_series=_root(*by_series),
        stretch=next(one for one in group.gather(stretch) if one is not None),
        dependent=_dependent(fit.calibration_errors[:, :n_series]),
    )


@dataclasses.dataclass(frozen=True)
class _Summary:
    """What all processes need of a look at a part."""

    score: FloatArray
    squares: FloatArray
    counts: FloatArray
    by_series: FloatArray


class _Look:
    """One series, its scores, and the sums of its squared errors."""

    def __init__(self, series: FloatArray, detector: LSTMAD) -> None:
        self.series = series
        layout = detector.reconstructor.network.layout
        scale = detector.reconstructor.scaler.scale
        n_each, stride = layout.n_reconstructions, layout.stride
        length = layout.prediction_length
        self.squares, self.counts = np.zeros((2, 2, length))
        """Of reconstructing and of repeating, at each position in a sequence: the sum
        over series, and how many values it is of."""
        self.by_series = np.zeros((2, series.shape[1]))
        """Likewise of reconstructing each series."""
        scanner = Scanner(detector.scan)
        scores, reconstruction = [], []
        for rows, reconstructions, vectors in detector.reconstructor.with_errors(
            series
        ):
            scores.append(scanner.of(detector.gaussian.distances(vectors))[0])
            errors = vectors[:, : n_each * series.shape[1]]  # without changes of level
            reconstruction.append(reconstructions.mean(axis=1))
            row = np.arange(rows.start, rows.stop)[:, np.newaxis]
            # The k-th reconstruction is from k strides ago, further into its sequence.
            position = (row - layout.n_unscored) % stride + stride * np.arange(n_each)
            origin = row - position - 1  # (rows, K)
            standardised = errors.reshape(len(row), n_each, -1) / scale
            repeated = (series[rows][:, np.newaxis] - series[origin]) / scale
            for number, kind in enumerate((standardised, repeated)):
                squares, there = np.square(kind), ~np.isnan(kind)
                for total, each in (
                    (self.squares, np.nansum(squares, axis=2)),
                    (self.counts, np.count_nonzero(there, axis=2)),
                ):
                    total[number] += np.bincount(
                        position.ravel(), each.ravel(), minlength=length
                    )
            squares = np.square(standardised)
            self.by_series[0] += np.nansum(squares, axis=(0, 1))
            self.by_series[1] += np.count_nonzero(~np.isnan(squares), axis=(0, 1))
        self.scores = detector.gaussian.log_likelihood_at(np.concatenate(scores))
        """Of the last rows; NaN where a row has none."""
        self.reconstruction = np.concatenate(reconstruction)

    def summary(self) -> _Summary:
        """Return what all processes need of it."""
        score = self.scores[~np.isnan(self.scores)]
        return _Summary(score, self.squares, self.counts, self.by_series)


def _first_rows(available: Sequence[Part], fit: Fit) -> Iterator[Part]:
    """Yield the first rows of the data: as many as may be looked at, at least one file.

    The time for it is a small part of that of training, which has read the rows that
    fit the LSTM forwards and backwards.
    """
    layout, n_epochs = fit.hyperparameters.layout, len(fit.history)
    selection = sum(map(len, available))
    n_read = n_epochs * (3 * fit.n_rows["train"] + selection) + sum(fit.n_rows.values())
    n_numbers = layout.n_reconstructions * len(fit.detector.reconstructor.scaler.scale)
    room = min(max(int(_SHARE * n_read), _FEWEST_ROWS), _MAX_NUMBERS // n_numbers)
    n_unscored = fit.detector.n_unscored
    room = max(room, n_unscored + layout.prediction_length)
    for part in available:
        if room <= n_unscored:
            return
        yield dataclasses.replace(part, stop=min(part.stop, part.start + room))
        room -= len(part)


def _stretch(look: _Look, part: Part, by_series: FloatArray, fit: Fit) -> Stretch:
    """Return a closer look at the file that has the lowest score."""
    n_before = len(look.series) - len(look.reconstruction)
    lowest = n_before + int(np.nanargmin(look.scores))
    errors = np.abs(look.series[lowest] - look.reconstruction[lowest - n_before])
    main = int(np.nanargmax(errors / fit.detector.reconstructor.scaler.scale))
    order = np.argsort(-by_series, kind="stable")
    others = order[order != main][: MAX_SHOWN - 1]
    columns = np.sort(np.append(others, main))
    n_around = max(_MIN_STRETCH, fit.hyperparameters.layout.prediction_length)
    return Stretch(
        name=part.file.name,
        first_row=part.start,
        columns=columns,
        values=look.series[:, columns],
        reconstruction=_after(n_before, look.reconstruction[:, columns]),
        normality_score=_after(n_before, look.scores),
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


def _dependent(errors: FloatArray) -> IndexArray:
    """Return the series whose errors depend on each other linearly.

    By the rule of the Gaussian, which is then shrunk; only said of as many rows as can
    show it.

    Args:
        errors: Of shape ``(m, D)``.
    """
    errors = errors[~np.isnan(errors).any(axis=1)]
    deviation = errors.std(axis=0) if len(errors) else np.zeros(errors.shape[1])
    if len(errors) <= 2 * errors.shape[1] or not (deviation > 0).all():
        return np.empty(0, dtype=np.int64)
    standardised = (errors - errors.mean(axis=0)) / deviation
    correlation = standardised.T @ standardised / len(errors)
    _, is_dependent = needed_shrinkage(correlation)
    return np.flatnonzero(is_dependent)
