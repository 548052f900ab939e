"""Fit a detector: the document's training algorithm, readable as a paragraph."""

import dataclasses
import functools
import importlib.metadata
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from lstm_ad.artifacts import Fit
from lstm_ad.axes import FloatArray
from lstm_ad.data.labels import Labelled, choose_threshold, normal_stretches
from lstm_ad.data.labels import check as check_labels
from lstm_ad.data.partition import File, Held, Shares, Whereabouts
from lstm_ad.data.validate import check_files, check_range, counts_rows, index_column
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.losses import Loss
from lstm_ad.model.export import export, export_difference
from lstm_ad.model.layout import Layout
from lstm_ad.model.scaling import Scaler
from lstm_ad.model.sequences import Rows
from lstm_ad.parallel import Cores
from lstm_ad.scoring.detector import LSTMAD
from lstm_ad.scoring.gaussian import MAXIMUM_LIKELIHOOD, WIDE, Gaussian
from lstm_ad.scoring.held_out import MAX_NUMBERS, Runs, held_out_scores
from lstm_ad.scoring.reconstruction import Reconstructor
from lstm_ad.threshold.calibration import decide
from lstm_ad.training.checkpoints import CheckpointFolder, digest_series, fingerprint
from lstm_ad.training.loop import Control, train_network
from lstm_ad.training.processes import ALONE, Team

logger = logging.getLogger(__name__)

_BLOCK_SEQUENCES = 4096

MAX_KEPT_ERRORS = 10_000
"""Error vectors that are kept for a report."""


def fit(
    training: Mapping[str, FloatArray],
    validation: Mapping[str, FloatArray],
    hyperparameters: Hyperparameters,
    control: Control | None = None,
    checkpoint_dir: Path | None = None,
    labels: Mapping[str, FloatArray] | None = None,
) -> Fit:
    """Return a detector fitted to normal data.

    Each training series is cut in time: the first part fits the LSTM, the last
    ``calibration-fraction`` gives the errors to which the Gaussian is fitted. No row,
    and no sequence, is in both; where sequences overlap, the LSTM also reads the last
    rows of the first part before it comes to the last part. The validation series say
    how good the model is and, through that, which epoch's weights are kept; without
    any, the calibration part does.

    Args:
        training: Normal series by the name of their file, each of shape ``(T, D)``.
        validation: Likewise; may be empty.
        hyperparameters: The settings of the job.
        control: How training is watched and ended early.
        checkpoint_dir: Where to keep what is needed to go on; None keeps nothing.
        labels: Which rows of the validation series are anomalies, by the same names,
            each of shape ``(T, 1)``: they choose the threshold, and only what is normal
            validates. None if all of them are normal.

    Raises:
        SeriesError: If a series is too short, or has another number of columns than
            the others, or if the labels do not fit. The message names the file.
        TrainingError: If training diverges from its first epoch on, or if the saved
            network does not reconstruct as the trained one.
    """
    files = [File(name, *series.shape) for name, series in training.items()]
    validation_files = [
        File(name, *series.shape) for name, series in validation.items()
    ]
    check_files(files, validation_files, hyperparameters)
    channels = {"training": training, "validation": validation}
    stretches = None
    if labels:
        n_unscored = hyperparameters.layout.n_unscored
        check_labels(labels, validation, n_unscored)
        stretches = normal_stretches(labels, n_unscored)
        channels["labels"] = labels
    shares = Shares.of(files, validation_files, hyperparameters, stretches=stretches)
    return fit_share(
        Held.of(shares, list(training.values()), list(validation.values())),
        hyperparameters,
        digest_series(channels),
        control or Control(),
        checkpoint_dir,
        labelled=[
            Labelled(
                name, functools.partial(validation.__getitem__, name), column[:, 0] == 1
            )
            for name, column in labels.items()
        ]
        if labels
        else None,
    )


def fit_share(
    held: Held,
    hyperparameters: Hyperparameters,
    data_digest: str,
    control: Control,
    checkpoint_dir: Path | None,
    labelled: Sequence[Labelled] | None = None,
    team: Team = ALONE,
) -> Fit:
    """Return a detector fitted to what all processes of a team hold: the same for all.

    Args:
        held: What this process holds.
        hyperparameters: The settings of the job.
        data_digest: A digest of all that is held.
        control: As for :func:`fit`.
        checkpoint_dir: As for :func:`fit`; only the first process uses it.
        labelled: Of the validation series that are labelled, those that this process
            scores; None if there are no labels.
        team: Who fits.

    Raises:
        SeriesError: As :func:`fit`.
        TrainingError: As :func:`fit`.
    """
    layout, shares = hyperparameters.layout, held.shares
    _refuse_index_columns(held, team)
    # Another version may compute other bits: its checkpoints would end elsewhere.
    versions = {name: importlib.metadata.version(name) for name in ("torch", "numpy")}
    digest = fingerprint(hyperparameters.to_public() | versions, data_digest)

    nothing = np.empty((0, shares.n_series))
    owned = [
        part[: piece.n_owned]
        for part, piece in zip(held.fitting, shares.fitting[held.rank], strict=True)
    ]
    scaler = Scaler.fit(owned or [nothing], team.add_up, team.lowest)
    for files, pieces, parts in (
        (shares.training, shares.calibrating, held.calibrating),
        (shares.validation, shares.validating, held.validating),
    ):
        for piece, part in zip(pieces[held.rank], parts, strict=True):
            check_range(files[piece.file].name, piece.first, part, scaler)
    for one in labelled or ():
        check_range(one.name, 0, one.read(), scaler)
    # Where rows are borrowed, the first sequence that counts starts after them.
    surplus = max(0, layout.n_borrowed - layout.context_length)
    selection = scaler.transform_all(
        held.validating
        if shares.validation
        else [part[surplus:] for part in held.calibrating]
    )
    checkpoints = None
    if checkpoint_dir and team.rank == 0:
        checkpoints = CheckpointFolder(checkpoint_dir, digest)
    trained = train_network(
        scaler.transform_all(held.fitting),
        selection,
        is_validation=bool(shares.validation),
        hyperparameters=hyperparameters,
        control=control,
        checkpoints=checkpoints,
        team=team,
        whereabouts=Whereabouts.of(shares),
    )
    runtime = export(trained.network)
    difference = 0.0
    if len(selection.n_timesteps):
        difference = export_difference(trained.network, runtime, selection.series(0))

    reconstructor = Reconstructor(scaler, runtime, Cores(torch.get_num_threads()))
    errors = [reconstructor.errors(part) for part in held.calibrating]
    n_errors = shares.n_series * layout.n_reconstructions
    errors = errors or [np.empty((0, n_errors))]
    all_errors = np.concatenate(errors)
    caution = WIDE if layout.is_overlapping else MAXIMUM_LIKELIHOOD
    gaussian = Gaussian.fit(all_errors, scaler.scale, caution, add_up=team.add_up)
    smoothing = hyperparameters.score_smoothing
    runs = Runs.of(shares, held.rank, layout)
    scores = held_out_scores(errors, scaler.scale, caution, smoothing, runs, team)
    by_series = all_errors.reshape(-1, layout.n_reconstructions, shares.n_series)
    mean_errors = by_series.mean(axis=1)
    every = runs.every(MAX_NUMBERS // (2 + shares.n_series))
    file = np.repeat(runs.file, runs.length)
    table = runs.gathered(np.column_stack([file, scores, mean_errors]), every, team)
    calibration_scores = table[:, 1].copy()
    decision = decide(
        calibration_scores,
        table[:, 2:],
        hyperparameters.max_alarm_rate,
        lengths=np.unique(table[:, 0], return_counts=True)[1].tolist(),
    )
    detector = LSTMAD(reconstructor, gaussian, decision, smoothing)
    if labelled is not None:
        found = choose_threshold(detector, labelled, team.gather)
        decision = dataclasses.replace(decision, labelled=found)
        detector = dataclasses.replace(detector, decision=decision)
    # Of a piece, what is held after its last row is the next one's to evaluate.
    evaluated = [
        part[: piece.n_owned + layout.n_unscored]
        for part, piece in zip(held.fitting, shares.fitting[held.rank], strict=True)
        if piece.n_held > layout.n_unscored
    ]
    evaluations = {"train": evaluated, "valid": held.validating}
    if not shares.validation:
        del evaluations["valid"]
    evaluations["calibration"] = held.calibrating
    losses = {k: reconstructor.evaluate(p, team.add_up) for k, p in evaluations.items()}
    n_training = sum(file.n_timesteps for file in shares.training)
    result = Fit(
        detector=detector,
        hyperparameters=hyperparameters,
        precision=trained.precision,
        export_difference=difference,
        weights={k: v.numpy() for k, v in trained.network.state_dict().items()},
        losses=losses,
        repeated=_repeat_last_value(selection, layout, team),
        history=trained.history,
        best_epoch=trained.best_epoch,
        n_rows={
            "train": sum(shares.cuts),
            "valid": shares.n_validating,
            "calibration": n_training - sum(shares.cuts),
        },
        calibration_scores=calibration_scores,
        calibration_errors=runs.gathered(all_errors, runs.every(MAX_KEPT_ERRORS), team),
        data_digest=data_digest,
        fingerprint=digest,
    )
    _compare(result)
    return result


def _refuse_index_columns(held: Held, team: Team) -> None:
    """Refuse files whose first column counts the rows, each process in its pieces."""
    shares = held.shares
    counting: dict[tuple[str, int], float] = {}
    others: set[tuple[str, int]] = set()
    for channel, pieces, parts in (
        ("training", shares.fitting, held.fitting),
        ("training", shares.calibrating, held.calibrating),
        ("validation", shares.validating, held.validating),
    ):
        for piece, part in zip(pieces[held.rank], parts, strict=True):
            if counts_rows(part, piece.first):
                counting[channel, piece.file] = part[0, 0] - piece.first
            else:
                others.add((channel, piece.file))
    everything = team.gather((counting, others))
    found = dict(pair for one, _ in everything for pair in one.items())
    for key in sorted(set(found).difference(*(other for _, other in everything))):
        channel, number = key
        file = (shares.training if channel == "training" else shares.validation)[number]
        raise index_column(file.name, file.n_timesteps, found[key])


def _repeat_last_value(selection: Rows, layout: Layout, team: Team) -> Loss:
    """Return the loss of repeating the row before each sequence all through it."""

    def errors() -> Iterator[FloatArray]:
        """Yield the errors, a bounded number of rows at a time."""
        step = _BLOCK_SEQUENCES * layout.stride
        for index in range(len(selection.n_timesteps)):
            series = selection.series(index).astype(np.float64)
            for start in range(0, len(series) - layout.context_length, step):
                first = start + layout.context_length
                last = series[first - 1 : first - 1 + step : layout.stride]  # (N, D)
                for lead in range(layout.prediction_length):
                    targets = series[first + lead : first + lead + step : layout.stride]
                    yield targets - last[: len(targets)]

    return Loss.of(errors(), team.add_up)


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
