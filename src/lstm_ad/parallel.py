"""Compute the parts of something on several cores, in order and in bounded memory."""

import contextlib
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")


class Turns:
    """A semaphore that is fair: who has waited longest has the next turn.

    Of Python's own, whoever comes just when one is free overtakes those that wait.
    Without turns, the slowest answers to sixteen callers took half as long again.

    Args:
        n_turns: How many threads have a turn at a time.
    """

    def __init__(self, n_turns: int) -> None:
        self._lock = threading.Lock()
        self._n_free = n_turns
        self._waiting: deque[threading.Lock] = deque()

    @property
    def n_waiting(self) -> int:
        """How many threads wait for a turn."""
        return len(self._waiting)

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        """Wait for a turn, and have it until the end of the block."""
        turn = threading.Lock()
        with self._lock:
            if self._n_free:
                self._n_free -= 1
            else:
                turn.acquire()
                self._waiting.append(turn)
        turn.acquire()  # at once, or when whoever ends a turn releases it
        try:
            yield
        finally:
            with self._lock:
                if self._waiting:
                    self._waiting.popleft().release()
                else:
                    self._n_free += 1


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
        self._turns = Turns(n_threads)

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """Yield ``function(item)`` of each item, in order.

        Items are taken only a few ahead of the results, so that neither pile up. A
        single item is computed by the caller, when it is its turn: handing it over
        costs more than it gains, and so do many threads that compute at a time.
        """
        iterator = iter(items)
        few = list(itertools.islice(iterator, 2))
        if len(few) == 1:
            with self._turns.take():
                result = function(few[0])
            yield result
            return

        def compute(item: Item) -> Result:
            with self._turns.take():
                return function(item)

        pending: deque[Future[Result]] = deque()
        for item in itertools.chain(few, iterator):
            pending.append(self._pool.submit(compute, item))
            if len(pending) > self._ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    @property
    def n_waiting(self) -> int:
        """How many threads wait to compute."""
        return self._turns.n_waiting

    def turn(self) -> contextlib.AbstractContextManager[None]:
        """Wait until the caller may compute; until the end of the block it may.

        For what is computed one step after the other. Whoever has a turn takes no
        second one, which might never come.
        """
        return self._turns.take()

    def in_turn(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items, each of which is computed in a turn of the caller's."""
        iterator, end = iter(items), object()
        while True:
            with self._turns.take():
                item = next(iterator, end)
            if item is end:
                return
            yield cast(Item, item)
