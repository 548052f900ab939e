"""Keep what training needs to go on after it was killed, and refuse what it cannot use.

A checkpoint is one safetensors file: the arrays of the network, the optimiser and the
best network so far, and, as metadata, the epoch, the losses up to it, a fingerprint of
the data and settings, and a digest. It is written under a temporary name that
SageMaker does not upload, and renamed, so that a file of the final name is whole. No
random states are kept: each epoch has its own seed (see ``training``).
"""

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

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint and remove the ones that it makes superfluous.

        A folder that cannot be written is no reason to lose the training that goes
        well: it is reported in the log.
        """
        final = self.path / f"{self._stem}{checkpoint.epoch:07d}.safetensors"
        unfinished = final.with_name(final.name + _UNFINISHED)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as stream:
                stream.write(self._encode(checkpoint))
                stream.flush()
                os.fsync(stream.fileno())
            unfinished.replace(final)
            for superfluous in self._files()[KEPT:]:
                superfluous.unlink()
        except OSError as error:
            logger.warning(
                "The checkpoint of epoch %d cannot be written to %s: %s. Training goes "
                "on without it.",
                checkpoint.epoch,
                self.path,
                error.strerror,
            )

    def latest(self) -> Checkpoint | None:
        """Return the last checkpoint that is whole and fits, or None.

        Every file that is not used is named in the log, with the reason.
        """
        foreign = set(self.path.glob("checkpoint-*.safetensors")) - set(self._files())
        for path in sorted(foreign):
            logger.warning(
                "The checkpoint %s is not used: it was written for other data, "
                "hyperparameters or versions.",
                path,
            )
        for path in self._files():
            try:
                return self._decode(path)
            except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
                logger.warning(
                    "The checkpoint %s is not used: it is damaged (%s).", path, error
                )
        return None

    def _files(self) -> list[Path]:
        """Return the files of this job's finished checkpoints, the last one first."""
        name = re.compile(re.escape(self._stem) + r"\d+\.safetensors")
        paths = self.path.iterdir() if self.path.is_dir() else ()
        return sorted((p for p in paths if name.fullmatch(p.name)), reverse=True)

    def _encode(self, checkpoint: Checkpoint) -> bytes:
        """Return the bytes of a checkpoint."""
        arrays = {name: np.asarray(a) for name, a in checkpoint.arrays.items()}
        document = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "best_epoch": checkpoint.best_epoch,
            "history": [dataclasses.asdict(metrics) for metrics in checkpoint.history],
            "digest": _digest(arrays),
        }
        encoded: bytes = save(arrays, metadata={"document": json.dumps(document)})
        return encoded

    def _decode(self, path: Path) -> Checkpoint:
        """Return the checkpoint in a file; ValueError if it is not what was written."""
        with safe_open(path, framework="numpy") as file:
            document = json.loads(file.metadata()["document"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        if (document["format"], document["fingerprint"]) != (FORMAT, self.fingerprint):
            raise ValueError("its name and its fingerprint differ")
        if document["digest"] != _digest(arrays):
            raise ValueError("its digest differs")
        history = tuple(_metrics(entry) for entry in document["history"])
        return Checkpoint(document["best_epoch"], history, arrays)


def fingerprint(settings: Mapping[str, Any], series: Mapping[str, Arrays]) -> str:
    """Return a digest that differs if any setting or any value of the data does.

    Args:
        settings: Public names and values.
        series: The values of each file by its name, by channel.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for channel, files in sorted(series.items()):
        for name, values in sorted(files.items()):
            digest.update(f"{channel}/{name} {values.shape}".encode())
            digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _digest(arrays: Arrays) -> str:
    """Return a digest of arrays: their names, shapes, types and bytes."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _metrics(entry: Mapping[str, Any]) -> EpochMetrics:
    """Return the metrics of an epoch from their JSON form."""
    losses = {name: Loss(**entry[name]) if entry[name] else None for name in _LOSSES}
    return EpochMetrics(epoch=entry["epoch"], **losses)  # type: ignore[arg-type]


_LOSSES = ("train", "valid", "calibration")
