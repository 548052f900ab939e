"""Write scores as CSV.

By default a row is the normality score, then one reconstruction per series. What the
request carries beside its series comes first, byte for byte.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import orjson

from lstm_ad.axes import FloatArray
from lstm_ad.scoring.regime import NONE
from sagemaker_container.formats.columns import Carried, column_names
from sagemaker_container.formats.frame import Frame

if TYPE_CHECKING:
    from lstm_ad.scoring.detector import Scores
    from lstm_ad.threshold.decision import BoolArray, Decision


_COMMA, _LF = 44, 10


def write_scores(scores: Scores) -> bytes:
    """Return scores as CSV: the normality score, then one reconstruction per series.

    One row per time step; the cells of a row without a score are empty. Numbers are
    written with as many digits as it takes to read the same number again.
    """
    n_rows, n_series = scores.reconstruction.shape
    table = np.empty((n_rows, 1 + n_series))
    table[:, 0], table[:, 1:] = scores.normality_score, scores.reconstruction
    return _lines(table)


def write_columns(
    scores: Scores, decision: Decision, columns: Sequence[str | Carried], frame: Frame
) -> bytes:
    """Return the columns that were asked for as CSV, in their order.

    Otherwise as :func:`write_scores`; an anomaly is 1, any other row 0.

    Args:
        scores: What a detector says of some rows, with contributions if they are asked
            for.
        decision: What it means.
        columns: What :func:`~sagemaker_container.formats.columns.placed` returns.
        frame: What the request holds beside the series of these rows.
    """
    cells = [
        list(frame.carried[column.name])
        if isinstance(column, Carried)
        else _COLUMNS[column](scores, decision)
        for column in columns
    ]
    return b"\n".join(map(b",".join, zip(*cells, strict=True))) + b"\n"


def write_header(columns: Sequence[str | Carried], frame: Frame) -> bytes:
    """Return the row of names of the columns that were asked for.

    Raises:
        OutputError: If two would have the same name.
    """
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(column_names(columns, frame))
    return line.getvalue().encode()


def _cells(table: FloatArray) -> list[bytes]:
    """Return the cells of each row of a table, of shape ``(T, k)``, as text."""
    return _lines(table)[:-1].split(b"\n")


def _lines(table: FloatArray) -> bytes:
    """Return a table, of shape ``(T, k)``, as CSV: a line for each row."""
    characters = np.frombuffer(_listed(table), dtype=np.uint8)[1:].copy()
    # Every k-th comma is found in half the time that replacing text between rows takes.
    n_columns = table.shape[1]
    commas = np.flatnonzero(characters == _COMMA)
    characters[commas[n_columns - 1 :: n_columns]] = _LF
    characters[-1] = _LF
    return characters.tobytes()


def _one(values: FloatArray) -> list[bytes]:
    """Return the cell of each row of a column, of shape ``(T,)``, as text."""
    return _listed(values)[1:-1].split(b",")


def _listed(values: FloatArray) -> bytes:
    """Return numbers as text, as in ``[1.5,2.5,,]``: nothing for NaN."""
    text = orjson.dumps(values.ravel(), option=orjson.OPT_SERIALIZE_NUMPY)
    if not np.isfinite(values).all():  # numbers are looked at faster than words
        text = text.replace(b"null", b"")
    return text


def _anomalies(scores: Scores, decision: Decision) -> list[bytes]:
    """Return 1 for each anomaly, 0 for any other row, and nothing without a score."""
    return _flags(scores.anomalies(decision), scores)


def _events(scores: Scores, decision: Decision) -> list[bytes]:
    """Return 1 for each row of an event, 0 for any other, nothing without a score."""
    assert scores.is_event is not None
    return _flags(scores.is_event, scores)


def _flags(is_so: BoolArray, scores: Scores) -> list[bytes]:
    """Return 1 or 0 for each row that has a score."""
    cells = np.where(is_so, b"1", b"0")
    cells[np.isnan(scores.normality_score)] = b""
    return list(cells.tolist())


def _thresholds(scores: Scores, decision: Decision) -> list[bytes]:
    """Return the threshold for each row that has a score."""
    has_none = np.isnan(scores.normality_score)
    return _one(np.where(has_none, np.nan, decision.threshold))


def _lasting(scores: Scores, decision: Decision) -> list[bytes]:
    """Return the rows of the scored window for each row that has a score."""
    assert scores.lasting is not None
    return [b"%d" % length if length else b"" for length in scores.lasting.tolist()]


def _regimes(scores: Scores, decision: Decision) -> list[bytes]:
    """Return 1 for each row of an unseen regime, 0 for any other that has a score.

    Nothing where the model does not know what was seen.
    """
    if scores.regime is None:
        return [b""] * len(scores.normality_score)
    return _flags(scores.regime != NONE, scores)


def _missing(scores: Scores, decision: Decision) -> list[bytes]:
    """Return how many series are missing in each row."""
    assert scores.n_missing is not None
    return [b"%d" % count for count in scores.n_missing.tolist()]


def _contributions(scores: Scores, decision: Decision) -> list[bytes]:
    """Return the series' contributions."""
    assert scores.contribution is not None
    return _cells(scores.contribution)


_COLUMNS: Mapping[str, Callable[[Scores, Decision], list[bytes]]] = {
    "score": lambda scores, _: _one(scores.normality_score),
    "reconstruction": lambda scores, _: _cells(scores.reconstruction),
    "is_anomaly": _anomalies,
    "is_event": _events,
    "severity": lambda scores, decision: _one(
        decision.severity(scores.normality_score)
    ),
    "threshold": _thresholds,
    "lasting": _lasting,
    "missing": _missing,
    "regime": _regimes,
    "contribution": _contributions,
    "lower": lambda s, decision: _cells(decision.normal_range(s.reconstruction)[0]),
    "upper": lambda s, decision: _cells(decision.normal_range(s.reconstruction)[1]),
}
"""The cells of each of ``columns.OUTPUTS``."""
