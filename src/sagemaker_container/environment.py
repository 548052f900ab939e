"""Where things are and what the platform asks for: the one home of paths and variables.

SageMaker lays a job out under ``/opt/ml``; ``SAGEMAKER_BASE_DIR`` moves that root, for
this package as for sagemaker-training itself. The JSON files are read here because
sagemaker-training, in module mode, passes nothing on.
"""

import dataclasses
import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm_ad.exceptions import SettingError
from lstm_ad.hyperparameters import Hyperparameters
from sagemaker_container.formats.columns import DEFAULT_COLUMNS, OutputError, columns_of

BASE_DIR = "SAGEMAKER_BASE_DIR"
DEFAULT_BASE_DIR = "/opt/ml"
DEFAULT_CHECKPOINT_DIR = f"{DEFAULT_BASE_DIR}/checkpoints"

MAX_PAYLOAD = "SAGEMAKER_MAX_PAYLOAD_IN_MB"
DEFAULT_MAX_PAYLOAD_MB = 100
"""The largest that SageMaker's batch transform sends."""

OUTPUT = "SAGEMAKER_INFERENCE_OUTPUT"
"""The name that SageMaker's XGBoost gave it."""

CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
"""How much of the machine this container may use: microseconds of how many, or max."""

MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""How much memory this container may use: bytes, or max."""

MEMORY_PER_WORKER = 2**30
"""What a worker is given: three times what a request of 100 MB takes at its peak."""

SEQUENCES_PER_PROCESS = 4
"""Of each batch, at least: with fewer, a process takes as long for less."""

TRAINING = "training"
VALIDATION = "validation"
LABELS = "labels"
CHANNELS = {TRAINING: True, VALIDATION: False, LABELS: False}
"""The input channels, and whether a job must have them."""

DISTRIBUTED = "sagemaker_torch_distributed_enabled"
"""SageMaker's own switch, a hyperparameter: what the SDK's
``distribution={"torch_distributed": {"enabled": True}}`` sends."""

MASTER_PORT = "MASTER_PORT"
DEFAULT_MASTER_PORT = 7777
"""Where the first host answers the others, as SageMaker's own launcher has it."""

_PLATFORM_PREFIX = "sagemaker_"
_PLATFORM_NAMES = {"_tuning_objective_metric"}

_MANIFEST_SUFFIXES = ("manifest", ".sagemaker-uploading", ".sagemaker-uploaded")
"""How the files end that SageMaker itself puts among a channel's files."""


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

    @classmethod
    def from_files(cls) -> "TrainingEnvironment":
        """Return the environment that the files under the root describe.

        Raises:
            HyperparameterError: If the hyperparameters cannot be used.
            SettingError: If a file of the platform cannot be read, or a channel is
                missing, unknown, empty or piped.
        """
        base = _base_dir()
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
        return cls(
            hyperparameters=hyperparameters,
            channels=_channels(
                _read_object(config / "inputdataconfig.json"),
                base / "input" / "data",
                may_be_empty=len(cluster.hosts) > 1,
            ),
            cluster=cluster,
            model_dir=base / "model",
            output_data_dir=base / "output" / "data",
            checkpoint_dir=_checkpoint_dir(config, base / "checkpoints"),
        )


def prepare_training() -> None:
    """Make the folders that a job writes to, and remove an earlier job's failure.

    sagemaker-training reports no failure at all where ``output`` is missing.

    Raises:
        SettingError: If a folder cannot be made or written to: better said now than
            after hours of training.
    """
    base = _base_dir()
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
    path = _base_dir() / "output" / "failure"
    path.write_text(reason, encoding="utf-8", errors="replace")


def prepare_processes() -> None:
    """Set what processes that train together inherit; call it before importing torch.

    They talk over the network that the platform names, and compute with one thread
    each unless a variable says otherwise: on small LSTMs, processes of one thread are
    much faster than one process of several.
    """
    resources = _read_object(_base_dir() / "input" / "config" / "resourceconfig.json")
    if name := resources.get("network_interface_name"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", str(name))
        os.environ.setdefault("NCCL_SOCKET_IFNAME", str(name))
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def send_no_telemetry() -> None:
    """Keep ONNX Runtime from reporting to its maker; call it before importing that.

    It would also write an identifier into the home directory.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def let_threads_sleep() -> None:
    """Make OpenMP's threads sleep while they wait; call it before importing torch.

    By default they wait busily, and a machine that also runs something else trains
    twenty times slower: the waiting threads hold the cores that the working ones need.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def let_algebra_keep_to_its_thread() -> None:
    """Make NumPy compute in the thread that calls it; call it before importing NumPy.

    By default NumPy starts a thread per core of the machine, in every worker, beside
    the threads that the workers share the cores with.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@dataclasses.dataclass(frozen=True)
class ServingEnvironment:
    """What SageMaker, or an operator, asks of the server."""

    model_dir: Path
    """The artifacts; read-only."""
    port: int
    """Where to listen."""
    n_workers: int
    """How many processes score."""
    threads_per_worker: int
    """How many threads a process computes one request with."""
    max_payload_mb: int
    """The largest request body, in MB of 2**20 bytes; 0 = no limit."""
    is_batch: bool
    """Whether this is a batch transform."""
    columns: tuple[str, ...]
    """Those of CSV, where a request names none."""

    @classmethod
    def from_variables(cls) -> "ServingEnvironment":
        """Return the environment that the variables describe.

        Raises:
            SettingError: If a variable is no positive integer, or names columns that
                there are not.
        """
        cores = _n_cores()
        is_batch = os.environ.get("SAGEMAKER_BATCH", "").lower() == "true"
        n_workers = _positive(
            "SAGEMAKER_MODEL_SERVER_WORKERS",
            default=1 if is_batch else _n_endpoint_workers(cores),
        )
        return cls(
            model_dir=_base_dir() / "model",
            port=_positive("SAGEMAKER_BIND_TO_PORT", default=8080),
            n_workers=n_workers,
            threads_per_worker=_positive(
                "OMP_NUM_THREADS", default=max(1, cores // n_workers)
            ),
            max_payload_mb=_max_payload_mb(),
            is_batch=is_batch,
            columns=_columns(),
        )


def _n_endpoint_workers(cores: int) -> int:
    """Return how many workers answer many small requests at a time best.

    A process per core, if there is memory for them. Batch transform has one worker: it
    sends one large request at a time, which all the threads of a worker compute.
    """
    threads = _positive("OMP_NUM_THREADS", default=1)
    return max(1, min(cores // threads, _memory() // MEMORY_PER_WORKER))


def _n_cores() -> int:
    """Return how many cores this container may use at a time, at least 1."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = CPU_LIMIT.read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup of version 2, or "max": no limit
        return cores


def _memory() -> int:
    """Return how many bytes of memory this container may use."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(memory, int(MEMORY_LIMIT.read_text()))
    except (OSError, ValueError):  # no cgroup of version 2, or "max": no limit
        return memory


def _base_dir() -> Path:
    """Return the root that SageMaker lays a container's files out under."""
    return Path(os.environ.get(BASE_DIR, DEFAULT_BASE_DIR))


def _max_payload_mb() -> int:
    """Return the limit to the size of a body; batch transform's 0 means none."""
    if os.environ.get(MAX_PAYLOAD, "").strip() == "0":
        return 0
    return _positive(MAX_PAYLOAD, default=DEFAULT_MAX_PAYLOAD_MB)


def _columns() -> tuple[str, ...]:
    """Return the columns of CSV, where a request names none."""
    text = os.environ.get(OUTPUT, "").strip()
    try:
        return columns_of(text, OUTPUT) if text else DEFAULT_COLUMNS
    except OutputError as error:
        raise SettingError(str(error)) from error


def _positive(variable: str, default: int) -> int:
    """Return the positive integer in an environment variable, or the default."""
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) == 0:
        raise SettingError(
            f'{variable} must be a positive integer, but "{text}" was given.'
        )
    return int(text)


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
    n_threads = _positive("OMP_NUM_THREADS", default=1)
    most = max(1, batch_size // (len(hosts) * SEQUENCES_PER_PROCESS))
    return Cluster(
        hosts=hosts,
        current_host=current,
        is_distributed=len(hosts) > 1 or (switch is not None and is_on),
        n_cpu_processes=max(1, min(_n_cores() // n_threads, most)),
        port=_positive(MASTER_PORT, default=DEFAULT_MASTER_PORT),
    )


def _channels(
    config: Mapping[str, Any], data_dir: Path, may_be_empty: bool
) -> dict[str, dict[str, Path]]:
    """Return the files of every channel of the job.

    Args:
        config: What the platform says of the channels.
        data_dir: Where they are.
        may_be_empty: Whether other hosts may have the files of a channel.
    """
    *others, last = CHANNELS
    accepted = f"{', '.join(others)} and {last}"
    if unknown := sorted(set(config) - set(CHANNELS)):
        raise SettingError(
            f"The job has an unknown channel, {unknown[0]}: accepted are {accepted}."
        )
    files: dict[str, dict[str, Path]] = {}
    for channel, is_mandatory in CHANNELS.items():
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
                f"The {channel} channel has input mode Pipe: accepted are File and "
                f"FastFile."
            )
        files[channel] = _files(data_dir / channel)
        if not files[channel] and not may_be_empty:
            raise SettingError(
                f"The {channel} channel is empty: {data_dir / channel} holds no file "
                f"with data, but at least one CSV file is needed."
            )
    return files


def _files(channel_dir: Path) -> dict[str, Path]:
    """Return every file with data under a folder, in order of the names."""
    paths = {path.relative_to(channel_dir): path for path in channel_dir.rglob("*")}
    files = {}
    for name, path in sorted(paths.items()):
        is_hidden = any(part.startswith(".") for part in name.parts)
        if is_hidden or name.name.endswith(_MANIFEST_SUFFIXES):
            continue
        if path.is_file():
            if path.stat().st_size > 0:
                files[name.as_posix()] = path
        elif path.is_symlink() or not path.is_dir():
            # Data that its owner believes to be there is not passed over in silence.
            raise SettingError(
                f"The {channel_dir.name} channel holds {name.as_posix()}, which is no "
                f"file: accepted are files, links to files, and folders of them."
            )
    return files
