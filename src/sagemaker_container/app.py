"""The HTTP contract: routes, content types, and which exception is which status.

==============================  =====================================================
request                         answer
==============================  =====================================================
GET /ping                       200 and nothing else: the model is loaded
GET /execution-parameters       200, JSON: what batch transform may send
POST /invocations               200, ``text/csv``: a row of scores per row of series
==============================  =====================================================

Errors are one sentence as ``text/plain``: 400 if the series cannot be used, 406 if no
CSV is accepted, 413 if the body is too large, 415 if it is declared to be no CSV, 500
for what is not the client's fault (its reason is in the log alone).
"""

import logging
from http import HTTPStatus
from typing import BinaryIO, cast

from flask import Flask, Response, request
from sagemaker_inference import content_types
from werkzeug.exceptions import HTTPException

from lstm_ad.detector import LSTMAD
from lstm_ad.exceptions import SeriesError
from sagemaker_container.csv_format import read_series, write_scores

logger = logging.getLogger(__name__)

MB = 2**20

_REASONS = {
    HTTPStatus.NOT_FOUND: "There is nothing at this path: accepted are GET /ping, GET "
    "/execution-parameters and POST /invocations.",
    HTTPStatus.METHOD_NOT_ALLOWED: "The method does not fit the path: accepted are GET "
    "/ping, GET /execution-parameters and POST /invocations.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The request failed for a reason that is not in "
    "the request; the server's log has it.",
}


class PayloadTooLargeError(Exception):
    """Raised if a request body is larger than the server accepts."""


class _BoundedStream:
    """A stream that is refused once more than a number of bytes was read.

    Flask's own limit cuts a chunked body silently and answers 200.
    """

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._left = limit

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer only at the end of the stream."""
        pieces = []
        while size > 0 and (piece := self._stream.read(size)):
            size -= len(piece)
            self._left -= len(piece)
            if self._left < 0:
                raise PayloadTooLargeError
            pieces.append(piece)
        return b"".join(pieces)


def create_app(detector: LSTMAD, max_payload_mb: int) -> Flask:
    """Return the application that scores with ``detector``.

    Args:
        detector: What scores; already loaded, so that a ping means readiness.
        max_payload_mb: The largest request body, in MB of 2**20 bytes.
    """
    app = Flask("lstm-ad")

    @app.get("/ping")
    def ping() -> Response:
        return Response(status=HTTPStatus.OK)

    @app.get("/execution-parameters")
    def execution_parameters() -> dict[str, int]:
        # No BatchStrategy: the SDK's local mode refuses the service's own spelling.
        return {"MaxConcurrentTransforms": 1, "MaxPayloadInMB": max_payload_mb}

    @app.post("/invocations")
    def invocations() -> Response:
        media_type = request.mimetype
        if media_type not in ("", content_types.CSV):
            return _error(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f'The content type is "{media_type}": accepted is text/csv.',
            )
        accepted = request.accept_mimetypes
        if accepted.provided and not accepted[content_types.CSV]:
            return _error(
                HTTPStatus.NOT_ACCEPTABLE,
                f'The answer is text/csv, but the request accepts only "{accepted}".',
            )
        limit = max_payload_mb * MB
        try:
            if (request.content_length or 0) > limit:
                raise PayloadTooLargeError
            body = _BoundedStream(cast(BinaryIO, request.stream), limit)
            series = read_series(cast(BinaryIO, body))
            scores = detector.score(series)
        except SeriesError as error:
            return _error(HTTPStatus.BAD_REQUEST, str(error))
        except PayloadTooLargeError:
            return _error(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The request body is larger than {max_payload_mb} MB, the limit of "
                f"this server; SAGEMAKER_MAX_PAYLOAD_IN_MB sets it.",
            )
        # A charset would break clients that compare the content type exactly.
        return Response(write_scores(scores), content_type=content_types.CSV)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
        return _error(status, _REASONS.get(status, f"{status.phrase}."))

    @app.errorhandler(Exception)
    def unexpected_error(error: Exception) -> Response:
        logger.error("The request failed.", exc_info=error)
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return _error(status, _REASONS[status])

    return app


def _error(status: HTTPStatus, sentence: str) -> Response:
    """Return an error as one sentence of plain text."""
    return Response(sentence + "\n", status=status, content_type="text/plain")
