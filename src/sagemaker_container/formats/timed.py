"""Check the times of a table that is to be scored, and average its rows if need be."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lstm_ad.axes import IndexArray
from lstm_ad.data.machines import rows_of_each
from lstm_ad.data.sampling import means
from lstm_ad.data.schema import Clock, Schema
from sagemaker_container.formats import time_text, times
from sagemaker_container.formats.header import Columns
from sagemaker_container.formats.table import Cells, Table, plain


def timed(
    table: Table,
    form: time_text.Form | None,
    columns: Columns,
    schema: Schema,
    allows_missing: bool,
) -> Table:
    """Return a table whose times are those of the clock of a model.

    Args:
        table: As it was sent.
        form: How its times are written; None if it has none.
        columns: Its columns, for the places in messages.
        schema: The columns that the model was trained on.
        allows_missing: Whether rows may be absent.

    Returns:
        The table itself, or a row for each interval of time that has one.

    Raises:
        SeriesError: If its times cannot be used.
    """
    clock = schema.clock
    is_sampled = clock is not None and clock.is_sampled
    if is_sampled:
        times.refuse_unsampled(form)
    if table.times is None or schema.timestamp is None:
        return table
    machines = None
    if schema.group in table.carried:
        machines = machines_of(table.carried[schema.group])
    times.refuse_other_form(form, clock)
    times.refuse_unsteady(
        table.times,
        table.carried[schema.timestamp].__getitem__,
        columns,
        None if is_sampled else clock,
        machines,
        allows_missing,
    )
    if clock is None or form is None or not is_sampled:
        return table
    return _sampled(table, form, columns, schema, clock, machines, allows_missing)


def machines_of(cells: Sequence[bytes]) -> IndexArray:
    """Return a number for the machine of each row, of shape ``(T,)``."""
    codes, _ = pd.factorize(np.array([*map(plain, cells)], dtype=object))
    return np.asarray(codes, dtype=np.int64)


def _sampled(
    table: Table,
    form: time_text.Form,
    columns: Columns,
    schema: Schema,
    clock: Clock,
    machines: IndexArray | None,
    allows_missing: bool,
) -> Table:
    """Return the means over intervals of time, in the order of their first rows.

    What is carried is that of the first row of each; its time is its beginning.
    """
    assert table.times is not None
    assert schema.timestamp is not None
    cells_of_time = table.carried[schema.timestamp]
    of_each = [np.arange(len(table.values))]
    if machines is not None:
        of_each = rows_of_each(machines)
    parts = []
    for rows in of_each:
        found, begins, first = means(table.values[rows], table.times[rows], clock.step)
        n_empty = np.diff(begins, prepend=begins[0] - clock.step) // clock.step - 1
        if n_empty.any() and not allows_missing:
            cells = [cells_of_time[row] for row in rows[first]]
            times.refuse_empty(
                n_empty, cells.__getitem__, rows[first] + 1, columns, clock.step
            )
        parts.append((found, begins, rows[first]))
    values, begins, first = (np.concatenate(some) for some in zip(*parts, strict=True))
    by_row = np.argsort(first)
    first, begins = first[by_row], begins[by_row]
    carried = {
        name: Cells.of([cells[row] for row in first.tolist()])
        for name, cells in table.carried.items()
    }
    carried[schema.timestamp] = Cells.of(
        [times.spelled(begins, form, row) for row in range(len(begins))]
    )
    return Table(values[by_row], table.has_header, carried, begins)
