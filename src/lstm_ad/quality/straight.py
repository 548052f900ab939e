"""Find stretches of rows that were interpolated rather than measured."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from lstm_ad.data.lines import MAX_LINES, Line
from lstm_ad.quality.data_parts import Data, Finding, Part
from lstm_ad.quality.reasons import Level

_MAX_SHARE = 1 / 3
"""The fraction of rows on lines: a series of which more are is made of lines."""

_MAX_OTHERS = 0.05
"""The fraction of other rows on a line with both neighbours: more often, the series is
level, smooth or coarse."""

_SAME = 0.02
"""What the slopes of two lines may differ by, and still be the same."""


def find_straight_lines(data: Data) -> Iterator[Finding]:
    """Yield series that are straight lines in some rows, and in no other ones."""
    for part in data.parts:
        p = part.profile
        share = p.n_on_lines / p.n_rows
        is_odd = (share > 0) & (share <= _MAX_SHARE)
        is_odd &= p.straight_share - share <= _MAX_OTHERS
        for series in map(int, np.flatnonzero(is_odd)):
            lines = p.lines[series]
            every = [x.profile.lines[series] for x in data.parts]
            whole = [line for x in data.parts for line in _whole(x, series)]
            if max(map(len, every)) == MAX_LINES or _recur(whole):
                continue
            line = lines[0]
            file, row = part.place(line.first)
            _, last = part.place(line.last)
            more = f" (as in {len(lines) - 1} more stretches)" * (len(lines) > 1)
            yield Finding(
                "straight line",
                Level.CHECK,
                (series,),
                file,
                row,
                f"{file}: in rows {row} to {last}, {data.named(series)} goes from "
                f"{line.start:.6g} to {line.end:.6g} in a straight line{more}, but "
                f"nowhere else: they look interpolated.",
                "What was not measured would count as normal.",
                "Leave these rows out, or their values empty with missing-values=hold.",
            )


def _whole(part: Part, series: int) -> list[Line]:
    """Return the lines of a series that no end of a file cuts."""
    ends = np.cumsum(part.profile.n_timesteps)
    cuts = {0, *ends.tolist()}
    lines = part.profile.lines[series]
    return [one for one in lines if one.first not in cuts and one.last + 1 not in cuts]


def _recur(lines: Sequence[Line]) -> bool:
    """Return whether two lines are as long and as steep: a ramp of the machine."""
    return any(
        abs(one.last - one.first - two.last + two.first) <= 1
        and abs(one.slope - two.slope) <= _SAME * abs(one.slope)
        for one, two in itertools.combinations(lines, 2)
    )
