"""Train a model: what sagemaker-training's ``train`` command runs, as ``train:main``.

files of the platform -> CSV -> fit -> artifacts -> report, with the metrics in the log
"""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagemaker_training.errors import ClientError

from lstm_ad.exceptions import LSTMADError
from sagemaker_container import metrics
from sagemaker_container.channels import read_all, read_share
from sagemaker_container.job import (
    LABELS,
    TRAINING,
    VALIDATION,
    Cluster,
    TrainingEnvironment,
    prepare_training,
    write_failure,
)
from sagemaker_container.memory import keep_freed_memory
from sagemaker_container.process import (
    disable_telemetry,
    limit_openmp_threads,
    prepare_process_group,
    use_passive_openmp_waits,
)

if TYPE_CHECKING:
    # Types alone: bad input is refused before a runtime is loaded.
    from lstm_ad.artifacts import Fit
    from lstm_ad.quality.inspection import Inspection
    from lstm_ad.training.loop import Control
    from lstm_ad.training.processes import Team

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
        if environment.cluster.is_distributed:
            run_processes(environment, stops)
        else:
            run(environment, should_stop=lambda: bool(stops))
    except LSTMADError as error:
        raise _failure(str(error)) from error
    except BaseException as error:
        logger.error("%s", traceback.format_exc())
        raise _failure(_unexpected(error)) from error


def run(environment: TrainingEnvironment, should_stop: Callable[[], bool]) -> None:
    """Fit a detector to the channels' series and save it.

    Args:
        environment: What the platform gives the job.
        should_stop: Says when training is to end after its current step, with what it
            has.

    Raises:
        LSTMADError: If the job cannot give a usable model; the message says why.
    """
    _log_settings(environment)
    series = read_all(environment)

    # Bad input was refused by now: only then torch, which takes seconds to import.
    use_passive_openmp_waits()
    limit_openmp_threads()
    keep_freed_memory()
    disable_telemetry()
    from lstm_ad.fitting import fit

    logger.info("Training the model.")
    result = fit(
        series[TRAINING],
        series[VALIDATION],
        environment.hyperparameters,
        _control(should_stop),
        environment.checkpoint_dir,
        series[LABELS],
    )
    _save(result, environment)
    from lstm_ad.quality.inspection import inspect

    _report(
        environment.output_data_dir,
        result,
        lambda: inspect(result, series[TRAINING], series[VALIDATION]),
    )


def run_processes(environment: TrainingEnvironment, stops: list[int]) -> None:
    """Let several processes, here and on other hosts, fit one detector together.

    Args:
        environment: What the platform gives the job.
        stops: Signals to stop that have come already.

    Raises:
        LaunchError: If one of them fails; the message says why.
    """
    use_passive_openmp_waits()
    disable_telemetry()
    prepare_process_group(environment.cluster.network_interface)
    from sagemaker_container.launcher import launch, make_stop

    stop = make_stop()

    def ask_to_stop(*_: object) -> None:
        """Ask the processes to stop."""
        stop.value = 1

    signal.signal(signal.SIGTERM, ask_to_stop)
    if stops:
        ask_to_stop()
    launch(environment.cluster, work, stop)


def work(stop: Any, cluster: Cluster) -> None:
    """Be one of the processes that fit a detector together; the first one saves it.

    What goes wrong ends the process; its reason is what every host reports, unless
    it is only that another process has gone.

    Args:
        stop: Its value becomes 1 when training is to end.
        cluster: The hosts.
    """
    keep_freed_memory()
    from lstm_ad.training.processes import LostError, joined
    from sagemaker_container.launcher import report

    _set_up_log(logging.ERROR)
    try:
        with joined() as team:
            if team.rank == 0:  # it tells the story for all
                _set_up_log(logging.INFO)
            _run_share(TrainingEnvironment.from_files(), lambda: bool(stop.value), team)
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


def _run_share(
    environment: TrainingEnvironment, should_stop: Callable[[], bool], team: "Team"
) -> None:
    """Fit a detector to the share of this process, with the others; save it once."""
    from lstm_ad.fitting import fit_share

    _log_settings(environment)
    n_hosts = len(environment.cluster.hosts)
    logger.info("Training with %d processes on %d instances.", team.size, n_hosts)
    share = read_share(environment, team)
    logger.info("Training the model.")
    result = fit_share(
        share.held,
        environment.hyperparameters,
        share.digest,
        _control(should_stop),
        environment.checkpoint_dir,
        share.labelled,
        team,
    )
    if team.rank == 0:
        from lstm_ad.quality.inspection import inspect_held

        _save(result, environment)
        _report(
            environment.output_data_dir,
            result,
            lambda: inspect_held(result, share.held),
        )


def _log_settings(environment: TrainingEnvironment) -> None:
    """Begin the story with the settings of the job."""
    settings = environment.hyperparameters.to_public().items()
    logger.info("Hyperparameters: %s", ", ".join(f"{k}={v}" for k, v in settings))
    for channel, names in environment.left_out.items():
        if names:
            shown = [*names[:MAX_NAMES], "..."] if names[MAX_NAMES:] else names
            logger.info("Left out of %s, no data: %s", channel, ", ".join(shown))


def _control(should_stop: Callable[[], bool]) -> "Control":
    """Return what writes a line per epoch, and says when to stop."""
    from lstm_ad.training.loop import Control

    return Control(
        on_epoch_end=lambda epoch: logger.info("%s", metrics.epoch_line(epoch)),
        should_stop=should_stop,
    )


def _save(result: "Fit", environment: TrainingEnvironment) -> None:
    """Write the metrics of a model to the log, and the model to its folder."""
    from lstm_ad import artifacts

    logger.info("Scoring the model.")
    for line in metrics.final_lines(result.losses, result.best_epoch):
        logger.info("%s", line)
    artifacts.save(environment.model_dir, result)
    logger.info("Saved the model to %s.", environment.model_dir)


def _set_up_log(level: int) -> None:
    """Write a process's messages to the standard output, as they are."""
    logging.basicConfig(
        level=level, stream=sys.stdout, format="%(message)s", force=True
    )


def _unexpected(error: BaseException) -> str:
    """Return the reason of a failure that is not the user's."""
    return f"Training failed unexpectedly: {type(error).__name__}: {error}"


def _report(folder: Path, result: "Fit", inspect: Callable[[], "Inspection"]) -> None:
    """Write the report of a job that has its model: nothing may fail it any more."""
    try:
        from sagemaker_container.report import page as report

        verdict = report.write_inspected(folder, result, inspect)
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
