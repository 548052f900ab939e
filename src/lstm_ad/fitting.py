"""Fit a detector: the document's training algorithm, readable as a paragraph."""

import dataclasses
import functools
import importlib.metadata
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lstm_ad.artifacts import Fit, Rival
from lstm_ad.axes import FloatArray, ScaledArray, Weights
from lstm_ad.blocks import in_blocks
from lstm_ad.data.partition import Owned, Part, Partition
from lstm_ad.data.rows import File, Rows, append, mapped
from lstm_ad.data.validate import check_memory, check_range
from lstm_ad.hyperparameters import CALIBRATE, Hyperparameters
from lstm_ad.losses import EpochMetrics, Loss
from lstm_ad.model.fences import Fences
from lstm_ad.model.gaps import Holder
from lstm_ad.model.scaling import Scaler
from lstm_ad.parallel import Cores
from lstm_ad.parent import Parent, shortened
from lstm_ad.processes import ALONE, ProcessGroup
from lstm_ad.scoring.calibrate import Errors, Settings, calibrate, in_order
from lstm_ad.scoring.detector import LSTMAD
from lstm_ad.scoring.gaussian import Gaussian
from lstm_ad.scoring.measured import errors_loss, measure, reconstruction_loss
from lstm_ad.scoring.moments import Moments
from lstm_ad.scoring.outages import outage_ratios
from lstm_ad.scoring.reconstruction import Reconstructor
from lstm_ad.scoring.scan import Scan
from lstm_ad.threshold.calibration import decide
from lstm_ad.threshold.decision import Decision
from lstm_ad.threshold.labelled import choose_threshold
from lstm_ad.training.checkpoints import CheckpointFolder, fingerprint
from lstm_ad.training.control import Control

logger = logging.getLogger(__name__)

_BLOCK_SEQUENCES = 4096

_COMPUTING = ("torch", "numpy")

MAX_KEPT_ERRORS = 10_000
"""Error vectors that are kept for a report."""


@dataclasses.dataclass(frozen=True)
class _Job:
    """What all steps of a fit share."""

    rows: Rows
    partition: Partition
    hyperparameters: Hyperparameters
    """Those of the preset for as many series, if one was asked for."""
    group: ProcessGroup
    fences: Fences
    scaler: Scaler
    scaled: ScaledArray
    """All rows of the host, standardised, with plausible values in absurd cells, and
    what is held where values are missing."""
    observed: npt.NDArray[np.bool_] | None
    """Which of them are not missing; None if all are there."""
    parent: Parent | None
    """The model that the job starts from."""

    def values(self, parts: Sequence[Part]) -> Iterator[FloatArray]:
        """Yield the values of the parts that this process scores, repaired."""
        for part in parts:
            if part.scorer == self.group.rank:
                yield self.fences.repair(part.values(self.rows))

    @functools.cached_property
    def fingerprint(self) -> str:
        """A digest of the data and of all that decides how training goes."""
        # Another version may compute other bits: its checkpoints would end elsewhere.
        versions = {name: importlib.metadata.version(name) for name in _COMPUTING}
        settings = self.hyperparameters.to_public() | versions
        if self.parent:
            settings["parent"] = self.parent.digest
        return fingerprint(settings, self.partition.digest)


@dataclasses.dataclass(frozen=True)
class _Learnt:
    """The LSTM, and how it came about."""

    reconstructor: Reconstructor
    weights: Weights
    precision: str
    losses: Mapping[str, Loss]
    """See :attr:`Fit.losses`; empty if it was not trained."""
    export_difference: float = 0.0
    history: tuple[EpochMetrics, ...] = ()
    best_epoch: int = 0


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
    and no sequence, is in both; where sequences overlap, the LSTM also reads the last
    rows of the first part before it comes to the last part. The validation series say
    how good the model is and, through that, which epoch's weights are kept; without
    any, the calibration part does. Labels say which of their rows are anomalies: they
    choose the threshold, and only what is normal validates.

    A job may start from a model: its scaler stays, and either the training of its LSTM
    goes on, or the LSTM stays as well, and all training rows calibrate.

    Args:
        rows: The rows of this host.
        hyperparameters: The settings of the job; with a parent, those that
            :func:`lstm_ad.warm_start.inherited` returns.
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
    job = _prepare(rows, hyperparameters, group, memory_bytes, parent)
    if job.parent and hyperparameters.warm_start == CALIBRATE:
        learnt = _keep(job, job.parent)
    else:
        logger.info("Training the model.")
        learnt = _train(job, control or Control())
    reconstructor = dataclasses.replace(learnt.reconstructor, outage_ratios=None)
    calibrated = _calibrate(job, reconstructor)
    ratios = _outage_ratios(job, reconstructor, calibrated.gaussian)
    detector = _with_labels(
        job,
        LSTMAD(
            dataclasses.replace(reconstructor, outage_ratios=ratios),
            calibrated.gaussian,
            calibrated.decision,
            calibrated.scan,
            job.partition.schema,
        ),
    )
    result = Fit(
        detector=detector,
        hyperparameters=job.hyperparameters,
        precision=learnt.precision,
        export_difference=learnt.export_difference,
        weights=learnt.weights,
        losses=learnt.losses or _losses(job, learnt.reconstructor, calibrated),
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


def _prepare(
    rows: Rows,
    hyperparameters: Hyperparameters,
    group: ProcessGroup,
    memory_bytes: int | None,
    parent: Parent | None,
) -> _Job:
    """Check the rows, and standardise them."""
    partition = Partition.of(rows, hyperparameters, group)
    if parent:
        parent = parent.for_gaps(hyperparameters.longest_gap)
        parent.check(partition.schema)
    given, hyperparameters = (
        hyperparameters,
        hyperparameters.for_series(partition.n_series),
    )
    if hyperparameters != given:
        changed = dict(hyperparameters.to_public().items() - given.to_public().items())
        logger.info(
            "For data of %d series, preset=%s sets: %s",
            partition.n_series,
            hyperparameters.preset,
            ", ".join(f"{name}={value}" for name, value in sorted(changed.items())),
        )
    n_processes = group.gather(group.host).count(group.host)
    if memory_bytes is not None:
        check_memory(partition.n_series, hyperparameters, n_processes, memory_bytes)
    learnt_from = partition.fitting or partition.calibration
    shares = [part.share(rows, group) for part in learnt_from]
    fences = Fences.of(shares, group)
    names = partition.schema.series
    scaler = Scaler.fit([fences.repair(part) for part in shares], group, names)
    if parent:
        n_unscored = hyperparameters.layout.n_unscored
        some = shortened(partition.calibration, n_unscored)
        series = [
            fences.repair(part.values(rows))
            for part in some
            if part.scorer == group.rank
        ]
        scaler = parent.standardisation(scaler, series, group)
    parts = (*partition.calibration, *partition.validation, *partition.labelled)
    for part in parts:
        if part.scorer == group.rank:
            values = fences.repair(part.values(rows))
            check_range(part.file, part.start, values, scaler)
    max_gap = hyperparameters.longest_gap

    def standardised(file: File) -> Iterator[ScaledArray]:
        """Yield the rows of a file as the network reads them."""
        values = rows.values(file)
        starts = [stretch.start for stretch in file.stretches(max_gap)]
        for start, stop in itertools.pairwise([0, *starts, len(values)]):
            holder = Holder(scaler.mean, max_gap)
            for block in in_blocks(values[start:stop]):
                yield scaler.transform(holder.fill(fences.repair(block)))

    def not_missing(file: File) -> Iterator[npt.NDArray[np.bool_]]:
        """Yield which values of a file are there."""
        return (~np.isnan(block) for block in in_blocks(rows.values(file)))

    n_series = partition.n_series
    scaled = rows.derived("scaled", np.float32, standardised, n_series, group)
    observed = None
    if any(group.gather(any(file.n_missing.any() for file in rows.files))):
        observed = rows.derived("observed", np.bool_, not_missing, n_series, group)
    return _Job(
        rows,
        partition,
        hyperparameters,
        group,
        fences,
        scaler,
        scaled,
        observed,
        parent,
    )


def _train(job: _Job, control: Control) -> _Learnt:
    """Fit the LSTM, from the weights of the parent if there is one."""
    # Not for what calibrates only: it takes seconds.
    import torch

    from lstm_ad.model.export import export, export_difference
    from lstm_ad.training.loop import TrainingRows, train_network

    partition, rows, parent = job.partition, job.rows, job.parent
    checkpoints = None
    if control.checkpoint_dir and job.group.rank == 0:
        checkpoints = CheckpointFolder(control.checkpoint_dir, job.fingerprint)
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
    trained = train_network(
        TrainingRows(
            job.scaled,
            job.observed,
            fitting=Owned.of(partition.fitting, rows),
            evaluated={
                name: Owned.of(parts, rows) for name, parts in evaluated.items()
            },
        ),
        job.hyperparameters,
        control,
        checkpoints,
        job.group,
        parent.weights if parent else None,
    )
    runtime = export(trained.network)
    difference = 0.0
    own = (part for part in partition.selection if job.group.rank in part.owners)
    if part := next(own, None):
        scaled, _ = _scaled(part, job)
        difference = export_difference(trained.network, runtime, scaled)
    return _Learnt(
        Reconstructor(
            job.scaler,
            runtime,
            Cores(torch.get_num_threads()),
            has_level=job.hyperparameters.scores_levels(partition.n_series),
            max_gap=job.hyperparameters.longest_gap,
        ),
        {k: v.numpy() for k, v in trained.network.state_dict().items()},
        trained.precision,
        trained.losses,
        difference,
        trained.history,
        trained.best_epoch,
    )


def _keep(job: _Job, parent: Parent) -> _Learnt:
    """Return the LSTM of the parent as it is, and its losses on the rows of the job."""
    logger.info("Calibrating the model: its LSTM stays.")
    reconstructor = dataclasses.replace(
        parent.detector.reconstructor,
        scaler=job.scaler,
        has_level=job.hyperparameters.scores_levels(job.partition.n_series),
    )
    return _Learnt(reconstructor, parent.weights, parent.precision, losses={})


def _losses(
    job: _Job, reconstructor: Reconstructor, calibrated: _Calibrated
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
    job: _Job, parent: Parent, detector: LSTMAD, calibrated: _Calibrated
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


def _calibrate(job: _Job, reconstructor: Reconstructor) -> _Calibrated:
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


def _mean_errors(job: _Job, errors: Errors) -> list[FloatArray]:
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
    job: _Job, reconstructor: Reconstructor, name: str, parts: Sequence[Part]
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
    job: _Job, reconstructor: Reconstructor, gaussian: Gaussian
) -> FloatArray:
    """Return by what errors are divided while a series is away."""
    if not reconstructor.max_gap:
        return np.ones(job.partition.n_series)
    parts = (
        job.fences.repair(part.values(job.rows))
        for part in job.partition.calibration
        if part.scorer == job.group.rank
    )
    # One process measures; it has the longest of the files.
    mine = outage_ratios(parts, reconstructor, gaussian)
    return -job.group.minimum(-mine)


def _with_labels(job: _Job, detector: LSTMAD) -> LSTMAD:
    """Return the detector with the threshold of the labels, if there are any."""
    partition = job.partition
    if not partition.labels:
        return detector
    found = {}
    for part in partition.labelled:
        if part.scorer == job.group.rank:
            scores = np.full(len(part), np.nan)
            if len(part) > detector.n_unscored:
                scores = detector.score(part.values(job.rows)).normality_score
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


def _scaled(part: Part, job: _Job) -> tuple[ScaledArray, npt.NDArray[np.bool_] | None]:
    """Return the standardised values of a part, and which are there, if not all.

    Both are of shape ``(T, D)``.
    """
    first = job.rows.first(part.file)
    rows = slice(first + part.start, first + part.stop)
    return job.scaled[rows], None if job.observed is None else job.observed[rows]


def _repeat_last_value(job: _Job) -> Loss:
    """Return the loss of repeating the row before each sequence all through it."""
    layout = job.hyperparameters.layout

    def errors() -> Iterator[FloatArray]:
        """Yield the errors, a bounded number of rows at a time."""
        step = _BLOCK_SEQUENCES * layout.stride
        for part in job.partition.selection:
            if part.scorer != job.group.rank:
                continue
            series, observed = _scaled(part, job)
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
            "%.6f, that of repeating is %.6f. More epochs, another lr or another "
            "sequence-length may help.",
            name,
            found,
            repeated,
        )
