"""A gunicorn worker with deadlines for slow clients and plain-text errors.

gunicorn's threaded worker, in which a ping does not wait for a request that computes.
Whatever waits for a client without a thread, waits in the poller of the main loop: idle
connections, the head of a request, and a client that is to close after its last answer.
An exception in a callback of that loop would end the worker, so each one is caught.
"""

import contextlib
import functools
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from sagemaker_container.http import deadlines
from sagemaker_container.http.deadlines import MAX_HEAD, Reader, is_head_there, pace
from sagemaker_container.memory import give_back_freed_memory

DRAIN_SECONDS, DRAIN_BYTES = 0.05, 2**16
"""How long, and how much, a thread reads of what is left of a body, to keep the
connection."""

GIVE_BACK_SECONDS = 10
"""How often a worker gives back the memory that it has freed. After each large request
it would be cleared again for the next, which took a fifth longer."""

_SENTENCES = {
    HTTPStatus.BAD_REQUEST: "The request is not well-formed HTTP/1.1.\n",
    HTTPStatus.REQUEST_TIMEOUT: "The head of the request arrived too slowly: the limit "
    f"is {deadlines.HEAD_SECONDS} s.\n",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The server failed to answer the request; the "
    "reason is in its log.\n",
}


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's threaded worker, with time limits and errors in plain text."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lingering: deque[Any] = deque()
        self._gives_back_at = 0.0
        self.each_second: Callable[[], None] | None = None
        """What the server does at times."""

    def load_wsgi(self) -> None:
        """Load the application, and limit the time for reading its answers."""
        super().load_wsgi()
        self.wsgi: Any = pace(self.wsgi)

    def notify(self) -> None:
        """Tell the master that the main loop runs; called at least every second."""
        super().notify()
        if (now := time.monotonic()) >= self._gives_back_at:
            self._gives_back_at = now + GIVE_BACK_SECONDS
            give_back_freed_memory()
        if self.each_second:
            try:
                self.each_second()
            except Exception:  # whatever it is, clients are answered
                self.log.exception("The metrics could not be written.")

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection; without it, if there are no file descriptors left."""
        try:
            super().accept(listener)
        except OSError as error:
            self.log.warning("A connection could not be accepted (%s).", error)

    def enqueue_req(self, conn: Any) -> None:
        """Give a connection a thread as soon as the head of its request is there."""
        try:
            conn.sock.setblocking(False)
            if not is_head_there(conn):
                seconds = deadlines.HEAD_SECONDS
                self._wait(conn, seconds, self.on_pending_socket_readable)
                self.pending_conns.append(conn)
                return
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        except OSError:  # the client has reset it
            self._close(conn)
            return
        conn.data_ready = True
        super().enqueue_req(conn)

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        """Hand the connection to a thread, or wait for more of the head."""
        if is_head_there(conn):
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
        """Handle one request; in a thread."""
        conn.init()
        if not isinstance(conn.parser.unreader, Reader):
            conn.parser.unreader = Reader(conn.sock)
        conn.parser.unreader.wait_for(deadlines.HEAD_SECONDS)
        return super().handle(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Let the application answer a request whose head has been read."""
        conn.parser.unreader.wait_for(deadlines.RECEIVE_SECONDS)
        conn.sock.settimeout(deadlines.SILENCE_SECONDS)
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: Any, keepalive: Any) -> bool:
        """Return whether the connection can be kept: nothing of a body is left.

        The reader alone looks at the time, and only if something has to be read: a
        thread that waits for a core must not cost the client its connection.
        """
        conn.parser.unreader.wait_for(DRAIN_SECONDS)
        return bool(keepalive and conn.parser.finish_body(max_bytes=DRAIN_BYTES))

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Keep the connection, or let the client close it first.

        A client that is still sending would lose the answer if the server closed.
        """
        if fs.cancelled() or fs.exception() or fs.result():
            super().finish_request(conn, fs)
            return
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self._wait(conn, deadlines.LINGER_SECONDS, self._discard)
        except (OSError, ValueError):  # it is closed already
            self._close(conn)
            return
        self._lingering.append(conn)

    def _wait(self, conn: Any, seconds: float, callback: Any) -> None:
        """Wait without a thread until there is something to read."""
        conn.timeout = time.monotonic() + seconds
        readable = functools.partial(callback, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, readable)

    def _discard(self, conn: Any, client: Any) -> None:
        """Discard what arrives after the last answer; end when the client does."""
        try:
            if client.recv(2**16):
                return
        except BlockingIOError:
            return
        except OSError:  # reset, unreachable, timed out: whatever ends a connection
            pass
        self._end(conn, self._lingering)

    def _end(self, conn: Any, waiting: deque[Any]) -> None:
        """Close a connection that has been waiting without a thread."""
        self.poller.unregister(conn.sock)
        waiting.remove(conn)
        self._close(conn)

    def _close(self, conn: Any) -> None:
        """Close a connection that nothing waits for."""
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
