"""Name the axes and the array types that every module of the algorithm shares.

======  ====================================================================
letter  axis
======  ====================================================================
``T``   time steps: the rows of a CSV file
``D``   series: the columns of a CSV file
``N``   sequences: pieces of ``L`` consecutive time steps
``L``   the sequence length
======  ====================================================================
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
"""Values, errors and scores: in the units of the series, double precision."""

ScaledArray = npt.NDArray[np.float32]
"""Standardised values: what the network reads and writes, single precision."""

IndexArray = npt.NDArray[np.int64]
"""Positions on an axis."""

Weights = Mapping[str, ScaledArray]
"""A :class:`~lstm_ad.model.network.StackedLSTM`'s parameters by their torch names."""
