"""Compare small requests of this version with those of older ones, in turn.

    python benchmarks/small_requests.py COMMIT ... [--seconds 30]

Each version trains a model of its own and serves it twice, by one worker: how far two
servers of one version differ is what the comparison cannot tell. One caller posts 200
x 2 rows over kept connections, a few at a time to each server, so that other work on
the machine slows all of them alike.
"""

import argparse
import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "scripts")]

import laptop  # noqa: E402  # the path comes first
from serving import caller, timed, to_csv  # noqa: E402
from versions import NOW, cpu_of_session, source_of  # noqa: E402

AT_A_TIME = 40
"""Requests to one server before the next one's turn."""


@dataclasses.dataclass
class Server:
    """A server of one version, and what its requests took."""

    version: str
    process: int
    post: Callable[[bytes], bytes]
    medians: list[float] = dataclasses.field(default_factory=list)
    """Seconds, of each turn."""
    cpu: float = 0.0
    """Seconds of CPU, of all turns."""

    def take_turn(self, body: bytes) -> None:
        """Answer some requests."""
        before = cpu_of_session(self.process)
        times = [timed(lambda: self.post(body)) for _ in range(AT_A_TIME)]
        self.cpu += cpu_of_session(self.process) - before
        self.medians.append(median(times))


def main() -> None:
    """Print a row per server."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commits", nargs="+")
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    versions = [*options.commits, NOW]
    series = np.random.default_rng(2).normal(size=(600, 2))
    body = to_csv(series[:200])
    with contextlib.ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sources = {name: source_of(name, base) for name in versions}
        for name, source in sources.items():
            train(source, base / name / "job", to_csv(series))
        servers = [
            stack.enter_context(serving(name, sources[name], base / name / "job"))
            for name in [*versions, *versions]
        ]
        for server in servers:
            server.take_turn(body)  # everything is loaded then
            server.medians, server.cpu = [], 0.0
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            servers.reverse()
            for server in servers:
                server.take_turn(body)
    show(sorted(servers, key=lambda server: versions.index(server.version)))


def train(source: Path, job: Path, rows: bytes) -> None:
    """Train a model of the default sizes for one epoch, by one version."""
    laptop.lay_out(job, {"training": rows}, {"epochs": 1})
    variables = {
        **{"PYTHONPATH": str(source), "SAGEMAKER_BASE_DIR": str(job)},
        **laptop.TRAINING_MODULE,
    }
    subprocess.run(
        laptop.TRAIN, env=os.environ | variables, check=True, capture_output=True
    )


@contextlib.contextmanager
def serving(version: str, source: Path, job: Path) -> Iterator[Server]:
    """Run the server of one version until the end of the block."""
    port = laptop.free_port()
    variables = {
        "PYTHONPATH": str(source),
        "SAGEMAKER_BASE_DIR": str(job),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
    }
    command = [sys.executable, source / "serve.py", "serve"]
    log = job / f"server-{port}.log"
    with laptop.started(command, variables, log) as process:
        laptop.wait_for_ping(process, port, log)
        with caller(port) as post:
            yield Server(version, process.pid, post)


def show(servers: list[Server]) -> None:
    """Print what each server took, beside the first one in the same turns."""
    first = servers[0]
    print("| version | p50, ms | CPU per request, ms | p50 / first | CPU / first |")
    print("|---|---|---|---|---|")
    for server in servers:
        n_requests = AT_A_TIME * len(server.medians)
        pairs = zip(server.medians, first.medians, strict=True)
        print(
            f"| {server.version} | {median(server.medians) * 1e3:.2f} | "
            f"{server.cpu / n_requests * 1e3:.2f} | "
            f"{median(its / other for its, other in pairs):.3f} | "
            f"{server.cpu / first.cpu:.3f} |"
        )


if __name__ == "__main__":
    main()
