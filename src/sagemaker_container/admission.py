"""Hold no more requests than can be answered soon, and score one at a time."""

import contextlib
import threading
from collections.abc import Iterator


class OverloadedError(Exception):
    """Raised if a request comes while as many as allowed are held already."""


class Admission:
    """Counts the requests that a worker holds, and gives the cores to one at a time.

    One request uses all the threads that a worker has for computing, so a second one
    beside it would make both slow. Waiting requests are kept, up to a limit; beyond it
    a client is better off trying again, perhaps elsewhere, than waiting unknowingly.

    Args:
        limit: How many requests are held, the one that is scored included.
    """

    def __init__(self, limit: int) -> None:
        self._places = threading.Semaphore(limit)
        self._cores = threading.Lock()

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for a request, from its first byte to its answer.

        Raises:
            OverloadedError: If there is none left.
        """
        if not self._places.acquire(blocking=False):
            raise OverloadedError
        try:
            yield
        finally:
            self._places.release()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until it is this request's turn to compute."""
        with self._cores:
            yield
