"""Which exception is which status, and the sentence of each error.

======  =============================================================================
status  when
======  =============================================================================
400     the series cannot be used, a custom attribute cannot be met, the body broke
        off, or a model to be loaded cannot be used
404     no such path, or a model is not loaded
405     no such method at the path
406     the client accepts none of the three formats
408     the body took too long to come
409     a model of this name is loaded already
413     the body is larger than the server accepts, compressed or not, or than JSON
        may be
415     the body is declared to be neither CSV nor JSON, or encoded otherwise than
        with gzip
500     what is not in the request; the log has the traceback
503     more requests are held than can be answered soon; ``Retry-After`` says when
507     a model would leave too little memory for a request
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
from sagemaker_container.http.model_routes import ModelRequestError
from sagemaker_container.http.models import (
    ModelLoadedError,
    ModelNotFoundError,
    NoMemoryError,
    UnusableModelError,
)
from sagemaker_container.http.request import NotAcceptableError
from sagemaker_container.http.slots import RETRY_SECONDS, OverloadedError

logger = logging.getLogger(__name__)

_STATUSES = {
    BrokenBodyError: HTTPStatus.BAD_REQUEST,
    DocumentTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,  # before its base
    ModelLoadedError: HTTPStatus.CONFLICT,
    ModelNotFoundError: HTTPStatus.NOT_FOUND,
    ModelRequestError: HTTPStatus.BAD_REQUEST,
    NoMemoryError: HTTPStatus.INSUFFICIENT_STORAGE,
    NotAcceptableError: HTTPStatus.NOT_ACCEPTABLE,
    OutputError: HTTPStatus.BAD_REQUEST,
    OverloadedError: HTTPStatus.SERVICE_UNAVAILABLE,
    PayloadTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    SeriesError: HTTPStatus.BAD_REQUEST,
    # From the worker, which reads the socket and knows how long it waits.
    TimeoutError: HTTPStatus.REQUEST_TIMEOUT,
    UnusableModelError: HTTPStatus.BAD_REQUEST,
    UnsupportedBodyError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
}
"""The statuses of our own exceptions, whose messages are the sentences."""

_ROUTES = "GET /ping, GET /metrics, GET /execution-parameters or POST /invocations"

_SENTENCES = {
    HTTPStatus.NOT_FOUND: "The path is unknown; use {}.",
    HTTPStatus.METHOD_NOT_ALLOWED: "The method is not allowed; use {}.",
}

FAILED = "The server failed to answer the request; the reason is in its log."


def error_response(error: Exception, routes: str = _ROUTES) -> Response:
    """Return an exception as one sentence of plain text; log it if it is our fault.

    Args:
        error: The exception.
        routes: What can be requested, in words.
    """
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
        return _response(
            status, _SENTENCES.get(status, f"{status.phrase}.").format(routes)
        )
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
