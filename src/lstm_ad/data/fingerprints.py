"""Fingerprint rows, to find those that come twice, in bounded memory.

A fingerprint is a hash of ``N_ROWS`` consecutive rows. Only those that a fixed divisor
divides are kept: copies have the same hash, so of a copied stretch the same ones stay.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, IndexArray

N_ROWS = 8
"""Consecutive rows of a fingerprint."""

MAX_KEPT = 2**16
"""About how many fingerprints are kept at most."""

_BLOCK = 2**18
_HashArray = npt.NDArray[np.uint64]


@dataclasses.dataclass(frozen=True)
class Fingerprints:
    """Hashes of some stretches of rows, in the order of the rows."""

    hashes: _HashArray
    """Of shape ``(n,)``."""
    rows: IndexArray
    """The number of the first row of each."""

    @classmethod
    def of(cls, files: Sequence[FloatArray], divisor: int) -> "Fingerprints":
        """Return those of some files, each of shape ``(T, D)``.

        Args:
            files: The rows; no fingerprint crosses from a file to the next.
            divisor: One in so many is kept, on average; see :func:`divisor_of`.
        """
        size = max(_BLOCK // files[0].shape[1], 2 * N_ROWS)
        found, rows, start = [], [], 0
        for file in files:
            for first in range(0, len(file) - N_ROWS + 1, size):
                hashes = _hashes(file[first : first + size + N_ROWS - 1])
                at = np.flatnonzero(hashes & np.uint64(divisor - 1) == 0)
                found.append(hashes[at])
                rows.append(start + first + at)
            start += len(file)
        if not found:
            return cls(np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64))
        return cls(np.concatenate(found), np.concatenate(rows))


def divisor_of(n_rows: int) -> int:
    """Return the divisor for so many rows: 1, 2, 4, ..."""
    divisor = 1
    while n_rows // divisor > MAX_KEPT:
        divisor *= 2
    return divisor


def _hashes(rows: FloatArray) -> _HashArray:
    """Return the hash of each ``N_ROWS`` consecutive rows."""
    bits = np.ascontiguousarray(rows).view(np.uint64)
    distances = [2**k for k in range(N_ROWS.bit_length() - 1)]
    numbers = np.random.default_rng(0).integers(
        2**63, size=bits.shape[1] + len(distances), dtype=np.uint64
    )
    odd = 2 * numbers + 1
    mixed = bits >> np.uint64(29)
    np.bitwise_xor(mixed, bits, out=mixed)
    hashes = mixed @ odd[len(distances) :]
    for weight, distance in zip(odd, distances, strict=False):  # of 2, 4, ... rows
        hashes ^= hashes >> np.uint64(31)
        hashes = hashes[:-distance] * weight + hashes[distance:]
    return np.asarray(hashes ^ (hashes >> np.uint64(32)))
