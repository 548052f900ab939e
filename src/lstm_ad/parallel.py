"""Compute the parts of something on several cores, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Cores:
    """The threads that compute, shared by everything that is computed at the same time.

    Parts are taken first come, first served, so what has few parts does not wait for
    all the parts of what has many. ONNX Runtime, pandas and NumPy leave Python's lock
    while they compute.

    Args:
        n_threads: How many parts are computed at a time.
    """

    def __init__(self, n_threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="core")
        self._ahead = n_threads + 1

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """Yield ``function(item)`` of each item, in order.

        Items are taken only a few ahead of the results, so that neither pile up.
        """
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(self._pool.submit(function, item))
            if len(pending) > self._ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
