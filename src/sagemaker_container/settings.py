"""What SageMaker, or an operator, asks of the server: its environment variables."""

import dataclasses
from pathlib import Path

from sagemaker_inference import parameters

from lstm_ad.exceptions import SettingError
from sagemaker_container.formats.columns import DEFAULT_COLUMNS, OutputError, columns_of
from sagemaker_container.limits import Limits
from sagemaker_container.variables import base_dir, n_threads, positive_integer, text

BATCH = "SAGEMAKER_BATCH"

DEFAULT_MAX_PAYLOAD_MB = 100
"""The largest that SageMaker's batch transform sends."""

OUTPUT = "SAGEMAKER_INFERENCE_OUTPUT"
"""The name that SageMaker's XGBoost gave it."""

MEMORY_PER_WORKER = 2**30
"""What a worker is given: three times what a request of 100 MB takes at its peak."""


@dataclasses.dataclass(frozen=True)
class ServerSettings:
    """What SageMaker, or an operator, asks of the server."""

    model_dir: Path
    """The artifacts; read-only."""
    port: int
    """Where to listen."""
    n_workers: int
    """How many processes score."""
    threads_per_worker: int
    """How many threads a process computes one request with."""
    max_payload_mb: int
    """The largest request body, in MB of 2**20 bytes; 0 = no limit."""
    is_batch: bool
    """Whether this is a batch transform."""
    columns: tuple[str, ...]
    """Those of CSV, where a request names none."""

    @classmethod
    def from_variables(cls, limits: Limits | None = None) -> "ServerSettings":
        """Return the settings that the environment variables describe.

        Args:
            limits: What the server may use of the machine; by default those of the
                container.

        Raises:
            SettingError: If a variable is no positive integer, or names unknown
                columns.
        """
        limits = limits or Limits.of_container()
        is_batch = text(BATCH).lower() == "true"
        n_workers = positive_integer(
            parameters.MODEL_SERVER_WORKERS_ENV,
            default=1 if is_batch else _n_endpoint_workers(limits),
        )
        return cls(
            model_dir=base_dir() / "model",
            port=positive_integer(parameters.BIND_TO_PORT_ENV, default=8080),
            n_workers=n_workers,
            threads_per_worker=n_threads(default=max(1, limits.n_cores // n_workers)),
            max_payload_mb=_max_payload_mb(),
            is_batch=is_batch,
            columns=_columns(),
        )


def _n_endpoint_workers(limits: Limits) -> int:
    """Return how many workers answer many small requests at a time best.

    A process per core, if there is memory for them. Batch transform has one worker: it
    sends one large request at a time, which all the threads of a worker compute.
    """
    by_cores = limits.n_cores // n_threads(default=1)
    return max(1, min(by_cores, limits.memory_bytes // MEMORY_PER_WORKER))


def _max_payload_mb() -> int:
    """Return the limit to the size of a body; batch transform's 0 means none."""
    if text(parameters.MAX_REQUEST_SIZE) in ("0", "0.0"):
        return 0
    return positive_integer(parameters.MAX_REQUEST_SIZE, DEFAULT_MAX_PAYLOAD_MB)


def _columns() -> tuple[str, ...]:
    """Return the columns of CSV, where a request names none."""
    given = text(OUTPUT)
    try:
        return columns_of(given, OUTPUT) if given else DEFAULT_COLUMNS
    except OutputError as error:
        raise SettingError(str(error)) from error
