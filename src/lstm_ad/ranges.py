"""Ranges of the numbers that a saved model holds, checked when it is loaded."""

from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]
"""How many of something there are."""

PositiveCount = Annotated[int, Meta(ge=1)]
"""How many of something there are, at least one."""

Positive = Annotated[float, Meta(gt=0)]
"""A number that is divided by."""

Fraction = Annotated[float, Meta(gt=0, lt=1)]
"""A part of a whole, whose logarithm is taken."""
