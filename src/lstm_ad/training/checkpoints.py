"""Keep what training needs to go on after it was killed, and refuse what it cannot use.

A checkpoint is one safetensors file: the arrays of the network, the optimiser and the
best network so far, and, as metadata, the epoch, the losses up to it, a fingerprint of
the data and settings, and a digest of all that. It is written under a temporary name
that SageMaker does not upload, and renamed, so that a file of the final name is whole.
No random states are kept: each epoch has its own seed (see ``training``).
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lstm_ad.losses import EpochMetrics, Loss

logger = logging.getLogger(__name__)

KEPT = 2
"""How many checkpoints stay: the one before the last serves should that be torn."""

FORMAT = "lstm-ad checkpoint 1"

_UNFINISHED = ".sagemaker-ignore"
"""SageMaker does not upload files whose names end like this."""

_FINISHED = re.compile(r"checkpoint-[0-9a-f]{12}-epoch-\d{7}\.safetensors")

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """All that training needs to go on after an epoch as if it had never stopped."""

    best_epoch: int
    """The epoch whose weights are the best so far."""
    history: tuple[EpochMetrics, ...]
    """The metrics of every epoch so far."""
    arrays: Arrays
    """The states of the network, of the optimiser and of the best network."""

    @property
    def epoch(self) -> int:
        """The number of epochs done."""
        return len(self.history)


class CheckpointFolder:
    """The checkpoints of one job in a folder that may hold others' files as well.

    Args:
        path: The folder; it is made if it is not there.
        fingerprint: What a checkpoint must have been written for: a digest of the
            data and settings.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self._stem = f"checkpoint-{fingerprint[:12]}-epoch-"
        self._is_failing = False

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint and remove the ones that it makes superfluous.

        A folder that cannot be written is no reason to lose the training that goes
        well: it is reported in the log, once until it works again.
        """
        final = self._file(checkpoint.epoch)
        unfinished = final.with_name(final.name + _UNFINISHED)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as stream:
                stream.write(self._encode(checkpoint))
                stream.flush()
                os.fsync(stream.fileno())
            unfinished.replace(final)
            self._tidy(checkpoint.epoch)
            self._is_failing = False
        except OSError as error:
            with contextlib.suppress(OSError):  # on a full disk, the model needs room
                unfinished.unlink(missing_ok=True)
            if not self._is_failing:
                logger.warning(
                    "The checkpoint of epoch %d cannot be written to %s: %s. Training "
                    "goes on without it.",
                    checkpoint.epoch,
                    self.path,
                    error.strerror or error,
                )
            self._is_failing = True

    def latest(self) -> Checkpoint | None:
        """Return the last checkpoint that is whole and fits, or None.

        Every file that is not used is named in the log, with the reason.
        """
        try:
            names = sorted(path.name for path in self.path.iterdir())
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning(
                "The checkpoints in %s cannot be read: %s.",
                self.path,
                error.strerror or error,
            )
            return None
        for name in names:
            if _FINISHED.fullmatch(name) and not name.startswith(self._stem):
                logger.warning(
                    "The checkpoint %s is not used: it was written for other data, "
                    "hyperparameters or versions.",
                    self.path / name,
                )
        for epoch in self._epochs():
            try:
                return self._decode(epoch)
            except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
                logger.warning(
                    "The checkpoint %s is not used: it is damaged (%s).",
                    self._file(epoch),
                    error,
                )
        return None

    def _file(self, epoch: int) -> Path:
        """Return the file of this job's finished checkpoint after an epoch."""
        return self.path / f"{self._stem}{epoch:07d}.safetensors"

    def _epochs(self) -> list[int]:
        """Return the epochs that this job has a finished checkpoint of, last first."""
        finished = re.compile(re.escape(self._stem) + r"(\d{7})\.safetensors")
        matches = (finished.fullmatch(path.name) for path in self.path.iterdir())
        return sorted((int(m[1]) for m in matches if m), reverse=True)

    def _tidy(self, epoch: int) -> None:
        """Remove this job's older checkpoints, and what was refused or not finished.

        A checkpoint of a later epoch is one that ``latest`` refused: it must not take
        the place of a good one.
        """
        kept = [e for e in self._epochs() if e <= epoch][:KEPT]
        for superfluous in set(self._epochs()) - set(kept):
            self._file(superfluous).unlink()
        for unfinished in self.path.glob(f"{self._stem}*{_UNFINISHED}"):
            unfinished.unlink()

    def _encode(self, checkpoint: Checkpoint) -> bytes:
        """Return the bytes of a checkpoint."""
        arrays = {name: np.asarray(a) for name, a in checkpoint.arrays.items()}
        document = json.dumps(
            {
                "format": FORMAT,
                "fingerprint": self.fingerprint,
                "best_epoch": checkpoint.best_epoch,
                "history": [dataclasses.asdict(m) for m in checkpoint.history],
            }
        )
        metadata = {"document": document, "digest": _digest(document, arrays)}
        encoded: bytes = save(arrays, metadata=metadata)
        return encoded

    def _decode(self, epoch: int) -> Checkpoint:
        """Return a checkpoint; ValueError if the file is not what was written."""
        with safe_open(self._file(epoch), framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        if metadata["digest"] != _digest(metadata["document"], arrays):
            raise ValueError("its digest differs")
        document = json.loads(metadata["document"])
        history = tuple(_metrics(entry) for entry in document["history"])
        found = (document["format"], document["fingerprint"], len(history))
        if found != (FORMAT, self.fingerprint, epoch):
            raise ValueError("its name and its contents differ")
        return Checkpoint(document["best_epoch"], history, arrays)


def fingerprint(settings: Mapping[str, Any], data_digest: str) -> str:
    """Return a digest that differs if any setting or the data does.

    Args:
        settings: Names and values of all that decides how training goes.
        data_digest: A digest of all names and values.
    """
    text = json.dumps([FORMAT, settings, data_digest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(document: str, arrays: Arrays) -> str:
    """Return a digest of a text and of arrays: names, shapes, types and bytes."""
    digest = hashlib.sha256(document.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _metrics(entry: Mapping[str, Any]) -> EpochMetrics:
    """Return the metrics of an epoch from their JSON form."""
    losses = {name: Loss(**entry[name]) if entry[name] else None for name in _LOSSES}
    return EpochMetrics(epoch=entry["epoch"], **losses)  # type: ignore[arg-type]


_LOSSES = ("train", "valid", "calibration")
