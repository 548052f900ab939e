"""Find files, rows and series that come twice."""

import collections
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lstm_ad.data.fingerprints import MAX_KEPT
from lstm_ad.quality.data_parts import Data, Finding
from lstm_ad.quality.reasons import Level

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
    """Yield series that are the same."""
    p = data.fitting.profile
    key = np.stack([p.low, p.high, p.mean, p.n_rises, p.n_falls])
    varies = [s for s in range(data.n_series) if p.states[s] is None]
    groups: dict[tuple[float, ...], list[int]] = collections.defaultdict(list)
    for series in varies:
        groups[tuple(key[:, series])].append(series)
    where = data.fitting.files[0]
    for group in groups.values():
        first, *others = group
        same = [s for s in others if np.array_equal(p.sample[:, s], p.sample[:, first])]
        if same:
            yield Finding(
                "copied series",
                Level.CHECK,
                (first, *same),
                where,
                None,
                f"{where}: {data.named(first, *same)} have the same values.",
                "They count several times, and an anomaly is attributed to any.",
                "Leave all of them out but one.",
            )
