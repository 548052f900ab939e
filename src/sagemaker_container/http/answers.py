"""Score a table, and write what was asked for, in the format that was asked for."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

from lstm_ad.scoring.detector import LSTMAD, Scores
from lstm_ad.scoring.events import Event
from lstm_ad.scoring.machines import score, tracks
from sagemaker_container.formats import csv_answer, json_answer
from sagemaker_container.formats.columns import (
    CSV,
    DEFAULT_COLUMNS,
    JSON,
    Carried,
    placed,
)
from sagemaker_container.formats.csv_table import machines_of
from sagemaker_container.formats.frame import Frame
from sagemaker_container.formats.table import Table
from sagemaker_container.http.request import Asked

Answer = tuple[int, Iterable[bytes]]
"""The length of an answer in bytes, and its text in pieces."""

MAX_HELD = 100 * 2**20
"""Bytes of an answer that are held in memory: the default limit of a request's body."""


def answer(detector: LSTMAD, table: Table, asked: Asked) -> Answer:
    """Return the length of an answer in bytes, and its text in pieces.

    Asynchronous endpoints take no answer without a length, so each has one. An answer
    of more than ``MAX_HELD`` bytes is not held for that: it is written once to measure
    it, and once more while the client reads it.

    Args:
        detector: What scores.
        table: What the request holds.
        asked: What the answer holds.

    Raises:
        SeriesError: If the series of the table cannot be scored.
        OutputError: If what is asked for does not go with the columns of the table.
    """
    write = _writer(detector, table, asked)
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
    detector: LSTMAD, table: Table, asked: Asked
) -> Callable[[], Iterable[bytes]]:
    """Return the function that writes an answer, the series being scored already.

    What was not asked for is neither computed nor written.
    """
    frame = Frame.of(table, detector.schema)
    if asked.content_type != CSV:
        return _json(detector, table, frame, asked)
    columns = placed(asked.columns, frame)
    has_header = table.has_header if asked.has_header is None else asked.has_header
    header = csv_answer.write_header(columns, frame) if has_header else b""
    scored, _ = _scored(detector, table, frame, asked)
    rows = _Rows(scored, frame, _first(table, asked))
    return lambda: _csv(header, rows, detector, columns)


def _json(
    detector: LSTMAD, table: Table, frame: Frame, asked: Asked
) -> Callable[[], Iterable[bytes]]:
    """Return the function that writes JSON or JSON Lines."""
    scored, events = _scored(detector, table, frame, asked)
    decision, first = detector.decision, _first(table, asked)
    rows = _Rows(scored, frame, first)
    if asked.content_type != JSON:
        return lambda: (json_answer.write_lines(s, decision, f) for s, f in rows)
    # All rows count: an event that reaches into the last ones may begin before.
    fields = [
        json_answer.event_fields(event, frame) for event in events if event.end > first
    ]
    return lambda: json_answer.write_document(rows, first, fields, decision)


def _scored(
    detector: LSTMAD, table: Table, frame: Frame, asked: Asked
) -> tuple[list[Scores], list[Event]]:
    """Return what the detector says of a table, some rows at a time and in order."""
    clock = detector.schema.clock
    of_machines = tracks(
        len(table.values),
        machines_of(table.carried[frame.group]) if frame.group is not None else None,
        table.times if clock else None,
        clock.step if clock else 1,
        detector.reconstructor.max_gap,
    )
    has_events = asked.content_type == JSON
    return score(
        detector, table.values, of_machines, asked.has_contributions, has_events
    )


def _first(table: Table, asked: Asked) -> int:
    """Return the first row that is returned, counted from 0."""
    return max(0, len(table.values) - (asked.n_last or len(table.values)))


def _csv(
    header: bytes,
    rows: Iterable[tuple[Scores, Frame]],
    detector: LSTMAD,
    columns: Sequence[str | Carried],
) -> Iterator[bytes]:
    """Yield CSV with the columns that were asked for."""
    if header:
        yield header
    for scores, frame in rows:
        if tuple(columns) == DEFAULT_COLUMNS:
            yield csv_answer.write_scores(scores)
        else:
            yield csv_answer.write_columns(scores, detector.decision, columns, frame)


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The rows of an answer, some at a time, as often as they are asked for."""

    scored: Sequence[Scores]
    """All rows of the table, in order."""
    frame: Frame
    """What the request holds beside their series."""
    first: int
    """The first row that is returned, counted from 0."""

    def __iter__(self) -> Iterator[tuple[Scores, Frame]]:
        """Yield the scores of some rows, and what is beside them."""
        start = 0
        for part in self.scored:
            stop = start + len(part.normality_score)
            if self.first < stop:
                skipped = max(0, self.first - start)
                rows = part.at(slice(skipped, None)) if skipped else part
                yield rows, self.frame.rows(slice(start + skipped, stop))
            start = stop
