"""Train a model: what sagemaker-training's ``train`` command runs, as ``train:main``.

files of the platform -> CSV -> fit -> artifacts -> report, with the metrics in the log
"""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sagemaker_training.errors import ClientError

from lstm_ad.axes import FloatArray
from lstm_ad.exceptions import LSTMADError
from sagemaker_container import metrics
from sagemaker_container.csv_format import read_file
from sagemaker_container.environment import (
    LABELS,
    TRAINING,
    VALIDATION,
    TrainingEnvironment,
    keep_freed_memory,
    let_threads_sleep,
    prepare_training,
    send_no_telemetry,
    write_failure,
)

if TYPE_CHECKING:
    # A type alone: bad input is refused before a runtime is loaded.
    from lstm_ad.artifacts import Fit

logger = logging.getLogger("train")

FAILURE_LENGTH = 1024
"""Characters of a failure that SageMaker shows."""


def main() -> None:
    """Run the job, and end every failure in the one way that SageMaker reports.

    sagemaker-training takes SystemExit, KeyboardInterrupt and some OSErrors for
    success. A ClientError alone always gives exit code 1, and its text, unchanged,
    becomes the failure reason of the job.
    """
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="%(message)s", force=True
    )
    # Spot interruption, StopTrainingJob, MaxRuntime: SageMaker kills 120 s later. A
    # list, because a second signal while threading.Event.set() runs would deadlock.
    stops: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stops.append(number))
    try:
        prepare_training()
        run(TrainingEnvironment.from_files(), should_stop=lambda: bool(stops))
    except LSTMADError as error:
        raise _failure(str(error)) from error
    except BaseException as error:
        logger.error("%s", traceback.format_exc())
        sentence = f"Training failed unexpectedly: {type(error).__name__}: {error}"
        raise _failure(sentence) from error


def run(environment: TrainingEnvironment, should_stop: Callable[[], bool]) -> None:
    """Fit a detector to the channels' series and save it.

    Args:
        environment: What the platform gives the job.
        should_stop: Says when training is to end after its current step, with what it
            has.

    Raises:
        LSTMADError: If the job cannot give a usable model; the message says why.
    """
    hyperparameters = environment.hyperparameters
    settings = hyperparameters.to_public().items()
    logger.info("Hyperparameters: %s", ", ".join(f"{k}={v}" for k, v in settings))
    training = _read(environment.channels[TRAINING], "Training")
    validation = _read(environment.channels[VALIDATION], "Validating")
    labels = {
        name: read_file(path, f"{LABELS}/{name}")
        for name, path in environment.channels[LABELS].items()
    }

    # Bad input was refused by now: only then torch, which takes seconds to import.
    let_threads_sleep()
    keep_freed_memory()
    send_no_telemetry()
    from lstm_ad import artifacts
    from lstm_ad.fitting import fit
    from lstm_ad.training import Control

    logger.info("Training the model.")
    result = fit(
        training,
        validation,
        hyperparameters,
        Control(
            on_epoch_end=lambda epoch: logger.info("%s", metrics.epoch_line(epoch)),
            should_stop=should_stop,
        ),
        environment.checkpoint_dir,
        labels,
    )
    logger.info("Scoring the model.")
    for line in metrics.final_lines(result.losses, result.best_epoch):
        logger.info("%s", line)
    artifacts.save(environment.model_dir, result)
    logger.info("Saved the model to %s.", environment.model_dir)
    _report(environment.output_data_dir, result, training, validation)


def _read(files: Mapping[str, Path], purpose: str) -> dict[str, FloatArray]:
    """Return the series of a channel's files, and log what was found."""
    series = {}
    for name, path in files.items():
        series[name] = read_file(path, name)
        n_timesteps, n_series = series[name].shape
        logger.info(
            "%s on %s: %d time series of length %d.",
            purpose,
            name,
            n_series,
            n_timesteps,
        )
    return series


def _report(
    folder: Path,
    result: "Fit",
    training: Mapping[str, FloatArray],
    validation: Mapping[str, FloatArray],
) -> None:
    """Write the report of a job that has its model: nothing may fail it any more."""
    try:
        from sagemaker_container import report

        verdict = report.write(folder, result, training, validation)
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
