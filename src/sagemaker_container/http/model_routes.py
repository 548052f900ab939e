"""The routes of a multi-model endpoint, as SageMaker's contract has them.

==============================  =====================================================
request                         answer
==============================  =====================================================
GET /models                     200: the loaded models, ``PAGE`` at a time
POST /models                    200: loaded · 409: there already · 507: no memory for
                                it · 400: no model that can be served
GET /models/NAME                200: that model · 404: it is not loaded
DELETE /models/NAME             200: unloaded · 404
POST /models/NAME/invoke        what POST /invocations answers for a model alone · 404
==============================  =====================================================
"""

import binascii
from bisect import bisect_right
from collections.abc import Callable

import msgspec
from flask import Blueprint, Response, request

from lstm_ad.scoring.detector import LSTMAD
from sagemaker_container.formats.messages import shown
from sagemaker_container.http.body import Body
from sagemaker_container.http.models import Models

ROUTES = (
    "GET /ping, GET /metrics, GET or POST /models, GET or DELETE /models/NAME, or POST "
    "/models/NAME/invoke"
)

PAGE = 100
"""How many models are listed at a time."""

_MAX_REQUEST_MB = 1
"""More than any request to load a model has."""


class ModelRequestError(Exception):
    """Raised if a request about models is not understood."""


class _Load(msgspec.Struct):
    """What a request to load a model says."""

    model_name: str
    url: str


def model_routes(
    models: Models, answer: Callable[[LSTMAD, str], Response]
) -> Blueprint:
    """Return the routes of a multi-model endpoint.

    Args:
        models: The models.
        answer: What answers the current request, by the scores of a model and its name.
    """
    routes = Blueprint("models", __name__)

    @routes.get("/models")
    def listed() -> dict[str, object]:
        return _page(models.locations, request.args.get("next_page_token", ""))

    @routes.post("/models")
    def load() -> dict[str, str]:
        asked = _load_request()
        models.load(asked.model_name, asked.url)
        return _entry(asked.model_name, asked.url)

    # A name may hold slashes.
    @routes.get("/models/<path:name>")
    def found(name: str) -> dict[str, str]:
        return _entry(name, models.location(name))

    @routes.delete("/models/<path:name>")
    def unload(name: str) -> dict[str, str]:
        location = models.location(name)
        models.unload(name)
        return _entry(name, location)

    @routes.post("/models/<path:name>/invoke")
    def invoke(name: str) -> Response:
        return answer(models.detector(name), name)

    return routes


def _load_request() -> _Load:
    """Return what the current request asks to load.

    Raises:
        ModelRequestError: If it is not understood.
    """
    body = Body(request.stream, _MAX_REQUEST_MB, request.content_length or 0)
    try:
        asked = msgspec.json.decode(
            body.read((_MAX_REQUEST_MB + 1) * 2**20), type=_Load
        )
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelRequestError(
            f"The request to load a model is not understood ({error}); send JSON: "
            f'{{"model_name": "NAME", "url": "FOLDER"}}.'
        ) from error
    if not asked.model_name:
        raise ModelRequestError("The model_name is empty; use at least one character.")
    return asked


def _page(locations: dict[str, str], token: str) -> dict[str, object]:
    """Return some of the models, and the token of those that follow, if any do.

    Args:
        locations: The folders of the models, by name, in the order of the names.
        token: What came with the page before; empty for the first page.

    Raises:
        ModelRequestError: If no page came with the token.
    """
    try:
        last = binascii.unhexlify(token).decode()
    except ValueError as error:
        raise ModelRequestError(
            f"The next_page_token {shown(token)} is unknown; use the nextPageToken of "
            f"the last answer."
        ) from error
    names = list(locations)
    first = bisect_right(names, last) if token else 0
    page = names[first : first + PAGE]
    answer: dict[str, object] = {
        "models": [_entry(name, locations[name]) for name in page]
    }
    if first + PAGE < len(names):
        answer["nextPageToken"] = page[-1].encode().hex()
    return answer


def _entry(name: str, location: str) -> dict[str, str]:
    """Return what an answer says of a model."""
    return {"modelName": name, "modelUrl": location}
