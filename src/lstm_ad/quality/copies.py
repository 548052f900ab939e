"""Find files, rows and series that come twice."""

import collections
from collections.abc import Iterator

import numpy as np

from lstm_ad.quality.data_parts import Data, Finding
from lstm_ad.quality.reasons import Level

MIN_COPIED = 0.02
"""The fraction of stretches that come twice from which on copies are told."""


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
    in_order = np.sort(learnt.hashes)
    is_again = in_order[1:] == in_order[:-1]
    is_third = is_again[1:] & is_again[:-1]
    n_distinct = max(len(in_order) - int(is_again.sum()), 1)
    share = float((is_again.sum() - is_third.sum()) / n_distinct)
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
    if share >= MIN_COPIED and not is_third.any():
        _, first = np.unique(learnt.hashes, return_index=True)
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
