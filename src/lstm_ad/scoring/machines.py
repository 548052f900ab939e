"""Score a table whose rows are those of several machines, or have gaps in time.

The rows of a machine are a series of its own: no sequence crosses machines. Where the
times say that rows are absent, they are inserted for scoring, as rows of missing
values, so that the network reads every step. What is returned is one row for each row
of the table, in its order.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.blocks import BLOCK_NUMBERS
from lstm_ad.data.machines import rows_of_each
from lstm_ad.exceptions import SeriesError
from lstm_ad.scoring.detector import LSTMAD, Scores
from lstm_ad.scoring.events import Event, event_rows, find_events
from lstm_ad.scoring.reconstruction import check_length

_MOST_INSERTED = 10 * BLOCK_NUMBERS
"""Numbers that are inserted where even more rows are absent than there are."""


@dataclasses.dataclass(frozen=True)
class Track:
    """The rows of a table that are one series in time."""

    rows: IndexArray
    """Which rows of the table, in order, of shape ``(n,)``."""
    steps: IndexArray
    """At which step each was measured, from 0: rising, of shape ``(n,)``."""

    @property
    def n_steps(self) -> int:
        """How many steps there are from the first row to the last one."""
        return int(self.steps[-1]) + 1

    @property
    def is_complete(self) -> bool:
        """Whether no step is absent."""
        return self.n_steps == len(self.rows)

    def in_table(self, event: Event) -> Event:
        """Return an event of the series, which begins and ends with a row, in rows."""
        steps = [event.start, event.end - 1, event.peak]
        start, last, peak = self.rows[np.searchsorted(self.steps, steps)].tolist()
        return dataclasses.replace(event, start=start, end=last + 1, peak=peak)


def tracks(
    n_rows: int,
    machines: IndexArray | None = None,
    times: IndexArray | None = None,
    step: int = 1,
    max_gap: int = 0,
) -> list[Track]:
    """Return the rows of each machine; nothing if all rows are one series without gaps.

    Args:
        n_rows: ``T``, at least 1.
        machines: A number for the machine of each row, of shape ``(T,)``; None if all
            are of one.
        times: When each row was measured, of shape ``(T,)``, rising for each machine;
            None if no row is absent.
        step: The time from one row to the next.
        max_gap: The longest gap over which values are held. More absent rows than that
            are as many as one more: the series starts anew after either.
    """
    if machines is None and times is None:
        return []
    of_each = [np.arange(n_rows)] if machines is None else rows_of_each(machines)
    found = [Track(rows, _steps(rows, times, step, max_gap + 2)) for rows in of_each]
    return found if len(found) > 1 or not found[0].is_complete else []


def _steps(
    rows: IndexArray, times: IndexArray | None, step: int, most: int
) -> IndexArray:
    """Return at which step each row was measured, at most so many after the last."""
    if times is None:
        return np.arange(len(rows))
    moments = times[rows].view(np.uint64)  # differences may exceed signed numbers
    apart = np.rint((moments[1:] - moments[:-1]).astype(np.float64) / step)
    n_steps = np.clip(apart, 1, most).astype(np.int64)
    return np.concatenate([[0], np.cumsum(n_steps)])


def score(
    detector: LSTMAD,
    values: FloatArray,
    of_machines: Sequence[Track],
    with_contributions: bool = False,
    min_rows: int | None = None,
) -> tuple[list[Scores], list[Event]]:
    """Return the scores of a table, some rows at a time and in order, and its events.

    Args:
        detector: What scores.
        values: Of shape ``(T, D)``, NaN where a value is missing.
        of_machines: What :func:`tracks` returns.
        with_contributions: Whether to say, too, which series a score comes from.
        min_rows: How many rows an event has at least; None if events are not looked
            for.

    Returns:
        The scores, and the events of all machines in the order of their first rows,
        each in rows of the table. Without contributions there are no events, but the
        scores say which rows belong to one.

    Raises:
        SeriesError: If no machine has enough rows for a score, or as
            :meth:`LSTMAD.score`.
    """
    if not of_machines:
        parts = list(detector.score_in_parts(values, with_contributions))
        return _with_events(detector, parts, min_rows)
    _check(detector, of_machines, values.shape[1])
    table: dict[str, Any] = {}
    events: list[Event] = []
    for track in of_machines:
        parts = _scored(detector, values, track, with_contributions)
        parts, found = _with_events(detector, parts, min_rows)
        events += map(track.in_table, found)
        _put(table, parts, track, len(values))
    events.sort(key=lambda event: event.start)
    return list(_in_parts(Scores(**table), values.shape[1])), events


def _check(detector: LSTMAD, of_machines: Sequence[Track], n_series: int) -> None:
    """Refuse what cannot be scored at all, or takes too much memory.

    Raises:
        SeriesError: If no machine has enough rows, or by far too many are absent.
    """
    longest = max(track.n_steps for track in of_machines)
    if len(of_machines) == 1:
        check_length(longest, detector.n_unscored)
    elif longest <= detector.n_unscored:
        raise SeriesError(
            f"No machine has enough rows: the longest of {len(of_machines)} series has "
            f"{longest}, but at least {detector.n_unscored + 1} are needed, because "
            f"the first {detector.n_unscored} rows of each have no score."
        )
    for track in of_machines:
        n_absent = track.n_steps - len(track.rows)
        if n_absent > len(track.rows) and n_absent * n_series > _MOST_INSERTED:
            raise SeriesError(
                f"Of row {track.rows[0] + 1} to row {track.rows[-1] + 1}, more rows "
                f"are absent in time than were sent; send the rows between, or what "
                f"lies before and after a gap as two requests."
            )


def _scored(
    detector: LSTMAD, values: FloatArray, track: Track, with_contributions: bool
) -> list[Scores]:
    """Return the scores of all steps of a machine; none if they are too few."""
    series = values[track.rows]
    if not track.is_complete:
        series = np.full((track.n_steps, values.shape[1]), np.nan)
        series[track.steps] = values[track.rows]
    if track.n_steps <= detector.n_unscored:
        return [detector.without_scores(series, with_contributions)]
    return list(detector.score_in_parts(series, with_contributions))


def _put(
    table: dict[str, Any],
    parts: Sequence[Scores],
    track: Track,
    n_rows: int,
) -> None:
    """Put the scores of a machine where its rows are in the table."""
    first = 0
    for part in parts:
        after = first + len(part.normality_score)
        some = slice(*np.searchsorted(track.steps, [first, after]))
        for field in dataclasses.fields(part):
            column = getattr(part, field.name)
            if column is not None:
                shape = n_rows, *column.shape[1:]
                whole = table.setdefault(field.name, np.empty(shape, column.dtype))
                whole[track.rows[some]] = column[track.steps[some] - first]
        first = after


def _with_events(
    detector: LSTMAD, parts: list[Scores], min_rows: int | None
) -> tuple[list[Scores], list[Event]]:
    """Return the scores of a series, which say what rows are of events, and these."""
    if min_rows is None:
        return parts, []
    whole = Scores.joined(parts)
    how = detector.decision, detector.event_gap, min_rows
    is_event = event_rows(whole, *how)
    ends = np.cumsum([len(part.normality_score) for part in parts])[:-1]
    parts = [
        dataclasses.replace(part, is_event=rows)
        for part, rows in zip(parts, np.split(is_event, ends), strict=True)
    ]
    return parts, [] if whole.contribution is None else find_events(whole, *how)


def _in_parts(scores: Scores, n_series: int) -> Iterator[Scores]:
    """Yield the scores of a table, a bounded number of rows at a time."""
    n_rows = max(1, BLOCK_NUMBERS // 16 // n_series)
    for first in range(0, len(scores.normality_score), n_rows):
        yield scores.at(slice(first, first + n_rows))
