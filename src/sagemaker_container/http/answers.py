"""Score a series, and write what was asked for, in the format that was asked for."""

from collections.abc import Iterable, Iterator

from lstm_ad.axes import FloatArray
from lstm_ad.scoring.detector import LSTMAD, Scores
from lstm_ad.scoring.events import find_events
from sagemaker_container.formats import csv as csv_format
from sagemaker_container.formats import json as json_format
from sagemaker_container.formats.columns import CSV, JSON
from sagemaker_container.http.request import Asked


def pieces(detector: LSTMAD, series: FloatArray, asked: Asked) -> Iterable[bytes]:
    """Return the text of an answer in pieces, the series being scored already.

    What nobody has asked for is neither computed nor written. The answer that is given
    by default is a list; any other may be many times as large, and is written piece by
    piece while the client takes it.

    Args:
        detector: What scores.
        series: Of shape ``(T, D)``.
        asked: What the answer holds.

    Raises:
        SeriesError: If ``series`` cannot be scored.
    """
    parts = detector.score_in_parts(series, asked.has_contributions)
    if asked == Asked():
        return [csv_format.write_scores(part) for part in parts]
    scored = list(parts)
    first = max(0, len(series) - (asked.n_last or len(series)))
    rows, decision = _from(first, scored), detector.decision
    if asked.content_type == JSON:
        # All rows count: an event that reaches into the last ones may begin before.
        found = find_events(Scores.joined(scored), decision, detector.event_gap)
        events = [event for event in found if event.end > first]
        return json_format.write_document(rows, first, events, decision)
    if asked.content_type == CSV:
        return _csv(rows, detector, asked)
    return (json_format.write_lines(part, decision) for part in rows)


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
