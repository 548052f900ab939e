"""Which exception is which status, and the sentence of each error.

======  =============================================================================
status  when
======  =============================================================================
400     the series cannot be used, a custom attribute cannot be met, or the body
        broke off
404     no such path
405     no such method at the path
406     the client accepts none of the three formats
408     the body took too long to come
413     the body is larger than the server accepts, compressed or not, or than JSON
        may be
415     the body is declared to be neither CSV nor JSON, or encoded otherwise than
        with gzip
500     what is not in the request; the log has the traceback
503     more requests are held than can be answered soon; ``Retry-After`` says when
======  =============================================================================
"""

import logging
from http import HTTPStatus

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats.columns import OutputError
from sagemaker_container.formats.json import DocumentTooLargeError
from sagemaker_container.http.body import (
    BrokenBodyError,
    PayloadTooLargeError,
    UnsupportedBodyError,
)
from sagemaker_container.http.request import NotAcceptableError
from sagemaker_container.http.slots import RETRY_SECONDS, OverloadedError

logger = logging.getLogger(__name__)

_STATUSES = {
    BrokenBodyError: HTTPStatus.BAD_REQUEST,
    DocumentTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,  # before its base
    NotAcceptableError: HTTPStatus.NOT_ACCEPTABLE,
    OutputError: HTTPStatus.BAD_REQUEST,
    OverloadedError: HTTPStatus.SERVICE_UNAVAILABLE,
    PayloadTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    SeriesError: HTTPStatus.BAD_REQUEST,
    # From the worker, which reads the socket and knows how long it waits.
    TimeoutError: HTTPStatus.REQUEST_TIMEOUT,
    UnsupportedBodyError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
}
"""The statuses of our own exceptions, whose messages are the sentences."""

_ROUTES = "GET /ping, GET /metrics, GET /execution-parameters or POST /invocations"

_SENTENCES = {
    HTTPStatus.NOT_FOUND: f"The path is unknown; use {_ROUTES}.",
    HTTPStatus.METHOD_NOT_ALLOWED: f"The method is not allowed; use {_ROUTES}.",
}

FAILED = "The server failed to answer the request; the reason is in its log."


def error_response(error: Exception) -> Response:
    """Return an exception as one sentence of plain text; log it if it is our fault."""
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
        return _response(status, _SENTENCES.get(status, f"{status.phrase}."))
    for kind, status in _STATUSES.items():
        if isinstance(error, kind):
            return _response(status, str(error))
    logger.error("The request failed.", exc_info=error)
    return _response(HTTPStatus.INTERNAL_SERVER_ERROR, FAILED)


def _response(status: HTTPStatus, sentence: str) -> Response:
    """Return a sentence as the answer."""
    response = Response(sentence + "\n", status=status, content_type="text/plain")
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response
