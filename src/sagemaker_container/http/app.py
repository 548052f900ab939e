"""The HTTP contract: routes, content types, and which exception is which status.

==============================  =====================================================
request                         answer
==============================  =====================================================
GET /ping                       200 and nothing else: the model is loaded
GET /metrics                    200 and nothing else yet: SageMaker asks each minute
GET /execution-parameters       200, JSON: what batch transform may send
POST /invocations               200: a row of scores per row of series, as CSV, JSON
                                or JSON Lines
==============================  =====================================================

Errors are one sentence of plain text:

======  =============================================================================
status  when
======  =============================================================================
400     the series cannot be used, a custom attribute cannot be met, or the body
        broke off
404     no such path
405     no such method at the path
406     the client accepts none of the three formats
408     the body took too long to come
413     the body is larger than the server accepts, compressed or not
415     the body is declared to be neither CSV nor JSON, or encoded otherwise than
        with gzip
500     what is not in the request; the log has the traceback
503     more requests are held than can be answered soon; ``Retry-After`` says when
======  =============================================================================

Every request but those of ``/ping`` and ``/metrics`` is one JSON line in the log,
written when its answer has been sent and without anything of its payload.
"""

import contextlib
import gzip
import logging
import math
import sys
import time
import zlib
from collections.abc import Callable
from http import HTTPStatus
from typing import BinaryIO, cast

import orjson
from flask import Flask, Response, g, request
from sagemaker_inference import content_types
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException

from lstm_ad.axes import FloatArray
from lstm_ad.exceptions import SeriesError
from lstm_ad.parallel import Cores
from lstm_ad.scoring.detector import LSTMAD
from sagemaker_container.formats import csv as csv_format
from sagemaker_container.formats import json as json_format
from sagemaker_container.formats.columns import (
    CSV,
    DEFAULT_COLUMNS,
    FORMATS,
    OutputError,
)
from sagemaker_container.formats.messages import listed
from sagemaker_container.http import answers, batch
from sagemaker_container.http.request import Asked
from sagemaker_container.http.slots import OverloadedError, Slots

logger = logging.getLogger(__name__)

MB = 2**20

MAX_REQUESTS = 32
"""How many requests a worker holds, the one that it scores included."""

RETRY_SECONDS = 1
"""What a client is told to wait when a worker holds as many as it can."""

_INFERENCE_ID = "X-Amzn-SageMaker-Inference-Id"
_CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"

_GZIP = b"\x1f\x8b"

_READERS = {
    "": csv_format.read_series,
    content_types.CSV: csv_format.read_series,
    content_types.JSON: json_format.read_series,
}
"""What reads a body, by its content type."""

_SHOWN = 200
"""How many characters of a header are repeated in an answer or in the log."""

_NOT_LOGGED = ("/ping", "/metrics")
"""What SageMaker asks of every endpoint, again and again."""

_ROUTES = "accepted are GET /ping, GET /execution-parameters and POST /invocations"

_SENTENCES = {
    HTTPStatus.BAD_REQUEST: "The request could not be read to its end.",
    HTTPStatus.NOT_FOUND: f"There is nothing at this path: {_ROUTES}.",
    HTTPStatus.METHOD_NOT_ALLOWED: f"The method does not fit the path: {_ROUTES}.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The request failed for a reason that is not in "
    "the request; the server's log has it.",
    HTTPStatus.SERVICE_UNAVAILABLE: f"The server holds {MAX_REQUESTS} requests "
    f"already, as many as it can answer soon: try again in {RETRY_SECONDS} s.",
}


class PayloadTooLargeError(Exception):
    """Raised if a request body is larger than the server accepts."""


class BrokenBodyError(Exception):
    """Raised if a request body ends before its end."""


class _Body:
    """A request body that is refused once it is too large, or if it breaks off.

    Flask's own limit cuts a chunked body silently, and answers 200; so does gunicorn
    when a client that has announced more sends no more.
    """

    def __init__(
        self, read: Callable[[int], bytes], limit: int, announced: int = 0
    ) -> None:
        self._read = read
        self._limit = limit
        self._announced = announced
        self._ahead = b""
        self.n_bytes = 0

    def starts_with(self, start: bytes) -> bool:
        """Return whether the body starts with some bytes, which are still read."""
        self._ahead = self.read(len(start))
        return self._ahead == start

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer only at the end of the body."""
        pieces = [self._ahead[:size]]
        self._ahead = self._ahead[size:]
        size -= len(pieces[0])
        while size > 0:
            piece = self._read(min(size, MB))
            if not piece:
                if self.n_bytes < self._announced:
                    raise BrokenBodyError
                break
            self.n_bytes += len(piece)
            if self.n_bytes > self._limit:
                raise PayloadTooLargeError
            size -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)


def create_app(
    detector: LSTMAD,
    max_payload_mb: int,
    is_batch: bool = False,
    columns: tuple[str, ...] = DEFAULT_COLUMNS,
) -> Flask:
    """Return the application that scores with ``detector``.

    Args:
        detector: What scores; already loaded, so that a ping means readiness.
        max_payload_mb: The largest request body, in MB of 2**20 bytes; 0 = no limit.
        is_batch: Whether the requests come from a batch transform.
        columns: Those of CSV, where a request names none.
    """
    app = Flask("lstm-ad")
    slots = Slots(MAX_REQUESTS)

    @app.get("/ping")
    def ping() -> Response:
        return Response(status=HTTPStatus.OK)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(content_type="text/plain; version=0.0.4")

    @app.get("/execution-parameters")
    def execution_parameters() -> dict[str, int]:
        # No BatchStrategy: the SDK's local mode refuses the service's own spelling.
        return {"MaxConcurrentTransforms": 1, "MaxPayloadInMB": max_payload_mb}

    @app.post("/invocations")
    def invocations() -> Response:
        if refusal := _refusal():
            return refusal
        asked = Asked.of(
            request.headers.get(_CUSTOM_ATTRIBUTES, ""), g.content_type, columns
        )
        with contextlib.ExitStack() as held:
            held.enter_context(slots.take())
            series = _receive(
                max_payload_mb * MB or sys.maxsize, detector.reconstructor.cores
            )
            g.n_rows, g.n_series = series.shape
            if is_batch:
                batch.refuse_piece(g.n_bytes, g.n_rows, max_payload_mb)
            length, pieces = answers.answer(detector, series, asked)
            # A charset would break clients that compare the content type exactly.
            response = Response(pieces, content_type=asked.content_type)
            response.content_length = length
            # The slot is held until the answer has been sent: whoever reads slowly
            # must not take the threads that answer pings.
            response.call_on_close(held.pop_all().close)
        return response

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()

    @app.after_request
    def log(response: Response) -> Response:
        if request.path in _NOT_LOGGED:
            return response
        line, began = _log_line(response), g.began

        def write() -> None:
            seconds = time.perf_counter() - began
            line["milliseconds"] = round(1000 * seconds, 3)
            logger.info("%s", orjson.dumps(line).decode())

        if request.method == "HEAD":  # its answer is never closed
            write()
        else:
            response.call_on_close(write)
        return response

    @app.errorhandler(SeriesError)
    def series_error(error: SeriesError) -> Response:
        too_short = (
            g.get("n_rows", math.inf)
            <= detector.reconstructor.network.layout.n_unscored
        )
        advice = f" {batch.ADVICE}" if is_batch and too_short else ""
        return _error(HTTPStatus.BAD_REQUEST, f"{error}{advice}")

    @app.errorhandler(OutputError)
    def output_error(error: OutputError) -> Response:
        return _error(HTTPStatus.BAD_REQUEST, str(error))

    @app.errorhandler(PayloadTooLargeError)
    def payload_too_large(error: PayloadTooLargeError) -> Response:
        return _error(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The request body is larger than {max_payload_mb} MB, the limit of this "
            f"server; SAGEMAKER_MAX_PAYLOAD_IN_MB sets it.",
        )

    @app.errorhandler(BrokenBodyError)
    def broken_body(error: BrokenBodyError) -> Response:
        return _error(HTTPStatus.BAD_REQUEST)

    @app.errorhandler(TimeoutError)
    def slow_body(error: TimeoutError) -> Response:
        # From the worker, which reads the socket and knows how long it waits.
        return _error(HTTPStatus.REQUEST_TIMEOUT, str(error))

    @app.errorhandler(OverloadedError)
    def overloaded(error: OverloadedError) -> Response:
        response = _error(HTTPStatus.SERVICE_UNAVAILABLE)
        response.headers["Retry-After"] = str(RETRY_SECONDS)
        return response

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        return _error(HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR))

    @app.errorhandler(Exception)
    def unexpected_error(error: Exception) -> Response:
        logger.error("The request failed.", exc_info=error)
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR)

    return app


def _refusal() -> Response | None:
    """Return the answer to a request whose headers cannot be met, or None.

    Then ``g.content_type`` is the answer's.
    """
    if request.mimetype not in _READERS:
        return _error(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f'The content type is "{request.mimetype[:_SHOWN]}": accepted are '
            f"{content_types.CSV} and {content_types.JSON}.",
        )
    if _encoding() not in ("", "identity", "gzip"):
        return _error(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f'The content encoding is "{_encoding()[:_SHOWN]}": accepted are gzip and '
            f"none.",
        )
    accepted = request.accept_mimetypes
    # A charset makes no difference to who is answered.
    types = MIMEAccept([(name.split(";")[0].strip(), q) for name, q in accepted])
    g.content_type = types.best_match(FORMATS) if accepted.provided else CSV
    if g.content_type is None:
        return _error(
            HTTPStatus.NOT_ACCEPTABLE,
            f"The answer can be {listed(FORMATS, 'or')}, but the request accepts only "
            f'"{str(accepted)[:_SHOWN]}".',
        )
    return None


def _encoding() -> str:
    """Return how the body is compressed, as its header says."""
    return request.headers.get("Content-Encoding", "").strip().lower()


def _receive(limit: int, cores: Cores) -> FloatArray:
    """Return the series in the body of the request, parsed while it comes.

    Raises:
        PayloadTooLargeError: If the body has more bytes than ``limit``, before or
            after it was decompressed.
        TimeoutError: If the body takes too long to come.
        BrokenBodyError: If the client goes away, or breaks a chunk.
        SeriesError: If the body is no series.
    """
    announced = request.content_length or 0
    if announced > limit:
        raise PayloadTooLargeError
    body = _Body(_read_wire, limit, announced)
    read = _READERS[request.mimetype]
    try:
        # Files compressed beforehand come without a Content-Encoding.
        if _encoding() != "gzip" and not body.starts_with(_GZIP):
            return read(cast(BinaryIO, body), cores)
        with gzip.GzipFile(fileobj=cast(BinaryIO, body), mode="rb") as plain:
            expanded = _Body(plain.read, limit)
            return read(cast(BinaryIO, expanded), cores)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SeriesError(
            "The gzip body cannot be decompressed; send a whole gzip stream."
        ) from error
    finally:
        g.n_bytes = body.n_bytes


def _read_wire(size: int) -> bytes:
    """Return what comes next of the request's body as it is sent."""
    try:
        return request.stream.read(size)
    except TimeoutError:
        raise
    except Exception as error:  # reset connections, and gunicorn's own for bad chunks
        raise BrokenBodyError from error


def _log_line(response: Response) -> dict[str, object]:
    """Return what an operator wants to know about a request, but for its time."""
    inference_id = request.headers.get(_INFERENCE_ID, "")
    return {
        "request": f"{request.method} {request.path}"[:_SHOWN],
        "inference_id": inference_id[:_SHOWN] or None,
        "status": response.status_code,
        "milliseconds": None,
        "rows": g.get("n_rows"),
        "series": g.get("n_series"),
        "format": g.get("content_type"),
        "bytes_in": g.get("n_bytes", 0),
        "bytes_out": response.content_length,
    }


def _error(status: HTTPStatus, sentence: str = "") -> Response:
    """Return an error as one sentence of plain text."""
    text = sentence or _SENTENCES.get(status, f"{status.phrase}.")
    return Response(text + "\n", status=status, content_type="text/plain")
