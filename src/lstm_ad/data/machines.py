"""Tell the rows of several machines in one table apart."""

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import IndexArray


def rows_of_each(machines: npt.NDArray[np.signedinteger]) -> list[IndexArray]:
    """Return the rows of each machine, in order, by the machines' numbers.

    Args:
        machines: A number for the machine of each row, of shape ``(T,)``, ``T`` at
            least 1.

    Returns:
        Of each number that there is, rising, the rows counted from 0: views of one
        array.
    """
    order = np.argsort(machines, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(machines[order])) + 1)
