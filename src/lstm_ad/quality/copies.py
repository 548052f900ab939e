"""Find files, rows and series that come twice."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray
from lstm_ad.data.fingerprints import MAX_KEPT
from lstm_ad.quality.data_parts import Data, Finding
from lstm_ad.quality.reasons import Level

_N_COMPARED, _MIN_CORRELATION, _ROUNDING = 512, 1 - 1e-4, 1e-2
"""Series are compared in so many sampled rows; those that correlate like that in all of
them, where they may differ by that part of the distance of their quartiles."""

MIN_COPIED = 0.02
"""The fraction of stretches that come twice from which on copies are told."""

_N_BITS = (64 * MAX_KEPT - 1).bit_length()
"""Of a fingerprint: by chance, less than 1 % of them have the same in so many."""


def find_copied_files(data: Data) -> Iterator[Finding]:
    """Yield files that are given twice."""
    seen: dict[str, str] = {}
    for part in (data.fitting, data.validation):
        for name, digest in zip(part.files, part.digests, strict=False) if part else ():
            here = f"{name} in {part.name}" if part else name
            # Several stretches of a file are of one file.
            if seen.setdefault(digest, here) != here:
                yield Finding(
                    "copied file",
                    Level.CHECK,
                    (),
                    name,
                    None,
                    f"{here} has the same values as {seen[digest]}.",
                    "Measures on data that were trained on say nothing about new "
                    "data, and what is given twice counts twice.",
                    "Leave one of the files out.",
                )


def find_copied_rows(data: Data) -> Iterator[Finding]:
    """Yield stretches of rows that come twice."""
    learnt = data.fitting.fingerprints
    if learnt is None or all(s is not None for s in data.fitting.profile.states):
        return
    share = 0.0
    first, counts = np.zeros((2, 0), dtype=np.int64)
    if _may_come_twice(learnt.hashes):
        _, first, counts = np.unique(
            learnt.hashes, return_index=True, return_counts=True
        )
        share = float((counts > 1).mean())
    other = data.validation.fingerprints if data.validation else None
    if other is not None and len(other.hashes) and share < MIN_COPIED:
        is_copied = np.isin(other.hashes, learnt.hashes)
        if is_copied.mean() >= MIN_COPIED and data.validation is not None:
            row = int(other.rows[is_copied.argmax()])
            file, row = data.validation.place(row)
            yield Finding(
                "copied rows",
                Level.CHECK,
                (),
                file,
                row,
                f"{file}: from row {row} on, about {is_copied.mean():.0%} of the rows "
                f"of the validation data are also in the training channel.",
                "Measures on training rows say nothing about new data.",
                "Take rows for validation that are in no training file.",
            )
    # A series that repeats itself exactly does so many times.
    if share >= MIN_COPIED and (counts <= 2).all():
        again = np.delete(learnt.rows, first)
        file, row = data.fitting.place(int(again.min()))
        yield Finding(
            "copied rows",
            Level.CHECK,
            (),
            file,
            row,
            f"{file}: from row {row} on, rows are copies of others, in the same "
            f"order: about {len(again) / len(learnt.rows):.0%} of all training rows.",
            "The calibration part then holds training rows, or some rows count twice.",
            "Leave the copies out.",
        )


def _may_come_twice(hashes: npt.NDArray[np.uint64]) -> bool:
    """Return whether many fingerprints may come twice: with the same first bits.

    To put them in order would take several times as long.
    """
    is_there = np.zeros(2**_N_BITS, dtype=np.bool_)
    is_there[hashes >> np.uint64(64 - _N_BITS)] = True
    n_distinct = int(np.count_nonzero(is_there))
    return len(hashes) - n_distinct >= MIN_COPIED * n_distinct > 0


def find_copied_series(data: Data) -> Iterator[Finding]:
    """Yield series that are the same, maybe in another unit."""
    p, where = data.fitting.profile, data.fitting.files[0]
    varying = np.array([s for s in range(data.n_series) if p.states[s] is None], int)
    told: set[int] = set()
    some = p.sample[:: max(1, len(p.sample) // _N_COMPARED)]
    for one, others in _correlated(some[:, varying]):
        if one in told:
            continue
        x = p.sample[:, varying[one]]
        tolerance = _ROUNDING * np.ptp(p.quantiles[:, varying], axis=0)
        lines = [(at, *_line(x, p.sample[:, varying[at]])) for at in others]
        lines = [line for line in lines if line[-1] <= tolerance[line[0]]]
        if not lines:
            continue
        same = [at for at, *_ in lines]
        told.update(same)
        first, *copies = (int(series) for series in varying[[one, *same]])
        how = f"{data.named(first, *copies)} have the same values"
        _, slope, offset, _ = lines[0]
        if (p.sample[:, copies[0]] != x).any():
            how += (
                f", but for unit or rounding: {data.named(copies[0])} is {slope:.6g} "
                f"times {data.named(first)} plus {offset:.6g}"
            )
        yield Finding(
            "copied series",
            Level.CHECK,
            (first, *copies),
            where,
            None,
            f"{where}: {how}.",
            "They count several times, and an anomaly is attributed to any.",
            "Leave all of them out but one.",
        )


def _correlated(sample: FloatArray) -> Iterator[tuple[int, list[int]]]:
    """Yield each series with those after it that it may be a line of.

    Args:
        sample: Values of shape ``(n, D)``.
    """
    x = sample - sample.mean(axis=0)
    norm = np.linalg.norm(x, axis=0)
    x /= np.where(norm > 0, norm, 1.0)
    n_series = x.shape[1]
    for start in range(0, n_series, _N_COMPARED):
        stop = min(start + _N_COMPARED, n_series)
        alike = np.abs(x[:, start:stop].T @ x[:, start:]) >= _MIN_CORRELATION
        for one in np.flatnonzero(np.triu(alike, 1).any(axis=1)).tolist():
            others = np.flatnonzero(alike[one, one + 1 :]) + start + one + 1
            yield start + one, others.tolist()


def _line(x: FloatArray, y: FloatArray) -> tuple[float, float, float]:
    """Return slope and offset of the line that gives ``y``, and its largest error."""
    centred = x - x.mean()
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    error = float(np.abs(y - y.mean() - slope * centred).max())
    return slope, float(y.mean() - slope * x.mean()), error
