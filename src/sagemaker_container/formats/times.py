"""Check that the times of rows rise by steps of one clock.

Nothing is rounded or put in order: a time that is not a whole number of steps after the
one before, within a tenth of a step, is refused.
"""

from collections.abc import Callable, Iterator
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from lstm_ad.axes import IndexArray
from lstm_ad.data.schema import Clock, TimeForm
from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats.header import Columns
from sagemaker_container.formats.messages import counted, shown
from sagemaker_container.formats.time_text import Form

TOLERANCE = 0.1
"""By how much of a step rows may come early or late."""

_MOST_STEPS = np.uint64(2**62)
_MOST_PAIRS = 2**18
"""Rows that are compared at a time: what bounds the memory."""


def refuse_other_form(form: Form | None, clock: Clock | None) -> None:
    """Refuse times that are written unlike those of training.

    Raises:
        SeriesError: If they are.
    """
    if form is not None and clock is not None and form[0] != clock.form:
        raise SeriesError(
            f"The times are {_FORMS[form[0]]}, but the model was trained on "
            f"{_FORMS[clock.form]}; send times in the form of training."
        )


def refuse_unsteady(
    times: IndexArray,
    cell: Callable[[int], bytes],
    columns: Columns,
    clock: Clock | None,
    machines: IndexArray | None = None,
    allows_absent: bool = False,
    numbers: IndexArray | None = None,
) -> None:
    """Refuse times that do not rise by steps of the clock.

    Args:
        times: Of shape ``(T,)``.
        cell: Gives what was sent, by the row from 0.
        columns: The columns of the table.
        clock: The clock of training; None if only the order is checked.
        machines: A number for the machine of each row; None if all are of one.
        allows_absent: Whether rows may be absent.
        numbers: The number of each row, from 1; None if these are all rows.

    Raises:
        SeriesError: If they do not. The message names the row and both times.
    """
    n_pairs, absent, has_next = 0, None, False
    is_all = numbers is None

    def number(row: int) -> int:
        """Return the number of a row, from 1."""
        return row + 1 if numbers is None else int(numbers[row])

    def refuse(pair: tuple[int, int], words: str) -> NoReturn:
        """Refuse a time and the one before it."""
        one, other = pair
        raise SeriesError(
            f"{columns.place(number(other))}: the time {shown(cell(other))} {words} "
            f"{shown(cell(one))} of row {number(one)}"
            + _advice(words, int(times[other]) - int(times[one]), clock)
        )

    for before, after in _pairs(len(times), machines):
        earlier, later = times[before], times[after]
        is_late = later > earlier
        if not is_late.all():
            refuse(_first(~is_late, before, after), _NOT_AFTER)
        if clock is None:
            continue
        n_steps, is_off = steps_between(earlier, later, clock.step)
        if is_off.any():
            refuse(_first(is_off, before, after), _NO_MULTIPLE)
        n_pairs += len(n_steps)
        has_next |= bool((n_steps == 1).any())
        if absent is None and (n_steps > 1).any():
            absent = _first(n_steps > 1, before, after)
    if absent and n_pairs > 1 and not has_next and is_all:
        refuse(absent, _OTHER_RATE)
    if absent and not allows_absent:
        refuse(absent, _ABSENT)


def refuse_unsampled(form: Form | None) -> None:
    """Refuse times that cannot be divided into intervals of seconds.

    Raises:
        SeriesError: If they are integers, or if there are none.
    """
    if form is None or form[0] != TimeForm.ISO:
        found = "there are no times" if form is None else "the times are integers"
        raise SeriesError(
            f"Rows are averaged over intervals of time (sampling-interval), but "
            f"{found}; send ISO 8601 times."
        )


def refuse_empty(
    n_empty: IndexArray,
    cell: Callable[[int], bytes],
    numbers: IndexArray,
    columns: Columns,
    interval: int,
) -> None:
    """Refuse intervals of time without a row.

    Args:
        n_empty: How many there are before some intervals, of shape ``(n,)``.
        cell: Gives the text of the first time in one of these.
        numbers: The number of the row that it is in, from 1.
        columns: The columns of the table.
        interval: The length of an interval, in nanoseconds.

    Raises:
        SeriesError: If there are some.
    """
    if n_empty.any():
        at = int(np.argmax(n_empty > 0))
        raise SeriesError(
            f"{columns.place(numbers[at])}: the time {shown(cell(at))} comes after "
            f"{counted(int(n_empty[at]), 'interval')} of {interval / 1e9:.10g} s "
            f"without a row; use a longer sampling-interval, or "
            f"missing-values=hold."
        )


def spelled(moments: IndexArray, form: Form, row: int) -> bytes:
    """Return the text of one of some times, of which it is not at hand as sent."""
    if form[0] == TimeForm.INTEGER:
        return b"%d" % moments[row]
    text = pd.Timestamp(moments[row]).isoformat()
    return f"{text}Z".encode() if form[1] else text.encode()


def _pairs(
    n_rows: int, machines: IndexArray | None
) -> Iterator[tuple[IndexArray, IndexArray]]:
    """Yield the numbers of rows and of the next rows of the same machine, in blocks."""
    order = None if machines is None else np.argsort(machines, kind="stable")
    for start in range(0, n_rows - 1, _MOST_PAIRS):
        before = np.arange(start, min(start + _MOST_PAIRS, n_rows - 1))
        after = before + 1
        if order is not None and machines is not None:
            before, after = order[before], order[after]
            is_same = machines[before] == machines[after]
            before, after = before[is_same], after[is_same]
        yield before, after


def _first(
    chosen: npt.NDArray[np.bool_], before: IndexArray, after: IndexArray
) -> tuple[int, int]:
    """Return the first pair of rows that is chosen."""
    at = int(np.argmax(chosen))
    return int(before[at]), int(after[at])


def steps_between(
    earlier: IndexArray, later: IndexArray, step: int
) -> tuple[IndexArray, npt.NDArray[np.bool_]]:
    """Return how many steps lie between times that rise, and which are not whole ones.

    In integers: a number of type ``float64`` cannot tell nanoseconds of today apart.
    """
    distances = apart(earlier, later)
    if (distances == np.uint64(step)).all():  # in a fifth of the time
        return np.ones(len(distances), np.int64), np.zeros(len(distances), np.bool_)
    quotient, rest = np.divmod(distances, np.uint64(step))
    is_more = rest > np.uint64(step // 2)
    missed = np.where(is_more, np.uint64(step) - rest, rest)
    n_steps = np.minimum(quotient + is_more, _MOST_STEPS).astype(np.int64)
    return n_steps, (missed.astype(np.float64) > TOLERANCE * step) | (n_steps < 1)


def apart(earlier: IndexArray, later: IndexArray) -> npt.NDArray[np.uint64]:
    """Return the differences of times that rise.

    Unsigned: five centuries are more nanoseconds than a signed number holds.
    """
    return later.view(np.uint64) - earlier.view(np.uint64)


_NOT_AFTER = "is not after"
_NO_MULTIPLE = "is no whole number of steps after"
_OTHER_RATE = "comes, like all others, more than a step after"
_ABSENT = "comes more than a step after"


_FORMS = {TimeForm.ISO: "ISO 8601 times", TimeForm.INTEGER: "integers"}


def _advice(words: str, apart: int, clock: Clock | None) -> str:
    """Return the end of the sentence about a time that is wrong."""
    if words == _NOT_AFTER or clock is None:
        return (
            "; send rows in the order of time, and use UTC where local time goes back "
            "at the end of summer time."
        )
    step = clock.spelled(clock.step)
    if words == _ABSENT:
        n_absent = round(apart / clock.step) - 1
        return (
            f", so {counted(n_absent, 'row')} at steps of {step} must be missing "
            f"between; send all rows, or train with missing-values=hold."
        )
    return (
        f", {clock.spelled(apart)} later; the step is {step}, and "
        f"rows must be that far apart, within a tenth."
    )
