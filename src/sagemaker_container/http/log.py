"""The log: one JSON line per request, without anything of its payload."""

import dataclasses
import logging
import time

import orjson
from werkzeug.wrappers import Request, Response

from sagemaker_container.http.body import SHOWN_CHARACTERS, Body
from sagemaker_container.monitoring.monitor import Monitor

logger = logging.getLogger(__name__)

INFERENCE_ID = "X-Amzn-SageMaker-Inference-Id"
TARGET_MODEL = "X-Amzn-SageMaker-Target-Model"

_NOT_LOGGED = ("/ping", "/metrics")
"""What SageMaker asks of every endpoint, again and again."""


@dataclasses.dataclass
class Record:
    """What is known of a request so far; filled in while it is answered."""

    request: Request
    body: Body | None = None
    shape: tuple[int, int] | None = None
    """The rows and the columns of the series."""
    content_type: str | None = None
    """The format of the answer."""
    began: float = dataclasses.field(default_factory=time.perf_counter)

    def log_when_sent(self, response: Response, monitor: Monitor) -> None:
        """Count the answer, and write the line once it has been sent."""
        if self.request.path in _NOT_LOGGED:
            return
        line = self._line(response)
        monitor.requests.answered(response.status_code)

        def write() -> None:
            seconds = time.perf_counter() - self.began
            monitor.requests.sent(seconds)
            if monitor.after_file and self.shape:
                monitor.after_file()
            line["milliseconds"] = round(1000 * seconds, 3)
            logger.info("%s", orjson.dumps(line).decode())

        if self.request.method == "HEAD":  # its answer is never closed
            write()
        else:
            response.call_on_close(write)

    def _line(self, response: Response) -> dict[str, object]:
        """Return what an operator wants to know, but for the time."""
        request = self.request
        n_rows, n_series = self.shape or (None, None)
        target = request.headers.get(TARGET_MODEL)
        return {
            "request": f"{request.method} {request.path}"[:SHOWN_CHARACTERS],
            "inference_id": request.headers.get(INFERENCE_ID, "")[:SHOWN_CHARACTERS]
            or None,
            "status": response.status_code,
            "milliseconds": None,
            "rows": n_rows,
            "series": n_series,
            "format": self.content_type,
            "bytes_in": self.body.n_bytes if self.body else 0,
            "bytes_out": response.content_length,
            **({"target_model": target[:SHOWN_CHARACTERS]} if target else {}),
        }
