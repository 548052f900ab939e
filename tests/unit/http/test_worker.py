"""The parts of the worker; how they work together is in tests/contract/test_calm.py."""

import contextlib
import logging
import select
import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from gunicorn.config import Config

from sagemaker_container.http import worker as http_worker
from sagemaker_container.http.worker import ServerLogger, _is_head_there, _Unreader

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
    unreader = _Unreader(server)
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
        (b"x" * (http_worker.MAX_HEAD - 1), False),
        (b"x" * http_worker.MAX_HEAD, True),
    ],
)
def test_a_head_is_there_at_its_end_or_when_it_is_too_long(
    pair: Pair, data: bytes, expected: bool
) -> None:
    """A thread then has something to do; until then it would only wait."""
    arrive(pair, data)

    assert _is_head_there(connection(pair[1])) is expected


def test_nothing_is_no_head(pair: Pair) -> None:
    """A client may be connected long before it asks for something."""
    pair[1].setblocking(False)

    assert _is_head_there(connection(pair[1])) is False


def test_what_was_read_ahead_counts(pair: Pair) -> None:
    """The second of two requests may have come with the first, whole or in part."""
    pair[1].setblocking(False)
    whole = b"GET /ping HTTP/1.1\r\n\r\n"

    assert _is_head_there(connection(pair[1], whole)) is True
    assert _is_head_there(connection(pair[1], whole[:-3])) is False
    arrive(pair, whole[-3:])
    assert _is_head_there(connection(pair[1], whole[:-3])) is True


@pytest.mark.parametrize("data", [b"", b"GET /ping"])
def test_a_client_that_went_away_is_not_waited_for(pair: Pair, data: bytes) -> None:
    """Nothing more will come, whatever came."""
    client, server = pair
    arrive(pair, data)
    client.shutdown(socket.SHUT_WR)
    poller = select.poll()
    poller.register(server, select.POLLRDHUP)
    poller.poll(60_000)  # until the server's end knows

    assert _is_head_there(connection(server)) is True


def test_a_half_sent_head_does_not_wake_the_poller_again(pair: Pair) -> None:
    """Otherwise it would spin for as long as the client is silent."""
    arrive(pair, b"GET /ping")

    _is_head_there(connection(pair[1]))

    option = pair[1].getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
    assert option == len(b"GET /ping") + 1


def test_reading_ends_at_the_deadline_even_if_there_is_something(pair: Pair) -> None:
    """A client that trickles always has sent something."""
    arrive(pair, b"1,2\n")
    unreader = _Unreader(pair[1])

    unreader.wait_for(60)
    assert unreader.chunk() == b"1,2\n"

    arrive(pair, b"3,4\n")
    unreader.wait_for(0)
    with pytest.raises(TimeoutError) as caught:
        unreader.chunk()
    assert str(caught.value) == (
        "The request took too long to come: accepted are 20 s of silence, and 120 s "
        "in all."
    )


def test_silence_ends_before_the_deadline(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence is the same, and the socket waits for answers as before."""
    monkeypatch.setattr(http_worker, "SILENCE_SECONDS", 0.01)
    unreader = _Unreader(pair[1])
    unreader.wait_for(60)

    with pytest.raises(TimeoutError, match=r"^The request took too long to come: "):
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
