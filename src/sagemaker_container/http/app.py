"""The HTTP contract: the routes, and what each of them answers.

==============================  =====================================================
request                         answer
==============================  =====================================================
GET /ping                       200 and nothing else: the model is loaded
GET /metrics                    200, Prometheus' text format: counts of all workers
GET /execution-parameters       200, JSON: what batch transform may send
POST /invocations               200: a row of scores per row of series, as CSV, JSON
                                or JSON Lines
==============================  =====================================================

A multi-model endpoint has the routes of ``model_routes.py`` instead of the last two.
Errors are in ``errors.py``, the line that each request leaves in the log in ``log.py``.
"""

import contextlib
import dataclasses
import functools
from http import HTTPStatus

from flask import Flask, Response, g, request
from werkzeug.wrappers import Response as AnyResponse

from lstm_ad.scoring.detector import LSTMAD
from sagemaker_container.formats.columns import DEFAULT_COLUMNS
from sagemaker_container.http import answers, batch
from sagemaker_container.http.body import Body, BodyFormat
from sagemaker_container.http.errors import error_response
from sagemaker_container.http.log import Record
from sagemaker_container.http.model_routes import ROUTES, model_routes
from sagemaker_container.http.models import Models
from sagemaker_container.http.request import Asked, answer_format
from sagemaker_container.http.slots import Slots
from sagemaker_container.monitoring.counts import Counts
from sagemaker_container.monitoring.model_counts import ModelCounts
from sagemaker_container.monitoring.monitor import Monitor
from sagemaker_container.monitoring.recorder import RowCounter

MAX_REQUESTS = 32
"""How many requests a worker holds, the one that it scores included."""

_CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


def create_app(
    detector: LSTMAD,
    max_payload_mb: int,
    is_batch: bool = False,
    columns: tuple[str, ...] = DEFAULT_COLUMNS,
    monitor: Monitor | None = None,
) -> Flask:
    """Return the application that scores with ``detector``.

    Args:
        detector: What scores; already loaded, so that a ping means readiness.
        max_payload_mb: The largest request body, in MB of 2**20 bytes; 0 = no limit.
        is_batch: Whether the requests come from a batch transform.
        columns: Those of CSV, where a request names none.
        monitor: What counts; None if this process is the only one.
    """
    monitor = monitor or Monitor.alone(detector)
    app = _polled_app(monitor)
    invocations = _Invocations(
        max_payload_mb, is_batch, columns, Slots(MAX_REQUESTS), monitor
    )
    app.register_error_handler(Exception, error_response)

    @app.post("/invocations")
    def score() -> Response:
        return invocations.answer(detector, monitor.rows)

    @app.get("/execution-parameters")
    def execution_parameters() -> dict[str, int]:
        # No BatchStrategy: the SDK's local mode refuses the service's own spelling.
        return {"MaxConcurrentTransforms": 1, "MaxPayloadInMB": max_payload_mb}

    return app


def create_multi_model_app(
    models: Models,
    max_payload_mb: int,
    columns: tuple[str, ...] = DEFAULT_COLUMNS,
    monitor: Monitor | None = None,
) -> Flask:
    """Return the application that scores with whichever model a request names.

    Args:
        models: The models; there may be none yet.
        max_payload_mb: The largest request body, in MB of 2**20 bytes; 0 = no limit.
        columns: Those of CSV, where a request names none.
        monitor: What counts; None if this process is the only one.
    """
    counts = ModelCounts()
    monitor = monitor or Monitor.of_several(Counts(n_workers=1), 0, counts)
    app = _polled_app(monitor)
    invocations = _Invocations(
        max_payload_mb, False, columns, Slots(MAX_REQUESTS), monitor
    )
    app.register_error_handler(
        Exception, functools.partial(error_response, routes=ROUTES)
    )

    def answer(detector: LSTMAD, name: str) -> Response:
        of_each = monitor.models
        rows = of_each.recorder(name, detector.decision) if of_each else None
        return invocations.answer(detector, rows)

    app.register_blueprint(model_routes(models, answer))
    return app


def _polled_app(monitor: Monitor) -> Flask:
    """Return an application with what SageMaker polls, and with the log."""
    app = Flask("lstm-ad")

    @app.get("/ping")
    def ping() -> Response:
        return Response(status=HTTPStatus.OK)

    @app.get("/metrics")
    def metrics() -> Response:
        # Imported by the first scrape: it takes a tenth of a second.
        from sagemaker_container.monitoring.exposition import exposition

        text = exposition(monitor.counts, monitor.model, monitor.models)
        return Response(text, content_type="text/plain; version=0.0.4")

    @app.before_request
    def begin() -> None:
        g.record = Record(request)

    @app.after_request
    def log(response: AnyResponse) -> AnyResponse:
        g.record.log_when_sent(response, monitor)
        return response

    return app


@dataclasses.dataclass(frozen=True)
class _Invocations:
    """The requests to score a series."""

    max_payload_mb: int
    is_batch: bool
    columns: tuple[str, ...]
    slots: Slots
    monitor: Monitor

    def answer(self, detector: LSTMAD, rows: RowCounter | None) -> Response:
        """Return the answer to the current request.

        Args:
            detector: What scores.
            rows: What counts the rows, if anything does.
        """
        record: Record = g.record
        headers = request.headers
        body_format = BodyFormat.of(
            request.mimetype, headers.get("Content-Encoding", "")
        )
        record.content_type = answer_format(request.accept_mimetypes)
        asked = Asked.of(
            headers.get(_CUSTOM_ATTRIBUTES, ""), record.content_type, self.columns
        )
        with contextlib.ExitStack() as held:
            held.enter_context(self.slots.take())
            held.enter_context(self.monitor.requests.holding())
            length, pieces = self._score(detector, record, body_format, asked, rows)
            # A charset would break clients that compare the content type exactly.
            response = Response(pieces, content_type=asked.content_type)
            response.content_length = length
            # The slot is held until the answer has been sent: whoever reads slowly
            # must not take the threads that answer pings.
            response.call_on_close(held.pop_all().close)
        return response

    def _score(
        self,
        detector: LSTMAD,
        record: Record,
        body_format: BodyFormat,
        asked: Asked,
        rows: RowCounter | None,
    ) -> answers.Answer:
        """Return the answer's length in bytes, and its pieces."""
        record.body = Body(
            request.stream, self.max_payload_mb, request.content_length or 0
        )
        reconstructor = detector.reconstructor
        table = body_format.read_table(
            record.body,
            detector.schema,
            asked.keep,
            reconstructor.cores,
            allows_missing=reconstructor.max_gap > 0,
            codes=detector.missing_codes,
        )
        record.shape = n_rows, _ = table.values.shape
        if not self.is_batch:
            return answers.answer(detector, table, asked, rows)
        batch.refuse_piece(record.body.n_bytes, n_rows, self.max_payload_mb)
        with batch.advice(n_rows, detector.n_unscored):
            return answers.answer(detector, table, asked, rows)
