"""Hold a steady load on the server while it is hurt in turn, and print what came of it.

    python benchmarks/soak.py [--minutes 10] [--models 3]

Eight callers post series of mixed sizes, one request after the other, to a real server
of two workers, and compare every answer with the right one; a ninth pings, and a tenth
scrapes the metrics each second. With several models, each another one, the server is
that of a multi-model endpoint: one worker, and each request is for one of them.
Meanwhile the server is hurt, over and over:

- kill: one worker is killed with SIGKILL;
- burst: 200 connections at once, each with a request;
- half-open: 100 clients stop in mid-head, and 16 in mid-body, until they are ended;
- malformed: 200 requests that no server should understand;
- large: four requests of 20 MB.

The latency is that of the callers' smallest requests: in the 5 s before a fault, while
it lasts, and from 5 s after its end on. The exit code is not 0 if an answer was wrong,
an error came that the fault does not explain, the latency did not come back, or the
metrics did not count what the clients saw.
"""

import argparse
import contextlib
import dataclasses
import http.client
import json
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np

from scrapes import Scrapes
from serving import memory_of, running, save_model, server, to_csv, workers

N_CALLERS = 8
SIZES = (200, 200, 200, 200, 1_000, 5_000)
"""Rows of the callers' requests; a large one is rare."""

CALM_SECONDS = 5.0
"""How long the load is watched before a fault, and again after its end."""
RECOVERY_SECONDS = 5.0
"""How long after the end of a fault the latency may take to be back."""
RECOVERED = 3.0
"""How much longer than before, or than usual, the median may be then: the machine has
other work as well."""
PING_SECONDS = 2.0
"""What SageMaker gives a ping."""
GROWTH_MB = 50.0
"""How much more memory the workers may take after the last round than the first."""

HALF_HEAD = b"POST /invocations HTT"
HALF_BODY = b"POST /invocations HTTP/1.1\r\nContent-Length: 9999\r\n\r\n1,2\n"
MALFORMED = (
    b"\0\xff\r\n\r\n",
    b"GET /ping HTTP/9.9\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\nContent-Length: 4\r\n\r\n1,x\n",
    b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
)

LOST = "connection lost"
WRONG = "wrong answer"


def main() -> None:
    """Hold the load, do the damage, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--models", type=int, default=1)
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), options.models) as target,
    ):
        soak = Soak(target)
        with soak.load():
            time.sleep(CALM_SECONDS)
            while not soak.rounds or time.monotonic() < end:
                for fault in FAULTS:
                    soak.hurt(fault)
                soak.rounds.append(sum(map(memory_of, workers(target.port))))
        soak.scrapes.scrape()
        log = (Path(folder) / "server.log").read_text()
        soak.n_logged_scrapes = log.count("GET /metrics")
    sys.exit(soak.report())


@dataclasses.dataclass(frozen=True)
class Target:
    """What is called."""

    port: int
    paths: tuple[str, ...] = ("/invocations",)
    """Where requests go: to each of the models."""


@contextlib.contextmanager
def serving(base: Path, n_models: int) -> Iterator[Target]:
    """Run a server of one model with two workers, or of several with one."""
    if n_models == 1:
        save_model(base, n_series=2)
        with server(base, n_workers=2) as port:
            yield Target(port)
        return
    names = [f"model-{number}" for number in range(n_models)]
    for seed, name in enumerate(names):
        save_model(base / name, n_series=2, seed=seed)
    with server(base, SAGEMAKER_MULTI_MODEL="true") as port:
        for name in names:
            load_model(port, name, base / name / "model")
        yield Target(port, tuple(f"/models/{name}/invoke" for name in names))


def load_model(port: int, name: str, folder: Path) -> None:
    """Load a model of a multi-model endpoint."""
    with contextlib.closing(connect(port)) as connection:
        asked = json.dumps({"model_name": name, "url": str(folder)})
        connection.request("POST", "/models", asked)
        assert connection.getresponse().status == 200


@dataclasses.dataclass(frozen=True)
class Sample:
    """What a caller saw of a request."""

    began: float
    seconds: float
    n_rows: int
    outcome: str
    """The status, or what went wrong."""


@dataclasses.dataclass(frozen=True)
class Window:
    """A fault, and when it was."""

    fault: "Fault"
    began: float
    ended: float
    outcomes: Counter[str]
    """What the clients of the fault itself saw."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """A way to hurt the server, and what may come of it."""

    name: str
    do: Callable[[Target], Counter[str]]
    to_itself: frozenset[str]
    """The outcomes that its own clients may see."""
    to_callers: frozenset[str] = frozenset()
    """The outcomes beside 200 that the callers may see meanwhile."""
    n_allowed: float = float("inf")
    """How many of these there may be."""


class Soak:
    """The load on a server, and what its callers saw."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.windows: list[Window] = []
        self.rounds: list[float] = []
        self.samples: list[Sample] = []
        self.n_logged_scrapes = 0
        self.pings: list[Sample] = []
        self.scrapes = Scrapes(lambda: fetched(target.port, "/metrics"))
        self._is_over = threading.Event()
        noise = np.random.default_rng(0)
        self._bodies = {n: to_csv(noise.normal(size=(n, 2))) for n in set(SIZES)}
        with contextlib.closing(connect(target.port)) as connection:
            self._answers = {
                (path, n_rows): post(connection, body, path)[1]
                for path in target.paths
                for n_rows, body in self._bodies.items()
            }
        assert len(set(self._answers.values())) == len(self._answers)

    def load(self) -> AbstractContextManager[None]:
        """Let the callers call until the end of the block."""
        return running(
            self._is_over,
            *(partial(self._call, seed) for seed in range(N_CALLERS)),
            self._ping,
            partial(self.scrapes.run, self._is_over),
        )

    def hurt(self, fault: Fault) -> None:
        """Do the damage, and wait until the callers have forgotten it."""
        began = time.monotonic()
        outcomes = fault.do(self.target)
        self.windows.append(Window(fault, began, time.monotonic(), outcomes))
        time.sleep(RECOVERY_SECONDS + CALM_SECONDS)

    def _call(self, seed: int) -> None:
        """Post one request after the other."""
        sizes = random.Random(seed)
        connection = None
        while not self._is_over.is_set():
            n_rows = sizes.choice(SIZES)
            connection = connection or connect(self.target.port)
            path = sizes.choice(self.target.paths)
            began = time.monotonic()
            outcome, answer = post(connection, self._bodies[n_rows], path)
            if outcome == "200" and answer != self._answers[path, n_rows]:
                outcome = WRONG
            seconds = time.monotonic() - began
            self.samples.append(Sample(began, seconds, n_rows, outcome))
            if outcome != "200":
                connection.close()
                connection = None
            if outcome == "503":
                self._is_over.wait(1)  # as its Retry-After says
        if connection:
            connection.close()

    def _ping(self) -> None:
        """Ping as SageMaker does, only more often."""
        while not self._is_over.wait(0.25):
            began = time.monotonic()
            connection = connect(self.target.port)
            try:
                connection.request("GET", "/ping")
                outcome = str(connection.getresponse().status)
            except (OSError, http.client.HTTPException):
                outcome = LOST
            connection.close()
            seconds = time.monotonic() - began
            self.pings.append(Sample(began, seconds, 0, outcome))

    def report(self) -> str | None:
        """Print the tables, and return what was unexpected, if anything was."""
        counts = Counter(sample.outcome for sample in self.samples)
        seconds = self.samples[-1].began - self.samples[0].began
        print(f"{len(self.samples)} requests of {N_CALLERS} callers in {seconds:.0f} s")
        print("  " + listed(counts))
        slowest = max(ping.seconds for ping in self.pings)
        print(
            f"{len(self.pings)} pings: {listed(Counter(p.outcome for p in self.pings))}"
        )
        print(f"  the slowest took {slowest:.2f} s")
        print("\nLatency of 200 rows, milliseconds: p50 / p99")
        head = f"| {'fault':9} | {'seconds':>7} | {'before':>13} | {'during':>13} |"
        print(f"{head} {'after 5 s':>13} | callers' errors, and its own clients")
        unexpected = []
        explained = 0
        for window in self.windows:
            found, n_explained = self._row(window)
            unexpected += found
            explained += n_explained
        n_errors = sum(counts.values()) - counts["200"]
        n_lost_pings = sum(ping.outcome != "200" for ping in self.pings)
        n_kills = sum(window.fault.name == "kill" for window in self.windows)
        first, last = self.rounds[0], self.rounds[-1]
        print(f"\nMemory of the workers after the first round {first:.0f} MB, ", end="")
        print(f"after the last of {len(self.rounds)} {last:.0f} MB")
        unexpected += self._scraped(counts, n_kills)
        if n_errors != explained:
            unexpected.append(f"{n_errors - explained} errors that no fault explains")
        if n_lost_pings > n_kills:
            unexpected.append(f"{n_lost_pings} pings without an answer")
        if slowest > PING_SECONDS:
            unexpected.append(f"a ping took {slowest:.2f} s")
        if last - first > GROWTH_MB:
            unexpected.append(f"the memory grew by {last - first:.0f} MB")
        return "Unexpected: " + "; ".join(unexpected) + "." if unexpected else None

    def _scraped(self, counts: Counter[str], n_kills: int) -> list[str]:
        """Print a line about the scrapes; return what was unexpected of them."""
        seen = sum((window.outcomes for window in self.windows), counts.copy())
        n_loads = len(self.target.paths) if len(self.target.paths) > 1 else 0
        n_answered = seen["200"] + seen[WRONG] + len(self._answers) + n_loads
        print(
            f"\n{len(self.scrapes.seconds)} scrapes, {self.scrapes.n_lost} lost: p99 "
            f"{1000 * self.scrapes.p99:.0f} ms; {n_answered} answers seen, "
            f"{self.scrapes.last['lstm_ad_requests_total 200']:.0f} counted"
        )
        found = self.scrapes.unexpected(n_answered, seen[LOST], n_kills)
        if self.n_logged_scrapes:
            found.append(f"{self.n_logged_scrapes} scrapes are in the log")
        return found

    def _row(self, window: Window) -> tuple[list[str], int]:
        """Print a line; return what was unexpected, and how many errors were not."""
        fault, settled = window.fault, window.ended + RECOVERY_SECONDS
        before = self._latency(window.began - CALM_SECONDS, window.began)
        during = self._latency(window.began, window.ended)
        after = self._latency(settled, settled + CALM_SECONDS)
        errors = Counter(
            sample.outcome
            for sample in self.samples
            if sample.outcome != "200"
            and sample.began <= settled
            and sample.began + sample.seconds >= window.began
        )
        print(
            f"| {fault.name:9} | {window.ended - window.began:7.1f} | {shown(before)} |"
            f" {shown(during)} | {shown(after)} | {listed(errors) or 'none'}; "
            f"{listed(window.outcomes) or 'none'}"
        )
        unexpected = []
        if set(errors) - fault.to_callers or errors.total() > fault.n_allowed:
            unexpected.append(f"{fault.name}: the callers saw {listed(errors)}")
        if odd := set(window.outcomes) - fault.to_itself:
            unexpected.append(f"{fault.name}: its clients saw {', '.join(odd)}")
        usual = max(before[0], self._usual()) if before else self._usual()
        if not after or after[0] > RECOVERED * usual:
            unexpected.append(f"{fault.name}: the latency did not come back")
        return unexpected, errors.total()

    def _usual(self) -> float:
        """Return the median of the medians before the faults."""
        calm = (self._latency(w.began - CALM_SECONDS, w.began) for w in self.windows)
        return float(np.median([latency[0] for latency in calm if latency]))

    def _latency(self, begin: float, end: float) -> tuple[float, float] | None:
        """Return p50 and p99 of the small requests that ended between two moments."""
        latencies = [
            1000 * sample.seconds
            for sample in self.samples
            if sample.n_rows == min(SIZES)
            and sample.outcome == "200"
            and begin <= sample.began + sample.seconds <= end
        ]
        if not latencies:
            return None
        p50, p99 = np.percentile(latencies, [50, 99])
        return float(p50), float(p99)


def kill(target: Target) -> Counter[str]:
    """Kill a worker, and wait until there is another one."""
    port = target.port
    before = workers(port)
    os.kill(before[0], signal.SIGKILL)
    deadline = time.monotonic() + 60
    while before[0] in workers(port) or len(workers(port)) < len(before):
        if time.monotonic() > deadline:
            return Counter(["not replaced"])
        time.sleep(0.05)
    return Counter(["replaced"])


def burst(target: Target) -> Counter[str]:
    """Send 200 requests at once."""
    body = to_csv(np.random.default_rng(1).normal(size=(5_000, 2)))
    return all_at_once(200, lambda: post_once(target, body))


def half_open(target: Target) -> Counter[str]:
    """Send beginnings, and wait until the server ends every one of them."""
    outcomes: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        clients, path = [], target.paths[0].encode()
        for beginning in [HALF_HEAD] * 100 + [HALF_BODY] * 16:
            client = socket.create_connection(("127.0.0.1", target.port), timeout=60)
            clients.append(stack.enter_context(client))
            client.sendall(beginning.replace(b"/invocations", path))
        for client in clients:
            outcomes[status_of(client)] += 1
    return outcomes


def malformed(target: Target) -> Counter[str]:
    """Send what is no request, or not a good one."""
    outcomes: Counter[str] = Counter()
    for i in range(200):
        path = target.paths[0].encode()
        request = MALFORMED[i % len(MALFORMED)].replace(b"/invocations", path)
        address = "127.0.0.1", target.port
        with socket.create_connection(address, timeout=60) as client:
            client.sendall(request)
            outcomes[status_of(client)] += 1
    return outcomes


def large(target: Target) -> Counter[str]:
    """Send 20 MB four times."""
    rows = to_csv(np.random.default_rng(2).normal(size=(10_000, 2)))
    body = rows * (20 * 2**20 // len(rows))
    return all_at_once(4, lambda: post_once(target, body))


FAULTS = (
    # A caller can lose its connection, and the next if that was in the same queue.
    Fault("kill", kill, frozenset({"replaced"}), frozenset({LOST}), 2 * N_CALLERS),
    Fault("burst", burst, frozenset({"200", "503"}), frozenset({"503"})),
    Fault("half-open", half_open, frozenset({"408", "503"}), frozenset({"503"})),
    Fault("malformed", malformed, frozenset({"400", "404"})),
    Fault("large", large, frozenset({"200"})),
)


def all_at_once(n_times: int, function: Callable[[], str]) -> Counter[str]:
    """Return the outcomes of a function that is called by many at a time."""
    with ThreadPoolExecutor(n_times) as pool:
        calls = [pool.submit(function) for _ in range(n_times)]
        return Counter(call.result() for call in calls)


def connect(port: int) -> http.client.HTTPConnection:
    """Return a connection that is opened by its first request."""
    return http.client.HTTPConnection("127.0.0.1", port, timeout=60)


def post(
    connection: http.client.HTTPConnection, body: bytes, path: str
) -> tuple[str, bytes]:
    """Return the outcome of a request, and its answer."""
    try:
        connection.request("POST", path, body, {"Content-Type": "text/csv"})
        response = connection.getresponse()
        return str(response.status), response.read()
    except (OSError, http.client.HTTPException):
        return LOST, b""


def fetched(port: int, path: str) -> str:
    """Return what a path answers.

    Raises:
        OSError, http.client.HTTPException: If it does not.
    """
    with contextlib.closing(connect(port)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def post_once(target: Target, body: bytes) -> str:
    """Return the outcome of a request on a connection of its own."""
    with contextlib.closing(connect(target.port)) as connection:
        return post(connection, body, target.paths[0])[0]


def status_of(client: socket.socket) -> str:
    """Return the status of the answer to what was sent."""
    try:
        with contextlib.closing(http.client.HTTPResponse(client)) as response:
            response.begin()
            return str(response.status)
    except (OSError, http.client.HTTPException):
        return LOST


def listed(counts: Counter[str]) -> str:
    """Return counts for a line of the report."""
    return ", ".join(f"{n} x {outcome}" for outcome, n in sorted(counts.items()))


def shown(latency: tuple[float, float] | None) -> str:
    """Return p50 and p99 for a table."""
    return f"{latency[0]:5.0f} / {latency[1]:5.0f}" if latency else f"{'none':>13}"


if __name__ == "__main__":
    main()
