"""Tell whether a value comes in few rows at a time, as codes of instruments do."""

import numpy as np

from lstm_ad.data.profile import Profile
from lstm_ad.quality.data_parts import Data

SENTINELS = (
    *(-1e30, -99999.0, -9999.0, -999.9, -999.0, -200.0, -99.9, -99.0),
    *(999.0, 9999.0, 32767.0, -32768.0, 65535.0, 99999.0, 2147483647.0, 4294967295.0),
)
"""Codes that instruments write for a reading that they do not have."""

MIN_JUMPS, MAX_ISOLATED, MAX_SHARE = 3, 2.0, 0.2
"""An unknown code comes at least so often, in so few rows at a time on average, and in
at most this fraction of the rows: what lasts longer may be a machine at rest."""

_MAX_KNOWN = 10.0
"""A known code is replaced in so few rows at a time on average, unless it is absurd:
what lies between the values before and after says little of more."""


def advice(data: Data, series: int, code: float) -> str:
    """Return what to do about a value that may stand for a missing reading."""
    others = [
        np.delete(part.profile.sample, series, axis=1) == code for part in data.parts
    ]
    text = repr(code).removesuffix(".0")
    remedy = f"set missing-codes={text} and missing-values=hold"
    if any(other.any() for other in others):
        remedy = (
            f"leave its cells empty and set missing-values=hold (not "
            f"missing-codes={text}, as other series have that value)"
        )
    return (
        f"If it stands for a missing reading, {remedy}; if the machine was off, name "
        f"it in off-when."
    )


def is_isolated(n_rows: int, n_visits: int) -> bool:
    """Return whether a value comes often enough, and for a moment each time.

    Args:
        n_rows: How many rows have it.
        n_visits: In how many runs of neighbouring rows.
    """
    return n_visits >= MIN_JUMPS and n_rows <= MAX_ISOLATED * n_visits


def is_dirt(
    profile: Profile, series: int, code: float, is_absurd: bool = False
) -> bool:
    """Return whether a code is in few rows of a part at a time, and not in most.

    Args:
        profile: That of the part.
        series: The series.
        code: The value.
        is_absurd: Whether it is so far from all others that it is no measurement: a
            known code may then come for however many rows at a time.
    """
    longest = MAX_ISOLATED
    if code in SENTINELS:
        longest = profile.n_rows if is_absurd else _MAX_KNOWN
    counted = [extreme.repeat(series) for extreme in profile.extremes]
    for found in (*counted, *profile.repeats.get(series, ())):
        if found.value == code:
            most = min(longest * found.n_visits, MAX_SHARE * profile.n_rows)
            return found.n_rows <= most
    return not (profile.sample[:, series] == code).any()
