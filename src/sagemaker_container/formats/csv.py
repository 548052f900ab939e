"""Read series from CSV strictly, and write scores as CSV.

One row is one time step, one column is one series, and nothing is repaired: what cannot
be read as it stands is refused with the row and the column, counted from 1.

=================  =================================================================
accepted           meaning
=================  =================================================================
cells              decimal numbers (``1``, ``-1.5``, ``.5``, ``2e-3``), finite, at most
                   1e100 in magnitude, spaces around them ignored
between cells      a comma
line ends          LF or CRLF; the last one may be missing
before the first   a UTF-8 byte-order mark is ignored
gzip               a file that starts as gzip is decompressed
=================  =================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import orjson

from lstm_ad.axes import FloatArray
from lstm_ad.parallel import Cores
from sagemaker_container.formats.blocks import gather
from sagemaker_container.formats.columns import column_names
from sagemaker_container.formats.csv_text import blocks, explain, parse

if TYPE_CHECKING:
    # Types alone: whoever reads a series need not load the runtime of the network.
    from lstm_ad.scoring.detector import Scores
    from lstm_ad.threshold.decision import Decision


def read_series(stream: BinaryIO, cores: Cores | None = None) -> FloatArray:
    """Return the series that a stream of CSV holds, read in bounded blocks.

    Args:
        stream: The text.
        cores: What parses blocks while others come; None parses them here.

    Returns:
        Values of shape ``(T, D)``.

    Raises:
        SeriesError: If the stream is empty or cannot be read as it stands. The message
            names the row and the column where there is one.
    """
    return gather(blocks(stream), parse, explain, cores)


def write_scores(scores: Scores) -> bytes:
    """Return scores as CSV: the normality score, then one reconstruction per series.

    One row per time step; the cells of a row without a score are empty. Numbers are
    written with as many digits as it takes to read the same number again.
    """
    table = np.column_stack([scores.normality_score, scores.reconstruction])
    return b"\n".join([*_cells(table), b""])


def write_columns(scores: Scores, decision: Decision, columns: Sequence[str]) -> bytes:
    """Return the columns that were asked for as CSV, in their order.

    Otherwise as :func:`write_scores`; an anomaly is 1, any other row 0.

    Args:
        scores: What a detector says of some rows, with contributions if they are asked
            for.
        decision: What it means.
        columns: Some of ``outputs.OUTPUTS``.
    """
    cells = [_COLUMNS[column](scores, decision) for column in columns]
    return b"\n".join(map(b",".join, zip(*cells, strict=True))) + b"\n"


def write_header(columns: Sequence[str], n_series: int) -> bytes:
    """Return the row of names of the columns that were asked for."""
    return ",".join(column_names(columns, n_series)).encode() + b"\n"


def _cells(table: FloatArray) -> list[bytes]:
    """Return the cells of each row of a table, of shape ``(T, k)``, as text."""
    table = np.ascontiguousarray(table)
    # JSON's rows become lines: [[1.5,2.5],[null,null]] -> "1.5,2.5" and ",".
    text = orjson.dumps(table, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2]
    if not np.isfinite(table).all():  # numbers are looked at faster than words
        text = text.replace(b"null", b"")
    return text.split(b"],[")


def _one(values: FloatArray) -> list[bytes]:
    """Return the cell of each row of a column, of shape ``(T,)``, as text."""
    return _cells(values[:, np.newaxis])


def _anomalies(scores: Scores, decision: Decision) -> list[bytes]:
    """Return 1 for each anomaly, 0 for any other row, and nothing without a score."""
    is_anomaly = decision.is_anomaly(scores.normality_score)
    cells = np.where(is_anomaly, b"1", b"0")
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


def _contributions(scores: Scores, decision: Decision) -> list[bytes]:
    """Return the series' contributions."""
    assert scores.contribution is not None
    return _cells(scores.contribution)


_COLUMNS: Mapping[str, Callable[[Scores, Decision], list[bytes]]] = {
    "score": lambda scores, _: _one(scores.normality_score),
    "reconstruction": lambda scores, _: _cells(scores.reconstruction),
    "is_anomaly": _anomalies,
    "severity": lambda scores, decision: _one(
        decision.severity(scores.normality_score)
    ),
    "threshold": _thresholds,
    "lasting": _lasting,
    "contribution": _contributions,
    "lower": lambda s, decision: _cells(decision.normal_range(s.reconstruction)[0]),
    "upper": lambda s, decision: _cells(decision.normal_range(s.reconstruction)[1]),
}
"""The cells of each of ``outputs.OUTPUTS``."""
