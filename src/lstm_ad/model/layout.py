"""How a series is divided into sequences.

A *sequence* is ``P`` rows (``prediction-length``). One starts every ``S`` rows
(``sequence-stride``), and each is reconstructed from at least the ``C`` rows before it
(``context-length``). The row before a sequence is its *origin*: the last one that was
read when the sequence was reconstructed.

By default all three are ``sequence-length`` (``L``). This is the document's algorithm:
sequences do not overlap, and each is the input for reconstructing the next one. A last
sequence that is shorter is reconstructed like any other, as far as it goes::

    rows      0 .. L-1   L .. 2L-1   2L .. 3L-1   3L .. T-1
    input     1st        2nd         3rd
    target               1st         2nd          3rd (partial)

With ``S < P`` sequences overlap, and each row has ``K = P / S`` reconstructions. This
is the paper's algorithm: the LSTM reads the series row by row and keeps its state, and
the error vector of a row holds all of its errors (Malhotra et al., section 2).
"""

import dataclasses
from collections.abc import Mapping

from lstm_ad.ranges import Count


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a series is divided into sequences, in rows."""

    context_length: Count
    """``C``: how many rows before a sequence are read at least."""
    prediction_length: Count
    """``P``: the length of a sequence; a multiple of the stride."""
    stride: Count
    """``S``: from the start of one sequence to that of the next."""

    @property
    def is_overlapping(self) -> bool:
        """Whether sequences overlap; the LSTM then keeps its state along the series."""
        return self.stride < self.prediction_length

    @property
    def n_reconstructions(self) -> int:
        """``K``: how many reconstructions a row has."""
        return self.prediction_length // self.stride

    @property
    def n_unscored(self) -> int:
        """How many rows at the start of a series have fewer reconstructions."""
        return self.context_length + self.prediction_length - self.stride

    @property
    def n_shortest(self) -> int:
        """How many rows it takes to learn from: a context and a sequence."""
        return self.context_length + self.prediction_length

    @property
    def n_borrowed(self) -> int:
        """How many rows before the calibration part are read, but not scored.

        Where sequences do not overlap, the parts share nothing. Where they do, as many
        rows would be lost at the start of the calibration part as it may have.
        """
        return self.n_unscored if self.is_overlapping else 0

    @property
    def n_calibrating(self) -> int:
        """How many rows the calibration part has at least."""
        return self.prediction_length if self.is_overlapping else self.n_shortest

    def to_metadata(self) -> dict[str, str]:
        """Return the layout as strings, for the graph that is made for it."""
        return {name: str(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "Layout":
        """Return the layout that :meth:`to_metadata` spelled."""
        fields = dataclasses.fields(cls)
        return cls(**{field.name: int(metadata[field.name]) for field in fields})


def adds_origin(layout: Layout, n_series: int) -> bool:
    """Return whether the network reconstructs changes from the origin's value.

    See :class:`lstm_ad.model.network.StackedLSTM` for the reason.
    """
    return layout.is_overlapping and n_series == 1
