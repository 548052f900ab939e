"""Train a model: what sagemaker-training's ``train`` command runs, as ``train:main``.

files of the platform -> CSV -> fit -> artifacts -> report, with the metrics in the log
"""

import dataclasses
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagemaker_training.errors import ClientError

from lstm_ad.data.rows import Rows, scratch_folder
from lstm_ad.exceptions import LSTMADError, SettingError
from lstm_ad.processes import ALONE, LostError, ProcessGroup
from sagemaker_container import metrics
from sagemaker_container.archive import model_folder
from sagemaker_container.channels import read
from sagemaker_container.job import (
    MODEL,
    TrainingEnvironment,
    prepare_training,
    write_failure,
)
from sagemaker_container.limits import Limits
from sagemaker_container.memory import keep_freed_memory
from sagemaker_container.process import (
    disable_telemetry,
    limit_openmp_threads,
    preload_processes,
    prepare_process_group,
    use_passive_openmp_waits,
)
from sagemaker_container.team import divided
from sagemaker_container.variables import n_threads

if TYPE_CHECKING:
    # Types alone: bad input is refused before a runtime is loaded.
    from lstm_ad.artifacts import Fit
    from lstm_ad.quality.examination import Examination

logger = logging.getLogger("train")

MAX_NAMES = 10
"""Files without data that a line of the log names."""

FAILURE_LENGTH = 1024
"""Characters of a failure that SageMaker shows."""


def main() -> None:
    """Run the job, and end every failure in the one way that SageMaker reports.

    sagemaker-training takes SystemExit, KeyboardInterrupt and some OSErrors for
    success. A ClientError alone always gives exit code 1, and its text, unchanged,
    becomes the failure reason of the job.
    """
    _set_up_log(logging.INFO)
    # Spot interruption, StopTrainingJob, MaxRuntime: SageMaker kills 120 s later. A
    # list, because a second signal while threading.Event.set() runs would deadlock.
    stops: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stops.append(number))
    try:
        prepare_training()
        environment = TrainingEnvironment.from_files()
        with scratch_folder() as folder:
            environment, rows, problem = _read(environment, folder)
            limits = Limits.of_container()
            limits.warn_of_unused_gpu()
            environment = dataclasses.replace(
                environment,
                cluster=divided(
                    environment.cluster,
                    environment.hyperparameters,
                    rows,
                    limits,
                ),
            )
            # Bad input was refused by now: only then torch, which takes seconds.
            use_passive_openmp_waits()
            disable_telemetry()
            if environment.cluster.is_distributed:
                _launch(environment, rows, problem, stops)
            else:
                limit_openmp_threads()
                keep_freed_memory()
                run(environment, rows, lambda: bool(stops))
    except LSTMADError as error:
        raise _failure(str(error)) from error
    except BaseException as error:
        logger.error("%s", traceback.format_exc())
        raise _failure(_unexpected(error)) from error


def run(
    environment: TrainingEnvironment,
    rows: Rows,
    should_stop: Callable[[], bool],
    group: ProcessGroup = ALONE,
) -> None:
    """Fit a detector as one of the processes of a job; the first one saves it.

    Args:
        environment: What the platform gives the job.
        rows: The rows of this host.
        should_stop: Says when training is to end after its current step, with what it
            has.
        group: The processes of the job.

    Raises:
        LSTMADError: If the job cannot give a usable model; the message says why.
    """
    from lstm_ad import artifacts
    from lstm_ad.fitting import fit
    from lstm_ad.parent import Parent
    from lstm_ad.quality.examination import examine
    from lstm_ad.training.control import Control

    settings = environment.hyperparameters.to_public().items()
    logger.info("Hyperparameters: %s", ", ".join(f"{k}={v}" for k, v in settings))
    for channel, names in environment.left_out.items():
        if names:
            shown = [*names[:MAX_NAMES], "..."] if names[MAX_NAMES:] else names
            logger.info("Left out of %s, no data: %s", channel, ", ".join(shown))
    if group.size > 1:
        n_hosts = len(environment.cluster.hosts)
        logger.info("Training with %d processes on %d instances.", group.size, n_hosts)
    limits, parent = Limits.of_container(), None
    if environment.parent_dir:
        n_cores = n_threads(default=limits.n_cores)
        parent = Parent.load(environment.parent_dir, n_cores, group)
        logger.info("Starting from the model %s.", parent.digest)
    examination = examine(rows, environment.hyperparameters, group)
    rows = dataclasses.replace(rows, codes=examination.codes)
    result = fit(
        rows,
        environment.hyperparameters,
        Control(
            on_epoch_end=lambda epoch: logger.info("%s", metrics.epoch_line(epoch)),
            should_stop=should_stop,
            checkpoint_dir=environment.checkpoint_dir,
        ),
        group,
        limits.memory_bytes,
        parent,
    )
    logger.info("Scoring the model.")
    if result.parent:
        logger.info("%s", metrics.rival_line(result.parent))
    for line in metrics.final_lines(result.losses, result.best_epoch):
        logger.info("%s", line)
    if group.rank == 0:
        artifacts.save(environment.model_dir, result)
        logger.info("Saved the model to %s.", environment.model_dir)
    _report(environment.output_data_dir, result, examination, rows, group)


def _read(
    environment: TrainingEnvironment, folder: Path
) -> tuple[TrainingEnvironment, Rows, str | None]:
    """Return the rows of this host, and what is wrong with them if others must know.

    The environment that is returned has the settings of the model to start from, if
    the job has one.

    Raises:
        LSTMADError: If something is wrong and there are no other hosts.
    """
    try:
        if files := environment.channels[MODEL]:
            environment = environment.started_from(model_folder(files, folder / MODEL))
        return environment, read(environment, folder), None
    except LSTMADError as error:
        if len(environment.cluster.hosts) == 1:
            raise
        return environment, Rows(folder, ()), str(error)


def _launch(
    environment: TrainingEnvironment,
    rows: Rows,
    problem: str | None,
    stops: list[int],
) -> None:
    """Let several processes, here and on other hosts, fit one detector together.

    Args:
        environment: What the platform gives the job.
        rows: The rows of this host.
        problem: What is wrong with them, if anything.
        stops: Signals to stop that have come already.

    Raises:
        LaunchError: If one of them fails; the message says why.
    """
    cluster = environment.cluster
    prepare_process_group(cluster.network_interface)
    preload_processes()
    from sagemaker_container.launcher import launch, make_stop

    stop = make_stop()

    def ask_to_stop(*_: object) -> None:
        """Ask the processes to stop."""
        stop.value = 1

    signal.signal(signal.SIGTERM, ask_to_stop)
    if stops:
        ask_to_stop()
    launch(cluster, work, stop, environment, rows, problem)


def work(
    stop: Any, environment: TrainingEnvironment, rows: Rows, problem: str | None
) -> None:
    """Be one of the processes that fit a detector together; the first one saves it.

    What goes wrong ends the process; its reason is what every host reports, unless
    it is only that another process has gone.

    Args:
        stop: Its value becomes 1 when training is to end.
        environment: What the platform gives the job.
        rows: The rows of this host.
        problem: What is wrong with them: all hosts then end with that reason.
    """
    keep_freed_memory()
    cluster = environment.cluster
    from lstm_ad.training.processes import joined
    from sagemaker_container.launcher import end_with_launcher, report

    end_with_launcher()
    _set_up_log(logging.ERROR)
    try:
        if problem:
            raise SettingError(problem)
        with joined(cluster.rank) as group:
            if group.rank == 0:  # it tells the story for all
                _set_up_log(logging.INFO)
            run(environment, rows, lambda: bool(stop.value), group)
            return
    except LostError as error:
        logger.error("Another process is gone: %s", error)
    except LSTMADError as error:
        report(cluster, str(error))
    except BaseException as error:
        logger.error("%s", traceback.format_exc())
        report(cluster, _unexpected(error))
    # At once: what a normal end would wait for may be gone.
    os._exit(1)


def _set_up_log(level: int) -> None:
    """Write a process's messages to the standard output, as they are."""
    logging.basicConfig(
        level=level, stream=sys.stdout, format="%(message)s", force=True
    )


def _unexpected(error: BaseException) -> str:
    """Return the reason of a failure that is not the user's."""
    return f"Training failed unexpectedly: {type(error).__name__}: {error}"


def _report(
    folder: Path,
    result: "Fit",
    examination: "Examination",
    rows: Rows,
    group: ProcessGroup,
) -> None:
    """Write the report of a job that has its model: nothing may fail it any more."""
    try:
        from lstm_ad.quality.inspection import inspect
        from lstm_ad.quality.promotion import judge_promotion
        from sagemaker_container.report.page import remove, write

        if group.rank == 0:
            remove(folder)
        inspection = inspect(result, rows, group)
        if group.rank > 0:
            return
        verdict = write(folder, result, inspection, examination)
    except LostError:
        raise
    except BaseException as error:
        logger.warning(
            "The model is complete, but the report cannot be written to %s: %s: %s\n%s",
            folder,
            type(error).__name__,
            error,
            traceback.format_exc(),
        )
    else:
        logger.info(
            "Wrote the report to %s: its verdict is %s (reasons: %d).",
            folder,
            verdict.level,
            len(verdict.reasons),
        )
        if result.parent:
            promotion = judge_promotion(result, result.parent, verdict.level)
            logger.info("Better than the model it came from? %s", promotion.reason)


def _failure(sentence: str) -> ClientError:
    """Write the failure reason, and return what makes sagemaker-training report it.

    Where it cannot be written, sagemaker-training would end the job as a success.
    """
    reason = sentence[:FAILURE_LENGTH]
    try:
        write_failure(reason)
    except OSError as error:
        logger.error("%s", reason)
        logger.error("That cannot be written to output/failure: %s.", error)
        logging.shutdown()
        os._exit(1)
    return ClientError(reason)
