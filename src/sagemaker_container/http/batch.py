"""Recognise the pieces of a file that batch transform was told to split.

No piece can be scored, because every row depends on the rows before it. A container
knows that it serves a batch transform, but not how the files are split: BatchStrategy
means nothing without SplitType, which it is not told. So a piece is known by its size:

=========================  ==========================================================
SplitType, BatchStrategy   what is sent
=========================  ==========================================================
None (the default)         whole files
Line, SingleRecord         one row at a time: always too short
Line, MultiRecord          whole files too, if they fit into the payload; of others,
                           first a piece that ends where one more row would not fit
=========================  ==========================================================

One refused piece fails the whole file. A whole file is taken for a piece only if its
size is, by chance, within two rows of the largest payload.
"""

import contextlib
from collections.abc import Iterator

from lstm_ad.exceptions import SeriesError

_ADVICE = (
    "In a batch transform set SplitType to None: every row depends on the rows before "
    "it, so a file cannot be split."
)

_OVERHEAD = 128
"""Bytes that a splitter may count beyond those of the rows."""


@contextlib.contextmanager
def advice(n_rows: int, n_unscored: int) -> Iterator[None]:
    """Say in a refusal of too few rows that they may be a piece of a file."""
    try:
        yield
    except SeriesError as error:
        if n_rows > n_unscored:
            raise
        raise SeriesError(f"{error} {_ADVICE}") from error


def refuse_piece(n_bytes: int, n_rows: int, max_payload_mb: int) -> None:
    """Refuse a body that fills the payload to the last row that fits.

    Args:
        n_bytes: The size of the body.
        n_rows: The number of rows in it.
        max_payload_mb: The largest payload, in MB of 10**6 or of 2**20 bytes:
            documents and clients differ.

    Raises:
        SeriesError: If the body is a piece of a larger file.
    """
    margin = 2 * n_bytes / n_rows + _OVERHEAD
    if any(-margin < n_bytes - max_payload_mb * mb <= 0 for mb in (10**6, 2**20)):
        raise SeriesError(
            f"The body is a piece of a larger file: its {n_bytes} bytes fill the "
            f"payload of {max_payload_mb} MB to the last row that fits. {_ADVICE} "
            f"(If it is a whole file, set another MaxPayloadInMB.)"
        )
