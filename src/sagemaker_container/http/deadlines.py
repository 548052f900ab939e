"""Time limits for what a client sends and for what it reads.

No client may hold a thread without a limit:

==========================  ========================================================
phase                       limit
==========================  ========================================================
head of a request           ``HEAD_SECONDS``, without a thread
body of a request           ``SILENCE_SECONDS`` without a byte, and
                            ``RECEIVE_SECONDS`` plus a second for each
                            ``RECEIVE_BYTES_PER_SECOND`` in all
answer                      ``SILENCE_SECONDS`` for each ``SLICE_BYTES``, and
                            ``ANSWER_SECONDS`` plus a second for each
                            ``ANSWER_BYTES_PER_SECOND`` in all
after the last answer       ``LINGER_SECONDS``, without a thread
==========================  ========================================================
"""

import contextlib
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gunicorn.http.unreader import SocketUnreader

HEAD_SECONDS = 5
"""Limit for the head of a request; clients send it in one piece."""

SILENCE_SECONDS = 20
"""Limit for a client that neither sends nor reads in the middle of a request."""

RECEIVE_SECONDS = 120
"""Time to send a body, whatever its size."""

RECEIVE_BYTES_PER_SECOND = 2**20
"""Slowest average rate at which more time is granted: a body is parsed while it
arrives, so one of 1 GB has to wait for that."""

ANSWER_SECONDS = 20
"""Time to read an answer, whatever its size."""

ANSWER_BYTES_PER_SECOND = 2**16
"""Slowest average rate at which the rest of the time is granted."""

PIECE_BYTES = 2**19
"""From how many bytes of a body on they are not read ahead."""

SLICE_BYTES = 2**20
"""Most bytes of an answer that are sent at a time."""

LINGER_SECONDS = 5
"""How long a client is listened to after its last answer."""

MAX_HEAD = 16 * 2**10
"""Bytes of a head that are waited for without a thread."""

_TCP_CLOSE_WAIT = 8
"""The client sends no more: the first byte of Linux's ``struct tcp_info``."""


class Reader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """Reads a connection until a deadline."""

    _deadline = 0.0

    def wait_for(self, seconds: float) -> None:
        """Set the deadline this many seconds from now."""
        self._deadline = time.monotonic() + seconds

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        """Return the next ``size`` bytes, fewer only at the end.

        Large pieces are not read ahead, so that what arrives is copied once at most.
        """
        if not size or size < PIECE_BYTES:
            some: bytes = super().read(size, read_ahead)
            return some
        held: bytes = self.take_buffered()
        pieces, n_bytes = [held] if held else [], len(held)
        while n_bytes < size and (piece := self.chunk(size - n_bytes)):
            pieces.append(piece)
            n_bytes += len(piece)
        found = b"".join(pieces)
        self.buf.write(found[size:])  # a small rest comes with what follows it
        return found[:size]

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next bytes.

        Raises:
            TimeoutError: If nothing arrives in time; with a sentence for the client.
        """
        sentence = (
            f"The request arrived too slowly: the limits are {SILENCE_SECONDS} s "
            f"without a byte, and {RECEIVE_SECONDS} s and a second for each MB in all."
        )
        seconds = min(SILENCE_SECONDS, self._deadline - time.monotonic())
        if seconds <= 0:
            raise TimeoutError(sentence)
        self.sock.settimeout(seconds)
        try:
            chunk: bytes = super().chunk(size_hint)
        except TimeoutError as error:
            raise TimeoutError(sentence) from error
        finally:
            self.sock.settimeout(SILENCE_SECONDS)
        self._deadline += len(chunk) / RECEIVE_BYTES_PER_SECOND
        return chunk


class PacedAnswer:
    """The body of an answer, each slice with a time limit for the client.

    Only the time that passes while a slice is sent counts, not the time that it takes
    to make one.

    Args:
        pieces: The body, as the application returned it.
        sock: Where it is sent.
    """

    def __init__(self, pieces: Iterable[bytes], sock: socket.socket) -> None:
        self._pieces = pieces
        self._sock = sock

    def __iter__(self) -> Iterator[bytes]:
        """Yield slices; set the time limit of the socket before each.

        Raises:
            TimeoutError: If the time for the answer is up.
        """
        # Head and body in one packet: each would wake the client up. Not earlier, or
        # the interim answer to "Expect: 100-continue" would wait.
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        seconds_left = float(ANSWER_SECONDS)
        for piece in self._pieces:
            for start in range(0, len(piece), SLICE_BYTES):
                part = piece[start : start + SLICE_BYTES]
                seconds_left += len(part) / ANSWER_BYTES_PER_SECOND
                if seconds_left <= 0:
                    raise TimeoutError
                self._sock.settimeout(min(SILENCE_SECONDS, seconds_left))
                began = time.monotonic()
                yield part
                seconds_left -= time.monotonic() - began

    def close(self) -> None:
        """Send what is left, and tell the application that the answer is over."""
        with contextlib.suppress(OSError):  # it is closed already
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        if close := getattr(self._pieces, "close", None):
            close()


def pace(application: Callable[..., Iterable[bytes]]) -> Callable[..., PacedAnswer]:
    """Return a WSGI application whose answers have time limits."""

    def paced(environ: dict[str, Any], start_response: Any) -> PacedAnswer:
        pieces = application(environ, start_response)
        return PacedAnswer(pieces, environ["gunicorn.socket"])

    return paced


def is_head_there(conn: Any) -> bool:
    """Return whether a thread can read a request's head, or its end, without waiting.

    If not, the poller wakes up again only when more bytes than now have arrived.
    """
    before = conn.parser.unreader.buf.getvalue() if conn.parser else b""
    try:
        arrived = conn.sock.recv(MAX_HEAD, socket.MSG_PEEK)
        head = before + arrived
        if not arrived or b"\r\n\r\n" in head or len(head) >= MAX_HEAD:
            return True
        state = conn.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        if state == _TCP_CLOSE_WAIT:
            return True
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(arrived) + 1)
    except BlockingIOError:
        return b"\r\n\r\n" in before
    except OSError:  # the thread will find out
        return True
    return False
