"""Set-up of the tests that run the images: containers, and a client inside of them.

Containers have no network at all: the client runs inside, by the engine's ``exec``.
"""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

DEADLINE_SECONDS = 300
"""Far beyond what anything here takes: only a hang meets it."""

REQUEST = """\
import http.client, os, sys
port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", 8080))
connection = http.client.HTTPConnection("127.0.0.1", port)
body = sys.stdin.buffer.read()
connection.request(*sys.argv[1:], body or None, {"Content-Type": "text/csv"})
response = connection.getresponse()
content = response.read()
sys.stdout.buffer.write(b"%d\\n" % response.status + content)
"""
"""One request from inside of a container: the status on a line, then the body."""

WAIT_FOR_PING = """\
import os, sys, time, urllib.request
port = os.environ.get("SAGEMAKER_BIND_TO_PORT", 8080)
deadline = time.monotonic() + float(sys.argv[1])
while True:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", None, 2)
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.02)
"""


@dataclasses.dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes


@dataclasses.dataclass(frozen=True)
class Container:
    """A container that was started in the background."""

    engine: str
    name: str

    def run(self, *words: str) -> bytes:
        """Return what a command of the engine prints about this container."""
        return subprocess.run(
            [self.engine, *words, self.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEADLINE_SECONDS,
            check=True,
        ).stdout

    def command(self, script: str, *arguments: str) -> list[str]:
        """Return the command that runs a Python script inside."""
        interpreter = [self.engine, "exec", "--interactive", self.name, "python"]
        return [*interpreter, "-c", script, *arguments]

    def python(self, script: str, *arguments: str, given: bytes = b"") -> bytes:
        """Return what a Python script that runs inside prints."""
        return subprocess.run(
            self.command(script, *arguments),
            input=given,
            stdout=subprocess.PIPE,
            timeout=DEADLINE_SECONDS,
            check=True,
        ).stdout

    def request(self, method: str, path: str, body: bytes = b"") -> Answer:
        """Return the answer to one request, made inside; a body is CSV."""
        status, content = self.python(REQUEST, method, path, given=body).split(b"\n", 1)
        return Answer(int(status), content)

    def wait_for_ping(self, seconds: float) -> None:
        """Return once a ping is answered; fail if that takes longer."""
        try:
            self.python(WAIT_FOR_PING, str(seconds))
        except subprocess.CalledProcessError:
            pytest.fail(f"There was no ping within {seconds} s; the log:\n{self.log}")

    def signal(self, name: str) -> None:
        """Send a signal to process 1."""
        self.run("kill", "--signal", name)

    def stop(self, seconds: int) -> int:
        """Send SIGTERM, and SIGKILL after some seconds; return the exit code."""
        self.run("stop", "--time", str(seconds))
        return self.wait()

    def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        return int(self.run("wait"))

    def wait_for_log(self, text: str) -> None:
        """Return once the log holds a text; fail if the container ends without."""
        with subprocess.Popen(
            [self.engine, "logs", "--follow", self.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as follower:
            assert follower.stdout is not None
            found = any(text.encode() in line for line in follower.stdout)
            follower.kill()
        assert found, f'no "{text}" in the log:\n{self.log}'

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.run("logs").decode()


@pytest.fixture(scope="session", autouse=True)
def engine() -> str:
    """Return the container engine; skip where the images are not asked for."""
    engine = os.environ.get("IMAGE_TESTS", "")
    if not engine:
        pytest.skip("needs the two images: `make images test-images` runs it")
    assert shutil.which(engine), f"IMAGE_TESTS names {engine}, which is not here"
    return engine


@pytest.fixture(scope="session")
def train_image() -> str:
    """Return the name of the training image."""
    return os.environ["TRAIN_IMAGE"]


@pytest.fixture(scope="session")
def infer_image() -> str:
    """Return the name of the inference image."""
    return os.environ["INFER_IMAGE"]


@pytest.fixture(scope="session")
def run_container(engine: str) -> Run:
    """Return the function that runs a container to its end: (image, words, options)."""

    def run(
        image: str, *words: str, options: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [engine, "run", "--rm", "--network", "none", *options, image, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    return run


@pytest.fixture
def start_container(engine: str) -> Iterator[Callable[..., Container]]:
    """Return the function that starts a container; all are removed afterwards."""
    with contextlib.ExitStack() as stack:

        def start(image: str, *words: str, options: tuple[str, ...] = ()) -> Container:
            name = f"lstm-ad-{uuid.uuid4().hex[:12]}"
            run = [engine, "run", "--detach", "--name", name, "--network", "none"]
            stack.callback(
                subprocess.run, [engine, "rm", "--force", name], stdout=subprocess.PIPE
            )
            subprocess.run(
                [*run, *options, image, *words], stdout=subprocess.DEVNULL, check=True
            )
            return Container(engine, name)

        yield start


@pytest.fixture(scope="session")
def trained(
    train_image: str, run_container: Run, make_opt_ml: Any, make_series: Any
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Return a job's folder, trained with no network, no rights and no other disk."""
    job = make_opt_ml()
    job.add_channel("training", {"train.csv": make_series(1000)})
    job.add_channel("validation", {"valid.csv": make_series(300, seed=1)})
    job.write_config(
        "hyperparameters",
        {"sequence-length": "10", "hidden-size": "64", "epochs": "2"},
    )
    for folder in (job.base, *job.base.rglob("*/")):
        folder.chmod(0o777)
    process = run_container(
        train_image,
        "train",
        options=(
            *("--read-only", "--tmpfs", "/tmp", "--volume", f"{job.base}:/opt/ml"),
            *("--user", "12345:54321", "--cap-drop", "all"),
        ),
    )
    return job.base, process


@pytest.fixture(scope="session")
def trained_model_dir(trained: Any) -> Path:
    """Return the model that the training image made."""
    base, process = trained
    assert process.returncode == 0, process.stdout
    return base / "model"


@pytest.fixture
def serve(
    infer_image: str, trained_model_dir: Path, start_container: Callable[..., Container]
) -> Callable[..., Container]:
    """Return the function that serves the trained model: (options of the engine)."""

    def start(*options: str) -> Container:
        model = ("--volume", f"{trained_model_dir}:/opt/ml/model:ro")
        container = start_container(infer_image, "serve", options=(*model, *options))
        container.wait_for_ping(seconds=DEADLINE_SECONDS)
        return container

    return start
