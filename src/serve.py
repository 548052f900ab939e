#!/usr/bin/env python3
"""Serve a model: the inference image's ``serve`` command.

settings -> gunicorn -> in each worker: load the artifacts, warm up, build the app

With several models, one worker loads each when it is told to.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from lstm_ad.exceptions import LSTMADError
from lstm_ad.parallel import Cores
from sagemaker_container.http.catalogue import Catalogue
from sagemaker_container.http.worker import ServerLogger, Worker
from sagemaker_container.memory import keep_memory_of_requests, share_freed_memory
from sagemaker_container.process import disable_telemetry, limit_blas_threads
from sagemaker_container.settings import (
    DEFAULT_MAX_PAYLOAD_MB,
    ServerSettings,
    least_used_gpu,
)

if TYPE_CHECKING:
    from flask import Flask

    from lstm_ad.scoring.detector import LSTMAD
    from sagemaker_container.monitoring.monitor import Monitor

logger = logging.getLogger("serve")

KEEPALIVE_SECONDS = 75
"""How long an idle connection is kept, without a thread. SageMaker's clients keep
theirs for up to 65 s, and lose a request to a server that closes first."""

THREADS = 40
"""Requests that a worker talks to at a time: more than it holds for scoring, so that
there is always one to answer a ping or to say that the server is busy."""

STOP_SECONDS = 25
"""How long running requests may go on after SIGTERM; SageMaker kills after 30 s."""

WORKER_TIMEOUT_SECONDS = 120
"""How long a worker's main loop may be silent before it is replaced."""


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn, told what to do by a ServerSettings instead of a command line."""

    def __init__(self, settings: ServerSettings) -> None:
        # It imports NumPy, whose threads main() has limited by now.
        from sagemaker_container.monitoring.counts import Counts
        from sagemaker_container.monitoring.model_counts import ModelCounts

        self.settings = settings
        self.gpu = self.slot = 0
        self.counts = Counts(settings.n_workers)
        self.each_second: Callable[[], None] | None = None
        self.model_counts = ModelCounts()
        self.catalogue = Catalogue()  # what a worker leaves to the one after it
        super().__init__()

    def load_config(self) -> None:
        """Set up gunicorn; called by its constructor."""
        settings = {
            "bind": f"0.0.0.0:{self.settings.port}",
            "workers": self.settings.n_workers,
            "worker_class": Worker,
            "pre_fork": self.prepare,
            "post_worker_init": self.begin,
            "logger_class": ServerLogger,
            "threads": THREADS,
            "keepalive": KEEPALIVE_SECONDS,
            "timeout": WORKER_TIMEOUT_SECONDS,
            "graceful_timeout": STOP_SECONDS,
            # The control socket would be written to a home that may be read-only.
            "control_socket_disable": True,
            # No proxy is in front that could say where the application lies.
            "forwarded_allow_ips": "",
            "forwarder_headers": "",
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def prepare(self, arbiter: Arbiter, worker: Any) -> None:
        """Choose the GPU and the slot of a new worker; called before each fork."""
        others = arbiter.WORKERS.values()
        used = [other.gpu for other in others]
        self.gpu = worker.gpu = least_used_gpu(self.settings.n_gpus, used)
        self.slot = worker.slot = self.counts.claim([other.slot for other in others])

    def begin(self, worker: Any) -> None:
        """Let a worker do what is due; called once it has loaded the model."""
        worker.each_second = self.each_second

    def load(self) -> Flask:
        """Return the application; called in each worker, after the fork.

        The socket is open by then: the first ping waits for the end of this function.
        """
        cores = Cores(self.settings.threads_per_worker)
        return self._models(cores) if self.settings.is_multi_model else self._one(cores)

    def _one(self, cores: Cores) -> Flask:
        """Return the application of one model, which is loaded here."""
        # ONNX Runtime starts a thread when it is imported, and threads do not survive
        # a fork: a worker that inherits the import aborts at its end.
        from lstm_ad import artifacts
        from sagemaker_container.http.app import create_app

        settings = self.settings
        try:
            detector = artifacts.load(settings.model_dir, cores, self.gpu)
        except LSTMADError as error:
            logger.error("%s", error)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)  # the server ends, with this code
        detector.warm_up()
        logger.info("The model in %s is loaded.", settings.model_dir)
        return create_app(
            detector,
            settings.max_payload_mb,
            settings.is_batch,
            settings.columns,
            self._monitor(detector),
        )

    def _monitor(self, detector: LSTMAD) -> Monitor:
        """Return what counts for this worker, and writes metrics if it is asked to."""
        from lstm_ad import artifacts
        from sagemaker_container.monitoring.emf import EmfWriter
        from sagemaker_container.monitoring.model import ServedModel
        from sagemaker_container.monitoring.monitor import Monitor

        settings = self.settings
        model = ServedModel.of(detector, artifacts.identity(settings.model_dir))
        monitor = Monitor.of(model, self.counts, self.slot)
        if not settings.emf_namespace:
            return monitor
        emf = EmfWriter(settings.emf_namespace, settings.emf_model, self.counts, model)
        if settings.is_batch:
            return dataclasses.replace(monitor, after_file=emf.write)
        self.each_second = emf.write_if_due
        return monitor

    def _models(self, cores: Cores) -> Flask:
        """Return the application of as many models as are loaded later."""
        from sagemaker_container.http.app import create_multi_model_app
        from sagemaker_container.http.models import Budget, Models
        from sagemaker_container.monitoring.monitor import Monitor

        settings = self.settings
        kept_mb = settings.max_payload_mb or DEFAULT_MAX_PAYLOAD_MB
        budget = Budget(settings.memory_bytes, kept_mb)
        models = Models(self.catalogue, budget, cores, self.gpu)
        logger.info("The server is ready to load models.")
        return create_multi_model_app(
            models,
            settings.max_payload_mb,
            settings.columns,
            Monitor.of_several(self.counts, self.slot, self.model_counts),
        )


def main() -> None:
    """Serve until SIGTERM; ``serve`` itself, the word of the command, is ignored."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(message)s"
    )
    share_freed_memory()
    limit_blas_threads()
    disable_telemetry()
    try:
        settings = ServerSettings.from_variables()
    except LSTMADError as error:
        logger.error("%s", error)
        sys.exit(1)
    if not settings.is_multi_model:
        # There, what is kept would lie between models, which then cannot be given back.
        keep_memory_of_requests()
    Server(settings).run()


if __name__ == "__main__":
    main()
