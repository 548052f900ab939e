"""Find columns that look like labels rather than measurements."""

import re
from collections.abc import Iterator

import numpy as np

from lstm_ad.quality.contrasts import MIN_VISITS
from lstm_ad.quality.data_parts import Data, Finding, Part
from lstm_ad.quality.reasons import Level

_NAMES = re.compile(
    r"(?<![a-z])(is_?)?(labels?|anomal(y|ies|ous)|outliers?|attacks?|faults?|truth)"
    r"(?![a-z])",
    re.IGNORECASE,
)
_MAX_SHARE, _MAX_SHARE_OF_NAMED = 0.1, 0.5
_MIN_RUN = 5.0  # rows, on average: shorter ones are rare states
_MAX_VISITS, _MIN_RATIO = 20, 2  # runs, and how many times the shortest the longest is:
# a state of a machine comes often, or lasts about as long each time


def find_labels(data: Data) -> Iterator[Finding]:
    """Yield series of 0 and 1 that look like labels.

    By their names; or without names, the last column if it alone has so few values,
    and its ones are few and in runs, one or two or of very different lengths.
    """
    if data.n_series == 1:
        return
    is_named = data.schema is not None and data.schema.is_named
    last = data.n_series - 1
    is_alone = all(states is None for states in data.fitting.profile.states[:last])
    for series in range(data.n_series) if is_named else [last] * is_alone:
        n_rows, n_visits, first = _ones(data, series)
        share = n_rows / sum(part.profile.n_rows for part in data.parts[:2])
        if is_named:
            looks = bool(_NAMES.search(data.names[series]))
            looks &= 0 < share <= _MAX_SHARE_OF_NAMED
        else:
            looks = 0 < share <= _MAX_SHARE and n_rows >= _MIN_RUN * n_visits
            looks &= n_visits < MIN_VISITS or (
                n_visits <= _MAX_VISITS and _differ(data, series)
            )
        if not looks:
            continue
        file, row = data.place(first)
        yield Finding(
            "label",
            Level.CHECK,
            (series,),
            file,
            row,
            f"{file}: {data.named(series)} is 0, and 1 in {n_rows:,} rows of the "
            f"training files (entered {n_visits} times, first in row {row}): it looks "
            f"like a label.",
            "A label is not known of new rows, and rows that it marks are not normal.",
            "If it is one, leave it out, here and in every request, or name it in "
            "id-columns, and leave out the rows that it marks; those of validation "
            "data belong in the channel labels. A state of the machine may stay.",
        )


def _ones(data: Data, series: int) -> tuple[int, int, int]:
    """Return how many rows are 1, in how many runs, and the first; 0 if others."""
    n_rows, n_visits, first, start = 0, 0, 0, 0
    for part in (data.fitting, data.calibration):
        states = part.profile.states[series]
        if states is None or not {0.0, 1.0}.issuperset(states.values.tolist()):
            return 0, 0, 0
        for index, value in enumerate(states.values):
            if value == 1:
                first = first if n_rows else start + int(states.first_rows[index])
                n_rows += int(states.n_rows[index])
                n_visits += int(states.n_visits[index])
        start += part.profile.n_rows
    return n_rows, n_visits, first


def _differ(data: Data, series: int) -> bool:
    """Return whether some run of ones is much longer than another, as sampled."""
    lengths = [
        length
        for part in (data.fitting, data.calibration)
        for length in _lengths(part, series)
    ]
    return bool(lengths) and max(lengths) > _MIN_RATIO * min(lengths)


def _lengths(part: Part, series: int) -> Iterator[float]:
    """Yield about how many rows the runs of ones of a part have, from end to end.

    The ends of files cut runs, so that those there are not counted.
    """
    p = part.profile
    bounds = np.searchsorted(p.sample_rows, np.cumsum(p.n_timesteps)[:-1])
    spacing = p.n_rows / len(p.sample)
    for ones in np.split(p.sample[:, series] == 1, bounds):
        starts, stops = (
            np.flatnonzero(np.diff(ones, prepend=False, append=False)).reshape(-1, 2).T
        )
        is_whole = (starts > 0) & (stops < len(ones))
        # One sampled row more or less says nothing.
        yield from ((stops - starts)[is_whole] + (spacing > 1)) * spacing
