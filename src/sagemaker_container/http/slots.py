"""A non-blocking limit on concurrent requests."""

import contextlib
import threading
from collections.abc import Iterator

RETRY_SECONDS = 1
"""What a client is told to wait when a worker holds as many as it can."""


class OverloadedError(Exception):
    """Raised if a request arrives while as many as allowed are being answered."""


class Slots:
    """A fixed number of requests at a time; another one is refused, not queued.

    Args:
        limit: The number of requests at a time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free = threading.Semaphore(limit)

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        """Hold a slot until the end of the block.

        Raises:
            OverloadedError: If there is none left.
        """
        if not self._free.acquire(blocking=False):
            raise OverloadedError(
                f"The server is busy with {self._limit} requests, its limit; try again "
                f"in {RETRY_SECONDS} s."
            )
        try:
            yield
        finally:
            self._free.release()
