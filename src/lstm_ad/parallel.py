"""Compute the parts of something on several cores, in order and in bounded memory."""

import itertools
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

        Items are taken only a few ahead of the results, so that neither pile up. A
        single item is computed by the caller: handing it over costs more than it gains.
        """
        iterator = iter(items)
        few = list(itertools.islice(iterator, 2))
        if len(few) == 1:
            yield function(few[0])
            return
        pending: deque[Future[Result]] = deque()
        for item in itertools.chain(few, iterator):
            pending.append(self._pool.submit(function, item))
            if len(pending) > self._ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
