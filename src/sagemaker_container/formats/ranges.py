"""Copy many ranges of a text at once: those that are equally long together."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import IndexArray

Characters = npt.NDArray[np.uint8]
Bounds = npt.NDArray[np.signedinteger] | range
"""Where ranges begin in a text, and where the last one ends; if all are equally long,
these take no memory."""


def copied(
    characters: Characters, starts: IndexArray, stops: IndexArray
) -> tuple[bytes, Bounds]:
    """Return some ranges of a text one after the other, and their bounds.

    Args:
        characters: The text.
        starts: Where each begins, of shape ``(n,)``.
        stops: Where each ends.

    Returns:
        The bounds are ``n + 1``.
    """
    lengths = stops - starts
    if (lengths == lengths[0]).all() and (length := int(lengths[0])):
        text = windows(characters, length)[starts].tobytes()
        return text, range(0, len(text) + 1, length)
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    new = np.empty(bounds[-1], dtype=np.uint8)
    for length, which in by_length(lengths):
        found = windows(characters, length)[starts[which]]
        windows(new, length)[bounds[which]] = found
    return new.tobytes(), bounds


def by_length(lengths: IndexArray) -> Iterator[tuple[int, IndexArray]]:
    """Yield each length above 0, and which have it, in order."""
    lengths = lengths.astype(np.min_scalar_type(lengths.max()))  # sorted much faster
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order]
    first = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    for which in np.split(order, first):
        if length := int(lengths[which[0]]):
            yield length, which


def windows(characters: Characters | bytes, length: int) -> npt.NDArray[np.void]:
    """Return each range of a length, by where it begins; no copy."""
    n_windows = max(0, len(characters) - length + 1)
    return np.ndarray(n_windows, f"V{length}", characters, strides=(1,))
