"""The places: as many requests as allowed, and not one more."""

import pytest

from sagemaker_container.http.places import OverloadedError, Places


def test_a_place_is_refused_while_all_are_taken_and_free_again_afterwards() -> None:
    """Also if the request that held it failed."""
    places = Places(2)

    with places.take():
        with pytest.raises(ZeroDivisionError), places.take():
            _ = 1 // 0
        with places.take(), pytest.raises(OverloadedError), places.take():
            raise AssertionError("a third place was given")
        with places.take():
            pass
