"""Which exception is which status."""

import pytest
from werkzeug import exceptions

from lstm_ad.exceptions import ArtifactError, SeriesError
from sagemaker_container.formats.columns import OutputError
from sagemaker_container.http.body import (
    BrokenBodyError,
    PayloadTooLargeError,
    UnsupportedBodyError,
)
from sagemaker_container.http.errors import FAILED, error_response
from sagemaker_container.http.request import NotAcceptableError
from sagemaker_container.http.slots import OverloadedError


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (SeriesError("Why."), 400, "Why."),
        (OutputError("Why."), 400, "Why."),
        (BrokenBodyError(), 400, str(BrokenBodyError())),
        (NotAcceptableError("Why."), 406, "Why."),
        (TimeoutError("Why."), 408, "Why."),
        (PayloadTooLargeError("Why."), 413, "Why."),
        (UnsupportedBodyError("Why."), 415, "Why."),
        (OverloadedError("Why."), 503, "Why."),
        (exceptions.ImATeapot(), 418, "I'm a Teapot."),
        # What the log alone should say.
        (ArtifactError("Why."), 500, FAILED),
        (OSError("Why."), 500, FAILED),
        (KeyError("Why."), 500, FAILED),
    ],
)
def test_an_exception_is_its_status_and_its_sentence(
    error: Exception, status: int, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What is our fault is logged, with its traceback; nothing else is."""
    response = error_response(error)

    assert response.status_code == status
    assert response.get_data(as_text=True) == sentence + "\n"
    assert response.content_type == "text/plain"
    assert ("Retry-After" in response.headers) is (status == 503)
    assert [record.exc_info[1] for record in caplog.records] == (
        [error] if status == 500 else []
    )
