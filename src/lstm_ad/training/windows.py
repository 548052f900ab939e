"""The rows of a host as the network reads them: cut into segments, on its device."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lstm_ad.axes import IndexArray, ScaledArray
from lstm_ad.model.sequences import Segments
from lstm_ad.training.device import sent, storage_device


class Windows:
    """The segments of some rows, and the errors of a network that reads them.

    ``N`` segments have ``M`` sequences of ``P`` rows each.

    Args:
        values: Standardised, of shape ``(rows, D)``.
        observed: Which of them are not missing, likewise; None if all are there.
        segments: How they are cut.
        device: Where the network is.
    """

    def __init__(
        self,
        values: ScaledArray,
        observed: npt.NDArray[np.bool_] | None,
        segments: Segments,
        device: torch.device,
    ) -> None:
        self.segments, self.device = segments, device
        kept_on = storage_device(device, values.nbytes)
        self._values = torch.from_numpy(values).to(kept_on)
        self._observed: Tensor | None = None
        if observed is not None:
            self._observed = torch.from_numpy(observed).to(kept_on)

    @property
    def n_series(self) -> int:
        """``D``."""
        return self._values.shape[1]

    def of(self, starts: IndexArray) -> Tensor:
        """Return the rows of some segments, of shape ``(N, rows, D)``.

        Args:
            starts: Their first rows, of shape ``(N,)``. Rows beyond the last of all are
                taken as the last.
        """
        return self._cut(self._values, starts)

    def errors(
        self,
        network: nn.Module,
        windows: Tensor,
        variation: Tensor | None = None,
        kept_units: tuple[Tensor, ...] | None = None,
    ) -> Tensor:
        """Return target minus reconstruction, of shape ``(N, M, P, D)``.

        Args:
            network: What reconstructs.
            windows: The rows of some segments, from :meth:`of`.
            variation: How they are varied, of shape ``(N, 2)``, if they are.
            kept_units: Their hidden units that are not dropped, if any are.
        """
        read = windows[:, : self.segments.n_read]
        outputs: Tensor = network(read, variation, kept_units)
        return self._targets(windows) - outputs

    def missing(self, starts: IndexArray) -> Tensor | None:
        """Return which targets of some segments are missing, ``(N, M, P, D)``.

        None if no value of any segment is.
        """
        if self._observed is None:
            return None
        return ~self._targets(self._cut(self._observed, starts))

    def exist(self, starts: IndexArray, ends: IndexArray) -> Tensor:
        """Return which rows of each sequence are before an end, ``(N, M, P)``.

        Args:
            starts: The first rows of some segments, of shape ``(N,)``.
            ends: The end of the range that each is in, likewise.
        """
        first = sent(torch.from_numpy(starts), self.device)
        end = sent(torch.from_numpy(ends), self.device)
        return first[:, None, None] + self._target_rows() < end[:, None, None]

    def _cut(self, rows: Tensor, starts: IndexArray) -> Tensor:
        """Return the rows of some segments, where the network is."""
        kept_on = rows.device
        within = torch.arange(self.segments.n_rows, device=kept_on)
        positions = sent(torch.from_numpy(starts), kept_on)[:, None] + within
        windows = rows[positions.clamp(max=len(rows) - 1)]
        return windows if kept_on == self.device else sent(windows, self.device)

    def _targets(self, windows: Tensor) -> Tensor:
        """Return the sequences of some segments' rows, of shape ``(N, M, P, D)``."""
        return windows[:, self._target_rows()]

    def _target_rows(self) -> Tensor:
        """Return the rows of the sequences within a segment, of shape ``(M, P)``."""
        layout, device = self.segments.layout, self.device
        origins = torch.arange(0, self.segments.step, layout.stride, device=device)
        within = torch.arange(layout.prediction_length, device=device)
        return layout.context_length + origins[:, None] + within
