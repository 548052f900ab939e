"""Send one very large body, as an asynchronous endpoint does, and print what it took.

    python benchmarks/asynchronous.py [--megabytes 1024] [--chunked] [--output COLUMNS]

The body is CSV of 8 series, about 8 characters per number. It is sent announced or in
chunks to a real server with the one setting that lifts its limit of size, and its
answer is read as it comes, and counted. Meanwhile another caller pings and scores 200
rows, again and again. The exit code is not 0 if anything is not answered as it should,
the server takes more than 4 GB, or the answer more than 15 minutes.
"""

import argparse
import contextlib
import http.client
import os
import sys
import tempfile
import threading
import time
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np

from serving import (
    ATTRIBUTES,
    MASTERS,
    artifacts,
    memory_of,
    running,
    server,
    workers,
)

N_SERIES = 8
BLOCK_ROWS = 10_000
MB = 2**20

MAX_MB = 4096.0
MAX_SECONDS = 15 * 60.0
PING_SECONDS = 2.0
"""What SageMaker gives a ping."""


def main() -> None:
    """Send the body, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--chunked", action="store_true")
    parser.add_argument("--output", default="", help="columns of the answer")
    parser.add_argument("--accept", default="text/csv")
    parser.add_argument("--missing", action="store_true", help="with missing values")
    options = parser.parse_args()
    block = rows_of(BLOCK_ROWS, options.missing)
    n_blocks = options.megabytes * MB // len(block)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        save_model(base, options.missing)
        with server(base, SAGEMAKER_MAX_PAYLOAD_IN_MB=str(options.megabytes)) as port:
            idle = megabytes(port)
            watch = Watch(port, rows_of(200))
            with watch.watching():
                headers = {"Content-Type": "text/csv", "Accept": options.accept}
                if options.output:
                    headers[ATTRIBUTES] = f"output={options.output}"
                began = time.monotonic()
                answer = send(port, block, n_blocks, headers, options.chunked)
                seconds = time.monotonic() - began
    failed = watch.report(idle, block, n_blocks, answer, seconds)
    sys.exit("; ".join(failed) or None)


def save_model(base: Path, holds: bool) -> None:
    """Save a model of the default sizes, fitted for one epoch to noise."""
    from lstm_ad.data.rows import Rows
    from lstm_ad.fitting import fit
    from lstm_ad.hyperparameters import HOLD, REFUSE, Hyperparameters

    series = np.random.default_rng(0).normal(size=(600, N_SERIES))
    settings = Hyperparameters(epochs=1, missing_values=HOLD if holds else REFUSE)
    artifacts.save(base / "model", fit(Rows.of({"a": series}), settings))


def rows_of(n_rows: int, with_missing: bool = False) -> bytes:
    """Return rows of CSV, about 8 characters per number."""
    values = np.random.default_rng(0).normal(size=(n_rows, N_SERIES))
    lines = [[f"{value:.4f}" for value in row] for row in values.tolist()]
    if with_missing:
        for number, line in enumerate(lines):
            if number % 10 == 9:
                line[number % N_SERIES] = ""
    return "".join(",".join(line) + "\n" for line in lines).encode()


class Watch:
    """What other callers see, and what the server takes, while it answers.

    Args:
        port: The server's.
        body: A small request.
    """

    def __init__(self, port: int, body: bytes) -> None:
        self._port, self._body = port, body
        self._is_over = threading.Event()
        self.peak = 0.0
        self.waits: dict[str, list[float]] = {"ping": [], "score": []}
        self.statuses: set[int] = set()

    def watching(self) -> AbstractContextManager[None]:
        """Watch until the end of the block."""
        return running(
            self._is_over,
            partial(self._call, "ping", "GET", "/ping", b""),
            partial(self._call, "score", "POST", "/invocations", self._body),
        )

    def _call(self, name: str, method: str, path: str, body: bytes) -> None:
        """Ask for something again and again."""
        while not self._is_over.wait(0.2):
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            began = time.monotonic()
            connection.request(method, path, body, {"Content-Type": "text/csv"})
            with connection.getresponse() as response:
                response.read()
                self.statuses.add(response.status)
            self.waits[name].append(time.monotonic() - began)
            connection.close()
            self.peak = max(self.peak, megabytes(self._port))

    def report(
        self,
        idle: float,
        block: bytes,
        n_blocks: int,
        answer: tuple[int, int, int],
        seconds: float,
    ) -> list[str]:
        """Print the figures, and return what is not as it should be."""
        status, n_rows, n_bytes = answer
        print(
            f"{n_blocks * len(block) / MB:.0f} MB, {n_blocks * BLOCK_ROWS} x {N_SERIES}"
            f" rows: status {status}, {n_rows} rows in {n_bytes / MB:.0f} MB after "
            f"{seconds:.0f} s; memory of the server {self.peak:.0f} MB at its peak, "
            f"{idle:.0f} MB before; load {os.getloadavg()[0]:.1f}"
        )
        for name, waits in self.waits.items():
            print(
                f"meanwhile {name}: {len(waits)}, p50 {1e3 * np.median(waits):.0f} ms, "
                f"at most {1e3 * max(waits):.0f} ms"
            )
        return [
            reason
            for is_so, reason in (
                (status != 200 or n_rows != n_blocks * BLOCK_ROWS, "wrong answer"),
                (self.statuses != {200}, f"others got {self.statuses}"),
                (max(self.waits["ping"]) > PING_SECONDS, "a ping was late"),
                (self.peak > MAX_MB, "too much memory"),
                (seconds > MAX_SECONDS, "too slow"),
            )
            if is_so
        ]


def send(
    port: int, block: bytes, n_blocks: int, headers: dict[str, str], is_chunked: bool
) -> tuple[int, int, int]:
    """Return the status of an answer, and its lines and bytes, counted as they come."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=MAX_SECONDS)
    if not is_chunked:
        headers = {**headers, "Content-Length": str(n_blocks * len(block))}
    blocks = (block for _ in range(n_blocks))
    connection.request(
        "POST", "/invocations", blocks, headers, encode_chunked=is_chunked
    )
    with contextlib.closing(connection), connection.getresponse() as response:
        n_rows = n_bytes = 0
        while piece := response.read(MB):
            n_rows += piece.count(b"\n")
            n_bytes += len(piece)
            last = piece
        if response.status != 200:
            print(last.decode())
        return response.status, n_rows, n_bytes


def megabytes(port: int) -> float:
    """Return the memory of the server, its master included."""
    return sum(map(memory_of, [MASTERS[port], *workers(port)]))


if __name__ == "__main__":
    main()
