import io
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_ad.losses import EpochMetrics, Loss
from lstm_ad.training.checkpoints import (
    KEPT,
    Checkpoint,
    CheckpointFolder,
    fingerprint,
)

FINGERPRINT = "0123456789abcdef" * 4
STEM = "checkpoint-0123456789ab-epoch-"


def make_checkpoint(epoch: int) -> Checkpoint:
    """Return a checkpoint after an epoch, its numbers different from any other's."""
    random = np.random.default_rng(epoch)
    history = tuple(
        EpochMetrics(number, Loss(*random.random(2)), None, Loss(*random.random(2)))
        for number in range(1, epoch + 1)
    )
    arrays = {
        "network.weight": random.normal(size=(3, 2)).astype(np.float32),
        "best.weight": random.normal(size=(3, 2)).astype(np.float32),
        "optimiser.0.step": np.float32(epoch),
    }
    return Checkpoint(best_epoch=1, history=history, arrays=arrays)


def contents(checkpoint: Checkpoint | None) -> tuple[Any, ...]:
    """Return all that a checkpoint holds, arrays byte for byte."""
    assert checkpoint is not None
    arrays = {
        name: (np.shape(array), np.asarray(array).tobytes())
        for name, array in checkpoint.arrays.items()
    }
    return checkpoint.best_epoch, checkpoint.history, arrays


def file_of(folder: CheckpointFolder, epoch: int) -> Path:
    """Return where the checkpoint after an epoch is."""
    return folder.path / f"{STEM}{epoch:07d}.safetensors"


def names(path: Path) -> list[str]:
    """Return the names of all files of a folder, in order."""
    return sorted(file.name for file in path.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    """Return a folder that is not there yet."""
    return CheckpointFolder(tmp_path / "checkpoints", FINGERPRINT)


def test_what_was_saved_is_what_is_loaded(folder: CheckpointFolder) -> None:
    """Bit by bit, and the losses to their last digit."""
    folder.save(make_checkpoint(3))

    assert contents(folder.latest()) == contents(make_checkpoint(3))


def test_a_folder_without_checkpoints_has_no_latest(
    folder: CheckpointFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it is empty or not there, and there is nothing to report."""
    assert folder.latest() is None
    folder.path.mkdir()
    assert folder.latest() is None
    assert caplog.messages == []


def test_only_the_last_checkpoints_stay(folder: CheckpointFolder) -> None:
    """The ones before serve nobody any more."""
    for epoch in (1, 2, 5, 9):
        folder.save(make_checkpoint(epoch))

    assert KEPT == 2
    assert names(folder.path) == [file_of(folder, 5).name, file_of(folder, 9).name]
    assert contents(folder.latest()) == contents(make_checkpoint(9))


def test_files_of_others_are_left_alone(folder: CheckpointFolder) -> None:
    """The folder may hold another job's checkpoints and anything else."""
    other = CheckpointFolder(folder.path, "f" * 64)
    other.save(make_checkpoint(7))
    (folder.path / "notes.txt").write_text("keep me")
    foreign = names(folder.path)

    for epoch in (1, 2, 3):
        folder.save(make_checkpoint(epoch))

    assert set(foreign) < set(names(folder.path))
    assert len(names(folder.path)) == len(foreign) + KEPT
    assert (folder.path / "notes.txt").read_text() == "keep me"
    assert contents(other.latest()) == contents(make_checkpoint(7))


def test_a_checkpoint_of_another_job_is_refused_with_its_reason(
    folder: CheckpointFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """Other data, hyperparameters or versions: training starts afresh."""
    CheckpointFolder(folder.path, "f" * 64).save(make_checkpoint(7))

    assert folder.latest() is None
    (message,) = caplog.messages
    assert message.startswith(f"The checkpoint {folder.path}/checkpoint-ffffffffffff")
    assert message.endswith("written for other data, hyperparameters or versions.")


def test_markers_and_dot_files_are_ignored(
    folder: CheckpointFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """They are no checkpoints, and nothing that the log has to mention."""
    folder.save(make_checkpoint(3))
    later = file_of(folder, 9)
    for marker in ("uploading", "uploaded", "ignore"):
        Path(f"{later}.sagemaker-{marker}").write_bytes(b"")
    for name in (f".{later.name}", ".sagemaker-uploading", "checkpoint-latest"):
        (folder.path / name).write_bytes(b"")

    assert contents(folder.latest()) == contents(make_checkpoint(3))
    assert caplog.messages == []


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, -100, -1])
def test_a_torn_checkpoint_gives_way_to_the_one_before(
    folder: CheckpointFolder, length: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Cut off anywhere, it is refused as a whole, and the log says which file it is."""
    folder.save(make_checkpoint(3))
    folder.save(make_checkpoint(4))
    torn = file_of(folder, 4)
    torn.write_bytes(torn.read_bytes()[:length])

    assert contents(folder.latest()) == contents(make_checkpoint(3))
    (message,) = caplog.messages
    assert message.startswith(f"The checkpoint {torn} is not used: it is damaged (")


def test_a_flipped_bit_anywhere_is_found(
    folder: CheckpointFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """In the arrays, in the losses, in the epoch, in the header: one bit per byte."""
    folder.save(make_checkpoint(2))
    path = file_of(folder, 2)
    whole = path.read_bytes()
    bits = np.random.default_rng(0).integers(0, 8, size=len(whole))

    accepted = []
    for position, bit in enumerate(bits.tolist()):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << bit
        path.write_bytes(flipped)
        accepted += [position] if folder.latest() else []

    assert accepted == []
    assert len(caplog.messages) == len(whole)
    path.write_bytes(whole)
    assert contents(folder.latest()) == contents(make_checkpoint(2))


@pytest.mark.parametrize(
    ("writer", "name"), [(FINGERPRINT, 8), (FINGERPRINT[:12] + "f" * 52, 2)]
)
def test_a_checkpoint_under_another_name_is_refused(
    folder: CheckpointFolder, writer: str, name: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Of another epoch, or of another job: a name holds the fingerprint's start."""
    CheckpointFolder(folder.path, writer).save(make_checkpoint(2))
    file_of(folder, 2).rename(file_of(folder, name))

    assert folder.latest() is None
    assert "its name and its contents differ" in caplog.messages[0]


def test_a_folder_of_a_checkpoints_name_is_refused(folder: CheckpointFolder) -> None:
    """Whatever it is, it cannot end the job."""
    folder.save(make_checkpoint(1))
    file_of(folder, 2).mkdir()

    assert contents(folder.latest()) == contents(make_checkpoint(1))


def test_damaged_checkpoints_do_not_displace_good_ones(
    folder: CheckpointFolder,
) -> None:
    """After going back behind two torn ones, the new ones count as the last."""
    folder.save(make_checkpoint(5))
    for epoch in (8, 9):
        file_of(folder, epoch).write_bytes(b"torn")
    assert contents(folder.latest()) == contents(make_checkpoint(5))

    folder.save(make_checkpoint(6))

    assert names(folder.path) == [file_of(folder, 5).name, file_of(folder, 6).name]
    assert contents(folder.latest()) == contents(make_checkpoint(6))


class Killed(BaseException):
    """Stands for SIGKILL: no code of ours catches it."""


class TornStream(io.BufferedWriter):
    """Writes half of what it is given, and then there is nobody left."""

    def write(self, data: Any) -> int:
        """Write the first half."""
        super().write(data[: len(data) // 2])
        raise Killed


def kill_before(operation: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the operating system's file functions fail from the given call on.

    Returns:
        The names of the calls so far.
    """
    calls: list[str] = []

    def counted(module: Any, name: str) -> None:
        """Count the calls of one function of the operating system."""
        function = getattr(module, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            if len(calls) > operation:
                raise Killed
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, call)

    for name in ("mkdir", "fsync", "replace", "unlink"):
        counted(os, name)
    counted(io, "open")
    return calls


def test_killed_between_any_two_file_operations_a_whole_checkpoint_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one is the one before or the new one, never a part of it."""
    with monkeypatch.context() as patch:
        calls = kill_before(10**6, patch)
        fill(tmp_path / "whole", last=4)
    n_operations = len(calls)
    with monkeypatch.context() as patch:
        calls = kill_before(10**6, patch)
        fill(tmp_path / "three", last=3)
    n_before = len(calls)
    found = []

    for operation in range(n_before, n_operations):
        path = tmp_path / f"killed-{operation}"
        with monkeypatch.context() as patch:
            kill_before(operation, patch)
            with pytest.raises(Killed):
                fill(path, last=4)
        found.append(check_survivor(path))

    assert calls[-5:] == ["mkdir", "open", "fsync", "replace", "unlink"]
    assert found == [3, 3, 3, 3, 4]


def test_killed_within_the_write_the_checkpoint_before_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a checkpoint has no final name."""
    path = tmp_path / "checkpoints"
    fill(path, last=3)
    folder = CheckpointFolder(path, FINGERPRINT)
    with monkeypatch.context() as patch:
        patch.setattr(io, "open", lambda file, *_: TornStream(io.FileIO(file, "wb")))
        with pytest.raises(Killed):
            folder.save(make_checkpoint(4))

    assert [name for name in names(path) if name.endswith(".sagemaker-ignore")]
    assert check_survivor(path) == 3


def fill(path: Path, last: int) -> None:
    """Save a checkpoint after each epoch up to the last one."""
    folder = CheckpointFolder(path, FINGERPRINT)
    for epoch in range(1, last + 1):
        folder.save(make_checkpoint(epoch))


def check_survivor(path: Path) -> int:
    """Return the epoch of the last checkpoint; what follows must work as ever."""
    folder = CheckpointFolder(path, FINGERPRINT)
    latest = folder.latest()
    assert latest is not None
    assert contents(latest) == contents(make_checkpoint(latest.epoch))
    folder.save(make_checkpoint(5))
    assert names(path) == [
        file_of(folder, latest.epoch).name,
        file_of(folder, 5).name,
    ]
    return latest.epoch


def test_a_folder_that_is_a_file_is_a_warning_when_read_and_one_when_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Training starts afresh and goes on; what fails in every epoch is said once."""
    path = tmp_path / "checkpoints"
    path.write_text("")
    folder = CheckpointFolder(path, FINGERPRINT)

    assert folder.latest() is None
    for epoch in (1, 2, 3):
        folder.save(make_checkpoint(epoch))

    assert caplog.messages == [
        f"The checkpoints in {path} cannot be read: Not a directory.",
        f"The checkpoint of epoch 1 cannot be written to {path}: File exists. "
        f"Training goes on without it.",
    ]


def test_what_does_not_fit_on_the_disk_is_a_warning_and_leaves_no_part(
    folder: CheckpointFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """A limit on the size of files stands for the full disk."""
    folder.save(make_checkpoint(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        folder.save(make_checkpoint(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert "File too large. Training goes on without it." in caplog.messages[0]
    assert names(folder.path) == [file_of(folder, 1).name]
    folder.save(make_checkpoint(3))
    assert contents(folder.latest()) == contents(make_checkpoint(3))


@pytest.mark.parametrize(("lr", "data"), [(0.02, "d"), (0.01, "e")])
def test_any_other_setting_or_data_has_another_fingerprint(
    lr: float, data: str
) -> None:
    """So another job's checkpoint is never taken for one's own."""
    assert fingerprint({"lr": lr}, data) != fingerprint({"lr": 0.01}, "d")
