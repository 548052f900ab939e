"""The cores: parts in order, some ahead, never all at once."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lstm_ad.parallel import Cores, Turns


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("n_items", [0, 1, 3, 50])
def test_results_come_in_the_order_of_the_items(n_threads: int, n_items: int) -> None:
    """Whatever the number of threads, as ``map`` gives them."""
    results = list(Cores(n_threads).map(lambda item: item * item, range(n_items)))

    assert results == [item * item for item in range(n_items)]


def test_items_are_taken_only_a_few_ahead_of_the_results() -> None:
    """What is computed piece by piece must not pile up in memory."""
    taken = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = Cores(2).map(lambda item: item, items())
    first = next(results)

    assert first == 0
    assert taken == [0, 1, 2, 3]


def test_as_many_items_as_threads_are_computed_at_a_time() -> None:
    """Each of two items waits for the other: one after the other would never end."""
    meeting = threading.Barrier(2, timeout=30)

    places = list(Cores(2).map(lambda item: meeting.wait(), range(2)))

    assert sorted(places) == [0, 1]


def test_an_exception_of_an_item_reaches_the_caller() -> None:
    """As it was raised, and in the item's turn."""
    results = Cores(2).map(lambda item: 1 // item, [1, 0])

    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_single_item_is_computed_by_the_caller() -> None:
    """Handing it to another thread would cost more than a small request itself."""
    (thread,) = Cores(2).map(lambda item: threading.get_ident(), [0])

    assert thread == threading.get_ident()


def test_turns_are_had_in_the_order_in_which_threads_came() -> None:
    """Also if another comes just when one ends: it waits behind those that wait."""
    turns, had = Turns(1), []

    def take(name: int) -> None:
        with turns.take():
            had.append(name)

    threads = [threading.Thread(target=take, args=[name]) for name in range(5)]
    with turns.take():
        for n_waiting, thread in enumerate(threads, start=1):
            thread.start()
            while len(turns._waiting) < n_waiting:
                pass
    take(5)
    for thread in threads:
        thread.join()

    assert had == [0, 1, 2, 3, 4, 5]


def test_as_many_have_a_turn_as_there_are_and_again_after_a_failure() -> None:
    """A turn that ends in an exception is not lost."""
    turns = Turns(2)

    with turns.take():
        with pytest.raises(ZeroDivisionError), turns.take():
            _ = 1 // 0
        with turns.take():
            assert turns._n_free == 0

    assert turns._n_free == 2


def test_a_single_part_waits_for_its_turn() -> None:
    """Callers compute in order of arrival, as many at a time as there are cores."""
    cores = Cores(1)
    is_inside, may_end = threading.Event(), threading.Event()

    def hold(item: int) -> int:
        is_inside.set()
        may_end.wait(60)
        return item

    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(lambda: list(cores.map(hold, [1])))
        is_inside.wait(60)
        second = callers.submit(lambda: list(cores.map(lambda item: item, [2])))
        while not cores._turns._waiting:
            pass
        has_overtaken = second.done()
        may_end.set()

    assert not has_overtaken
    assert (first.result(), second.result()) == ([1], [2])
