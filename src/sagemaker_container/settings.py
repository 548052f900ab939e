"""What SageMaker, or an operator, asks of the server: its environment variables."""

import dataclasses
import logging
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from sagemaker_inference import parameters

from lstm_ad.exceptions import SettingError
from sagemaker_container.formats.columns import DEFAULT_COLUMNS, OutputError, columns_of
from sagemaker_container.formats.messages import shown
from sagemaker_container.limits import Limits
from sagemaker_container.variables import (
    THREADS,
    base_dir,
    n_threads,
    positive_integer,
    text,
)

logger = logging.getLogger(__name__)

BATCH = "SAGEMAKER_BATCH"
MULTI_MODEL = "SAGEMAKER_MULTI_MODEL"
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"

DEFAULT_MAX_PAYLOAD_MB = 100
"""The largest that SageMaker's batch transform sends."""

OUTPUT = "SAGEMAKER_INFERENCE_OUTPUT"
"""The name that SageMaker's XGBoost gave it."""

EMF_NAMESPACE = "SAGEMAKER_EMF_NAMESPACE"
EMF_MODEL = "SAGEMAKER_EMF_MODEL"

_CLOUDWATCH_NAMES = {
    EMF_NAMESPACE: r"(?!AWS/)[A-Za-z0-9._/#-]{1,255}",
    EMF_MODEL: r"[A-Za-z0-9._/#-]{1,255}",
}
"""What CloudWatch takes for a namespace, and for the value of a dimension."""

MEMORY_PER_WORKER = 2**30
"""What a worker is given at least: three times what a request of 100 MB takes at its
peak."""

MEMORY_PER_PAYLOAD = 3
"""What a worker is given per byte of the largest body, if that is more."""


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
    n_gpus: int
    """How many GPUs the workers share; 0 = they compute on the CPU."""
    is_multi_model: bool = False
    """Whether models are loaded and unloaded by requests."""
    memory_bytes: int = 0
    """The container's limit."""
    emf_namespace: str = ""
    """Where CloudWatch keeps the metrics; empty = none are written for it."""
    emf_model: str = ""
    """What these metrics call the model; empty = by its digest."""

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
        n_gpus = _n_gpus(limits)
        is_batch = text(BATCH).lower() == "true"
        is_multi_model = text(MULTI_MODEL).lower() == "true"
        is_one = is_batch or is_multi_model
        n_workers = positive_integer(
            parameters.MODEL_SERVER_WORKERS_ENV,
            default=1 if is_one else _n_endpoint_workers(limits, n_gpus),
        )
        if is_multi_model and n_workers > 1:
            raise SettingError(
                f"{parameters.MODEL_SERVER_WORKERS_ENV} is {n_workers}, but with "
                f"{MULTI_MODEL} one worker holds all models; leave it out: the worker "
                f"has as many threads as {THREADS} says, or as there are cores."
            )
        settings = cls(
            model_dir=base_dir() / "model",
            port=positive_integer(parameters.BIND_TO_PORT_ENV, default=8080),
            n_workers=n_workers,
            threads_per_worker=n_threads(default=max(1, limits.n_cores // n_workers)),
            max_payload_mb=_max_payload_mb(),
            is_batch=is_batch,
            columns=_columns(),
            n_gpus=n_gpus,
            is_multi_model=is_multi_model,
            memory_bytes=limits.memory_bytes,
            emf_namespace=_emf_namespace(is_multi_model),
            emf_model=_cloudwatch_name(EMF_MODEL),
        )
        if limits.has_gpu and not limits.n_gpus:
            logger.warning(
                "This instance has a GPU, but onnxruntime-gpu is not installed, so the "
                "processor scores: use an image that is built for GPUs, or an instance "
                "without."
            )
        return settings


def least_used_gpu(n_gpus: int, used: Iterable[int]) -> int:
    """Return the number of the GPU for a new worker.

    Args:
        n_gpus: How many there are; with none it is 0, which nothing computes on.
        used: The GPU of each of the other workers.
    """
    n_workers = Counter(used)
    return min(range(max(1, n_gpus)), key=lambda gpu: n_workers[gpu])


def _n_endpoint_workers(limits: Limits, n_gpus: int) -> int:
    """Return how many workers answer many small requests at a time best.

    A process per core, if there is memory for them, or one per GPU: a GPU computes for
    one process at a time, each takes memory of it, and the threads of one keep it busy.
    Batch transform has one worker: it sends one large request at a time, which all the
    threads of a worker compute.
    """
    n_workers = n_gpus or limits.n_cores // n_threads(default=1)
    needed = max(MEMORY_PER_WORKER, MEMORY_PER_PAYLOAD * _max_payload_mb() * 2**20)
    return max(1, min(n_workers, limits.memory_bytes // needed))


def _n_gpus(limits: Limits) -> int:
    """Return how many GPUs CUDA shows to this process: those before a -1, if named."""
    if not (visible := text(VISIBLE_GPUS)):
        return limits.n_gpus
    names = [name.strip() for name in visible.split(",")]
    n_named = names.index("-1") if "-1" in names else len(names)
    return min(limits.n_gpus, n_named)


def _max_payload_mb() -> int:
    """Return the limit to the size of a body; batch transform's 0 means none."""
    if text(parameters.MAX_REQUEST_SIZE) in ("0", "0.0"):
        return 0
    return positive_integer(parameters.MAX_REQUEST_SIZE, DEFAULT_MAX_PAYLOAD_MB)


def _emf_namespace(is_multi_model: bool) -> str:
    """Return where CloudWatch keeps the metrics of the model."""
    namespace = _cloudwatch_name(EMF_NAMESPACE)
    if namespace and is_multi_model:
        raise SettingError(
            f"{EMF_NAMESPACE} is for the metrics of one model, but with {MULTI_MODEL} "
            f"there are several; leave one of the two out."
        )
    return namespace


def _cloudwatch_name(variable: str) -> str:
    """Return a name that CloudWatch takes, or nothing if the variable is unset."""
    given = text(variable)
    if given and not re.fullmatch(_CLOUDWATCH_NAMES[variable], given):
        raise SettingError(
            f"{variable} is {shown(given)}, which CloudWatch refuses; use at most 255 "
            f"letters, digits and . _ / # - that do not begin with AWS/."
        )
    return given


def _columns() -> tuple[str, ...]:
    """Return the columns of CSV, where a request names none."""
    given = text(OUTPUT)
    try:
        return columns_of(given, OUTPUT) if given else DEFAULT_COLUMNS
    except OutputError as error:
        raise SettingError(str(error)) from error
