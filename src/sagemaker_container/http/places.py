"""Hold no more requests than can be answered soon."""

import contextlib
import threading
from collections.abc import Iterator


class OverloadedError(Exception):
    """Raised if a request comes while as many as allowed are held already."""


class Places:
    """A fixed number of places for requests: waiting longer helps nobody.

    Args:
        limit: How many requests are held at a time.
    """

    def __init__(self, limit: int) -> None:
        self._free = threading.Semaphore(limit)

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place for a request, from its first byte to its answer.

        Raises:
            OverloadedError: If there is none left.
        """
        if not self._free.acquire(blocking=False):
            raise OverloadedError
        try:
            yield
        finally:
            self._free.release()
