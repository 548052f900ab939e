"""Show what the data of a training look like: a table with small pictures, numbers."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.data.profile import Profile
from lstm_ad.quality.data_parts import Data, Finding, Part
from lstm_ad.quality.examination import Examination

MAX_SERIES = 50
"""Series that the table shows: some of each finding, then those without, then all."""

MAX_ALIKE = 5
"""Series with the same findings that come before all others."""

N_TENTHS = 10

_WIDTH, _HEIGHT = 150, 26


@dataclasses.dataclass(frozen=True)
class DataTable:
    """What the report shows of the data."""

    caption: str
    """How to read it."""
    rows: Sequence[tuple[str, str, Sequence[str]]]
    """The name, the picture as SVG, and the cells of each series."""


def data_table(examination: Examination) -> DataTable | None:
    """Return the table of the series, or None if this process described none."""
    data = examination.data
    if data is None:
        return None
    found: dict[int, list[str]] = {}
    for finding in examination.findings:
        for series in finding.series:
            names = found.setdefault(series, [])
            names += [finding.name] * (finding.name not in names)
    shown = _shown(data.n_series, found)
    return DataTable(
        f"{len(shown)} of {data.n_series} series"
        f"{'' if len(shown) == data.n_series else ', some of each finding first'}. "
        f"The picture shows the range of the values over time in the training files; "
        f"the calibration part is lighter. Median and deviation (1.48 median absolute "
        f"deviations) are those of the rows that the LSTM is trained on.",
        [
            (
                data.names[series],
                _picture(data, series),
                [*_cells(data, series), ", ".join(found.get(series, ()))],
            )
            for series in shown
        ],
    )


def _shown(n_series: int, found: Mapping[int, Sequence[str]]) -> list[int]:
    """Return which series the table shows: a thousand constants hide nothing else."""
    alike: collections.Counter[tuple[str, ...]] = collections.Counter()
    first: list[int] = []
    others: list[int] = []
    for series in range(n_series):
        names = tuple(found.get(series, ()))
        alike[names] += 1
        (first if names and alike[names] <= MAX_ALIKE else others).append(series)
    others.sort(key=lambda series: series in found)
    return sorted([*first, *others][:MAX_SERIES])


def data_numbers(examination: Examination) -> dict[str, Any]:
    """Return the same for programs."""
    data = examination.data
    return {
        "findings": [_finding(finding) for finding in examination.findings],
        "series": [
            {"name": data.names[series]}
            | {
                name: _numbers(part, series)
                for name, part in (
                    ("train", data.fitting),
                    ("calibration", data.calibration),
                    ("valid", data.validation),
                )
                if part is not None
            }
            for series in range(data.n_series)
        ]
        if data
        else [],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    """Return a finding for programs: series are counted from 1, as in its text."""
    numbers = dataclasses.asdict(finding)
    del numbers["is_refused"], numbers["code"]
    return numbers | {"series": [series + 1 for series in finding.series]}


def _numbers(part: Part, series: int) -> dict[str, Any]:
    """Return the profile of a series in one part, with rows counted from 1."""
    profile = part.profile
    states = profile.states[series]
    rows = {
        "lowest_rows": profile.extremes[0].rows[:, series],
        "highest_rows": profile.extremes[1].rows[:, series],
        "longest_constant_row": profile.longest_first[series : series + 1],
    }
    lower, median, upper = profile.quantiles[:, series].tolist()
    return {
        "rows": profile.n_rows,
        "missing": int(profile.n_missing[series]),
        "longest_missing": int(profile.longest_missing[series]),
        "lowest": float(profile.low[series]),
        "highest": float(profile.high[series]),
        **{k: [part.place(int(row)) for row in some] for k, some in rows.items()},
        "mean": float(profile.mean[series]),
        "median": median,
        "quartiles": [lower, upper],
        "deviation": float(profile.deviation[series]),
        "changes": float(profile.change_share[series]),
        "rises": int(profile.n_rises[series]),
        "falls": int(profile.n_falls[series]),
        "smallest_step": float(profile.steps[0, series]),
        "largest_step": float(profile.steps[1, series]),
        "longest_constant": int(profile.longest[series]),
        "states": None
        if states is None
        else [
            {"value": float(value), "rows": int(n), "visits": int(visits)}
            for value, n, visits in zip(
                states.values, states.n_rows, states.n_visits, strict=True
            )
        ],
        "tenths": [
            {"mean": mean, "lowest": low, "highest": high}
            for mean, low, high in _tenths(profile, series)
        ],
    }


def _tenths(profile: Profile, series: int) -> list[tuple[float, float, float]]:
    """Return the mean, the smallest and the largest value of each tenth of the rows."""
    means = profile.stretch_mean[:, series].reshape(N_TENTHS, -1)
    low, high = profile.stretch_range[:, :, series].reshape(2, N_TENTHS, -1)
    return [
        (float(np.mean(m)), float(np.fmin.reduce(a)), float(np.fmax.reduce(b)))
        for m, a, b in zip(means, low, high, strict=True)
    ]


def _cells(data: Data, series: int) -> list[str]:
    """Return the numbers of a series in the table."""
    profile, parts = data.fitting.profile, data.parts
    low = min(float(part.profile.low[series]) for part in parts)
    high = max(float(part.profile.high[series]) for part in parts)
    return [
        f"{low:.4g}",
        f"{profile.quantiles[1, series]:.4g}",
        f"{high:.4g}",
        f"{profile.deviation[series]:.3g}",
        f"{profile.change_share[series]:.0%}",
    ]


def _picture(data: Data, series: int) -> str:
    """Return the ranges of a series over time as a small SVG."""
    profiles = [data.fitting.profile, data.calibration.profile]
    low = min(float(profile.low[series]) for profile in profiles)
    high = max(float(profile.high[series]) for profile in profiles)
    cut = profiles[0].n_rows / sum(profile.n_rows for profile in profiles)
    shapes = []
    for profile, start, stop, style in (
        (profiles[0], 0.0, cut, "actual"),
        (profiles[1], cut, 1.0, "later"),
    ):
        ranges = profile.stretch_range[:, :, series]
        x = np.linspace(start, stop, ranges.shape[1]) * _WIDTH
        has_rows = ~np.isnan(ranges[0])
        fractions = (ranges[:, has_rows] - low) / ((high - low) or 1.0)
        y = (1 - fractions) * (_HEIGHT - 2) + np.array([[1.5], [0.5]])
        shapes.append(f'<path class="range {style}" d="{_outline(x[has_rows], y)}"/>')
    return (
        f'<svg class="small" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'preserveAspectRatio="none" aria-hidden="true">{"".join(shapes)}</svg>'
    )


def _outline(x: FloatArray, y: FloatArray) -> str:
    """Return the path around an area between two lines, y of shape ``(2, n)``."""
    xs = np.concatenate([x, x[::-1]])
    ys = np.concatenate([y[1], y[0][::-1]])
    points = [f"{a:.1f} {b:.1f}" for a, b in zip(xs, ys, strict=True)]
    return f"M{'L'.join(points)}Z"
