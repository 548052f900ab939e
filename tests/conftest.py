"""Set-up that the tests share: small series, a tiny model, /opt/ml trees, processes.

Test files cannot import each other (pytest's importlib mode), so what they share is a
fixture here. Everything in a test is small on purpose: the model has 8 hidden units.
"""

import contextlib
import dataclasses
import http.client
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# OpenMP reads these when torch is imported. One thread gives the same bits everywhere,
# and threads that wait busily would take the cores from the processes under test.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings

import laptop
from lstm_ad import artifacts
from lstm_ad.artifacts import Fit
from lstm_ad.data.rows import Rows
from lstm_ad.fitting import fit
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.scoring.detector import LSTMAD

settings.register_profile("without a clock", deadline=None)
settings.load_profile("without a clock")

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
DEADLINE_SECONDS = 60
"""Far beyond what anything here takes: only a hang meets it."""

PROCESSOR = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")
"""Variables that make this an older processor: AVX2, avx2 for one without AVX-512."""

Files = Mapping[str, bytes | npt.NDArray[np.float64]]


def two_sines(n_timesteps: int, seed: int = 0) -> npt.NDArray[np.float64]:
    """Return two noisy sines of period 20 in phase, of other means and amplitudes."""
    phase = 2 * np.pi * np.arange(n_timesteps) / 20
    clean = np.column_stack([3 * np.sin(phase), 50 + 7 * np.sin(phase)])
    return clean + np.random.default_rng(seed).normal(scale=0.2, size=clean.shape)


def to_csv(series: npt.NDArray[np.float64]) -> bytes:
    """Return the series as CSV, every number with all of its digits."""
    lines = (",".join(map(repr, row)) for row in series.tolist())
    return "".join(f"{line}\n" for line in lines).encode()


@dataclasses.dataclass
class OptMl:
    """A folder laid out as SageMaker lays out /opt/ml."""

    base: Path

    def __post_init__(self) -> None:
        laptop.configure(self.base, channels=(), hyperparameters={})

    @property
    def config_dir(self) -> Path:
        """Where the JSON files of the platform are."""
        return self.base / "input" / "config"

    @property
    def data_dir(self) -> Path:
        """Where the channels are."""
        return self.base / "input" / "data"

    @property
    def model_dir(self) -> Path:
        """Where the artifacts are."""
        return self.base / "model"

    @property
    def failure_file(self) -> Path:
        """What becomes the failure reason of a job."""
        return self.base / "output" / "failure"

    def write_config(self, name: str, document: object) -> None:
        """Write one JSON file of the platform."""
        (self.config_dir / f"{name}.json").write_text(json.dumps(document))

    def read_config(self, name: str) -> Any:
        """Return one JSON file of the platform."""
        return json.loads((self.config_dir / f"{name}.json").read_text())

    def add_channel(self, name: str, files: Files, mode: str = "File") -> None:
        """Add a channel and its files: arrays become CSV, bytes stay as they are."""
        folder = self.data_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        for file_name, content in files.items():
            path = folder / file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else to_csv(content))
        channels = self.read_config("inputdataconfig")
        channels[name] = {"TrainingInputMode": mode}
        self.write_config("inputdataconfig", channels)


@dataclasses.dataclass(frozen=True)
class Job:
    """How a run of ``train`` ended."""

    returncode: int
    log: str
    failure: str | None


@dataclasses.dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclasses.dataclass(frozen=True)
class Server:
    """A running ``serve``."""

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.log_file.read_text()

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the answer to one request."""
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, DEADLINE_SECONDS)
        ) as connection:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read())

    def is_listening(self) -> bool:
        """Return whether the port is open; wait a moment if it is not."""
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.05)
        return False


def clean_environment(base: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a container, and none of this process's own."""
    return {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT / "src"),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "SAGEMAKER_BASE_DIR": str(base),
        **{name: os.environ[name] for name in PROCESSOR if name in os.environ},
        **variables,
    }


# Machines differ, and are busy: no example is too slow.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name gzip data by their length: they hold the second in which they were made.

    Processes that share the tests must call them the same.
    """
    is_gzip = isinstance(val, bytes) and val.startswith(b"\x1f\x8b")
    return f"gzip of {len(val)} bytes" if is_gzip else None


@pytest.fixture(scope="session")
def make_series() -> Callable[..., npt.NDArray[np.float64]]:
    """Return the function that makes a small two-series table: (rows, seed)."""
    return two_sines


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Return the function that finds a port of the loopback that nobody uses."""
    return laptop.free_port


@pytest.fixture(scope="session")
def as_csv() -> Callable[[npt.NDArray[np.float64]], bytes]:
    """Return the function that spells a table as CSV."""
    return to_csv


@pytest.fixture(scope="session")
def tiny() -> Hyperparameters:
    """Return hyperparameters that train in a fraction of a second."""
    return Hyperparameters(
        sequence_length=10, hidden_size=8, batch_size=8, epochs=3, lr=0.01
    )


@pytest.fixture(scope="session")
def tiny_fit(tiny: Hyperparameters) -> Fit:
    """Return a detector fitted to two sines."""
    return fit(
        Rows.of({"train.csv": two_sines(400)}, {"valid.csv": two_sines(123, seed=1)}),
        hyperparameters=tiny,
    )


@pytest.fixture(scope="session")
def overlapping(tiny: Hyperparameters) -> Hyperparameters:
    """Return hyperparameters whose sequences overlap: 14 rows have no score."""
    return dataclasses.replace(
        tiny, context_length=10, prediction_length=6, sequence_stride=2
    )


@pytest.fixture(scope="session")
def overlapping_fit(overlapping: Hyperparameters) -> Fit:
    """Return a detector fitted to two sines with overlapping sequences, smoothed."""
    return fit(
        Rows.of({"train.csv": two_sines(400)}, {"valid.csv": two_sines(123, seed=1)}),
        hyperparameters=dataclasses.replace(overlapping, max_anomaly_length=4),
    )


@pytest.fixture(scope="session")
def detector(tiny_fit: Fit) -> LSTMAD:
    """Return the tiny detector alone."""
    return tiny_fit.detector


@pytest.fixture
def model_dir(tmp_path: Path, tiny_fit: Fit) -> Path:
    """Return a folder of its own that the tiny detector was saved to."""
    folder = tmp_path / "opt" / "ml" / "model"
    artifacts.save(folder, tiny_fit)
    return folder


@pytest.fixture
def opt_ml(tmp_path: Path) -> OptMl:
    """Return a job's folder with no hyperparameters and no channels yet."""
    return OptMl(tmp_path / "job")


@pytest.fixture(scope="session")
def make_opt_ml(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], OptMl]:
    """Return the function that makes a job's folder outside a test of its own."""
    return lambda: OptMl(tmp_path_factory.mktemp("opt_ml") / "job")


@pytest.fixture(scope="session")
def run_train() -> Callable[..., Job]:
    """Return the function that runs a job with sagemaker-training's own ``train``."""

    def run(opt_ml: OptMl, **variables: str) -> Job:
        variables = laptop.TRAINING_MODULE | variables
        process = subprocess.run(
            laptop.TRAIN,
            cwd=opt_ml.base,
            env=clean_environment(opt_ml.base, variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=5 * DEADLINE_SECONDS,
            check=False,
        )
        failure = opt_ml.failure_file
        return Job(
            returncode=process.returncode,
            log=process.stdout.decode(errors="replace"),
            failure=failure.read_text() if failure.exists() else None,
        )

    return run


@pytest.fixture(scope="module")
def run_trains(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[OptMl], Job]]:
    """Return the function that does as ``run_train``, for the jobs of a whole file.

    What they import, which takes seconds, is imported once.
    """
    script = ROOT / "tests/samples/train_server.py"
    folder = tmp_path_factory.mktemp("trains")
    process = subprocess.Popen(
        [sys.executable, script],
        env=clean_environment(folder, {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert process.stdin
    assert process.stdout

    def run(opt_ml: OptMl) -> Job:
        log = opt_ml.base / "train.log"
        variables = clean_environment(opt_ml.base, laptop.TRAINING_MODULE)
        job = {"folder": str(opt_ml.base), "log": str(log), "variables": variables}
        print(json.dumps(job), file=process.stdin)
        answer = process.stdout.readline() if process.stdout else ""
        failure = opt_ml.failure_file
        return Job(
            returncode=int(answer),
            log=log.read_text(errors="replace"),
            failure=failure.read_text() if failure.exists() else None,
        )

    with process:
        yield run
        process.stdin.close()  # that ends it


@dataclasses.dataclass(frozen=True)
class Training:
    """A running ``train``."""

    process: subprocess.Popen[bytes]
    log_file: Path
    opt_ml: OptMl

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.log_file.read_text()

    def wait_until(self, has_come: Callable[[], bool]) -> None:
        """Return as soon as something has come; fail if the job ends before."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not has_come():
            assert time.monotonic() < deadline, self.log
            with contextlib.suppress(subprocess.TimeoutExpired):
                # A busy look would take the core from the job.
                returncode = self.process.wait(0.001)
                pytest.fail(f"It ended with exit code {returncode}: {self.log}")

    def wait_for_log(self, text: str) -> None:
        """Return as soon as the log holds a text."""
        self.wait_until(lambda: text in self.log)

    def end(self) -> Job:
        """Wait for the end of the job, and return it."""
        returncode = self.process.wait(5 * DEADLINE_SECONDS)
        failure = self.opt_ml.failure_file
        reason = failure.read_text() if failure.is_file() else None
        return Job(returncode, self.log, reason)


@pytest.fixture
def launch_train(tmp_path: Path) -> Iterator[Callable[..., Training]]:
    """Return the function that starts a job and does not wait; all are killed.

    A job leads a group of processes of its own, so that what it leaves behind is found.
    """
    trainings: list[Training] = []
    numbers = itertools.count()

    def launch(
        opt_ml: OptMl,
        variables: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        **options: Any,
    ) -> Training:
        log_file = tmp_path / f"train-{next(numbers)}.log"
        variables = laptop.TRAINING_MODULE | dict(variables or {})
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [*before, *laptop.TRAIN],
                cwd=tmp_path,
                env=clean_environment(opt_ml.base, variables),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,
            )
        training = Training(process, log_file, opt_ml)
        trainings.append(training)
        return training

    yield launch
    for training in trainings:
        training.process.kill()
        training.process.wait(DEADLINE_SECONDS)


@contextlib.contextmanager
def launching_servers(folder: Path) -> Iterator[Callable[..., Server]]:
    """Give the function that starts ``serve``, ready or not; stop all at the end."""
    servers: list[Server] = []

    def launch(base: Path, **variables: str) -> Server:
        port = laptop.free_port()
        log_file = folder / f"serve-{port}.log"
        variables = {"SAGEMAKER_BIND_TO_PORT": str(port), **variables}
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                laptop.SERVE,
                cwd=folder,
                env=clean_environment(base, variables),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        servers.append(Server(process, port, log_file))
        return servers[-1]

    try:
        yield launch
    finally:
        for server in servers:
            server.process.terminate()
        for server in servers:
            try:
                server.process.wait(DEADLINE_SECONDS)
            finally:
                server.process.kill()


def wait_for_ping(server: Server) -> Server:
    """Return the server once it has answered a ping."""
    try:
        laptop.wait_for_ping(server.process, server.port, server.log_file)
    except laptop.LaptopError:
        pytest.fail(server.log)
    return server


@pytest.fixture
def launch_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return the function that starts ``serve``, ready or not; all are stopped."""
    with launching_servers(tmp_path) as launch:
        yield launch


@pytest.fixture
def start_server(launch_server: Callable[..., Server]) -> Callable[..., Server]:
    """Return the function that starts ``serve`` and waits for its first ping."""

    def start(base: Path, **variables: str) -> Server:
        return wait_for_ping(launch_server(base, **variables))

    return start


@pytest.fixture(scope="module")
def shared_server(
    tmp_path_factory: pytest.TempPathFactory, tiny_fit: Fit
) -> Iterator[Server]:
    """Return a running server of the tiny detector, the same for all of a file."""
    base = tmp_path_factory.mktemp("shared")
    artifacts.save(base / "model", tiny_fit)
    with launching_servers(base) as launch:
        yield wait_for_ping(launch(base))


@pytest.fixture(scope="module")
def many_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a running server of a multi-model endpoint, the same for all of a file."""
    base = tmp_path_factory.mktemp("many_models")
    with launching_servers(base) as launch:
        yield wait_for_ping(launch(base, SAGEMAKER_MULTI_MODEL="true"))
