"""Fit a detector: the document's training algorithm, readable as a paragraph."""

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Sequence

import numpy as np

from lstm_ad.artifacts import Fit, Rival
from lstm_ad.axes import FloatArray
from lstm_ad.blocks import in_blocks
from lstm_ad.data.partition import Part
from lstm_ad.data.rows import Rows, append, mapped
from lstm_ad.hyperparameters import CALIBRATE, Hyperparameters
from lstm_ad.learning import keep, train
from lstm_ad.losses import Loss
from lstm_ad.model.off import comparisons
from lstm_ad.parent import Parent
from lstm_ad.preparation import Job, prepare
from lstm_ad.processes import ALONE, ProcessGroup
from lstm_ad.scoring.calibrate import Errors, Settings, calibrate, in_order
from lstm_ad.scoring.detector import LSTMAD
from lstm_ad.scoring.gaussian import Gaussian
from lstm_ad.scoring.measured import errors_loss, measure, reconstruction_loss
from lstm_ad.scoring.moments import Moments
from lstm_ad.scoring.outages import MAX_ROWS, outage_ratios
from lstm_ad.scoring.reconstruction import Reconstructor
from lstm_ad.scoring.regime import Seen
from lstm_ad.scoring.scan import Scan
from lstm_ad.threshold.calibration import decide
from lstm_ad.threshold.decision import Decision
from lstm_ad.threshold.labelled import choose_threshold
from lstm_ad.training.control import Control

logger = logging.getLogger(__name__)

_BLOCK_SEQUENCES = 4096

MAX_KEPT_ERRORS = 10_000
"""Error vectors that are kept for a report."""


@dataclasses.dataclass(frozen=True)
class _Calibrated:
    """What the calibration parts give."""

    gaussian: Gaussian
    scan: Scan
    decision: Decision
    scores: FloatArray
    """See :attr:`Fit.calibration_scores`."""
    kept: FloatArray
    """See :attr:`Fit.calibration_errors`."""
    errors: Errors
    """Those of the calibration parts."""


def fit(
    rows: Rows,
    hyperparameters: Hyperparameters,
    control: Control | None = None,
    group: ProcessGroup = ALONE,
    memory_bytes: int | None = None,
    parent: Parent | None = None,
) -> Fit:
    """Return a detector fitted to normal data, the same in all processes.

    Each training series is cut in time: the first part fits the LSTM, the last
    ``calibration-fraction`` gives the errors to which the Gaussian is fitted. No row,
    and no sequence, is in both (see :mod:`lstm_ad.data.partition`). The validation
    series choose the epoch whose weights are kept; without any, the calibration part
    does. Labels choose the threshold, and only what is normal validates.

    A job may start from a model: its LSTM is trained on, or stays and is calibrated.

    Args:
        rows: The rows of this host.
        hyperparameters: Those of :func:`~lstm_ad.warm_start.inherited` with a parent.
        control: How training is watched, kept and ended early.
        group: The processes that fit.
        memory_bytes: What the processes of this host have together; None checks
            nothing.
        parent: The model to start from.

    Raises:
        HyperparameterError: If the errors of a row are too many for that memory.
        SeriesError: If a series is too short, or has another number of columns than
            the others, or if the labels do not fit. The message names the file.
        SettingError: If the scratch folder cannot be written.
        TrainingError: If training diverges from its first epoch on, or if the saved
            network does not reconstruct as the trained one.
    """
    job = prepare(rows, hyperparameters, group, memory_bytes, parent)
    if job.parent and hyperparameters.warm_start == CALIBRATE:
        learnt = keep(job, job.parent)
    else:
        learnt = train(job, control or Control())
    reconstructor = dataclasses.replace(learnt.reconstructor, outage_ratios=None)
    calibrated = _calibrate(job, reconstructor)
    detector = _detector(job, reconstructor, calibrated)
    result = Fit(
        detector=detector,
        hyperparameters=job.hyperparameters,
        precision=learnt.precision,
        export_difference=learnt.export_difference,
        weights=learnt.weights,
        losses=learnt.losses or _losses(job, reconstructor, calibrated),
        repeated=_repeat_last_value(job),
        history=learnt.history,
        best_epoch=learnt.best_epoch,
        n_rows=job.partition.n_rows,
        calibration_scores=calibrated.scores,
        calibration_errors=calibrated.kept,
        data_digest=job.partition.digest,
        fingerprint=job.fingerprint,
        parent=_rival(job, job.parent, detector, calibrated) if job.parent else None,
    )
    _compare(result)
    return result


def _detector(
    job: Job, reconstructor: Reconstructor, calibrated: _Calibrated
) -> LSTMAD:
    """Return what scores: outages are measured, and labels choose the threshold."""
    ratios = _outage_ratios(job, reconstructor, calibrated.gaussian)
    schema = job.partition.schema
    detector = LSTMAD(
        dataclasses.replace(reconstructor, outage_ratios=ratios),
        calibrated.gaussian,
        calibrated.decision,
        calibrated.scan,
        schema,
        job.own_level,
        comparisons(job.hyperparameters.off_when, schema.series),
        _seen(job) if len(calibrated.scan.levels) > 1 else None,
        job.hyperparameters.codes,
    )
    return _with_labels(job, detector)


def _seen(job: Job) -> Seen:
    """Return the values of all rows that the model is fitted to, and its parent was."""
    partition = job.partition
    parts = job.values([*partition.fitting, *partition.calibration])
    before = job.parent.detector.seen if job.parent else None
    return Seen.of(parts, partition.n_series, job.group, before)


def _losses(
    job: Job, reconstructor: Reconstructor, calibrated: _Calibrated
) -> dict[str, Loss]:
    """Return the losses of an LSTM that was not trained, of what is scored."""
    scale = job.scaler.scale
    losses = {}
    if job.partition.validation:
        series = job.values(job.partition.validation)
        losses["valid"] = reconstruction_loss(reconstructor, series, scale, job.group)
    known = in_blocks(*calibrated.errors.parts)
    losses["calibration"] = errors_loss(known, scale, reconstructor, job.group)
    return losses


def _rival(
    job: Job, parent: Parent, detector: LSTMAD, calibrated: _Calibrated
) -> Rival:
    """Return how the parent does on the rows that say how good the new model is."""
    partition, scale = job.partition, job.scaler.scale
    parts = partition.validation or partition.calibration
    old, new = (
        measure(one, job.values(parts), scale, job.group)
        for one in (parent.detector, detector)
    )
    new_rate = new.alarm_rate
    if not partition.validation:  # as new data would have it
        new_rate = float(detector.decision.is_anomaly(calibrated.scores).mean())
    series = [*job.values(parts), np.empty((0, partition.n_series))]
    variance = Moments.of(series, job.group).variance
    return Rival(
        parent.digest,
        part="valid" if partition.validation else "calibration",
        loss=old.loss,
        new_loss=new.loss,
        alarm_rate=old.alarm_rate,
        new_alarm_rate=new_rate,
        n_rows=old.n_rows,
        spread=float((variance / np.square(scale)).mean()),
    )


def _calibrate(job: Job, reconstructor: Reconstructor) -> _Calibrated:
    """Fit what scores errors, and decide which scores are anomalies."""
    partition, group = job.partition, job.group
    calibration = _errors(job, reconstructor, "calibration", partition.calibration)
    training = None
    if job.hyperparameters.layout.is_overlapping and partition.fitting:
        training = _errors(job, reconstructor, "training", partition.fitting)
    found = calibrate(
        calibration,
        training,
        job.scaler.scale,
        Settings.of(job.hyperparameters, partition.n_series),
        group,
        partition.schema.series,
    )
    means = _mean_errors(job, calibration)
    scored = [~np.isnan(part) for part in found.scores]
    scores = np.concatenate(
        [part[rows] for part, rows in zip(found.scores, scored, strict=True)]
    )
    decision = decide(
        scores,
        np.concatenate(
            [part[: len(rows)][rows] for part, rows in zip(means, scored, strict=True)]
        ),
        job.hyperparameters.max_alarm_rate,
        lengths=[int(rows.sum()) for rows in scored if rows.any()],
    )
    return _Calibrated(
        found.gaussian,
        found.scan,
        decision,
        scores=scores,
        kept=calibration.sample(MAX_KEPT_ERRORS, group),
        errors=calibration,
    )


def _mean_errors(job: Job, errors: Errors) -> list[FloatArray]:
    """Return the means over all reconstructions of each row, file by file.

    Returns:
        Of each file of all processes that has errors, of shape ``(T, D)``.
    """
    n_series = job.partition.n_series
    n_each = job.hyperparameters.layout.n_reconstructions
    mine = [
        (
            first,
            np.concatenate(
                [np.empty((0, n_series))]
                + [
                    block[:, : n_each * n_series]
                    .reshape(-1, n_each, n_series)
                    .mean(axis=1)
                    for block in in_blocks(part)
                ]
            ),
        )
        for first, part in zip(errors.first, errors.parts, strict=True)
    ]
    return [part for part in in_order(mine, job.group) if len(part)]


def _errors(
    job: Job, reconstructor: Reconstructor, name: str, parts: Sequence[Part]
) -> Errors:
    """Return the errors of the parts that this process scores, in a scratch file."""
    path = job.rows.folder / f"{name}-errors-{job.group.rank}"
    lengths = [len(part) - job.hyperparameters.layout.n_unscored for part in parts]
    first = np.cumsum([0, *lengths])
    mine = [i for i, part in enumerate(parts) if part.scorer == job.group.rank]
    append(
        path,
        (
            block
            for series in job.values(parts)
            for block in reconstructor.errors(series)
        ),
    )
    values = mapped(path, np.float64).reshape(-1, reconstructor.n_errors)
    bounds = np.cumsum([0, *(lengths[index] for index in mine)])
    return Errors(
        [values[a:b] for a, b in itertools.pairwise(bounds)] or [values],
        [int(first[index]) for index in mine] or [0],
        int(first[-1]),
    )


def _outage_ratios(
    job: Job, reconstructor: Reconstructor, gaussian: Gaussian
) -> FloatArray:
    """Return by what errors are divided while a series is away."""
    if not reconstructor.max_gap:
        return np.ones(job.partition.n_series)
    n_unscored = reconstructor.network.layout.n_unscored
    room, mine = MAX_ROWS, []
    for part in job.partition.calibration:  # the same rows, however many processes
        if room > 0 and part.scorer == job.group.rank:
            values = part.values(job.rows)[: n_unscored + room]
            mine.append(job.fences.repair(values))
        room -= len(part) - n_unscored
    return outage_ratios(mine, reconstructor, gaussian, job.group)


def _with_labels(job: Job, detector: LSTMAD) -> LSTMAD:
    """Return the detector with the threshold of the labels, if there are any."""
    partition = job.partition
    if not partition.labels:
        return detector
    found = {}
    for part in partition.labelled:
        if part.scorer == job.group.rank:
            scores = np.full(len(part), np.nan)
            if len(part) > detector.n_unscored:
                values = part.values(job.rows)
                scores = detector.score(values, off=part.file.off).normality_score
            found[part.file.name] = scores
    everything = {k: v for one in job.group.gather(found) for k, v in one.items()}
    names = [part.file.name for part in partition.labelled]
    labelled = choose_threshold(
        np.concatenate([everything[name] for name in names]),
        np.concatenate([partition.labels[name][:, 0] == 1 for name in names]),
        detector.decision.alarm_threshold,
    )
    decision = dataclasses.replace(detector.decision, labelled=labelled)
    return dataclasses.replace(detector, decision=decision)


def _repeat_last_value(job: Job) -> Loss:
    """Return the loss of repeating the row before each sequence all through it."""
    layout = job.hyperparameters.layout

    def errors() -> Iterator[FloatArray]:
        """Yield the errors, a bounded number of rows at a time."""
        step = _BLOCK_SEQUENCES * layout.stride
        for part in job.partition.selection:
            if part.scorer != job.group.rank:
                continue
            series, observed = job.standardised(part)
            for start in range(0, len(series) - layout.context_length, step):
                first = start + layout.context_length
                stop = first + step + layout.prediction_length
                some = series[first - 1 : stop].astype(np.float64)
                last = some[: step : layout.stride]  # (N, D)
                for lead in range(layout.prediction_length):
                    rows = slice(1 + lead, 1 + lead + step, layout.stride)
                    targets = some[rows]
                    if observed is not None:
                        targets = np.where(
                            observed[first - 1 : stop][rows], targets, np.nan
                        )
                    yield targets - last[: len(targets)]

    return Loss.of(errors(), job.group)


def _compare(result: Fit) -> None:
    """Warn of a model that is no better than repeating the last value."""
    name = "valid" if "valid" in result.losses else "calibration"
    found, repeated = result.losses[name].mse, result.repeated.mse
    if not found < repeated:
        logger.warning(
            "The model is no better than repeating the last value: its %s_loss is "
            "%.6f, that of repeating is %.6f. %s may help.",
            name,
            found,
            repeated,
            "More epochs, another lr or another sequence-length"
            if result.history
            else "Training it on, with warm-start=continue,",
        )
