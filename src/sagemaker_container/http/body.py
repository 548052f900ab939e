"""Receive the body of a request: its formats, its compression and its limits."""

import dataclasses
import gzip
import sys
import zlib
from collections.abc import Sequence
from typing import BinaryIO, Protocol, cast

from sagemaker_inference import content_types

from lstm_ad.data.schema import Schema
from lstm_ad.exceptions import SeriesError
from lstm_ad.parallel import Cores
from sagemaker_container.formats import csv_table, json_table
from sagemaker_container.formats.table import Table

MB = 2**20

SHOWN_CHARACTERS = 200
"""How much of a header is repeated in an answer or in the log."""

_GZIP = b"\x1f\x8b"
"""The first bytes of every gzip stream."""

_READ = ("", content_types.CSV, content_types.JSON)
"""The content types of bodies that are read; none is CSV."""


class UnsupportedBodyError(Exception):
    """Raised if a body is declared to be of a format or encoding that is not read."""


class PayloadTooLargeError(Exception):
    """Raised if a request body is larger than the server accepts."""


class BrokenBodyError(Exception):
    """Raised if a body is incomplete, or its chunks are malformed."""

    def __init__(self) -> None:
        super().__init__(
            "The request body is incomplete or not well-formed; send as many bytes as "
            "its headers announce."
        )


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; none at the end."""


class Body:
    """A request body that is refused once it is too large, or if it breaks off.

    Flask's own limit cuts a chunked body silently, and answers 200; so does gunicorn
    when a client that has announced more sends no more.

    Args:
        source: Where the bytes come from.
        max_mb: The largest body, in MB of 2**20 bytes; 0 = no limit.
        n_announced: Its size in bytes as the client announced it; 0 if it did not.

    Raises:
        PayloadTooLargeError: If more bytes are announced than the limit.
    """

    def __init__(self, source: Readable, max_mb: int, n_announced: int = 0) -> None:
        self._source = source
        self._max_mb = max_mb
        self._n_announced = n_announced
        self._ahead = b""
        self.n_bytes = 0
        self._refuse_beyond_limit(n_announced)

    def starts_with(self, start: bytes) -> bool:
        """Return whether the body starts with some bytes, which are still read."""
        self._ahead = self.read(len(start))
        return self._ahead == start

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer only at the end of the body.

        Raises:
            PayloadTooLargeError: If there are more bytes than the limit.
            TimeoutError: If the body takes too long to come.
            BrokenBodyError: If the client goes away, or breaks a chunk.
        """
        pieces = [self._ahead[:size]] if self._ahead else []
        self._ahead = self._ahead[size:]
        size -= sum(map(len, pieces))
        while size > 0:
            piece = self._next(min(size, MB))
            if not piece:
                if self.n_bytes < self._n_announced:
                    raise BrokenBodyError
                break
            self.n_bytes += len(piece)
            self._refuse_beyond_limit(self.n_bytes)
            size -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def decompressed(self) -> "Body":
        """Return what the gzip stream in this body holds, with the same limit."""
        plain = gzip.GzipFile(fileobj=cast(BinaryIO, self), mode="rb")
        return Body(plain, self._max_mb)

    def _next(self, size: int) -> bytes:
        """Return what comes next from the source."""
        try:
            return self._source.read(size)
        except (TimeoutError, PayloadTooLargeError, BrokenBodyError):
            raise
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SeriesError(
                "The gzip body cannot be decompressed; send a whole gzip stream."
            ) from error
        except Exception as error:  # reset connections, gunicorn's own for bad chunks
            raise BrokenBodyError from error

    def _refuse_beyond_limit(self, n_bytes: int) -> None:
        """Refuse a body of so many bytes if they are too many."""
        if n_bytes > (self._max_mb * MB or sys.maxsize):
            raise PayloadTooLargeError(
                f"The request body is larger than {self._max_mb} MB, the limit of this "
                f"server; SAGEMAKER_MAX_PAYLOAD_IN_MB sets it."
            )


@dataclasses.dataclass(frozen=True)
class BodyFormat:
    """What the headers of a request say of its body."""

    content_type: str
    """One of ``_READ``."""
    is_gzip: bool
    """Whether the body is declared to be compressed."""

    @classmethod
    def of(cls, content_type: str, encoding: str) -> "BodyFormat":
        """Return the format that the headers declare.

        Args:
            content_type: Without its parameters, in small letters.
            encoding: The value of ``Content-Encoding``; empty if there is none.

        Raises:
            UnsupportedBodyError: If a body of this kind cannot be read.
        """
        if content_type not in _READ:
            raise UnsupportedBodyError(
                f'The content type is "{content_type[:SHOWN_CHARACTERS]}"; use '
                f"{content_types.CSV} or {content_types.JSON}."
            )
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", "gzip"):
            raise UnsupportedBodyError(
                f'The content encoding is "{encoding[:SHOWN_CHARACTERS]}"; use gzip, '
                f"or leave the header out."
            )
        return cls(content_type, encoding == "gzip")

    def read_table(
        self,
        body: Body,
        schema: Schema,
        keep: Sequence[str] = (),
        cores: Cores | None = None,
        allows_missing: bool = False,
        codes: Sequence[float] = (),
    ) -> Table:
        """Return the table in a body, parsed while it arrives.

        Args:
            body: The body as it is sent.
            schema: The columns that a model was trained on.
            keep: Names of further columns, which are carried through.
            cores: The threads that parse; None parses here.
            allows_missing: Whether cells and rows may be missing.
            codes: Numbers that stand for a missing cell.

        Raises:
            PayloadTooLargeError: If the body has too many bytes, before or after it
                was decompressed.
            DocumentTooLargeError: If it is more JSON than is read.
            TimeoutError: If the body takes too long to come.
            BrokenBodyError: If the client goes away, or breaks a chunk.
            SeriesError: If the body is no table of these columns.
        """
        # Files compressed beforehand come without a Content-Encoding.
        if self.is_gzip or body.starts_with(_GZIP):
            body = body.decompressed()
        stream = cast(BinaryIO, body)
        if self.content_type == content_types.JSON:
            return json_table.read_table(stream, schema, keep, allows_missing, codes)
        return csv_table.read_table(stream, schema, keep, cores, allows_missing, codes)
