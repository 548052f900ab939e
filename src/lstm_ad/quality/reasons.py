"""Name what speaks against a model or its data, and what to do about it."""

import dataclasses
import enum


class Level(enum.StrEnum):
    """What to do with a model, from the best to the worst."""

    GOOD = "good"
    CHECK = "check"
    DO_NOT_USE = "do not use"


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why a model is not just good."""

    level: Level
    """How much it matters."""
    finding: str
    """What was found, in a sentence or two."""
    advice: str
    """What to do about it."""
