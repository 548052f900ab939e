"""The fitted detector, and how it scores a series."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.schema import Schema
from lstm_ad.model.gaps import Runs, is_empty, stretches
from lstm_ad.model.off import Comparison, Mask, is_off
from lstm_ad.model.scaling import Scaler
from lstm_ad.scoring.gaussian import Gaussian
from lstm_ad.scoring.reconstruction import Reconstructor, check_length
from lstm_ad.scoring.regime import NONE, Regimes, RegimeWatch, Seen, Teller
from lstm_ad.scoring.scan import SINGLE_ROWS, Scan, Scanner, WindowMeans
from lstm_ad.threshold.decision import BoolArray, Decision

_NO_SCHEMA = Schema((), is_named=False)


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a detector says of each time step of a series."""

    normality_score: FloatArray
    """The log-likelihood of the reconstruction errors, in nats, of shape ``(T,)``; low
    = anomalous. With longer windows than single rows, that of the worst window: see
    :mod:`lstm_ad.scoring.scan`. NaN for the first rows: they have no reconstruction, or
    their shortest window is not full; nor have rows most of whose values are
    missing."""
    reconstruction: FloatArray
    """Of shape ``(T, D)``, in the units of the series; the mean of a row's
    reconstructions where it has several. NaN for the first rows."""
    lasting: IndexArray | None = None
    """The rows of the window that the score is of, this one the last, of shape
    ``(T,)``; 0 where there is no score. None if nothing is known of windows."""
    contribution: FloatArray | None = None
    """How much each series has to do with the score, of shape ``(T, D)``; None if it
    was not asked for. At least 0; each row sums to 1. NaN where there is no score.

    It is the fraction that the series has in the drops of
    :meth:`~lstm_ad.scoring.gaussian.Gaussian.distance_drops`, averaged over the window
    that the score is of. Where nothing drops, because all errors are exactly those
    expected, all series have equal fractions.
    """
    direction: FloatArray | None = None
    """-1 where a series is below its reconstruction, 1 where it is not, on average over
    the window that the score is of. Of shape ``(T, D)``; None if it was not asked for;
    NaN where there is no score."""
    n_missing: IndexArray | None = None
    """How many values of each row are missing, of shape ``(T,)``."""
    is_event: BoolArray | None = None
    """Whether each row is one of an event, of shape ``(T,)``: see
    :mod:`lstm_ad.scoring.events`. None if events were not looked for."""
    is_off: Mask | None = None
    """Whether the machine is off in each row, of shape ``(T,)``; None if nobody knows
    when it is."""
    regime: IndexArray | None = None
    """The series whose values nothing in training resembles, or ``NONE``, of shape
    ``(T,)``: see :mod:`lstm_ad.scoring.regime`. None if nobody knows what was seen."""
    is_known: BoolArray | None = None
    """Whether such a regime explains the score of each row: then it is no anomaly."""
    tells_regime: BoolArray | None = None
    """Whether each row is the first of an event that is in such a regime."""

    def anomalies(self, decision: Decision) -> BoolArray:
        """Return whether each row is an anomaly, of shape ``(T,)``.

        Args:
            decision: What a score means.
        """
        is_anomaly = decision.is_anomaly(self.normality_score)
        return is_anomaly if self.is_known is None else is_anomaly & ~self.is_known

    @classmethod
    def joined(cls, parts: Sequence["Scores"]) -> "Scores":
        """Return the scores of rows that follow each other as those of one series."""
        columns = {
            field.name: [getattr(part, field.name) for part in parts]
            for field in dataclasses.fields(cls)
        }
        return cls(
            **{k: np.concatenate(v) for k, v in columns.items() if v[0] is not None}
        )

    def at(self, rows: slice | IndexArray) -> "Scores":
        """Return the scores of some of the rows."""
        columns = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        return Scores(**{k: v[rows] for k, v in columns.items() if v is not None})


@dataclasses.dataclass(frozen=True)
class LSTMAD:
    """Scores how normal each time step of a multivariate series is.

    LSTM-AD (Malhotra et al., ESANN 2015): a stacked LSTM reconstructs each sequence
    from the rows before it, and a multivariate Gaussian, fitted to the reconstruction
    errors on normal data that the LSTM has not seen, says how likely the errors are.
    """

    reconstructor: Reconstructor
    """The scaled LSTM."""
    gaussian: Gaussian
    """The distribution of the signed errors of the calibration part."""
    decision: Decision
    """What a score means."""
    scan: Scan = SINGLE_ROWS
    """The windows that are scored beside single rows."""
    schema: Schema = _NO_SCHEMA
    """The columns of the tables that it was trained on; if it is given none, ``D``
    series without names."""
    own_level: Scaler | None = None
    """The mean and the deviation of the rows that it was last fitted to, where the
    scaler is still that of the model that it came from."""
    off_when: tuple[Comparison, ...] = ()
    """Where all of these hold the machine is off; without any it never is."""
    seen: Seen | None = None
    """The values that it was fitted to, where it looks for regimes beyond them."""
    missing_codes: tuple[float, ...] = ()
    """The numbers that stand for a missing value in a table that is read for it."""

    def __post_init__(self) -> None:
        if not self.schema.columns:
            unnamed = Schema.unnamed(self.reconstructor.network.n_series)
            object.__setattr__(self, "schema", unnamed)

    @property
    def level(self) -> Scaler:
        """The mean and the deviation of the rows that it was last fitted to."""
        return self.own_level or self.reconstructor.scaler

    @property
    def n_unscored(self) -> int:
        """How many rows at the start of a series have no score."""
        layout = self.reconstructor.network.layout
        return layout.n_unscored + self.scan.lengths[0] - 1

    @property
    def event_gap(self) -> int:
        """How many normal rows may lie between the anomalies of one event.

        As many as a sequence has: an anomaly also disturbs the sequence after it, which
        is reconstructed from it.
        """
        return self.reconstructor.network.layout.prediction_length

    def warm_up(self) -> None:
        """Score once, so that the first caller does not wait for lazy beginnings."""
        n_timesteps = self.n_unscored + 1
        self.score(np.tile(self.reconstructor.scaler.mean, (n_timesteps, 1)))

    def score(
        self,
        series: FloatArray,
        with_contributions: bool = False,
        off: Sequence[tuple[int, int]] = (),
    ) -> Scores:
        """Return the normality score and the reconstruction of each time step.

        Sequences are cut from the first row on, so both depend on where the series
        starts. They do not depend on anything else that is scored. After a gap that is
        longer than the detector holds values, the series starts anew.

        Args:
            series: Of shape ``(T, D)``, in the units of the training data, longer than
                the rows that have no score; NaN where a value is missing.
            with_contributions: Whether to say, too, which series a score comes from.
            off: Runs of rows in which the machine is off, beside those whose values say
                it is.

        Raises:
            SeriesError: If ``series`` has another number of columns than the training
                data, too few rows, or missing values that the detector does not hold.
        """
        parts = self.score_in_parts(series, with_contributions, off)
        return Scores.joined(list(parts))

    def score_in_parts(
        self,
        series: FloatArray,
        with_contributions: bool = False,
        off: Sequence[tuple[int, int]] = (),
    ) -> Iterator[Scores]:
        """Yield what :meth:`score` returns, some rows at a time and in order.

        Args:
            series: As for :meth:`score`.
            with_contributions: As for :meth:`score`.
            off: As for :meth:`score`.

        Raises:
            SeriesError: As :meth:`score`, before anything is yielded.
        """
        rows = self._rows(series, off)
        is_on = slice(None) if rows.is_off is None else ~rows.is_off
        # What is missing in rows that are off is not held.
        has_gaps = bool(rows.n_missing[is_on].any())
        self.reconstructor.check(series.shape, has_gaps)
        check_length(len(series), self.n_unscored)
        whole = [range(len(series))]  # as in most requests
        is_whole = rows.is_off is None and not has_gaps
        stretches = whole if is_whole else self._stretches(rows)
        yield from self._parts(rows, stretches, with_contributions)

    def without_scores(self, series: FloatArray, with_contributions: bool) -> Scores:
        """Return what there is to say of a series that is too short for scores."""
        return self._nothing(self._rows(series, ()), with_contributions)

    def _nothing(self, rows: "_Rows", with_contributions: bool) -> Scores:
        """Return what there is to say of rows without a score."""
        scores = _without_scores(rows, with_contributions)
        if self.seen is None:
            return scores
        is_none = np.zeros(len(rows.values), dtype=np.bool_)
        return dataclasses.replace(
            scores,
            regime=np.full(len(is_none), NONE, dtype=np.int64),
            is_known=is_none,
            tells_regime=is_none,
        )

    def _rows(self, series: FloatArray, off: Sequence[tuple[int, int]]) -> "_Rows":
        """Return a series, and what is known of its rows before it is scored."""
        n_missing = _n_missing(series)
        n_series = self.reconstructor.network.n_series
        if series.shape[1] != n_series or not (self.off_when or off):
            return _Rows(series, n_missing, None)
        found = np.zeros(len(series), dtype=np.bool_)
        if self.off_when:
            found = is_off(series, self.off_when)
        for start, stop in off:
            found[start:stop] = True
        rest = np.where(found[:, np.newaxis], np.nan, series)
        return _Rows(rest, n_missing, found)

    def _stretches(self, rows: "_Rows") -> list[range]:
        """Return the runs of rows that are a series each."""
        off = rows.is_off
        if off is None:
            off = np.zeros(len(rows.values), dtype=np.bool_)
        gaps, runs = Runs(), Runs()
        gaps.add(is_empty(rows.values) & ~off)
        runs.add(off)
        max_gap = self.reconstructor.max_gap
        return stretches(len(off), gaps.found, max_gap, runs.found)

    def _parts(
        self, rows: "_Rows", of: Sequence[range], with_contributions: bool
    ) -> Iterator[Scores]:
        """Yield the scores of a series that is cut into stretches."""
        n_done = 0
        for stretch in of:
            some = rows.some(slice(stretch.start, stretch.stop))
            first = len(stretch)
            if first > self.n_unscored:
                first = self.reconstructor.network.layout.n_unscored
            if n_done < stretch.start + first:
                nothing = rows.some(slice(n_done, stretch.start + first))
                yield self._nothing(nothing, with_contributions)
            windows = _Windows(self, with_contributions)
            if first < len(stretch):
                for part, found, errors in self.reconstructor.with_errors(some.values):
                    yield windows.score(some.some(part), errors, found)
            n_done = stretch.stop
        if n_done < len(rows.values):
            rest = rows.some(slice(n_done, None))
            yield self._nothing(rest, with_contributions)


class _Rows(NamedTuple):
    """Rows of a series, and what is known of them before they are scored."""

    values: FloatArray
    """Of shape ``(T, D)``; NaN where a value is missing or the machine is off."""
    n_missing: IndexArray
    """How many values of each row are missing, of shape ``(T,)``."""
    is_off: Mask | None
    """Whether the machine is off in each row, of shape ``(T,)``, if it is known."""

    def some(self, rows: slice) -> "_Rows":
        """Return some of the rows."""
        off = None if self.is_off is None else self.is_off[rows]
        return _Rows(self.values[rows], self.n_missing[rows], off)


def _without_scores(rows: _Rows, with_contributions: bool) -> Scores:
    """Return what every detector says of rows without a score."""
    nothing = np.full(rows.values.shape, np.nan)
    return Scores(
        normality_score=np.full(len(nothing), np.nan),
        reconstruction=nothing,
        lasting=np.zeros(len(nothing), dtype=np.int64),
        contribution=nothing if with_contributions else None,
        direction=nothing if with_contributions else None,
        n_missing=rows.n_missing,
        is_off=rows.is_off,
    )


def _n_missing(series: FloatArray) -> IndexArray:
    """Return how many values of each row are missing, of shape ``(T,)``."""
    is_missing = np.isnan(series)
    if not is_missing.any():  # as in most requests: sums take longer
        return np.zeros(len(series), dtype=np.int64)
    n_missing: IndexArray = is_missing.sum(axis=1, dtype=np.int64)
    return n_missing


class _Windows:
    """Scores rows that come some at a time, by windows that reach back.

    Args:
        detector: What scores.
        with_contributions: Whether to say, too, which series a score comes from.
    """

    def __init__(self, detector: LSTMAD, with_contributions: bool) -> None:
        self._gaussian = detector.gaussian
        self._scanner = Scanner(detector.scan)
        self._lengths = np.array(detector.scan.lengths)
        self._with_contributions = with_contributions
        self._drops, self._signed = (
            WindowMeans(detector.scan.lengths) for _ in range(2)
        )
        self._decision = detector.decision
        self._watch: RegimeWatch | None = None
        if detector.seen is not None:
            bounds = detector.seen.bounds(detector.reconstructor.scaler.scale)
            self._watch = RegimeWatch(bounds, detector.scan.lengths)
            self._teller = Teller(detector.event_gap)

    def score(
        self, rows: _Rows, errors: FloatArray, reconstructions: FloatArray
    ) -> Scores:
        """Return the scores of the next rows.

        Args:
            rows: The next rows.
            errors: Their error vectors, of shape ``(rows, K * D)``.
            reconstructions: All of each, of shape ``(rows, K, D)``.
        """
        worst, number = self._scanner.of(self._gaussian.distances(errors))
        has_none = np.isnan(worst)
        reconstruction = reconstructions.mean(axis=1)
        contribution = direction = None
        if self._with_contributions:
            drops = self._gaussian.distance_drops(errors, rows.values.shape[1])
            at_worst = number, np.arange(len(number))
            contribution = _fractions(self._drops.of(drops)[at_worst])
            is_below = self._signed.of(rows.values - reconstruction)[at_worst] < 0
            direction = np.where(is_below, -1.0, 1.0)
            contribution[has_none] = direction[has_none] = np.nan
        scores = Scores(
            normality_score=self._gaussian.log_likelihood_at(worst),
            reconstruction=reconstruction,
            lasting=np.where(has_none, 0, self._lengths[number]),
            contribution=contribution,
            direction=direction,
            n_missing=rows.n_missing,
            is_off=rows.is_off,
        )
        if self._watch is None:
            return scores
        return self._with_regimes(scores, self._watch.of(rows.values, worst))

    def _with_regimes(self, scores: Scores, found: Regimes) -> Scores:
        """Return the scores with what there is to say of regimes."""
        scores = dataclasses.replace(
            scores, regime=found.series, is_known=found.is_known
        )
        tells = self._teller.of(scores.anomalies(self._decision), found.series)
        return dataclasses.replace(scores, tells_regime=tells)


def _fractions(drops: FloatArray) -> FloatArray:
    """Return ``drops``, of shape ``(T, D)``, as fractions of the sum of each row."""
    total = drops.sum(axis=1, keepdims=True)
    equal = np.full_like(drops, 1 / drops.shape[1])
    fractions: FloatArray = np.divide(drops, total, out=equal, where=total > 0)
    return fractions
