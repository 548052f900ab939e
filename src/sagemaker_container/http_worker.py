"""gunicorn, taught that no client may hold a worker for ever, and to answer plainly."""

import socket
import struct
import sys
from http import HTTPStatus
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

SILENCE_SECONDS = 20
"""How long a client may neither send nor take a byte before its connection ends."""

_SENTENCES = {
    HTTPStatus.BAD_REQUEST: "The request is not well-formed HTTP/1.1: accepted are GET "
    "/ping, GET /execution-parameters and POST /invocations.\n",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The request failed for a reason that is not in "
    "the request; the server's log has it.\n",
}


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's threaded worker, with a limit to silence and errors in plain text.

    A thread per request keeps a ping from waiting for a request that computes.
    """

    def init_process(self) -> None:
        """Set the limit on the listening sockets: what they accept inherits it."""
        limit = struct.pack("ll", SILENCE_SECONDS, 0)  # struct timeval
        for listener in self.sockets:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        super().init_process()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what never reached the application: malformed HTTP, above all."""
        if req is None:
            status = HTTPStatus.BAD_REQUEST
            self.log.warning("Refused a malformed request (%s).", type(exc).__name__)
        else:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            self.log.exception("The request failed outside the application.")
        body = _SENTENCES[status].encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n"
            f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            client.sendall(head.encode() + body)
        except OSError:
            self.log.debug("The client went away before its error could be sent.")


class ServerLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's log, without a traceback for every client that falls silent."""

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log an exception with its traceback, unless it is a limit that worked."""
        if isinstance(sys.exc_info()[1], BlockingIOError):
            self.info("A client was silent for %d s: disconnected.", SILENCE_SECONDS)
        else:
            super().exception(msg, *args, **kwargs)
