"""Measure the server against the bare network in one run, and print tables of ratios.

    python benchmarks/serving.py [--only MEASURE] [--seconds 60] [--requests 10000]

The server has its defaults: a worker per core for an endpoint, one worker with all
threads for a batch transform. Measured on this machine, one after the other:

- throughput: a 100 000 x 8 CSV through HTTP, against the network alone on its arrays,
  in turn: as a batch transform sends it, both with a thread per core; and to an
  endpoint, both with one thread;
- times: the CPU time of reading a CSV with times and ids before its numbers, against
  that of the same numbers alone, in turn;
- large: the CPU time and the memory of a request of 99 MB with times, and of the same
  numbers without;
- formats: the same with every other answer, against the default one;
- latency: a 200 x 2 CSV, one caller and sixteen, in turn, and a growing series;
- cold start: process start to the first ping, against ``python -c "import torch"``;
- memory of one worker: idle, at the peak of a 100 MB request, and the growth over many.

The networks have the default sizes and random weights: their speed is that of trained
ones. The client runs in this process and takes its share of the same cores, so the one
of the sixteen callers does little: prepared bytes out, bytes in and compared.
"""

import argparse
import contextlib
import dataclasses
import http.client
import io
import os
import platform
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "src"), str(REPOSITORY / "scripts")]

import laptop  # noqa: E402  # the path comes first
from lstm_ad import artifacts  # noqa: E402  # the path comes first
from lstm_ad.data.schema import (  # noqa: E402  # the path comes first
    Clock,
    Column,
    Role,
    Schema,
    TimeForm,
)
from lstm_ad.hyperparameters import Hyperparameters  # noqa: E402
from lstm_ad.model.runtime import ROWS  # noqa: E402
from lstm_ad.model.sequences import input_sequences  # noqa: E402
from sagemaker_container.formats.columns import OUTPUTS  # noqa: E402
from sagemaker_container.formats.csv_table import read_table  # noqa: E402

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"

THREADS = len(os.sched_getaffinity(0))

ROUNDS = 6
"""How often one caller and sixteen take turns: the speed of a shared machine drifts."""

SETTLE_SECONDS = 0.1
"""Longer than threads of ONNX Runtime wait busily: 40 ms of CPU after a run of two."""


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="of sixteen callers")
    parser.add_argument("--requests", type=int, default=10_000, help="for the growth")
    parser.add_argument("--only", help="one of the measures", metavar="MEASURE")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {THREADS} cores")
    with tempfile.TemporaryDirectory() as folder:
        for n_series in (2, 8):
            save_model(Path(folder) / str(n_series), n_series)
        narrow, wide = Path(folder) / "2", Path(folder) / "8"
        save_model(Path(folder) / "times", 4, has_times=True)
        measures = {
            "cold-start": lambda: cold_start(narrow),
            "throughput": lambda: throughput(wide),
            "times": times,
            "large": lambda: large(Path(folder) / "times"),
            "formats": lambda: formats(wide),
            "latency": lambda: latency(narrow, options.seconds),
            "memory": lambda: memory(wide, narrow, options.requests),
        }
        for name in [options.only] if options.only else measures:
            measures[name]()


def save_model(
    base: Path, n_series: int, seed: int = 0, has_times: bool = False
) -> None:
    """Save a model of the default sizes, fitted for one epoch to noise of a seed."""
    from lstm_ad.data.rows import Rows
    from lstm_ad.fitting import fit

    series = np.random.default_rng(seed).normal(size=(600, n_series))
    settings = Hyperparameters(epochs=1, seed=seed)
    fitted = fit(Rows.of({"a": series}), settings)
    if has_times:
        columns = (Column("time", Role.TIMESTAMP), *fitted.detector.schema.columns)
        schema = Schema(columns, is_named=True, clock=Clock(TimeForm.ISO, 10**9))
        detector = dataclasses.replace(fitted.detector, schema=schema)
        fitted = dataclasses.replace(fitted, detector=detector)
    artifacts.save(base / "model", fitted)


def throughput(base: Path) -> None:
    """Compare a large request with the bare network on the same arrays."""
    series = np.random.default_rng(1).normal(size=(100_000, 8))
    body = to_csv(series)
    for name, threads, variables in (
        ("a batch transform", THREADS, {"SAGEMAKER_BATCH": "true"}),
        ("an endpoint", 1, {}),
    ):
        bare = bare_forward(base, series, threads)
        with server(base, **variables) as port, caller(port) as post:
            network, served = paired(bare, lambda p=post: p(body), runs=7)
        table(
            f"POST of 100 000 x 8 ({len(body) / 1e6:.1f} MB) to {name}: threads "
            f"{threads}, of the bare network too",
            [("bare network", network), ("server", served)],
        )
        print(f"{100_000 / served:,.0f} rows/s through HTTP")


def times() -> None:
    """Compare reading numbers with times before them and without."""
    generator = np.random.default_rng(5)
    for n_series in (4, 13):
        rows = generator.normal(size=(2_000_000 // n_series, n_series)).round(4)
        began = np.datetime64("2026-01-01T00:00:00")
        stamps = (began + np.arange(len(rows))).astype(str).tolist()
        stamp, asset = Column("time", Role.TIMESTAMP), Column("asset", Role.ID)
        before: dict[str, tuple[list[Column], list[str]]] = {
            "numbers alone": ([], [""] * len(rows)),
            "times": ([stamp], [f"{text}," for text in stamps]),
            "times, half of them with a fraction": (
                [stamp],
                [f"{text}{'.500' * (at % 2)}Z," for at, text in enumerate(stamps)],
            ),
            "times in quotes": ([stamp], [f'"{text}",' for text in stamps]),
            "times and ids": (
                [stamp, asset],
                [f"{text},pump-{at // 999 % 20}," for at, text in enumerate(stamps)],
            ),
        }
        lines = to_csv(rows).decode().splitlines()
        _compare_reading(f"{len(rows)} x {n_series}", lines, before, n_series, False)
        holes = generator.random(rows.shape) < 0.02
        lines = pd.DataFrame(rows).mask(holes).to_csv(header=False, index=False).split()
        some = {name: before[name] for name in ("numbers alone", "times")}
        name = f"{len(rows)} x {n_series}, 2 % of them missing"
        _compare_reading(name, lines, some, n_series, True)


def _compare_reading(
    name: str,
    lines: list[str],
    before: dict[str, tuple[list[Column], list[str]]],
    n_series: int,
    allows_missing: bool,
) -> None:
    """Print the CPU time of reading lines with other columns before them."""
    series = [Column(str(number), Role.SERIES) for number in range(n_series)]
    seconds: dict[str, list[float]] = {kind: [] for kind in before}
    texts = {
        kind: "\n".join(map("".join, zip(cells, lines, strict=True))).encode()
        for kind, (_, cells) in before.items()
    }
    for _ in range(7):
        for kind, (columns, _) in before.items():
            schema = Schema((*columns, *series), is_named=True)
            began = time.process_time()
            read_table(io.BytesIO(texts[kind]), schema, allows_missing=allows_missing)
            seconds[kind].append(time.process_time() - began)
    size = len(texts["numbers alone"]) / 1e6
    medians = [(kind, statistics.median(spent)) for kind, spent in seconds.items()]
    table(f"Reading {name} ({size:.0f} MB), CPU", medians)


def large(base: Path) -> None:
    """State what a request of 99 MB with times takes, and one without them."""
    rows = np.random.default_rng(5).normal(size=(2_000_000, 4)).round(4)
    lines = to_csv(rows).decode().splitlines(keepends=True)
    began = np.datetime64("2026-01-01T00:00:00")
    stamps = (began + np.arange(len(rows))).astype(str).tolist()
    with_times = map(",".join, zip(stamps, lines, strict=True))
    for name, some in (("without times", lines), ("with times", with_times)):
        body = "".join(some).encode()
        with server(base, n_workers=1) as port, caller(port) as post:
            before = cpu_seconds(port)
            post(body)
            seconds, peak = cpu_seconds(port) - before, resident(port, "VmHWM")
        size = len(body) / 1e6
        print(f"{size:.0f} MB {name}: {seconds:.2f} s of CPU, a peak of {peak:.0f} MB")


def formats(base: Path) -> None:
    """Compare the answers that can be asked for to a large request."""
    series = np.random.default_rng(1).normal(size=(100_000, 8))
    body = to_csv(series)
    asked = {
        "default": {},
        "all columns": {ATTRIBUTES: f"output={','.join(OUTPUTS)}"},
        "JSON Lines": {"Accept": "application/jsonlines"},
        "JSON": {"Accept": "application/json"},
    }
    times = []
    with server(base) as port:
        for name, headers in asked.items():
            with caller(port, headers) as post:
                size = len(post(body)) / 1e6
                seconds = statistics.median(
                    timed(lambda p=post: p(body)) for _ in "123"
                )
            times.append((f"{name}, {size:.0f} MB", seconds))
    table("Answers to a POST of 100 000 x 8", times)


def latency(base: Path, seconds: float) -> None:
    """Compare a small request with the bare network, alone and among sixteen."""
    series = np.random.default_rng(2).normal(size=(200, 2))
    body, bare = to_csv(series), bare_forward(base, series, threads=1)
    forward = statistics.median(timed(bare) for _ in range(300))
    with server(base) as port:
        closed_loop(port, body, n_callers=16, seconds=3)  # every worker is awake then
        singles, crowds = [], []
        for _ in range(ROUNDS):
            singles.append(closed_loop(port, body, n_callers=1, seconds=2))
            crowds.append(closed_loop(port, body, 16, seconds / ROUNDS))
        alone, crowd = Load.joined(singles), Load.joined(crowds)
        with caller(port, {ATTRIBUTES: "output=score;return=last:1"}) as post:
            growing = [
                statistics.median(timed(lambda b=b: post(b)) for _ in range(300))
                for b in (to_csv(series[:51]), to_csv(series[:99]))
            ]
        waits = [
            statistics.median(
                timed(lambda e=e: post_once(port, body, e)) for _ in range(50)
            )
            for e in (False, True)
        ]
    print("\nLatency of a 200 x 2 request, milliseconds")
    print(f"| {'':18} | {'p50':>7} | {'p99':>7} | {'requests/s':>10} | errors |")
    print(f"| {'bare network':18} | {forward * 1e3:7.2f} | {'':7} | {'':10} | {'':6} |")
    for name, load in (("1 caller", alone), ("16 callers", crowd)):
        print(
            f"| {name:18} | {load.p50 * 1e3:7.2f} | {load.p99 * 1e3:7.2f} | "
            f"{load.rate:10.0f} | {load.n_errors:6} |"
        )
    print(
        f"a new row of a growing series, after 50 and after 98 others: "
        f"{growing[0] * 1e3:.2f} and {growing[1] * 1e3:.2f} ms"
    )
    print(
        f"on a new connection, and with Expect: 100-continue, whose answer the client "
        f"waits for: {waits[0] * 1e3:.2f} and {waits[1] * 1e3:.2f} ms"
    )
    limit = 2 * 16 / THREADS * alone.p50
    print(
        f"p50 over the bare network: {(alone.p50 - forward) * 1e3:.2f} ms; p99 / p50 "
        f"alone: {alone.p99 / alone.p50:.1f}; "
        f"p99 of 16 / (2 x (16 / cores) x p50 alone): {crowd.p99 / limit:.2f}"
    )


def cold_start(base: Path) -> None:
    """Compare the time to the first ping with that of importing torch."""

    def start() -> None:
        with server(base):
            pass

    def import_torch() -> None:
        subprocess.run([sys.executable, "-c", "import torch"], check=True)

    times = [(start_seconds(base), timed(import_torch)) for _ in range(5)]
    first_ping, torch = (
        statistics.median(column) for column in zip(*times, strict=True)
    )
    table("Cold start", [("import torch", torch), ("first /ping 200", first_ping)])


def memory(wide: Path, narrow: Path, n_requests: int) -> None:
    """State the idle size, the peak of a large request, and the growth over many."""
    rows = to_csv(np.random.default_rng(3).normal(size=(10_000, 8)))
    body = rows * int(100 * 2**20 / len(rows))
    with server(wide, n_workers=1) as port, caller(port) as post:
        idle = resident(port)
        post(body)
        peak = resident(port, "VmHWM")
    small = to_csv(np.random.default_rng(4).normal(size=(200, 2)))
    with server(narrow, n_workers=1) as port, caller(port) as post:
        for _ in range(200):
            post(small)
        before = resident(port)
        for _ in range(n_requests):
            post(small)
        growth = resident(port) - before
    size = len(body) / 2**20
    print("\nMemory of a worker, MB")
    print(
        f"idle {idle:.0f}; peak of a {size:.0f} MB request {peak:.0f}, which is "
        f"{(peak - idle) / size:.1f} x the request plus the idle size"
    )
    print(f"growth over {n_requests} requests: {growth:.1f}")


@dataclasses.dataclass(frozen=True)
class Load:
    """What callers in a closed loop saw."""

    latencies: list[float]
    seconds: float
    n_errors: int

    @classmethod
    def joined(cls, loads: list["Load"]) -> "Load":
        """Return several loads as one."""
        return cls(
            [latency for load in loads for latency in load.latencies],
            sum(load.seconds for load in loads),
            sum(load.n_errors for load in loads),
        )

    @property
    def p50(self) -> float:
        """The median latency in seconds."""
        return float(np.percentile(self.latencies, 50))

    @property
    def p99(self) -> float:
        """The latency in seconds that one in a hundred exceeds."""
        return float(np.percentile(self.latencies, 99))

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.seconds


def closed_loop(port: int, body: bytes, n_callers: int, seconds: float) -> Load:
    """Let callers post one request after the other for some time.

    An answer that is not 200 with the right bytes is an error.
    """
    request = (
        b"POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Type: text/csv\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    with caller(port) as post:
        expected = post(body)
    latencies: list[float] = []
    n_errors = 0
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        sent_at: dict[socket.socket, float] = {}
        came: dict[socket.socket, bytes] = {}

        def send(connection: socket.socket) -> None:
            came[connection] = b""
            sent_at[connection] = time.perf_counter()
            connection.sendall(request)

        for _ in range(n_callers):
            connection = socket.create_connection(("127.0.0.1", port))
            stack.enter_context(connection)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection, selectors.EVENT_READ)
            send(connection)
        while sent_at:
            if not (events := selector.select(timeout=60)):
                raise TimeoutError("the server did not answer for 60 s")
            for key, _ in events:
                connection = key.fileobj
                piece = connection.recv(2**18)
                came[connection] += piece
                head, _, answer = came[connection].partition(b"\r\n\r\n")
                if piece and len(answer) < len(expected) and b" 200 " in head[:16]:
                    continue
                now = time.perf_counter()
                latencies.append(now - sent_at.pop(connection))
                n_errors += answer != expected
                if piece and now < began + seconds:
                    send(connection)
                else:
                    selector.unregister(connection)
    return Load(latencies, time.perf_counter() - began, n_errors)


def bare_forward(base: Path, series: np.ndarray, threads: int) -> Callable[[], object]:
    """Return the forward passes of the network alone over the rows of a series."""
    reconstructor = artifacts.load(base / "model").reconstructor
    network = reconstructor.network
    scaled = reconstructor.scaler.transform(series)
    sequences = np.ascontiguousarray(input_sequences(scaled, network.layout))
    size = network.batch_size
    batches = [sequences[i : i + size] for i in range(0, len(sequences), size)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(network.model, options)
    return lambda: [session.run(None, {ROWS: batch}) for batch in batches]


@contextlib.contextmanager
def server(base: Path, n_workers: int | None = None, **variables: str) -> Iterator[int]:
    """Run the real server on a free port until the end of the block."""
    port = laptop.free_port()
    environment = {
        "PYTHONPATH": str(REPOSITORY / "src"),
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        **variables,
    }
    if n_workers:
        environment["SAGEMAKER_MODEL_SERVER_WORKERS"] = str(n_workers)
    log = base / "server.log"
    with laptop.started(laptop.SERVE, environment, log) as process:
        laptop.wait_for_ping(process, port, log)
        MASTERS[port] = process.pid
        yield port


MASTERS: dict[int, int] = {}


def start_seconds(base: Path) -> float:
    """Return the seconds from the start of the server to its first ping."""
    began = time.perf_counter()
    with server(base):
        return time.perf_counter() - began


@contextlib.contextmanager
def caller(
    port: int, asked: Mapping[str, str] | None = None
) -> Iterator[Callable[[bytes], bytes]]:
    """Give a function that posts a body over one kept connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(body: bytes) -> bytes:
        headers = {"Content-Type": "text/csv", **(asked or {})}
        connection.request("POST", "/invocations", body, headers)
        response = connection.getresponse()
        answer = response.read()
        assert response.status == 200, answer[:200]
        return answer

    with contextlib.closing(connection):
        yield post


def post_once(port: int, body: bytes, expects: bool) -> None:
    """Post a body over a connection of its own, as curl does above 1 MB if it expects.

    Args:
        port: The server's.
        body: A series as CSV.
        expects: Whether to wait for the interim answer before the body is sent.
    """
    head = (
        "POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Type: text/csv\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = connection.makefile("rb")
        expectation = "Expect: 100-continue\r\n" if expects else ""
        connection.sendall(f"{head}{expectation}\r\n".encode())
        if expects:
            assert stream.readline().split()[1] == b"100"
            stream.readline()
        connection.sendall(body)
        assert stream.readline().split()[1] == b"200"
        stream.read()


def resident(port: int, field: str = "VmRSS") -> float:
    """Return the memory of the server's worker in MB."""
    (worker,) = workers(port)
    return memory_of(worker, field)


@contextlib.contextmanager
def running(is_over: threading.Event, *calls: Callable[[], object]) -> Iterator[None]:
    """Run calls, each in a thread that ends after ``is_over``, until the block does."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def workers(port: int) -> list[int]:
    """Return the processes that answer at a port."""
    master = MASTERS[port]
    children = Path(f"/proc/{master}/task/{master}/children").read_text()
    return [int(worker) for worker in children.split()]


def cpu_seconds(port: int) -> float:
    """Return the CPU time of the workers of a server."""
    spent = 0
    for process in workers(port):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        spent += int(fields[11]) + int(fields[12])  # in user and in kernel mode
    return spent / os.sysconf("SC_CLK_TCK")


def memory_of(process: int, field: str = "VmRSS") -> float:
    """Return the memory of a process in MB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def paired(
    a: Callable[[], object], b: Callable[[], object], runs: int
) -> tuple[float, float]:
    """Return the medians of two functions, run in turn after one run of each.

    Between two runs nothing happens: the threads of ONNX Runtime wait busily for
    another run of the bare network, and would take a core from the server.
    """
    a(), b()
    times = [(rested(a), rested(b)) for _ in range(runs)]
    first, second = zip(*times, strict=True)
    return statistics.median(first), statistics.median(second)


def rested(function: Callable[[], object]) -> float:
    """Return the seconds that a call takes once all that ran before it has settled."""
    time.sleep(SETTLE_SECONDS)
    return timed(function)


def timed(function: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def to_csv(series: np.ndarray) -> bytes:
    """Return a series as CSV with all its digits."""
    return "".join(",".join(map(repr, row)) + "\n" for row in series.tolist()).encode()


def table(title: str, rows: list[tuple[str, float]]) -> None:
    """Print rows of seconds, and their ratios to the first."""
    width = max(len(name) for name, _ in rows)
    print(f"\n{title}\n| {'':{width}} | seconds | ratio |")
    for name, seconds in rows:
        print(f"| {name:{width}} | {seconds:7.3f} | {seconds / rows[0][1]:5.2f} |")


if __name__ == "__main__":
    main()
