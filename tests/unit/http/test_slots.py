"""Slots: as many requests as allowed, and not one more."""

import pytest

from sagemaker_container.http.slots import OverloadedError, Slots


def test_a_slot_is_refused_while_all_are_taken_and_free_again_afterwards() -> None:
    """Also if the request that held it failed."""
    slots = Slots(2)

    with slots.take():
        with pytest.raises(ZeroDivisionError), slots.take():
            _ = 1 // 0
        with slots.take(), pytest.raises(OverloadedError), slots.take():
            raise AssertionError("a third slot was given")
        with slots.take():
            pass
