"""gunicorn, taught that no client may hold a worker for ever, and to answer plainly.

A thread is what a worker has few of, so none waits for a client without a limit:

==========================  ========================================================
while                       the worker
==========================  ========================================================
the head of a request comes waits without a thread, for ``HEAD_SECONDS`` at most
its body comes              waits for ``SILENCE_SECONDS`` at a time, and for
                            ``RECEIVE_SECONDS`` in all, however steadily it trickles
the answer is taken         waits for ``SILENCE_SECONDS`` for each piece of it
the client is to close      reads on without a thread, for ``LINGER_SECONDS`` at most,
                            or what it is still sending would cost it the answer
==========================  ========================================================

A connection stays with its worker for as long as it is kept, so the workers share new
connections out evenly; and with its thread for as long as its requests follow each
other at once: with the way through the main loop, a fifth fewer were answered.
"""

import contextlib
import functools
import itertools
import mmap
import select
import selectors
import socket
import sys
import time
from collections import deque
from http import HTTPStatus
from typing import Any, ClassVar

from gunicorn.glogging import Logger
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import ThreadWorker

from sagemaker_container.memory import give_back_freed_memory

HEAD_SECONDS = 5
"""How long the head of a request may take to come; clients send it in one piece."""

SILENCE_SECONDS = 20
"""How long a client may neither send nor take anything in the midst of a request."""

RECEIVE_SECONDS = 120
"""How long a body may take to come, however steadily it trickles."""

LINGER_SECONDS = 5
"""How long a client is listened to after its last answer."""

DRAIN_SECONDS = 0.05
"""How long a thread reads what is left of a body, to keep the connection."""

MAX_HEAD = 16 * 2**10
"""Bytes of a head that are waited for without a thread."""

STAY_SECONDS = 0.005
"""How long a thread waits for the next request before the main loop does."""

DEFERENCE_SECONDS = 0.002
"""How long a worker leaves a new connection to those that hold fewer."""

GIVE_BACK_SECONDS = 10
"""How often a worker gives back the memory that it has freed. After each large request
it would be cleared again for the next, which took a fifth longer."""

_HELD = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("I")
"""How many connections each worker holds, plus one; 0 = no worker. The master maps it,
so that its workers share it."""

_TCP_CLOSE_WAIT = 8
"""The client sends no more: the first byte of Linux's ``struct tcp_info``."""

_SENTENCES = {
    HTTPStatus.BAD_REQUEST: "The request is not well-formed HTTP/1.1: accepted are GET "
    "/ping, GET /execution-parameters and POST /invocations.\n",
    HTTPStatus.REQUEST_TIMEOUT: "The head of the request took too long to come: "
    f"accepted are {HEAD_SECONDS} s.\n",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The request failed for a reason that is not in "
    "the request; the server's log has it.\n",
}


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's threaded worker, with limits to waiting and errors in plain text.

    A thread per request keeps a ping from waiting for a request that computes.
    """

    _taken: ClassVar[set[int]] = set()
    """The places of the workers that there are, in the master."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # In the master, before the fork.
        self._place = next(i for i in itertools.count() if i not in self._taken)
        self._taken.add(self._place)
        super().__init__(*args, **kwargs)
        self._lingering: deque[Any] = deque()
        self._deferred_until = 0.0
        self._gives_back_at = 0.0
        _HELD[self._place] = 0

    @property
    def nr_conns(self) -> int:
        """How many connections this worker holds."""
        return self._n_held

    @nr_conns.setter
    def nr_conns(self, n_held: int) -> None:
        self._n_held = n_held
        _HELD[self._place] = n_held + 1

    def leave(self) -> None:
        """Make room for another worker; in the master, when this one has ended."""
        self._taken.discard(self._place)
        _HELD[self._place] = 0

    def run(self) -> None:
        """Accept and wait, until the end; from now on the worker can answer."""
        self.nr_conns = 0
        super().run()

    def notify(self) -> None:
        """Tell the master that all is well; called at least every second."""
        super().notify()
        if (now := time.monotonic()) >= self._gives_back_at:
            self._gives_back_at = now + GIVE_BACK_SECONDS
            give_back_freed_memory()

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection, or leave it for a moment to a worker that holds fewer.

        Every worker wakes up when a client connects. Without this, the first to do so
        gets the next one as well, and soon has all the work.
        """
        fewest = min(filter(None, _HELD)) - 1
        if self.nr_conns > fewest and not self._deferred_until:
            self._deferred_until = time.monotonic() + DEFERENCE_SECONDS
            self.set_accept_enabled(False)
        else:
            super().accept(listener)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Look for new connections, or do not; called before each wait."""
        super().set_accept_enabled(enabled and time.monotonic() >= self._deferred_until)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for what there is to do, and do it."""
        if not self._deferred_until:
            super().wait_for_and_dispatch_events(timeout)
        elif (left := self._deferred_until - time.monotonic()) > 0:
            super().wait_for_and_dispatch_events(min(timeout, left))
        else:  # accept now what nobody else has taken
            super().wait_for_and_dispatch_events(0)
            self._deferred_until = 0.0

    def enqueue_req(self, conn: Any) -> None:
        """Give a connection a thread as soon as the head of its request is there."""
        conn.sock.setblocking(False)
        if not _is_head_there(conn):
            self._wait(conn, HEAD_SECONDS, self.on_pending_socket_readable)
            self.pending_conns.append(conn)
            return
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        conn.data_ready = True
        super().enqueue_req(conn)

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        """Go on waiting, or go on."""
        if _is_head_there(conn):
            super().on_pending_socket_readable(conn, client)

    def murder_pending(self) -> None:
        """End the connections whose time is up; called at least every second."""
        for conn in _expired(self.pending_conns):
            # A client that has sent nothing expects no answer, so it gets none.
            with contextlib.suppress(OSError):
                if conn.sock.recv(MAX_HEAD):
                    _answer(conn.sock, HTTPStatus.REQUEST_TIMEOUT)
            self._end(conn, self.pending_conns)
        for conn in _expired(self._lingering):
            self._end(conn, self._lingering)

    def handle(self, conn: Any) -> Any:
        """Handle the requests on a connection that follow each other; in a thread."""
        conn.init()
        if not isinstance(conn.parser.unreader, _Unreader):
            conn.parser.unreader = _Unreader(conn.sock)
        while True:
            conn.parser.unreader.wait_for(HEAD_SECONDS)
            is_kept = super().handle(conn)
            if not (is_kept and self._is_next_there(conn)):
                return is_kept

    def _is_next_there(self, conn: Any) -> bool:
        """Return whether a thread can go on with the next request at once.

        Not while there are more connections than threads: another may wait for this.
        """
        has_read_ahead = bool(conn.parser.unreader.buf.getvalue())
        if has_read_ahead or not self.alive or self.nr_conns > self.cfg.threads:
            return False  # the main loop knows what to do
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        if not poll.poll(1000 * STAY_SECONDS):
            return False
        is_there = _is_head_there(conn)
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        return is_there

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Let the application answer a request whose head has been read."""
        conn.parser.unreader.wait_for(RECEIVE_SECONDS)
        conn.sock.settimeout(SILENCE_SECONDS)
        # Head and body in one packet: each would wake the client up.
        conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        try:
            return super().handle_request(req, conn)
        finally:
            with contextlib.suppress(OSError):  # it is closed already
                conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    def _keepalive_after(self, conn: Any, keepalive: Any) -> bool:
        """Return whether the connection can be kept: nothing of a body is left."""
        deadline = conn.parser.unreader.wait_for(DRAIN_SECONDS)
        return bool(keepalive and conn.parser.finish_body(deadline=deadline))

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Keep the connection, or let the client close it first."""
        if fs.cancelled() or fs.exception() or fs.result():
            super().finish_request(conn, fs)
            return
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self._wait(conn, LINGER_SECONDS, self._discard)
        except (OSError, ValueError):  # it is closed already
            self.nr_conns -= 1
            conn.close()
            return
        self._lingering.append(conn)

    def _wait(self, conn: Any, seconds: float, callback: Any) -> None:
        """Wait without a thread until there is something to read."""
        conn.timeout = time.monotonic() + seconds
        readable = functools.partial(callback, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, readable)

    def _discard(self, conn: Any, client: Any) -> None:
        """Throw away what comes after the last answer; end when the client does."""
        with contextlib.suppress(BlockingIOError):
            try:
                if client.recv(2**16):
                    return
            except ConnectionError:
                pass
            self._end(conn, self._lingering)

    def _end(self, conn: Any, waiting: deque[Any]) -> None:
        """Close a connection that has been waiting without a thread."""
        self.poller.unregister(conn.sock)
        waiting.remove(conn)
        self.nr_conns -= 1
        conn.close()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what never reached the application: malformed HTTP, above all."""
        if req is None:
            status = HTTPStatus.BAD_REQUEST
            self.log.warning("Refused a malformed request (%s).", type(exc).__name__)
        else:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            self.log.exception("The request failed outside the application.")
        try:
            _answer(client, status)
        except OSError:
            self.log.debug("The client went away before its error could be sent.")


class ServerLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's log, without a traceback for every client that falls silent."""

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log an exception with its traceback, unless it is a limit that worked."""
        if isinstance(sys.exc_info()[1], TimeoutError):
            self.info("A client was too slow: disconnected.")
        else:
            super().exception(msg, *args, **kwargs)


class _Unreader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """What reads a connection, until a deadline."""

    _deadline = 0.0

    def wait_for(self, seconds: float) -> float:
        """Set, and return, when the time for reading is up."""
        self._deadline = time.monotonic() + seconds
        return self._deadline

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return what comes next.

        Raises:
            TimeoutError: If nothing comes, or the time is up; with a sentence for the
                client.
        """
        sentence = (
            f"The request took too long to come: accepted are {SILENCE_SECONDS} s of "
            f"silence, and {RECEIVE_SECONDS} s in all."
        )
        patience = min(SILENCE_SECONDS, self._deadline - time.monotonic())
        if patience <= 0:
            raise TimeoutError(sentence)
        self.sock.settimeout(patience)
        try:
            chunk: bytes = super().chunk(size_hint)
        except TimeoutError as error:
            raise TimeoutError(sentence) from error
        finally:
            self.sock.settimeout(SILENCE_SECONDS)
        return chunk


def _is_head_there(conn: Any) -> bool:
    """Return whether a thread can read a request's head, or its end, without waiting.

    If not, the poller wakes up again only when more has come than now.
    """
    before = conn.parser.unreader.buf.getvalue() if conn.parser else b""
    try:
        came = conn.sock.recv(MAX_HEAD, socket.MSG_PEEK)
    except BlockingIOError:
        return b"\r\n\r\n" in before
    except OSError:
        return True
    head = before + came
    if not came or b"\r\n\r\n" in head or len(head) >= MAX_HEAD:
        return True
    state = conn.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    if state == _TCP_CLOSE_WAIT:
        return True
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(came) + 1)
    return False


def _expired(connections: deque[Any]) -> list[Any]:
    """Return the connections whose time is up."""
    now = time.monotonic()
    return [conn for conn in connections if conn.timeout <= now]


def _answer(client: socket.socket, status: HTTPStatus) -> None:
    """Send an error as one sentence of plain text, and announce the end."""
    body = _SENTENCES[status].encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    client.sendall(head.encode() + body)
