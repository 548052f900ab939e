"""Save a fitted detector to a folder, and load it again without torch.

====================== ==============================================================
file                   what it holds
====================== ==============================================================
network.onnx           the LSTM as the server runs it
weights.safetensors    the LSTM's parameters by their torch names
statistics.safetensors the arrays of the scaler, the Gaussian and the decision, in
                       double precision
model.json             what a person wants to know, the SHA-256 of the others, and one
                       of its own fields: a threshold is not changed by hand
====================== ==============================================================

``model.json`` is written last: a folder without it was never finished.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from lstm_ad import model_json
from lstm_ad.axes import FloatArray, Weights
from lstm_ad.exceptions import ArtifactError
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.losses import EpochMetrics, Loss
from lstm_ad.model.layout import Layout
from lstm_ad.model.runtime import OnnxNetwork
from lstm_ad.model.scaling import Scaler
from lstm_ad.model_json import DESCRIPTION, NETWORK, STATISTICS, WEIGHTS
from lstm_ad.parallel import Cores
from lstm_ad.scoring.detector import LSTMAD
from lstm_ad.scoring.gaussian import Gaussian
from lstm_ad.scoring.reconstruction import Reconstructor
from lstm_ad.scoring.regime import Seen
from lstm_ad.scoring.scan import Scan
from lstm_ad.threshold.tail import N_LEVELS

_LEVEL = ("level.mean", "level.scale")
"""The arrays that only a model has whose scaler is that of the one it came from."""

_SEEN = ("seen.low", "seen.high")
"""The arrays that only a model has that looks for unseen regimes."""

_PACKAGES = ("torch", "onnxruntime", "numpy")
"""The packages whose versions decide a model's numbers."""


@dataclasses.dataclass(frozen=True)
class Rival:
    """The model that a job started from, measured on the rows of the job.

    The rows are those of the validation series or else those of the calibration parts.
    """

    digest: str
    """That of its ``model.json``."""
    part: str
    """Which rows these are: ``valid`` or ``calibration``."""
    loss: Loss
    """Of its reconstructions, in the standardised units of the fitted detector."""
    new_loss: Loss
    """Likewise, of those of the fitted detector."""
    alarm_rate: float
    """The fraction of the rows that are alarms by its threshold."""
    new_alarm_rate: float
    """Likewise, of the fitted detector."""
    n_rows: int
    """How many rows have a score."""
    spread: float
    """The loss of repeating the mean that each series has there."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """A fitted detector, and what there is to know about it."""

    detector: LSTMAD
    """What scores."""
    hyperparameters: Hyperparameters
    """The settings it was fitted with."""
    precision: str
    """The precision the network was trained with: fp32 where the hardware has no
    bf16, whatever was asked for."""
    export_difference: float
    """See :func:`lstm_ad.model.export.export_difference`."""
    weights: Weights
    """The network's parameters by their torch names: what training continues from."""
    losses: Mapping[str, Loss]
    """Of the saved network: ``train`` on the rows that fitted it, ``valid`` if there
    are validation series, and ``calibration`` on the rows that fitted the Gaussian."""
    repeated: Loss
    """Of repeating the last value of each sequence, on the validation series or else on
    the calibration parts: what a model has to beat."""
    history: Sequence[EpochMetrics]
    """The metrics of every epoch."""
    best_epoch: int
    """The epoch whose weights were saved; 0 for those that training began with."""
    n_rows: Mapping[str, int]
    """How many rows fitted the LSTM, gave the Gaussian its errors, and validated."""
    calibration_scores: FloatArray
    """The scores that the decision was learnt from: those of all calibration parts, of
    shape ``(n,)``, in order, each under a Gaussian that was fitted to other rows."""
    calibration_errors: FloatArray
    """Error vectors of the calibration parts, in the units of the series, of shape
    ``(m, K * D)``: all of them, or if there are many, some at equal distances."""
    data_digest: str
    """A digest of the values of all series, by channel and name of the file."""
    fingerprint: str
    """A digest of that, the hyperparameters and the versions: what checkpoints fit."""
    parent: Rival | None = None
    """The model that training started from; None if it started afresh."""


def save(model_dir: Path, fit: Fit) -> None:
    """Write a fitted detector to ``model_dir``, which is made if it is not there.

    Raises:
        ArtifactError: If the folder cannot be written.
    """
    scaler = fit.detector.reconstructor.scaler
    gaussian = fit.detector.gaussian
    decision = fit.detector.decision
    ratios = fit.detector.reconstructor.outage_ratios
    assert ratios is not None  # they were measured
    statistics = {
        "scaler.mean": scaler.mean,
        "scaler.scale": scaler.scale,
        "gaussian.mean": gaussian.mean,
        "gaussian.covariance": gaussian.covariance,
        "outages.ratios": ratios,
        "scan.levels": fit.detector.scan.levels,
        "decision.tail.body": decision.tail.body,
        "decision.error_range": decision.error_range,
    }
    if (level := fit.detector.own_level) is not None:
        statistics |= {_LEVEL[0]: level.mean, _LEVEL[1]: level.scale}
    if (seen := fit.detector.seen) is not None:
        statistics |= {_SEEN[0]: seen.low, _SEEN[1]: seen.high}
    files = {
        NETWORK: fit.detector.reconstructor.network.model,
        WEIGHTS: save_arrays(dict(fit.weights)),
        STATISTICS: save_arrays(statistics),
    }
    files[DESCRIPTION] = _description(fit, files)
    try:
        model_dir.mkdir(parents=True, exist_ok=True)
        (model_dir / DESCRIPTION).unlink(missing_ok=True)
        for name, data in files.items():
            (model_dir / name).write_bytes(data)
    except OSError as error:
        # What is not finished is no model, and on a full disk it takes the room that
        # the failure reason needs.
        with contextlib.suppress(OSError):
            for name in files:
                (model_dir / name).unlink(missing_ok=True)
        raise ArtifactError(
            f"The model cannot be written to {model_dir}: {error.strerror}."
        ) from error


def load(model_dir: Path, cores: Cores | None = None, gpu: int = 0) -> LSTMAD:
    """Return the detector that :func:`save` wrote to ``model_dir``.

    Args:
        model_dir: The folder.
        cores: The threads that compute, which several models may share; by default a
            thread of its own.
        gpu: The number of the GPU that computes, if there are any.

    Raises:
        ArtifactError: If a file is missing, damaged, changed or of another format
            version, or if the arrays do not fit together. The message names the file.
    """
    path = model_dir / DESCRIPTION
    document = model_json.parse(path, _read(path))
    digests = model_json.digests(path, document)
    files = {
        name: _verified(model_dir / name, digests.get(name))
        for name in (NETWORK, WEIGHTS, STATISTICS)
    }
    try:
        network = OnnxNetwork(files[NETWORK], gpu)
        statistics = load_arrays(files[STATISTICS])
    except (SafetensorError, ArtifactError) as error:
        raise ArtifactError(f"The model in {model_dir} is damaged: {error}") from error
    arrays = _arrays(model_dir / STATISTICS, statistics, network)
    described = model_json.describe(path, document, arrays)
    _refuse_misfits(model_dir, described, network)
    return LSTMAD(
        Reconstructor(
            Scaler(arrays["scaler.mean"], arrays["scaler.scale"]),
            network,
            cores or Cores(),
            has_level=described.n_level_entries > 0,
            max_gap=described.max_gap,
            outage_ratios=arrays["outages.ratios"],
        ),
        Gaussian(
            arrays["gaussian.mean"],
            arrays["gaussian.covariance"],
            described.huber_corner,
        ),
        described.decision,
        Scan(
            described.shortest_window,
            arrays["scan.levels"],
            described.adaptation_rows,
        ),
        described.schema,
        Scaler(*(arrays[name] for name in _LEVEL)) if _LEVEL[0] in arrays else None,
        described.off_when,
        Seen(*(arrays[name] for name in _SEEN)) if _SEEN[0] in arrays else None,
        described.missing_codes,
    )


def _refuse_misfits(
    model_dir: Path, described: model_json.Description, network: OnnxNetwork
) -> None:
    """Refuse a description that does not fit the network, or itself.

    Raises:
        ArtifactError: If it does not.
    """
    found = _spelled(network.n_series, network.layout)
    if found != (declared := _spelled(described.n_series, described.layout)):
        raise ArtifactError(
            f"{model_dir / NETWORK} does not fit {DESCRIPTION}: it was made for "
            f"{found}, but {declared} are declared."
        )
    n_named = len(described.schema.series)
    problem = None
    if n_named != network.n_series:
        problem = (
            f"schema: it has {n_named} series, but n_series is {network.n_series}."
        )
    elif any(one.series >= n_named for one in described.off_when):
        problem = f"off_when: there is no such series, but {n_named}."
    if problem:
        raise ArtifactError(f"{model_dir / DESCRIPTION} is damaged: {problem}")


def identity(model_dir: Path) -> model_json.Identity:
    """Return which model :func:`save` wrote to ``model_dir``.

    Raises:
        ArtifactError: As :func:`load`.
    """
    path = model_dir / DESCRIPTION
    return model_json.identity(path, model_json.parse(path, _read(path)))


def _arrays(
    path: Path, statistics: Mapping[str, FloatArray], network: OnnxNetwork
) -> dict[str, FloatArray]:
    """Return the arrays of the statistics, refused if they do not fit the network."""
    n_series = network.n_series
    n_errors = n_series * network.layout.n_reconstructions
    if np.size(statistics.get("gaussian.mean", 0)) == n_errors + n_series:
        n_errors += n_series  # with the changes of level
    n_lengths = len(np.atleast_1d(statistics.get("scan.levels", [])))
    shapes = {
        "scaler.mean": (n_series,),
        "scaler.scale": (n_series,),
        "gaussian.mean": (n_errors,),
        "gaussian.covariance": (n_errors, n_errors),
        "outages.ratios": (n_series,),
        "scan.levels": (max(n_lengths, 1),),
        "decision.tail.body": (N_LEVELS,),
        "decision.error_range": (2, n_series),
    }
    for names in (_LEVEL, _SEEN):
        if any(name in statistics for name in names):
            shapes |= dict.fromkeys(names, (n_series,))
    for name, shape in shapes.items():
        found = statistics.get(name)
        if found is None or found.shape != shape or not np.isfinite(found).all():
            state = "missing"
            if found is not None:
                is_finite = bool(np.isfinite(found).all())
                state = f"{'' if is_finite else 'not '}finite, of shape {found.shape}"
            raise ArtifactError(
                f"{path}: {name} is {state}, but finite numbers of shape {shape} are "
                f"needed."
            )
    return {name: statistics[name] for name in shapes}


def _spelled(n_series: int, layout: Layout) -> str:
    """Return in words what a network was made for."""
    values = dataclasses.asdict(layout).items()
    lengths = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in values)
    return f"{n_series} series ({lengths})"


def _description(fit: Fit, files: Mapping[str, bytes]) -> bytes:
    """Return the text of ``model.json``."""
    network = fit.detector.reconstructor.network
    off_when = [dataclasses.asdict(one) for one in fit.detector.off_when]
    codes = fit.detector.missing_codes
    document = {
        "n_series": network.n_series,
        "layout": dataclasses.asdict(network.layout),
        "shortest_window": fit.detector.scan.shortest,
        "n_level_entries": (
            len(fit.detector.gaussian.mean)
            - network.n_series * network.layout.n_reconstructions
        ),
        "max_gap": fit.detector.reconstructor.max_gap,
        "adaptation_rows": fit.detector.scan.adaptation_rows,
        "huber_corner": fit.detector.gaussian.corner,
        "schema": dataclasses.asdict(fit.detector.schema),
        **({"off_when": off_when} if off_when else {}),
        **({"missing_codes": list(codes)} if codes else {}),
        "decision": model_json.without_arrays(fit.detector.decision),
        "hyperparameters": fit.hyperparameters.to_public(),
        "precision": fit.precision,
        "rows": dict(fit.n_rows),
        "epochs": len(fit.history),
        "best_epoch": fit.best_epoch,
        "losses": {
            name: dataclasses.asdict(loss)
            for name, loss in [*fit.losses.items(), ("repeat_last_value", fit.repeated)]
        },
        "data_digest": fit.data_digest,
        "fingerprint": fit.fingerprint,
        **({"parent": fit.parent.digest} if fit.parent else {}),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "sha256": {
            name: hashlib.sha256(data).hexdigest() for name, data in files.items()
        },
    }
    return model_json.text(document)


def _verified(path: Path, digest: str | None) -> bytes:
    """Return the bytes of a file, refused if they are not the ones that were saved."""
    data = _read(path)
    if hashlib.sha256(data).hexdigest() != digest:
        raise ArtifactError(
            f"{path} is damaged: its {len(data)} bytes are not the ones that "
            f"{DESCRIPTION} lists."
        )
    return data


def _read(path: Path) -> bytes:
    """Return the bytes of a file of the model folder."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}.") from error
