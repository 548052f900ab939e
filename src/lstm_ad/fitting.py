"""Fit a detector: the document's training algorithm, readable as a paragraph."""

import dataclasses
import importlib.metadata
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from lstm_ad.artifacts import Fit
from lstm_ad.axes import FloatArray, ScaledArray
from lstm_ad.data.partition import Owned, Part, Partition
from lstm_ad.data.rows import Rows, append, in_blocks, mapped
from lstm_ad.data.validate import check_range
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.losses import Loss
from lstm_ad.model.export import export, export_difference
from lstm_ad.model.scaling import Scaler
from lstm_ad.parallel import Cores
from lstm_ad.processes import ALONE, ProcessGroup
from lstm_ad.scoring.detector import LSTMAD
from lstm_ad.scoring.gaussian import MAXIMUM_LIKELIHOOD, WIDE, Gaussian
from lstm_ad.scoring.held_out import CalibrationErrors, held_out_scores
from lstm_ad.scoring.reconstruction import Reconstructor
from lstm_ad.threshold.calibration import decide
from lstm_ad.threshold.decision import Decision
from lstm_ad.threshold.labelled import choose_threshold
from lstm_ad.training.checkpoints import CheckpointFolder, fingerprint
from lstm_ad.training.loop import Control, Trained, TrainingRows, train_network

logger = logging.getLogger(__name__)

_BLOCK_SEQUENCES = 4096

MAX_NUMBERS = 2**24
"""Scores and errors that decide, gathered from all processes: where there are more,
rows at equal distances stand for all."""

MAX_KEPT_ERRORS = 10_000
"""Error vectors that are kept for a report."""


@dataclasses.dataclass(frozen=True)
class _Job:
    """What all steps of a fit share."""

    rows: Rows
    partition: Partition
    hyperparameters: Hyperparameters
    group: ProcessGroup
    scaler: Scaler
    scaled: ScaledArray
    """All rows of the host, standardised."""


@dataclasses.dataclass(frozen=True)
class _Calibrated:
    """What the calibration parts give."""

    gaussian: Gaussian
    decision: Decision
    scores: FloatArray
    """See :attr:`Fit.calibration_scores`."""
    kept: FloatArray
    """See :attr:`Fit.calibration_errors`."""


def fit(
    rows: Rows,
    hyperparameters: Hyperparameters,
    control: Control | None = None,
    checkpoint_dir: Path | None = None,
    group: ProcessGroup = ALONE,
) -> Fit:
    """Return a detector fitted to normal data, the same in all processes.

    Each training series is cut in time: the first part fits the LSTM, the last
    ``calibration-fraction`` gives the errors to which the Gaussian is fitted. No row,
    and no sequence, is in both; where sequences overlap, the LSTM also reads the last
    rows of the first part before it comes to the last part. The validation series say
    how good the model is and, through that, which epoch's weights are kept; without
    any, the calibration part does. Labels say which of their rows are anomalies: they
    choose the threshold, and only what is normal validates.

    Args:
        rows: The rows of this host.
        hyperparameters: The settings of the job.
        control: How training is watched and ended early.
        checkpoint_dir: Where the first process keeps what is needed to go on; None
            keeps nothing.
        group: The processes that fit.

    Raises:
        SeriesError: If a series is too short, or has another number of columns than
            the others, or if the labels do not fit. The message names the file.
        SettingError: If the scratch folder cannot be written.
        TrainingError: If training diverges from its first epoch on, or if the saved
            network does not reconstruct as the trained one.
    """
    job = _prepare(rows, hyperparameters, group)
    # Another version may compute other bits: its checkpoints would end elsewhere.
    versions = {name: importlib.metadata.version(name) for name in ("torch", "numpy")}
    digest = fingerprint(hyperparameters.to_public() | versions, job.partition.digest)
    checkpoints = None
    if checkpoint_dir and group.rank == 0:
        checkpoints = CheckpointFolder(checkpoint_dir, digest)

    logger.info("Training the model.")
    trained = _train(job, control or Control(), checkpoints)
    runtime = export(trained.network)
    difference = 0.0
    own = (part for part in job.partition.selection if group.rank in part.owners)
    if compared := next(own, None):
        scaled = _scaled(compared, job)
        difference = export_difference(trained.network, runtime, scaled)

    reconstructor = Reconstructor(job.scaler, runtime, Cores(torch.get_num_threads()))
    calibrated = _calibrate(job, reconstructor)
    detector = LSTMAD(
        reconstructor,
        calibrated.gaussian,
        calibrated.decision,
        hyperparameters.score_smoothing,
    )
    result = Fit(
        detector=_with_labels(job, detector),
        hyperparameters=hyperparameters,
        precision=trained.precision,
        export_difference=difference,
        weights={k: v.numpy() for k, v in trained.network.state_dict().items()},
        losses=trained.losses,
        repeated=_repeat_last_value(job),
        history=trained.history,
        best_epoch=trained.best_epoch,
        n_rows=job.partition.n_rows,
        calibration_scores=calibrated.scores,
        calibration_errors=calibrated.kept,
        data_digest=job.partition.digest,
        fingerprint=digest,
    )
    _compare(result)
    return result


def _prepare(rows: Rows, hyperparameters: Hyperparameters, group: ProcessGroup) -> _Job:
    """Check the rows, and standardise them."""
    partition = Partition.of(rows, hyperparameters, group)
    scaler = Scaler.fit([p.share(rows, group) for p in partition.fitting], group)
    parts = (*partition.calibration, *partition.validation, *partition.labelled)
    for part in parts:
        if part.scorer == group.rank:
            check_range(part.file.name, part.start, part.values(rows), scaler)
    scaled = rows.scaled(scaler.transform, group)
    if not len(scaled):  # this host has no file
        scaled = np.empty((0, partition.n_series), dtype=np.float32)
    return _Job(rows, partition, hyperparameters, group, scaler, scaled)


def _train(
    job: _Job, control: Control, checkpoints: CheckpointFolder | None
) -> Trained:
    """Fit the LSTM."""
    partition, rows = job.partition, job.rows
    surplus = max(
        0,
        job.hyperparameters.layout.n_borrowed
        - job.hyperparameters.layout.context_length,
    )
    calibration = [
        dataclasses.replace(part, start=part.start + surplus)
        for part in partition.calibration
    ]
    evaluated = {"train": partition.fitting, "valid": partition.validation}
    if not partition.validation:
        del evaluated["valid"]
    evaluated["calibration"] = tuple(calibration)
    return train_network(
        TrainingRows(
            job.scaled,
            fitting=Owned.of(partition.fitting, rows),
            evaluated={
                name: Owned.of(parts, rows) for name, parts in evaluated.items()
            },
        ),
        job.hyperparameters,
        control,
        checkpoints,
        job.group,
    )


def _calibrate(job: _Job, reconstructor: Reconstructor) -> _Calibrated:
    """Fit the Gaussian to the errors of the calibration parts, and decide."""
    hyperparameters, group, scale = job.hyperparameters, job.group, job.scaler.scale
    layout, smoothing = hyperparameters.layout, hyperparameters.score_smoothing
    errors = _calibration_errors(job, reconstructor)
    caution = WIDE if layout.is_overlapping else MAXIMUM_LIKELIHOOD
    gaussian = Gaussian.fit(errors.values, scale, caution, group)
    scores = held_out_scores(errors, scale, caution, smoothing, group)
    n_series = job.partition.n_series
    deciding = errors.every(MAX_NUMBERS // (2 + n_series))
    means = [
        errors.values[some].reshape(-1, layout.n_reconstructions, n_series).mean(axis=1)
        for some in in_blocks(deciding)
    ]
    means = [np.empty((0, n_series)), *means]
    found = np.column_stack(
        [errors.parts[deciding], scores[deciding], np.concatenate(means)]
    )
    table = errors.gathered(found, deciding, group)
    calibration_scores = table[:, 1].copy()
    decision = decide(
        calibration_scores,
        table[:, 2:],
        hyperparameters.max_alarm_rate,
        lengths=np.unique(table[:, 0], return_counts=True)[1].tolist(),
    )
    kept = errors.every(MAX_KEPT_ERRORS)
    return _Calibrated(
        gaussian,
        decision,
        scores=calibration_scores,
        kept=errors.gathered(errors.values[kept], kept, group),
    )


def _calibration_errors(job: _Job, reconstructor: Reconstructor) -> CalibrationErrors:
    """Return the errors of the parts that this process scores, in a scratch file."""
    parts, layout = job.partition.calibration, job.hyperparameters.layout
    is_mine = [part.scorer == job.group.rank for part in parts]
    path = job.rows.folder / f"errors-{job.group.rank}"
    append(
        path,
        (
            block
            for part, mine in zip(parts, is_mine, strict=True)
            if mine
            for block in reconstructor.errors(part.values(job.rows))
        ),
    )
    n_errors = job.partition.n_series * layout.n_reconstructions
    return CalibrationErrors(
        mapped(path, np.float64).reshape(-1, n_errors),
        [len(part) - layout.n_unscored for part in parts],
        is_mine,
    )


def _with_labels(job: _Job, detector: LSTMAD) -> LSTMAD:
    """Return the detector with the threshold of the labels, if there are any."""
    partition = job.partition
    if not partition.labels:
        return detector
    found = {}
    for part in partition.labelled:
        if part.scorer == job.group.rank:
            some = detector.score_in_parts(part.values(job.rows))
            found[part.file.name] = np.concatenate([s.normality_score for s in some])
    scores = {k: v for one in job.group.gather(found) for k, v in one.items()}
    names = [part.file.name for part in partition.labelled]
    labelled = choose_threshold(
        np.concatenate([scores[name] for name in names]),
        np.concatenate([partition.labels[name][:, 0] == 1 for name in names]),
        detector.decision.alarm_threshold,
    )
    decision = dataclasses.replace(detector.decision, labelled=labelled)
    return dataclasses.replace(detector, decision=decision)


def _scaled(part: Part, job: _Job) -> ScaledArray:
    """Return the standardised values of a part, of shape ``(T, D)``."""
    first = job.rows.first(part.file)
    return job.scaled[first + part.start : first + part.stop]


def _repeat_last_value(job: _Job) -> Loss:
    """Return the loss of repeating the row before each sequence all through it."""
    layout = job.hyperparameters.layout

    def errors() -> Iterator[FloatArray]:
        """Yield the errors, a bounded number of rows at a time."""
        step = _BLOCK_SEQUENCES * layout.stride
        for part in job.partition.selection:
            if part.scorer != job.group.rank:
                continue
            series = _scaled(part, job)
            for start in range(0, len(series) - layout.context_length, step):
                first = start + layout.context_length
                stop = first + step + layout.prediction_length
                some = series[first - 1 : stop].astype(np.float64)
                last = some[: step : layout.stride]  # (N, D)
                for lead in range(layout.prediction_length):
                    targets = some[1 + lead : 1 + lead + step : layout.stride]
                    yield targets - last[: len(targets)]

    return Loss.of(errors(), job.group)


def _compare(result: Fit) -> None:
    """Warn of a model that is no better than repeating the last value."""
    name = "valid" if "valid" in result.losses else "calibration"
    found, repeated = result.losses[name].mse, result.repeated.mse
    if not found < repeated:
        logger.warning(
            "The model is no better than repeating the last value: its %s_loss is "
            "%.6f, that of repeating is %.6f. More epochs, another lr or another "
            "sequence-length may help.",
            name,
            found,
            repeated,
        )
