"""Find columns that look like labels rather than measurements."""

import re
from collections.abc import Iterator

from lstm_ad.quality.data_parts import Data, Finding
from lstm_ad.quality.reasons import Level

_NAMES = re.compile(
    r"(?<![a-z])(is_?)?(labels?|anomal(y|ies|ous)|outliers?|attacks?|faults?|truth)"
    r"(?![a-z])",
    re.IGNORECASE,
)
_MAX_SHARE, _MAX_SHARE_OF_NAMED = 0.1, 0.5
_MIN_RUN = 5.0  # rows, on average: shorter ones are rare states


def find_labels(data: Data) -> Iterator[Finding]:
    """Yield series of 0 and 1 that look like labels.

    By their names; or without names, the last column if it alone has so few values,
    and its ones are few and in runs.
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
            "If it is one, leave it out, and the rows that it marks too; if it is a "
            "state of the machine, all is well.",
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
