"""Read series from JSON strictly, and write scores as JSON and as JSON Lines.

A request is one object with one key, a list of rows, each a list of numbers, as many in
each row as there are series::

    {"series": [[1.5, 50.2], [1.7, 50.1]]}

What is no JSON, or anything else, is refused with the row and the column, counted from
1. The rows are parsed in blocks: a document's worth of Python's objects would take
twenty times its size.

An answer in JSON Lines is one object per row, with the names that Amazon Lookout for
Equipment gave them; one in JSON is one object with all the rows and the events. The
schema of both is ``docs/answer.schema.json``.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import orjson

from lstm_ad.axes import FloatArray
from lstm_ad.exceptions import SeriesError
from lstm_ad.parallel import Cores
from sagemaker_container.formats.blocks import (
    Block,
    Parsed,
    cells_problem,
    gather,
    refuse_too_many,
)
from sagemaker_container.formats.cells import MAX_MAGNITUDE
from sagemaker_container.formats.messages import counted, shown

if TYPE_CHECKING:
    from lstm_ad.scoring.detector import Scores
    from lstm_ad.scoring.events import Event
    from lstm_ad.threshold.decision import Decision

_SPACE = b" \t\n\r"
_HEAD = re.compile(rb'[ \t\n\r]*\{[ \t\n\r]*"series"[ \t\n\r]*:[ \t\n\r]*\[')
_ROW = re.compile(rb"[ \t\n\r]*\[([^\[\]]*)\][ \t\n\r]*")
_NUMBER = re.compile(rb"[ \t\n\r]*-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?[ \t\n\r]*")
_OF_NUMBERS = b"0123456789+-.eE,[]" + _SPACE
_FORM = 'accepted is {"series": [[1.5, 2], ...]}, a list of numbers per row'
_BLOCK_SIZE = 2**20
"""Bytes that are parsed at a time; their objects take twenty times as many."""
_MAX_ROW = 64 * 2**20
"""Bytes of a row: what does not end is not read into memory to its end."""


def read_series(stream: BinaryIO, cores: Cores | None = None) -> FloatArray:
    """Return the series that a stream of JSON holds, read in bounded blocks.

    Args:
        stream: The text.
        cores: What parses blocks while others come; None parses them here.

    Returns:
        Values of shape ``(T, D)``.

    Raises:
        SeriesError: If the stream is empty or cannot be read as it stands. The message
            names the row and the column where there is one.
    """
    return gather(_blocks(stream), _parse, _explain, cores)


def write_rows(scores: Scores, decision: Decision) -> list[bytes]:
    """Return each row of scores, with contributions, as one JSON object.

    Args:
        scores: What a detector says of some rows.
        decision: What it means.
    """
    assert scores.contribution is not None
    assert scores.direction is not None
    return [
        _row(*values)
        for values in zip(
            scores.normality_score.tolist(),
            decision.is_anomaly(scores.normality_score).tolist(),
            decision.severity(scores.normality_score).tolist(),
            scores.reconstruction.tolist(),
            scores.contribution.tolist(),
            scores.direction.tolist(),
            strict=True,
        )
    ]


def write_lines(scores: Scores, decision: Decision) -> bytes:
    """Return scores with contributions as JSON Lines, as :func:`write_rows`."""
    return b"\n".join(write_rows(scores, decision)) + b"\n"


def write_document(
    parts: Iterable[Scores], first: int, events: Iterable[Event], decision: Decision
) -> Iterator[bytes]:
    """Yield one JSON object: the threshold, rows as :func:`write_rows`, and events.

    Args:
        parts: What a detector says of the rows to return, with contributions.
        first: The first of these rows, counted from 0.
        events: What to say of them.
        decision: What scores mean.
    """
    head = orjson.dumps({"threshold": decision.threshold, "first_row": first + 1})
    yield head[:-1] + b',"rows":['
    for number, part in enumerate(parts):
        yield (b"," if number else b"") + b",".join(write_rows(part, decision))
    yield b'],"events":' + orjson.dumps([_event(event) for event in events]) + b"}\n"


def _row(
    score: float,
    is_anomaly: bool,
    severity: float,
    reconstruction: list[float],
    contribution: list[float],
    direction: list[float],
) -> bytes:
    """Return one row."""
    if score != score:  # NaN: there is no sequence before this row
        return _WARM_UP
    reason = "ANOMALY_DETECTED" if is_anomaly else "NO_ANOMALY_DETECTED"
    diagnostics = [
        {"name": str(number), "value": value, "direction": _side(side)}
        for number, (value, side) in enumerate(
            zip(contribution, direction, strict=True), start=1
        )
    ]
    return orjson.dumps(
        {
            "prediction": int(is_anomaly),
            "prediction_reason": reason,
            "anomaly_score": severity,
            "diagnostics": diagnostics,
            "normality_score": score,
            "reconstruction": reconstruction,
        }
    )


_WARM_UP = orjson.dumps(
    {
        "prediction": None,
        "prediction_reason": "WARM_UP",
        "anomaly_score": None,
        "diagnostics": None,
        "normality_score": None,
        "reconstruction": None,
    }
)


def _event(event: Event) -> dict[str, Any]:
    """Return an event; rows and series are counted from 1, the last row included."""
    return {
        "start_row": event.start + 1,
        "end_row": event.end,
        "peak_row": event.peak + 1,
        "anomaly_score": event.severity,
        "normality_score": event.normality_score,
        "name": str(event.series + 1),
        "direction": _side(event.direction),
    }


def _side(direction: float) -> str:
    """Return on which side of its reconstruction a series is."""
    return "above" if direction > 0 else "below"


def _blocks(stream: BinaryIO) -> Iterator[Block]:
    """Yield the rows of the document in blocks, each row with the comma after it.

    What is after the last row is in the last block. Where the document ends as it
    should, that is one comma, too.
    """
    rest = stream.read(_BLOCK_SIZE)
    if not rest:
        return
    if rest.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SeriesError("The JSON is encoded as UTF-16; use UTF-8.")
    rest = rest.removeprefix(codecs.BOM_UTF8)
    head = _HEAD.match(rest)
    if head is None:
        raise SeriesError(f"The JSON begins with {shown(rest)}: {_FORM}.")
    rest = rest[head.end() :]
    n_columns = 0
    while True:
        more = stream.read(_BLOCK_SIZE)
        # Not after a bracket that ends a row: it may be the one that ends the series.
        end = max(rest.rfind(b"["), 0) if more else len(rest)
        text = (rest[:end] if more else _without_tail(rest)).strip(_SPACE)
        if text:
            if not n_columns:
                n_columns = text.count(b",", 0, text.find(b"]")) + 1
                refuse_too_many(n_columns)
            yield Block(text, n_columns)
        if not more:
            return
        rest = rest[end:] + more
        if len(rest) > _MAX_ROW + _BLOCK_SIZE:
            raise SeriesError(f"A row is longer than {_MAX_ROW // 2**20} MB: {_FORM}.")


def _without_tail(text: bytes) -> bytes:
    """Return the last rows with a comma in place of the end of the document.

    Where that is not as it should be, what is returned cannot be parsed.
    """
    rows = text = text.rstrip(_SPACE)
    if rows.endswith(b"}") and (rows := rows[:-1].rstrip(_SPACE)).endswith(b"]"):
        rows = rows[:-1].rstrip(_SPACE)
        return rows + b"," if rows else b""
    return text + b"," if text.endswith(b",") else text


def _parse(block: Block) -> Parsed:
    """Return a block and its cells, or None if one is bad."""
    if not block.text.endswith(b",") or block.text.translate(None, _OF_NUMBERS):
        return block, None
    try:
        rows = orjson.loads(b"[" + block.text[:-1] + b"]")
        cells = np.array(rows, dtype=np.float64)
    except ValueError:
        return block, None
    if cells.shape != (len(rows), block.n_columns):
        return block, None
    return block, cells.ravel() if np.abs(cells).max() <= MAX_MAGNITUDE else None


def _explain(block: Block, n_rows_before: int) -> SeriesError:
    """Return the error about the first thing in a block that cannot be read."""
    text, position, row = block.text, 0, n_rows_before
    while position < len(text):
        row += 1
        match = _ROW.match(text, position)
        if match is None:
            return SeriesError(
                f"Row {row} is not a list of numbers, but "
                f"{shown(text[position:].removesuffix(b','))}: {_FORM}."
            )
        if problem := _row_problem(match[1], row, block.n_columns):
            return SeriesError(problem)
        if text[match.end() : match.end() + 1] != b",":
            return SeriesError(
                f"Row {row} is followed by {shown(text[match.end() :])}: {_FORM}."
            )
        position = match.end() + 1
    raise AssertionError("a block that cannot be parsed has a row that cannot")


def _row_problem(text: bytes, row: int, n_columns: int) -> str | None:
    """Return what is wrong with what is between the brackets of a row, or None."""
    if not text.strip(_SPACE):
        return f"Row {row} is empty; each row needs {counted(n_columns)}."
    cells = [
        b"" if cell.strip(_SPACE) == b"null" else cell for cell in text.split(b",")
    ]
    return cells_problem(cells, row, n_columns, _NUMBER)
