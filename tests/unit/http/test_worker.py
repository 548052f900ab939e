"""The parts of the worker; how they work together is in tests/contract/test_calm.py."""

import contextlib
import errno
import io
import logging
import os
import select
import selectors
import socket
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn

from sagemaker_container.http import deadlines
from sagemaker_container.http.deadlines import (
    PIECE_BYTES,
    PacedAnswer,
    Reader,
    is_head_there,
    pace,
)
from sagemaker_container.http.worker import ServerLogger, Worker

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return the client's and the server's end of a TCP connection."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        client = stack.enter_context(socket.create_connection(listener.getsockname()))
        client.settimeout(60)
        yield client, stack.enter_context(listener.accept()[0])


def connection(server: socket.socket, read_ahead: bytes | None = None):
    """Return what gunicorn knows of a connection."""
    if read_ahead is None:
        return SimpleNamespace(sock=server, parser=None)
    unreader = Reader(server)
    unreader.unread(read_ahead)
    return SimpleNamespace(sock=server, parser=SimpleNamespace(unreader=unreader))


def arrive(pair: Pair, data: bytes) -> None:
    """Send something, and return once it is there."""
    client, server = pair
    server.settimeout(60)
    client.sendall(data)
    server.recv(len(data), socket.MSG_PEEK | socket.MSG_WAITALL)
    server.setblocking(False)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"G", False),
        (b"GET /ping HTTP/1.1\r\n", False),
        (b"GET /ping HTTP/1.1\r\nHost: here\r\n", False),
        (b"GET /ping HTTP/1.1\r\nHost: here\r\n\r\n", True),
        (b"POST /invocations HTTP/1.1\r\n\r\n1,2\n", True),
        (b"x" * (deadlines.MAX_HEAD - 1), False),
        (b"x" * deadlines.MAX_HEAD, True),
    ],
)
def test_a_head_is_there_at_its_end_or_when_it_is_too_long(
    pair: Pair, data: bytes, expected: bool
) -> None:
    """A thread then has something to do; until then it would only wait."""
    arrive(pair, data)

    assert is_head_there(connection(pair[1])) is expected


def test_nothing_is_no_head(pair: Pair) -> None:
    """A client may be connected long before it asks for something."""
    pair[1].setblocking(False)

    assert is_head_there(connection(pair[1])) is False


def test_what_was_read_ahead_counts(pair: Pair) -> None:
    """The second of two requests may have come with the first, whole or in part."""
    pair[1].setblocking(False)
    whole = b"GET /ping HTTP/1.1\r\n\r\n"

    assert is_head_there(connection(pair[1], whole)) is True
    assert is_head_there(connection(pair[1], whole[:-3])) is False
    arrive(pair, whole[-3:])
    assert is_head_there(connection(pair[1], whole[:-3])) is True


@pytest.mark.parametrize("data", [b"", b"GET /ping"])
def test_a_client_that_went_away_is_not_waited_for(pair: Pair, data: bytes) -> None:
    """Nothing more will come, whatever came."""
    client, server = pair
    arrive(pair, data)
    client.shutdown(socket.SHUT_WR)
    poller = select.poll()
    poller.register(server, select.POLLRDHUP)
    poller.poll(60_000)  # until the server's end knows

    assert is_head_there(connection(server)) is True


def test_a_half_sent_head_does_not_wake_the_poller_again(pair: Pair) -> None:
    """Otherwise it would spin for as long as the client is silent."""
    arrive(pair, b"GET /ping")

    is_head_there(connection(pair[1]))

    option = pair[1].getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
    assert option == len(b"GET /ping") + 1


def test_reading_ends_at_the_deadline_even_if_there_is_something(pair: Pair) -> None:
    """A client that trickles always has sent something."""
    arrive(pair, b"1,2\n")
    unreader = Reader(pair[1])

    unreader.wait_for(60)
    assert unreader.chunk() == b"1,2\n"

    arrive(pair, b"3,4\n")
    unreader.wait_for(0)
    with pytest.raises(TimeoutError) as caught:
        unreader.chunk()
    assert str(caught.value) == (
        "The request arrived too slowly: the limits are 20 s without a byte, and 120 s "
        "and a second for each MB in all."
    )


class Arriving(io.BytesIO):
    """A socket on which everything has arrived, but each call gives a part of it."""

    def recv(self, size: int) -> bytes:
        """Return some of the next bytes."""
        return self.read(min(size, PIECE_BYTES // 3))

    def settimeout(self, seconds: float) -> None:
        """Wait for nothing."""


@pytest.mark.parametrize("n_held", [0, 5, PIECE_BYTES + 5])
def test_large_pieces_of_a_body_are_not_read_ahead(n_held: int) -> None:
    """All that is read ahead would be copied again. No byte is lost or read twice."""
    sent = np.random.default_rng(0).bytes(4 * PIECE_BYTES)
    sock = Arriving(sent[n_held:])
    reader = Reader(sock)
    reader.wait_for(60)
    reader.unread(sent[:n_held])

    for first in range(0, 3 * PIECE_BYTES, PIECE_BYTES):
        piece = reader.read(PIECE_BYTES, read_ahead=len(sent) - first)
        assert piece == sent[first : first + PIECE_BYTES]
        n_ahead = n_held + sock.tell() - (first + PIECE_BYTES)
        assert n_ahead <= max(8192, n_held - first - PIECE_BYTES)

    assert reader.read(2 * PIECE_BYTES) == sent[3 * PIECE_BYTES :]
    assert reader.read(PIECE_BYTES) == b""


def test_a_large_body_may_take_longer(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second for as many bytes as have arrived, and no more."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(deadlines, "time", clock)
    monkeypatch.setattr(deadlines, "RECEIVE_BYTES_PER_SECOND", 4)
    unreader = Reader(pair[1])
    unreader.wait_for(120)

    for clock.now in (119.5, 120.5):
        arrive(pair, b"1,2\n")
        assert unreader.chunk() == b"1,2\n"

    clock.now = 122.0
    arrive(pair, b"1,2\n")
    with pytest.raises(TimeoutError):
        unreader.chunk()


def test_silence_ends_before_the_deadline(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence is the same, and the socket waits for answers as before."""
    monkeypatch.setattr(deadlines, "SILENCE_SECONDS", 0.01)
    unreader = Reader(pair[1])
    unreader.wait_for(60)

    with pytest.raises(TimeoutError, match=r"^The request arrived too slowly: "):
        unreader.chunk()
    assert pair[1].gettimeout() == 0.01


@pytest.mark.parametrize(
    ("error", "has_traceback"), [(TimeoutError("slow"), False), (OSError("else"), True)]
)
def test_a_slow_client_leaves_no_traceback_and_all_else_does(
    caplog: pytest.LogCaptureFixture, error: OSError, has_traceback: bool
) -> None:
    """A limit that works is no fault of the server."""
    logger = ServerLogger(Config())
    logger.error_log.addHandler(caplog.handler)
    logger.error_log.setLevel(logging.INFO)
    try:
        raise error
    except OSError:
        logger.exception("Socket error.")
    finally:
        logger.error_log.removeHandler(caplog.handler)

    (record,) = caplog.records
    assert bool(record.exc_info) is has_traceback
    assert record.getMessage() == (
        "Socket error." if has_traceback else "A client was too slow: disconnected."
    )


@pytest.fixture
def worker() -> Iterator[Worker]:
    """Return a worker with a poller and one connection, which is lingering."""
    config = Config()
    worker = Worker(1, os.getpid(), [], None, 30, config, ServerLogger(config))
    worker.poller = selectors.DefaultSelector()
    worker.nr_conns = 1
    yield worker
    worker.poller.close()
    worker.tmp.close()


@pytest.mark.parametrize(
    ("request_text", "is_kept"),
    [
        (b"GET /ping HTTP/1.1\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n1,2", True),
        (b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n1,2", False),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n1,2", False),
    ],
)
def test_a_connection_is_kept_when_its_request_has_been_read(
    pair: Pair,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    request_text: bytes,
    is_kept: bool,
) -> None:
    """However long the thread waited for a core: the time for more is over here."""
    monkeypatch.setattr("sagemaker_container.http.worker.DRAIN_SECONDS", -1)
    monkeypatch.setattr(deadlines, "SILENCE_SECONDS", 0.01)
    arrive(pair, request_text)
    pair[1].setblocking(True)
    parser = RequestParser(Config(), pair[1], ("127.0.0.1", 1))
    parser.unreader = Reader(pair[1])
    parser.unreader.wait_for(60)
    body = next(parser).body
    with contextlib.suppress(TimeoutError):
        body.read(3)
    conn = SimpleNamespace(sock=pair[1], parser=parser)

    assert worker._keepalive_after(conn, True) is is_kept
    assert not worker._keepalive_after(conn, False)


class Failing(socket.socket):
    """A socket whose network has gone."""

    def recv(self, *_: int) -> bytes:
        """Fail as Linux does."""
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    def accept(self) -> tuple[socket.socket, object]:
        """Fail as Linux does."""
        raise OSError(errno.EMFILE, "Too many open files")

    def setsockopt(self, *_: object) -> None:
        """Fail as Linux does."""
        raise OSError(errno.EINVAL, "Invalid argument")


@pytest.fixture
def failing(pair: Pair) -> Iterator[Failing]:
    """Return the server's end of a connection whose network has gone."""
    with Failing(fileno=pair[1].detach()) as sock:
        yield sock


def test_an_error_while_discarding_ends_the_connection_alone(
    worker: Worker, failing: Failing
) -> None:
    """Raised in the main loop, it would end the worker and all its requests."""
    conn = TConn(worker.cfg, failing, None, None)
    worker._wait(conn, 60, worker._discard)
    worker._lingering.append(conn)

    worker._discard(conn, failing)

    assert worker.nr_conns == 0
    assert not worker._lingering
    assert failing.fileno() == -1


def test_a_connection_that_fails_before_its_head_ends_alone(
    worker: Worker, failing: Failing
) -> None:
    """The client may reset it at any time."""
    worker.enqueue_req(TConn(worker.cfg, failing, None, None))

    assert worker.nr_conns == 0
    assert failing.fileno() == -1


def test_a_worker_without_file_descriptors_goes_on(worker: Worker) -> None:
    """It accepts the connection when another has ended."""
    with Failing() as listener:
        worker.accept(listener)

    assert worker.nr_conns == 1


def paced(pair: Pair, pieces: list[bytes]) -> PacedAnswer:
    """Return an answer to a client."""
    return pace(lambda *_: pieces)({"gunicorn.socket": pair[1]}, None)


def test_the_time_for_an_answer_grows_with_what_was_sent(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each slice has a limit; so has the average rate, even if each slice is quick."""
    now = 0.0
    monkeypatch.setattr(deadlines, "time", SimpleNamespace(monotonic=lambda: now))
    slices = iter(paced(pair, [b"x" * 2**19, b"y" * 2**19, b"z" * 2**19] * 2))

    limits = []
    for took in (15.0, 18.0):
        next(slices)
        limits.append(pair[1].gettimeout())
        now += took
    next(slices)
    limits.append(pair[1].gettimeout())

    # 20 s and 8 s for each slice, of which 33 s are gone.
    assert limits == [20, 20, 11]
    now += 60
    with pytest.raises(TimeoutError):
        next(slices)


def test_pieces_are_cut_to_the_slices_that_are_timed(pair: Pair) -> None:
    """Else one of 100 MB would have 20 s in all."""
    sizes = [len(part) for part in paced(pair, [b"x" * (2**21 + 1), b"", b"y"])]

    assert sizes == [2**20, 2**20, 1, 1]


def test_only_an_answer_is_held_back_for_a_whole_packet(pair: Pair) -> None:
    """The interim answer to "Expect: 100-continue" would wait for 0.2 s."""
    corked = []

    def cork(*_: object) -> list[bytes]:
        corked.append(pair[1].getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK))
        return [b"answer"]

    answer = pace(cork)({"gunicorn.socket": pair[1]}, None)
    for _ in answer:
        cork()
    answer.close()
    cork()

    assert corked == [0, 1, 0]


def test_what_is_done_at_times_does_not_end_the_worker(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """A line that cannot be written, above all: clients are answered all the same."""
    calls = []

    def fail() -> None:
        """Fail as a full disk does."""
        calls.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    worker.each_second = fail
    worker.notify()
    worker.notify()

    assert len(calls) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "The metrics could not be written."
    ] * 2
