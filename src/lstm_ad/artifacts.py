"""Save a fitted detector to a folder, and load it again without torch.

====================== ==============================================================
file                   what it holds
====================== ==============================================================
network.onnx           the LSTM as the server runs it
weights.safetensors    the LSTM's parameters by their torch names
statistics.safetensors the arrays of the scaler, the Gaussian and the decision, in
                       double precision
model.json             what a person wants to know, and the SHA-256 of the others
====================== ==============================================================

``model.json`` is written last: a folder without it was never finished.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from lstm_ad.axes import FloatArray, Weights
from lstm_ad.exceptions import ArtifactError
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.losses import EpochMetrics, Loss
from lstm_ad.model.runtime import OnnxNetwork
from lstm_ad.model.scaling import Scaler
from lstm_ad.parallel import Cores
from lstm_ad.scoring.detector import LSTMAD
from lstm_ad.scoring.gaussian import Gaussian
from lstm_ad.scoring.reconstruction import Reconstructor
from lstm_ad.threshold.decision import Decision, LabelledThreshold
from lstm_ad.threshold.tail import N_LEVELS, Tail

FORMAT_VERSION = 2

NETWORK = "network.onnx"
WEIGHTS = "weights.safetensors"
STATISTICS = "statistics.safetensors"
DESCRIPTION = "model.json"

_PACKAGES = ("torch", "onnxruntime", "numpy")
"""The packages whose versions decide a model's numbers."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """A fitted detector, and what there is to know about it."""

    detector: LSTMAD
    """What scores."""
    hyperparameters: Hyperparameters
    """The settings it was fitted with."""
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
    """The epoch whose weights were saved."""
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


def save(model_dir: Path, fit: Fit) -> None:
    """Write a fitted detector to ``model_dir``, which is made if it is not there.

    Raises:
        ArtifactError: If the folder cannot be written.
    """
    scaler = fit.detector.reconstructor.scaler
    gaussian = fit.detector.gaussian
    decision = fit.detector.decision
    statistics = {
        "scaler.mean": scaler.mean,
        "scaler.scale": scaler.scale,
        "gaussian.mean": gaussian.mean,
        "gaussian.covariance": gaussian.covariance,
        "decision.tail.body": decision.tail.body,
        "decision.error_range": decision.error_range,
    }
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


def load(model_dir: Path, n_threads: int = 1) -> LSTMAD:
    """Return the detector that :func:`save` wrote to ``model_dir``.

    Args:
        model_dir: The folder.
        n_threads: How many threads compute.

    Raises:
        ArtifactError: If a file is missing, damaged or of another format version, or
            if the arrays do not fit together. The message names the file.
    """
    document = describe(model_dir)
    files = {
        name: _verified(model_dir / name, digest)
        for name, digest in document["sha256"].items()
    }
    try:
        statistics = load_arrays(files[STATISTICS])
        network = OnnxNetwork(files[NETWORK])
    except (KeyError, SafetensorError, ArtifactError) as error:
        raise ArtifactError(f"The model in {model_dir} is damaged: {error}") from error
    n_series, layout = document["n_series"], document["layout"]
    found = _spelled(network.n_series, dataclasses.asdict(network.layout))
    if found != (declared := _spelled(n_series, layout)):
        raise ArtifactError(
            f"{model_dir / NETWORK} does not fit {DESCRIPTION}: it was made for "
            f"{found}, but {declared} are declared."
        )
    n_errors = n_series * network.layout.n_reconstructions

    def array(name: str, *shape: int) -> FloatArray:
        """Return an array of the statistics, refused if it has another shape."""
        found = statistics.get(name)
        if found is None or found.shape != shape or not np.isfinite(found).all():
            state = "missing"
            if found is not None:
                is_finite = bool(np.isfinite(found).all())
                state = f"{'' if is_finite else 'not '}finite, of shape {found.shape}"
            raise ArtifactError(
                f"{model_dir / STATISTICS}: {name} is {state}, but finite numbers of "
                f"shape {shape} are needed."
            )
        return found

    return LSTMAD(
        Reconstructor(
            Scaler(array("scaler.mean", n_series), array("scaler.scale", n_series)),
            network,
            Cores(n_threads),
        ),
        Gaussian(
            array("gaussian.mean", n_errors),
            array("gaussian.covariance", n_errors, n_errors),
            document["error_bound"],
        ),
        _decision(
            model_dir / DESCRIPTION,
            document["decision"],
            array("decision.tail.body", N_LEVELS),
            array("decision.error_range", 2, n_series),
        ),
        document["score_smoothing"],
    )


def describe(model_dir: Path) -> dict[str, Any]:
    """Return ``model.json`` of a folder, its format version checked.

    Raises:
        ArtifactError: If it is missing, no JSON object, or of another version.
    """
    path = model_dir / DESCRIPTION
    try:
        document = json.loads(_read(path))
    except ValueError as error:
        raise ArtifactError(f"{path} is no JSON document: {error}.") from error
    version = document.get("format_version") if isinstance(document, dict) else None
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format version {version}, but this product reads version "
            f"{FORMAT_VERSION}: train the model again, or serve it with the image "
            f"that trained it."
        )
    needed = {"n_series", "layout", "score_smoothing", "error_bound", "sha256"}
    needed |= {"decision"}
    if missing := sorted(needed - set(document)):
        raise ArtifactError(f"{path} is incomplete: {', '.join(missing)} is missing.")
    return dict(document)


def _described(decision: Decision) -> dict[str, Any]:
    """Return a decision as JSON, but for its arrays."""
    described = dataclasses.asdict(decision)
    del described["error_range"], described["tail"]["body"]
    return described


def _decision(
    path: Path, described: Any, body: FloatArray, error_range: FloatArray
) -> Decision:
    """Return the decision that :func:`_described` and two arrays describe.

    Args:
        path: The file that describes it.
        described: What it says.
        body: See :attr:`Tail.body`.
        error_range: See :attr:`Decision.error_range`.
    """
    try:
        numbers = dict(described)
        (low, high), tail = numbers.pop("interval"), numbers.pop("tail")
        labelled = numbers.pop("labelled")
        decision = Decision(
            interval=(low, high),
            tail=Tail(body, **tail),
            error_range=error_range,
            labelled=labelled and LabelledThreshold(**labelled),
            **numbers,
        )
        parts = [numbers, tail, labelled or {}]
        found = [low, high, *(value for part in parts for value in part.values())]
        if not all(map(math.isfinite, found)):
            raise ValueError("a number is not finite")
        if not (tail["scale"] > 0 < tail["fraction"] < 1 > decision.max_alarm_rate > 0):
            raise ValueError("a number is out of its range")
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: the decision cannot be used: {error}.") from error
    return decision


def _spelled(n_series: Any, layout: Mapping[str, Any]) -> str:
    """Return in words what a network was made for."""
    lengths = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in layout.items())
    return f"{n_series} series ({lengths})"


def _description(fit: Fit, files: Mapping[str, bytes]) -> bytes:
    """Return the text of ``model.json``."""
    network = fit.detector.reconstructor.network
    document = {
        "format_version": FORMAT_VERSION,
        "n_series": network.n_series,
        "layout": dataclasses.asdict(network.layout),
        "score_smoothing": fit.detector.smoothing,
        "error_bound": fit.detector.gaussian.bound,
        "decision": _described(fit.detector.decision),
        "hyperparameters": fit.hyperparameters.to_public(),
        "rows": dict(fit.n_rows),
        "epochs": len(fit.history),
        "best_epoch": fit.best_epoch,
        "losses": {
            name: dataclasses.asdict(loss)
            for name, loss in [*fit.losses.items(), ("repeat_last_value", fit.repeated)]
        },
        "data_digest": fit.data_digest,
        "fingerprint": fit.fingerprint,
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "sha256": {
            name: hashlib.sha256(data).hexdigest() for name, data in files.items()
        },
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def _verified(path: Path, digest: str) -> bytes:
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
