"""The endpoint in its worst minute: too many clients, killed workers, silent ones.

Real servers and real sockets. What is held, is held by clients that have sent the first
half of a request; nothing here depends on how fast anything is.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lstm_ad.scoring.detector import LSTMAD
from sagemaker_container.formats.csv_answer import write_scores

SOURCE = Path(__file__).parents[2] / "src"

MAX_REQUESTS = 32
"""What the sentence of the 503 says."""

DEADLINE_SECONDS = 60
CSV = {"Content-Type": "text/csv"}


def wait_until(has_come: Callable[[], bool]) -> None:
    """Return as soon as something has come; fail if it does not."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not has_come():
        assert time.monotonic() < deadline


class Caller:
    """A client that sends a request in two halves."""

    def __init__(self, connection: socket.socket, body: bytes) -> None:
        self.socket = connection
        self.body = body
        self.socket.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Type: text/csv\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body[: len(body) // 2]
        )

    def finish(self) -> tuple[int, bytes]:
        """Send the second half, and return the status and the body of the answer."""
        self.socket.sendall(self.body[len(self.body) // 2 :])
        return self.answer()

    def answer(self) -> tuple[int, bytes]:
        """Return the status and the body of the answer."""
        with contextlib.closing(http.client.HTTPResponse(self.socket)) as response:
            response.begin()
            return response.status, response.read()


def children(master: int) -> set[int]:
    """Return the workers of a server."""
    text = Path(f"/proc/{master}/task/{master}/children").read_text()
    return {int(pid) for pid in text.split()}


def holder(connection: socket.socket, workers: set[int]) -> int | None:
    """Return the worker that has accepted a connection, if one has."""
    port = f"{connection.getsockname()[1]:04X}"
    inodes = {
        fields[9]
        for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines())
        if fields[2].endswith(f":{port}")
    }
    links = {f"socket:[{inode}]" for inode in inodes}
    for worker in workers:
        for descriptor in Path(f"/proc/{worker}/fd").iterdir():
            try:
                if str(descriptor.readlink()) in links:
                    return worker
            except FileNotFoundError:  # closed since it was listed
                continue
    return None


@pytest.fixture
def connect() -> Iterator[Callable[..., socket.socket]]:
    """Return the function that connects to a server; all are closed at the end."""
    with contextlib.ExitStack() as stack:

        def connect_to(server, buffer_size: int = 2**16) -> socket.socket:
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_size)
            connection.settimeout(DEADLINE_SECONDS)
            connection.connect(("127.0.0.1", server.port))
            return connection

        yield connect_to


@pytest.fixture
def call(connect) -> Callable[..., Caller]:
    """Return the function that sends a server the first half of a request."""
    return lambda server, body: Caller(connect(server), body)


@pytest.fixture
def series(make_series):
    """Return a series of some parts."""
    return make_series(300, seed=7)


@pytest.fixture
def body(series, as_csv) -> bytes:
    """Return that series as CSV."""
    return as_csv(series)


@pytest.fixture
def scores(series, detector: LSTMAD) -> bytes:
    """Return the right answer to it."""
    return write_scores(detector.score(series))


def test_overload_is_refused_and_nobody_held_suffers(
    model_dir: Path, start_server, call, body: bytes, scores: bytes
) -> None:
    """As many as promised are held; the next gets 503, a ping 200, the held theirs."""
    server = start_server(model_dir.parent, SAGEMAKER_MODEL_SERVER_WORKERS="1")

    def post() -> int:
        return server.request("POST", "/invocations", body, CSV).status

    def fill() -> list[Caller]:
        callers = [call(server, body) for _ in range(MAX_REQUESTS)]
        while post() != 503:  # a post itself may have been in the place of one
            callers.append(call(server, body))
        return callers

    held = fill()
    refusal = server.request("POST", "/invocations", body, CSV)
    # More of them than there are threads: refusing must not cost one.
    refused = [call(server, body) for _ in range(100)]
    ping = server.request("GET", "/ping")
    refusals = [caller.answer()[0] for caller in refused]
    answers = [caller.finish() for caller in held]
    answered = [answer for status, answer in answers if status == 200]
    after = [post() for _ in range(3)]

    assert refusal.status == 503
    assert refusal.headers["Retry-After"] == "1"
    assert refusal.headers["Content-Type"] == "text/plain"
    assert refusal.body == (
        b"The server is busy with 32 requests, its limit; try again in 1 s.\n"
    )
    assert ping.status == 200
    assert refusals == [503] * 100
    assert answered == [scores] * MAX_REQUESTS
    assert after == [200] * 3

    for caller in fill():
        caller.socket.close()
    wait_until(lambda: post() == 200)

    assert "Traceback" not in server.log


def test_a_ping_does_not_wait_for_what_scores(
    model_dir: Path, start_server, call, make_series, as_csv
) -> None:
    """It is answered while every core computes a request that came before it."""
    server = start_server(model_dir.parent, SAGEMAKER_MODEL_SERVER_WORKERS="1")
    large = call(server, as_csv(make_series(1000)) * 500)
    large.socket.sendall(large.body[len(large.body) // 2 :])

    pings = [server.request("GET", "/ping").status for _ in range(3)]
    large.socket.setblocking(False)
    with pytest.raises(BlockingIOError):  # no byte of its answer is there yet
        large.socket.recv(1)
    large.socket.settimeout(DEADLINE_SECONDS)
    status, answer = large.answer()

    assert pings == [200] * 3
    assert status == 200
    assert answer.count(b"\n") == 500_000


def test_a_killed_worker_fails_its_own_clients_only_and_is_replaced(
    model_dir: Path, start_server, call, body: bytes, scores: bytes
) -> None:
    """The other worker's clients get their answers, and new ones theirs."""
    server = start_server(model_dir.parent, SAGEMAKER_MODEL_SERVER_WORKERS="2")
    master = server.process.pid
    wait_until(lambda: server.log.count("is loaded") == 2)
    workers = children(master)
    lost = call(server, body)
    wait_until(lambda: holder(lost.socket, workers) is not None)
    killed = holder(lost.socket, workers)
    (spared,) = workers - {killed}
    os.kill(killed, signal.SIGSTOP)  # so that the other one takes the next caller
    kept = call(server, body)
    wait_until(lambda: holder(kept.socket, workers) == spared)

    os.kill(killed, signal.SIGKILL)
    with pytest.raises((ConnectionError, http.client.BadStatusLine)):
        lost.answer()
    answer = kept.finish()
    wait_until(lambda: server.log.count("is loaded") == 3)
    after = [server.request("POST", "/invocations", body, CSV) for _ in range(6)]

    assert answer == (200, scores)
    assert spared in children(master)
    assert killed not in children(master)
    assert len(children(master)) == 2
    assert [answer.body for answer in after] == [scores] * 6


def test_a_server_that_is_told_to_end_lets_a_request_finish(
    model_dir: Path, start_server, call, body: bytes, scores: bytes
) -> None:
    """SIGTERM in the midst of a body: the rest is taken, and the answer is whole."""
    server = start_server(model_dir.parent, SAGEMAKER_MODEL_SERVER_WORKERS="1")
    caller = call(server, body)
    (worker,) = children(server.process.pid)
    wait_until(lambda: holder(caller.socket, {worker}) == worker)

    server.process.terminate()
    wait_until(lambda: "Handling signal: term" in server.log)
    answer = caller.finish()

    assert answer == (200, scores)
    assert server.process.wait(DEADLINE_SECONDS) == 0
    assert "Traceback" not in server.log


TOO_SLOW = (
    b"The request arrived too slowly: the limits are 1 s without a byte, and 2 s and a "
    b"second for each MB in all.\n"
)

IMPATIENCE = """
from sagemaker_container.http import deadlines
deadlines.HEAD_SECONDS = deadlines.SILENCE_SECONDS = deadlines.LINGER_SECONDS = 1
deadlines.RECEIVE_SECONDS = 2
"""


@pytest.fixture
def impatient(model_dir: Path, start_server, tmp_path: Path):
    """Return a server that waits for its clients for a second or two."""
    folder = tmp_path / "impatience"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(IMPATIENCE)
    return start_server(
        model_dir.parent,
        PYTHONPATH=f"{folder}:{SOURCE}",
        SAGEMAKER_MODEL_SERVER_WORKERS="1",
    )


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes."""
    return b"".join(iter(lambda: connection.recv(2**16), b""))


def test_silent_clients_are_ended_and_cost_no_one_anything(
    impatient, connect, call, body: bytes, scores: bytes
) -> None:
    """Half a head, half a body, nothing at all; more of them than there are threads."""
    server = impatient
    half_heads = [connect(server) for _ in range(100)]
    for connection in half_heads:
        connection.sendall(b"POST /invocations HTT")
    silent = [connect(server) for _ in range(100)]
    half_bodies = [call(server, body) for _ in range(MAX_REQUESTS - 1)]

    meanwhile = server.request("POST", "/invocations", body, CSV)
    told = [read_all(connection) for connection in half_heads]
    refusals = [caller.answer() for caller in half_bodies]

    assert (meanwhile.status, meanwhile.body) == (200, scores)
    assert set(told) == {
        b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
        b"Content-Type: text/plain\r\nContent-Length: 62\r\n\r\n"
        b"The head of the request arrived too slowly: the limit is 1 s.\n"
    }
    assert [read_all(connection) for connection in silent] == [b""] * 100
    assert set(refusals) == {(408, TOO_SLOW)}
    assert server.request("POST", "/invocations", body, CSV).body == scores
    assert "Traceback" not in server.log
    assert "ERROR" not in server.log


def test_a_body_that_trickles_is_ended(impatient, call, body: bytes) -> None:
    """Never silent for long, it would hold its place for days."""
    caller = call(impatient, body)
    caller.socket.settimeout(0.1)  # between two bytes
    n_sent = 0
    has_answer = False
    while not has_answer and n_sent < len(body) // 2 - 1:
        n_sent += caller.socket.send(b"1")
        with contextlib.suppress(TimeoutError):
            has_answer = bool(caller.socket.recv(1, socket.MSG_PEEK))
    caller.socket.settimeout(DEADLINE_SECONDS)

    assert caller.answer() == (408, TOO_SLOW)
    assert n_sent > 10


def test_an_answer_that_nobody_reads_is_given_up(
    impatient, connect, make_series, as_csv
) -> None:
    """It holds no place, and its thread only for a while."""
    server = impatient
    deaf = connect(server, buffer_size=2**12)
    large = as_csv(make_series(1000)) * 200
    head = f"POST /invocations HTTP/1.1\r\nContent-Length: {len(large)}\r\n\r\n"

    deaf.sendall(head.encode() + large)
    wait_until(lambda: "A client was too slow: disconnected." in server.log)
    (worker,) = children(server.process.pid)
    wait_until(lambda: holder(deaf, {worker}) is None)

    assert '"rows":200000' in server.log
    assert server.request("GET", "/ping").status == 200
    assert "Traceback" not in server.log


def test_slow_readers_leave_threads_for_pings(
    model_dir: Path, start_server, connect, make_series, as_csv
) -> None:
    """As many as slots take a large answer byte by byte; a ping is answered."""
    server = start_server(model_dir.parent)
    body = as_csv(make_series(1000)) * 20
    head = (
        "POST /invocations HTTP/1.1\r\nAccept: application/jsonlines\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    readers = [connect(server, buffer_size=2**12) for _ in range(MAX_REQUESTS + 10)]
    for reader in readers:
        reader.sendall(head.encode() + body)
    answers = [reader.recv(16, socket.MSG_WAITALL)[9:12] for reader in readers]

    statuses = {server.request("GET", path).status for path in ("/ping", "/metrics")}

    assert statuses == {200}
    assert answers.count(b"200") == MAX_REQUESTS
    assert answers.count(b"503") == 10


def test_an_announced_body_is_asked_for_at_once(
    model_dir: Path, start_server, connect, body: bytes, scores: bytes
) -> None:
    """Curl announces bodies above 1 MB, and sends them when it is told to go on."""
    server = start_server(model_dir.parent)
    client = connect(server)
    client.sendall(
        b"POST /invocations HTTP/1.1\r\nContent-Type: text/csv\r\nExpect: "
        b"100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    interim = client.recv(25, socket.MSG_WAITALL)
    client.sendall(body)
    with contextlib.closing(http.client.HTTPResponse(client)) as response:
        response.begin()
        answer = response.read()

    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer == scores


def test_a_request_is_one_line_of_the_log_and_a_ping_none(
    model_dir: Path, start_server, body: bytes
) -> None:
    """With these fields, whatever the id holds; and nothing of the payload."""
    server = start_server(model_dir.parent)
    odd = "a" + "\xe9\"'\\{}" * 200
    header = "X-Amzn-SageMaker-Inference-Id"
    telling = body.replace(b"\n", b"\n8765.4321,50\n", 1)
    bad = b"1,2\n8765.4321,x8765\n"

    server.request("GET", "/ping")
    scored = server.request("POST", "/invocations", telling, CSV | {header: "my-id"})
    refused = server.request("POST", "/invocations", bad, CSV | {header: odd})
    wait_until(lambda: server.log.count('{"request"') == 2)

    lines = [
        json.loads(line.removeprefix("INFO "))
        for line in server.log.splitlines()
        if '{"' in line
    ]
    for line in lines:
        assert line.pop("milliseconds") > 0
    request = "POST /invocations"
    assert lines == [
        {
            "request": request,
            "inference_id": "my-id",
            "status": 200,
            "rows": 301,
            "series": 2,
            "format": "text/csv",
            "bytes_in": len(telling),
            "bytes_out": len(scored.body),
        },
        {
            "request": request,
            "inference_id": odd[:200],
            "status": 400,
            "rows": None,
            "series": None,
            "format": "text/csv",
            "bytes_in": len(bad),
            "bytes_out": len(refused.body),
        },
    ]
    assert "8765" not in server.log
    assert "/ping" not in server.log


PROBE = """
import os, serve
def count_threads(server):
    import numpy
    print(len(os.listdir("/proc/self/task")), "numpy" in before)
before = set(__import__("sys").modules)
serve.Server.run = count_threads
serve.main()
"""


def test_the_linear_algebra_of_a_worker_starts_no_threads() -> None:
    """They would be as many as cores in every worker, beside those that share them."""
    output = subprocess.run(
        [sys.executable, "-c", PROBE],
        env={"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "8"},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout

    assert output == b"1 False\n"
