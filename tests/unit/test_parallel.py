"""The cores: parts in order, some ahead, never all at once."""

import threading
from collections.abc import Iterator

import pytest

from lstm_ad.parallel import Cores


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
