"""Score a series, and write what was asked for, in the format that was asked for."""

from collections.abc import Callable, Iterable, Iterator

from lstm_ad.axes import FloatArray
from lstm_ad.scoring.detector import LSTMAD, Scores
from lstm_ad.scoring.events import find_events
from sagemaker_container.formats import csv as csv_format
from sagemaker_container.formats import json as json_format
from sagemaker_container.formats.columns import CSV, JSON
from sagemaker_container.http.request import Asked

Answer = tuple[int, Iterable[bytes]]
"""The length of an answer in bytes, and its text in pieces."""

MAX_HELD = 100 * 2**20
"""Bytes of an answer that are held in memory: the default limit of a request's body."""


def answer(detector: LSTMAD, series: FloatArray, asked: Asked) -> Answer:
    """Return the length of an answer in bytes, and its text in pieces.

    Asynchronous endpoints take no answer without a length, so each has one. An answer
    of more than ``MAX_HELD`` bytes is not held for that: it is written once to measure
    it, and once more while the client reads it.

    Args:
        detector: What scores.
        series: Of shape ``(T, D)``.
        asked: What the answer holds.

    Raises:
        SeriesError: If ``series`` cannot be scored.
    """
    write = _writer(detector, series, asked)
    length, held = 0, []
    for piece in detector.reconstructor.cores.in_turn(write()):
        length += len(piece)
        if length <= MAX_HELD:
            held.append(piece)
        else:
            held.clear()
    if length <= MAX_HELD:
        return length, held
    return length, detector.reconstructor.cores.in_turn(write())


def _writer(
    detector: LSTMAD, series: FloatArray, asked: Asked
) -> Callable[[], Iterable[bytes]]:
    """Return the function that writes an answer, the series being scored already.

    What was not asked for is neither computed nor written.
    """
    scored = list(detector.score_in_parts(series, asked.has_contributions))
    if asked == Asked():
        return lambda: map(csv_format.write_scores, scored)
    first = max(0, len(series) - (asked.n_last or len(series)))
    decision = detector.decision
    if asked.content_type == JSON:
        # All rows count: an event that reaches into the last ones may begin before.
        found = find_events(Scores.joined(scored), decision, detector.event_gap)
        events = [event for event in found if event.end > first]
        return lambda: json_format.write_document(
            _from(first, scored), first, events, decision
        )
    if asked.content_type == CSV:
        return lambda: _csv(_from(first, scored), detector, asked)
    return lambda: (
        json_format.write_lines(part, decision) for part in _from(first, scored)
    )


def _csv(rows: Iterable[Scores], detector: LSTMAD, asked: Asked) -> Iterator[bytes]:
    """Yield CSV with the columns that were asked for."""
    if asked.has_header:
        n_series = detector.reconstructor.network.n_series
        yield csv_format.write_header(asked.columns, n_series)
    for part in rows:
        yield csv_format.write_columns(part, detector.decision, asked.columns)


def _from(first: int, parts: Iterable[Scores]) -> Iterator[Scores]:
    """Yield what parts say of a row, counted from 0, and of all after it."""
    for part in parts:
        n_rows = len(part.normality_score)
        if first < n_rows:
            yield part.rows(slice(first, None))
        first = max(0, first - n_rows)
