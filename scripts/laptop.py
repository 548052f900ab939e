"""What SageMaker does, on this machine: lay a job out, train, serve, invoke.

``train`` is the command of the training image, sagemaker-training's own, and the server
is the inference image's: both run here as they do there, over a folder that is laid out
like ``/opt/ml``. Each command is printed as a shell would take it.
"""

import contextlib
import dataclasses
import http.client
import itertools
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

TRAIN = (Path(sys.executable).with_name("train"),)
"""The training image's command, with :data:`TRAINING_MODULE` in its environment."""
TRAINING_MODULE = {"SAGEMAKER_TRAINING_MODULE": "train:main"}
SERVE = (Path(sys.executable), ROOT / "src/serve.py", "serve")
"""The inference image's command."""

PORTS = range(10_000, 30_000)
"""Below those that the kernel gives to connections: what is free here stays free."""

READY_SECONDS = 60
"""How long the server may take to load the model."""
ANSWER_SECONDS = 60
"""How long it may take to answer."""
STOP_SECONDS = 30
"""How long a process may take to end before it is killed."""
LINE_LENGTH = 88
"""Characters of a line of a printed command."""


class LaptopError(Exception):
    """Raised if a job or a server cannot go on; the message says why."""


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A server that is ready."""

    url: str

    def invoke(
        self, body: bytes, accept: str = "text/csv", custom_attributes: str = ""
    ) -> bytes:
        """Return the answer to a series, as boto3's ``invoke_endpoint`` does.

        Args:
            body: The series as CSV.
            accept: The format of the answer.
            custom_attributes: What is asked for beyond the default.

        Raises:
            LaptopError: If there is no answer, or an error; the message is the
                server's own.
        """
        headers = {
            "Content-Type": "text/csv",
            "Accept": accept,
            "X-Amzn-SageMaker-Custom-Attributes": custom_attributes,
        }
        return _open(urllib.request.Request(f"{self.url}/invocations", body, headers))

    def metrics(self) -> str:
        """Return what the server counts, as SageMaker asks for it each minute."""
        return _open(urllib.request.Request(f"{self.url}/metrics")).decode()


def shown(path: Path) -> str:
    """Return a path as a reader in this folder would type it."""
    path, here = Path(os.path.abspath(path)), Path.cwd()  # noqa: PTH100 (keeps links)
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def lay_out(
    base: Path,
    channels: Mapping[str, Path | bytes],
    hyperparameters: Mapping[str, object] | None = None,
) -> None:
    """Make a fresh folder with a job's input, laid out like ``/opt/ml``.

    Args:
        base: The folder. An earlier job's model must not pass for this one's: what is
            there is deleted.
        channels: The one file of each channel, or what it holds.
        hyperparameters: As a user of SageMaker gives them; the others are the defaults.

    Raises:
        LaptopError: If a file is missing.
    """
    shutil.rmtree(base, ignore_errors=True)
    for channel, file in channels.items():
        folder = base / "input/data" / channel
        folder.mkdir(parents=True)
        if isinstance(file, bytes):
            (folder / "rows.csv").write_bytes(file)
        elif file.exists():
            shutil.copy(file, folder)
        else:
            raise LaptopError(f"{shown(file)} is missing; `make data` writes it.")
    configure(base, channels, hyperparameters or {})


def configure(
    base: Path, channels: Iterable[str], hyperparameters: Mapping[str, object]
) -> None:
    """Write what SageMaker says of a job on one host.

    Args:
        base: The job's folder.
        channels: Their names; each is a folder of files.
        hyperparameters: As a user of SageMaker gives them.
    """
    (base / "input/config").mkdir(parents=True)
    config: dict[str, object] = {
        "hyperparameters": {k: str(value) for k, value in hyperparameters.items()},
        "inputdataconfig": {name: {"TrainingInputMode": "File"} for name in channels},
        "resourceconfig": {"current_host": "localhost", "hosts": ["localhost"]},
    }
    for name, document in config.items():
        (base / f"input/config/{name}.json").write_text(json.dumps(document))


def train(base: Path, **variables: str) -> str:
    """Run a training job over ``base``, and return its log, which is kept there.

    Args:
        base: As :func:`lay_out` leaves it; then it holds the model, too.
        variables: Further environment variables.

    Raises:
        LaptopError: If the job fails; the message is the job's failure reason.
    """
    log = base / "train.log"
    with running(TRAIN, base, log, **TRAINING_MODULE, **variables) as job:
        return_code = job.wait()
    failure = base / "output/failure"
    if return_code:
        reason = failure.read_text() if failure.exists() else "it gave no reason."
        raise LaptopError(f"training ended with {return_code}: {reason}")
    return log.read_text()


@contextlib.contextmanager
def serving(base: Path, **variables: str) -> Iterator[Endpoint]:
    """Run the server while the context lasts; give it once it is ready.

    Args:
        base: A folder that holds a model.
        variables: Further environment variables.

    Raises:
        LaptopError: If the server ends, or is not ready in time.
    """
    port = free_port()
    log = base / "server.log"
    with running(
        SERVE, base, log, SAGEMAKER_BIND_TO_PORT=str(port), **variables
    ) as server:
        wait_for_ping(server, port, log)
        yield Endpoint(f"http://127.0.0.1:{port}")


def wait_for_ping(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return as soon as a server answers a ping.

    Raises:
        LaptopError: If it ends before, or is not ready in time; its log is named.
    """
    ping = urllib.request.Request(f"http://127.0.0.1:{port}/ping")
    deadline = time.monotonic() + READY_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(LaptopError):
            _open(ping)
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(0.02)  # its end is noticed at once
    raise LaptopError(f"the server did not start; {shown(log)} says why.")


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], base: Path, log: Path, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of the product over ``base`` while the context lasts.

    At the end, whatever the reason, neither it nor a child of it is left.
    """
    words = [shown(word) if isinstance(word, Path) else word for word in command]
    variables = {
        "PYTHONPATH": shown(ROOT / "src"),
        "SAGEMAKER_BASE_DIR": shown(base),
        **variables,
    }
    settings = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    print(
        "$", " \\\n    ".join(_lines([*settings, *map(shlex.quote, words)])), flush=True
    )
    with started(words, variables, log) as process:
        yield process


@contextlib.contextmanager
def started(
    words: Sequence[str | Path], variables: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Do as :func:`running` does, and print nothing."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            env=os.environ | {"PYTHONUNBUFFERED": "1", **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its children are known by their group
        )
        try:
            yield process
        finally:
            try:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_SECONDS)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _lines(words: Sequence[str]) -> list[str]:
    """Return words as lines that fit on a page, as far as the words do."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) < LINE_LENGTH:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def free_port() -> int:
    """Return a port of this machine that nothing listens on.

    Processes that run side by side begin at different places, and none gives a port
    twice before it has given all others.
    """
    return next(filter(_is_free, _candidates))


def _is_free(port: int) -> bool:
    """Return whether a port can be bound."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _every_port() -> Iterator[int]:
    """Return the ports, over and over, from a place of this process's own."""
    first = os.getpid() * 101
    return (PORTS[number % len(PORTS)] for number in itertools.count(first))


_candidates = _every_port()


def _open(request: urllib.request.Request) -> bytes:
    """Return the body of the answer to a request."""
    # A proxy that the environment names cannot reach this machine's own ports.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_SECONDS) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        sentence = error.read().decode(errors="replace").strip()
        raise LaptopError(f"the server answered {error.code}: {sentence}") from error
    except (OSError, http.client.HTTPException) as error:
        raise LaptopError(f"the server gave no answer: {error}.") from error
