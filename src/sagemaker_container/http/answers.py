"""Score a table, and write what was asked for, in the format that was asked for."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

from lstm_ad.axes import FloatArray
from lstm_ad.parallel import Cores
from lstm_ad.scoring.detector import LSTMAD, Scores
from lstm_ad.scoring.events import Event
from lstm_ad.scoring.machines import score, tracks
from sagemaker_container.formats import csv_answer, json_answer
from sagemaker_container.formats.columns import (
    CSV,
    DEFAULT_COLUMNS,
    JSON,
    placed,
)
from sagemaker_container.formats.frame import Frame
from sagemaker_container.formats.table import Table
from sagemaker_container.formats.timed import machines_of
from sagemaker_container.http.request import Asked
from sagemaker_container.monitoring.recorder import RowCounter

Answer = tuple[int, Iterable[bytes]]
"""The length of an answer in bytes, and its text in pieces."""

MAX_HELD = 100 * 2**20
"""Bytes of an answer that are held in memory: the default limit of a request's body."""

SAMPLE_BYTES = 2**20
"""From how many bytes the length of an answer is foretold."""

MAX_SCORED = 100 * 2**20
"""Bytes of a table's series whose scores are held: they take up to four times as many.
Of more, the scores are computed again each time that the answer is written."""


def answer(
    detector: LSTMAD, table: Table, asked: Asked, recorder: RowCounter | None = None
) -> Answer:
    """Return the length of an answer in bytes, and its text in pieces.

    Asynchronous endpoints take no answer without a length, so each has one. An answer
    of more than ``MAX_HELD`` bytes is not held for that: it is written once to measure
    it, and once more while the client reads it. So is one that would become as long if
    all its lines were like the first ones.

    Args:
        detector: What scores.
        table: What the request holds.
        asked: What the answer holds.
        recorder: What counts the rows that are returned, if anything does.

    Raises:
        SeriesError: If the series of the table cannot be scored.
        OutputError: If what is asked for does not go with the columns of the table.
    """
    write = _writer(detector, table, asked, recorder)
    n_rows = len(table.values) - _first(table, asked)
    length, n_lines, held = 0, 0, []
    limit, is_sample = MAX_HELD, True
    for piece in write():
        length += len(piece)
        if is_sample:
            n_lines += piece.count(b"\n")
            is_sample = length < SAMPLE_BYTES
            if not is_sample and length * n_rows > MAX_HELD * n_lines > 0:
                limit = 0
        if length <= limit:
            held.append(piece)
        else:
            held.clear()
    return length, held if length <= limit else write()


def _writer(
    detector: LSTMAD, table: Table, asked: Asked, recorder: RowCounter | None
) -> Callable[[], Iterable[bytes]]:
    """Return the function that writes an answer; most series are scored meanwhile.

    What was not asked for is neither computed nor written.
    """
    frame = Frame.of(table, detector.schema)
    if asked.max_alarm_rate is not None:
        decision = detector.decision.at(asked.max_alarm_rate)
        detector = dataclasses.replace(detector, decision=decision)
    if asked.content_type != CSV:
        return _json(detector, table, frame, asked, recorder)
    columns = placed(asked.columns, frame)
    has_header = table.has_header if asked.has_header is None else asked.has_header
    header = csv_answer.write_header(columns, frame) if has_header else b""
    scored, _ = _scored(detector, table, frame, asked, recorder)
    rows = _Rows(scored, frame, _first(table, asked))
    decision = detector.decision

    def piece(scores: Scores, some: Frame) -> bytes:
        """Return some rows of the CSV."""
        if tuple(columns) == DEFAULT_COLUMNS:
            return csv_answer.write_scores(scores)
        return csv_answer.write_columns(scores, decision, columns, some)

    return lambda: rows.written(piece, detector.reconstructor.cores, header)


def _json(
    detector: LSTMAD,
    table: Table,
    frame: Frame,
    asked: Asked,
    recorder: RowCounter | None,
) -> Callable[[], Iterable[bytes]]:
    """Return the function that writes JSON or JSON Lines."""
    scored, events = _scored(detector, table, frame, asked, recorder)
    decision, first = detector.decision, _first(table, asked)
    cores = detector.reconstructor.cores
    rows = _Rows(scored, frame, first)
    if asked.content_type != JSON:
        return lambda: rows.written(
            lambda scores, some: json_answer.write_lines(
                scores, decision, some, asked.n_top
            ),
            cores,
        )
    # All rows count: an event that reaches into the last ones may begin before.
    fields = [
        json_answer.event_fields(event, frame) for event in events if event.end > first
    ]
    return lambda: cores.in_turn(
        json_answer.write_document(rows, first, fields, decision, asked.n_top)
    )


def _scored(
    detector: LSTMAD,
    table: Table,
    frame: Frame,
    asked: Asked,
    recorder: RowCounter | None,
) -> tuple[Iterable[Scores], list[Event]]:
    """Return what the detector says of the rows to return, and the table's events.

    The scores come some rows at a time and in order. Rows before those to return were
    sent for the sake of the others: an earlier request returned and counted them.
    """
    clock = detector.schema.clock
    of_machines = tracks(
        len(table.values),
        machines_of(table.carried[frame.group]) if frame.group is not None else None,
        table.times if clock else None,
        clock.step if clock else 1,
        detector.reconstructor.max_gap,
    )
    first = _first(table, asked)
    if not (of_machines or asked.has_events):
        how = asked.has_contributions, first, recorder
        return _WhileUsed(detector, table.values, *how), []
    scored, events = score(
        detector,
        table.values,
        of_machines,
        asked.has_contributions,
        asked.min_rows if asked.has_events else None,
    )
    returned = list(_from(first, scored))
    if recorder:
        recorder.returned(table.values[first:], returned)
    return returned, events


def _first(table: Table, asked: Asked) -> int:
    """Return the first row that is returned, counted from 0."""
    return max(0, len(table.values) - (asked.n_last or len(table.values)))


def _from(first: int, parts: Iterable[Scores]) -> Iterator[Scores]:
    """Yield scores from a row on, counted from 0."""
    start = 0
    for part in parts:
        stop = start + len(part.normality_score)
        if start < first < stop:
            part = part.at(slice(first - start, None))
        if first < stop:
            yield part
        start = stop


@dataclasses.dataclass
class _WhileUsed:
    """The scores of a series, computed while the first use of them goes on.

    So some rows are written while the network computes the next. For another use the
    scores are kept, or of a large series computed again.
    """

    detector: LSTMAD
    values: FloatArray
    with_contributions: bool
    first: int
    """The first row that is returned, counted from 0."""
    recorder: RowCounter | None
    """What counts the rows, when they are scored for the first time."""
    kept: list[Scores] | None = None
    """All scores to return, if they are there already."""

    def __iter__(self) -> Iterator[Scores]:
        """Yield the scores to return, some rows at a time and in order."""
        if self.kept is not None:
            yield from self.kept
        elif self.values.nbytes > MAX_SCORED:
            yield from self._counted()
        else:
            parts = []
            for part in self._computed():
                parts.append(part)
                yield part
            if self.recorder:
                self.recorder.returned(self.values[self.first :], parts)
            self.kept = parts

    def _counted(self) -> Iterator[Scores]:
        """Yield computed scores, whose rows are counted some at a time."""
        recorder, self.recorder = self.recorder, None
        start = self.first
        for part in self._computed():
            stop = start + len(part.normality_score)
            if recorder:
                recorder.returned(self.values[start:stop], [part])
            start = stop
            yield part

    def _computed(self) -> Iterator[Scores]:
        """Yield the scores to return, computed now."""
        parts = self.detector.score_in_parts(self.values, self.with_contributions)
        return _from(self.first, parts)


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The rows of an answer, some at a time, as often as they are asked for."""

    scored: Iterable[Scores]
    """Those to return, in order."""
    frame: Frame
    """What the request holds beside the series of the whole table."""
    first: int
    """The first row that is returned, counted from 0."""

    def __iter__(self) -> Iterator[tuple[Scores, Frame]]:
        """Yield the scores of some rows, and what is beside them."""
        start = self.first
        for part in self.scored:
            stop = start + len(part.normality_score)
            yield part, self.frame.rows(slice(start, stop))
            start = stop

    def written(
        self,
        write: Callable[[Scores, Frame], bytes],
        cores: Cores,
        header: bytes = b"",
    ) -> Iterator[bytes]:
        """Yield what a function writes of the rows, each piece in a turn of its own.

        Rows come outside of a turn: to compute them takes turns as well.
        """
        if header:
            yield header
        for scores, frame in self:
            with cores.turn():
                piece = write(scores, frame)
            yield piece
