"""What SageMaker gives a training job: settings, files, hosts, and where output goes.

The JSON files are read here because sagemaker-training, in module mode, passes nothing
on.
"""

import dataclasses
import json
import re
import socket
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_ad.data.schema import Schema
from lstm_ad.exceptions import SettingError
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.warm_start import inherited, trained_with
from sagemaker_container.limits import Limits
from sagemaker_container.variables import (
    DEFAULT_BASE_DIR,
    THREADS,
    base_dir,
    n_threads,
    positive_integer,
    text,
)

DEFAULT_CHECKPOINT_DIR = f"{DEFAULT_BASE_DIR}/checkpoints"

SEQUENCES_PER_PROCESS = 4
"""Of each batch, at least: with fewer, a process takes as long for less."""

TRAINING = "training"
VALIDATION = "validation"
LABELS = "labels"
EXCLUDE = "exclude"
CHANNELS = {TRAINING: True, VALIDATION: False, LABELS: False, EXCLUDE: False}
"""The input channels, and whether a job must have them."""

SHARDED = "ShardedByS3Key"
"""How SageMaker calls files that it divides between hosts."""

MODEL = "model"
"""The channel of the model to start from: SageMaker's own name."""

DISTRIBUTED = "sagemaker_torch_distributed_enabled"
"""SageMaker's own switch, a hyperparameter: what the SDK's
``distribution={"torch_distributed": {"enabled": True}}`` sends."""

MASTER_PORT = "MASTER_PORT"
DEFAULT_MASTER_PORT = 7777
"""Where the first host answers the others, as SageMaker's own launcher has it."""

_PLATFORM_PREFIX = "sagemaker_"
_PLATFORM_NAMES = {"_tuning_objective_metric"}

_MARKERS = (".sagemaker-uploading", ".sagemaker-uploaded")
"""How the files end that SageMaker marks transfers with."""

_MANIFEST = re.compile(rb'\s*\[\s*\{\s*"prefix"\s*:')
"""How the lists of objects begin that SageMaker puts among a channel's files."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The hosts of a training job, and how many processes train on each."""

    hosts: tuple[str, ...]
    """Their names, the same in the same order on all of them."""
    current_host: str
    """The name of this one."""
    is_distributed: bool
    """Whether processes are to train together, be it on one host."""
    n_cpu_processes: int
    """How many each host starts if it has no GPUs."""
    port: int
    """Where the first host answers the others."""
    network_interface: str = ""
    """The name of the network between the hosts; empty if the platform names none."""
    is_undecided: bool = False
    """Whether the only host may start several processes: nothing says how many."""

    @property
    def rank(self) -> int:
        """The number of this host, from 0."""
        return self.hosts.index(self.current_host)


@dataclasses.dataclass(frozen=True)
class TrainingEnvironment:
    """What SageMaker gives a training job."""

    hyperparameters: Hyperparameters
    """The settings of the job."""
    channels: Mapping[str, Mapping[str, Path]]
    """The files of each channel by their names within it, in order of the names; a
    channel that the job does not have is empty."""
    model_dir: Path
    """What is in here when the job ends becomes ``model.tar.gz``."""
    output_data_dir: Path
    """What is in here when the job ends becomes ``output.tar.gz``."""
    checkpoint_dir: Path | None
    """What is in here is kept on S3 and is back when the job starts again; None if the
    job has no such folder."""
    cluster: Cluster
    """The hosts of the job."""
    divided: tuple[str, ...] = ()
    """The channels of which each host has some files alone."""
    left_out: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    """By channel, the names of files that are not taken for data."""
    parent_dir: Path | None = None
    """The folder of the model to start from, once :meth:`started_from` it."""
    schema: Schema | None = None
    """The columns that it was trained on."""

    @classmethod
    def from_files(cls) -> "TrainingEnvironment":
        """Return the environment that the files under the root describe.

        Raises:
            HyperparameterError: If the hyperparameters cannot be used.
            SettingError: If a file of the platform cannot be read, or a channel is
                missing, unknown, empty or piped.
        """
        base = base_dir()
        config = base / "input" / "config"
        everything = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in _read_object(config / "hyperparameters.json").items()
        }
        strings = {
            name: text
            for name, text in everything.items()
            if not name.startswith(_PLATFORM_PREFIX) and name not in _PLATFORM_NAMES
        }
        hyperparameters = Hyperparameters.from_strings(strings)
        cluster = _cluster(
            _read_object(config / "resourceconfig.json"),
            everything.get(DISTRIBUTED),
            hyperparameters.batch_size,
        )
        inputs = _read_object(config / "inputdataconfig.json")
        channels, left_out = _channels(
            inputs,
            base / "input" / "data",
            may_be_empty=len(cluster.hosts) > 1,
        )
        if "warm_start" in hyperparameters.given and not channels[MODEL]:
            raise SettingError(
                f"warm-start is given, but the job has no {MODEL} channel; add one "
                f"that holds the model.tar.gz to start from, or leave warm-start out."
            )
        return cls(
            hyperparameters=hyperparameters,
            channels=channels,
            divided=tuple(
                channel
                for channel in CHANNELS
                if len(cluster.hosts) > 1
                and inputs.get(channel, {}).get("S3DistributionType") == SHARDED
            ),
            left_out=left_out,
            cluster=cluster,
            model_dir=base / "model",
            output_data_dir=base / "output" / "data",
            checkpoint_dir=_checkpoint_dir(config, base / "checkpoints"),
        )

    def started_from(self, model_dir: Path) -> "TrainingEnvironment":
        """Return the environment of a job that starts from a model.

        Args:
            model_dir: The folder that holds its files.

        Raises:
            ArtifactError: If the settings of the model cannot be read.
            HyperparameterError: If the job's own do not go with them.
        """
        origin = trained_with(model_dir)
        return dataclasses.replace(
            self,
            hyperparameters=inherited(self.hyperparameters, origin),
            parent_dir=model_dir,
            schema=dataclasses.replace(origin.schema, clock=None),
        )


def prepare_training() -> None:
    """Make the folders that a job writes to, and remove an earlier job's failure.

    sagemaker-training reports no failure at all where ``output`` is missing.

    Raises:
        SettingError: If a folder cannot be made or written to: better said now than
            after hours of training.
    """
    base = base_dir()
    folder = base
    try:
        for folder in (base / "output", base / "output" / "data", base / "model"):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        (base / "output" / "failure").unlink(missing_ok=True)
    except OSError as error:
        raise SettingError(
            f"The job cannot write to {folder}: {error.strerror}."
        ) from error


def write_failure(reason: str) -> None:
    """Write what SageMaker shows as the failure reason of a job.

    Raises:
        OSError: If it cannot be written.
    """
    # A file's name in the reason may hold bytes that are no text.
    path = base_dir() / "output" / "failure"
    path.write_text(reason, encoding="utf-8", errors="replace")


def _read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file of the platform."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise SettingError(f"{path} is no JSON document: {error}.") from error
    if not isinstance(document, dict):
        raise SettingError(f"{path} must hold a JSON object, but holds {document!r}.")
    return document


def _checkpoint_dir(config: Path, default: Path) -> Path | None:
    """Return the folder that SageMaker keeps, if the job has one."""
    path = config / "checkpointconfig.json"
    if not path.exists():
        return default if default.is_dir() else None
    local_path = _read_object(path).get("LocalPath") or DEFAULT_CHECKPOINT_DIR
    # The platform's own default lies under the root, wherever that has been moved.
    return default if local_path == DEFAULT_CHECKPOINT_DIR else Path(local_path)


def _cluster(
    resources: Mapping[str, Any], switch: str | None, batch_size: int
) -> Cluster:
    """Return the hosts of the job, and whether they train together."""
    hosts = tuple(map(str, resources.get("hosts") or ["localhost"]))
    current = str(resources.get("current_host", hosts[0]))
    if current not in hosts:
        raise SettingError(
            f"resourceconfig.json names {current} as the current host, but it is none "
            f"of its hosts: {', '.join(hosts)}."
        )
    is_on = switch is None or switch.strip(' "').lower() == "true"
    if len(hosts) > 1 and not is_on:
        raise SettingError(
            f"The job has {len(hosts)} instances, but {DISTRIBUTED} is {switch}: each "
            f"would train the same model by itself. Accepted are one instance, or "
            f"several with {DISTRIBUTED} being true or left out."
        )
    most = max(1, batch_size // (len(hosts) * SEQUENCES_PER_PROCESS))
    return Cluster(
        hosts=hosts,
        current_host=current,
        is_distributed=len(hosts) > 1 or (switch is not None and is_on),
        n_cpu_processes=max(
            1, min(Limits.of_container().n_cores // n_threads(default=1), most)
        ),
        port=positive_integer(
            MASTER_PORT,
            default=DEFAULT_MASTER_PORT if len(hosts) > 1 else _free_port(),
        ),
        network_interface=str(resources.get("network_interface_name") or ""),
        is_undecided=len(hosts) == 1 and switch is None and not text(THREADS),
    )


def _free_port() -> int:
    """Return a port that nothing listens on: other jobs may run on this machine."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _channels(
    config: Mapping[str, Any], data_dir: Path, may_be_empty: bool
) -> tuple[dict[str, dict[str, Path]], dict[str, list[str]]]:
    """Return the files of every channel of the job, and the names of those left out.

    Args:
        config: What the platform says of the channels.
        data_dir: Where they are.
        may_be_empty: Whether other hosts may have the files of a channel.
    """
    every = {**CHANNELS, MODEL: False}
    *others, last = every
    if unknown := sorted(set(config) - set(every)):
        raise SettingError(
            f"The job has an unknown channel, {unknown[0]}; use {', '.join(others)} "
            f"or {last}."
        )
    files: dict[str, dict[str, Path]] = {}
    left_out: dict[str, list[str]] = {}
    for channel, is_mandatory in every.items():
        if channel not in config:
            if is_mandatory:
                raise SettingError(
                    f"The job has no {channel} channel: it is mandatory, and holds "
                    f"CSV files of normal data."
                )
            files[channel] = {}
            continue
        mode = config[channel].get("TrainingInputMode", "File")
        if mode == "Pipe":
            raise SettingError(
                f"The {channel} channel has input mode Pipe; use File or FastFile."
            )
        files[channel], left_out[channel] = _files(data_dir / channel)
        if not files[channel] and (channel == MODEL or not may_be_empty):
            needed = "model.tar.gz" if channel == MODEL else "at least one CSV file"
            raise SettingError(
                f"The {channel} channel is empty: {data_dir / channel} holds no file "
                f"with data, but {needed} is needed."
            )
    return files, left_out


def _files(channel_dir: Path) -> tuple[dict[str, Path], list[str]]:
    """Return every file with data under a folder, in order of the names, and the rest.

    Args:
        channel_dir: The folder.

    Returns:
        The paths of the files with data by their names, and the names of the others.
    """
    paths = {path.relative_to(channel_dir): path for path in channel_dir.rglob("*")}
    files: dict[str, Path] = {}
    left_out: list[str] = []
    for name, path in sorted(paths.items()):
        is_hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file():
            if is_hidden or _is_no_data(path):
                left_out.append(name.as_posix())
            else:
                files[name.as_posix()] = path
        elif not is_hidden and (path.is_symlink() or not path.is_dir()):
            # Data that its owner expects to be used are not skipped in silence.
            raise SettingError(
                f"The {channel_dir.name} channel holds {name.as_posix()}, which is no "
                f"file; use files, links to files, and folders of them."
            )
    return files, left_out


def _is_no_data(path: Path) -> bool:
    """Return whether a file is empty, or one that SageMaker itself has put there."""
    if path.stat().st_size == 0 or path.name.endswith(_MARKERS):
        return True
    if not path.name.endswith("manifest"):
        return False
    with path.open("rb") as file:
        return _MANIFEST.match(file.read(1024)) is not None
