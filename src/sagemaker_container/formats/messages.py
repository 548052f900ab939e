"""Spell what a user sent, and counts, in the messages about it."""

from collections.abc import Sequence

_SHOWN = 40
"""How many characters of a user's text are repeated in a message."""


def shown(text: str | bytes) -> str:
    """Return text of the user for a message: quoted, printable and short."""
    if isinstance(text, bytes):
        # A few more bytes than are shown: there may be megabytes of them.
        text = text.strip()[: 10 * _SHOWN].decode("utf-8", errors="replace")
    text = text.strip()
    start = "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:_SHOWN]
    )
    return f'"{start}"' if len(text) <= _SHOWN else f'"{start}" ...'


def counted(count: int, noun: str = "number") -> str:
    """Return a count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Sequence[str], conjunction: str = "and") -> str:
    """Return names in words: ``a, b and c``."""
    return f"{', '.join(names[:-1])} {conjunction} {names[-1]}"
