"""Read series from CSV strictly.

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

from typing import BinaryIO

from lstm_ad.axes import FloatArray
from lstm_ad.parallel import Cores
from sagemaker_container.formats.blocks import gather
from sagemaker_container.formats.csv_text import blocks, explain, parse


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
