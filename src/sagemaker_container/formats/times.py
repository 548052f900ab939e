"""Read the times of rows strictly, and check that they rise by steps of one clock.

Times are ISO 8601 or integers; one table has one form. Nothing is rounded or put in
order: a time that is not a whole number of steps after the one before, within a tenth
of a step, is refused.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from lstm_ad.axes import IndexArray
from lstm_ad.data.schema import Clock, TimeForm
from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats.header import Columns
from sagemaker_container.formats.messages import counted, shown
from sagemaker_container.formats.table import Cells, plain

TOLERANCE = 0.1
"""By how much of a step rows may come early or late."""

ACCEPTED = (
    'ISO 8601 ("2024-05-01 13:45:00", with "T" or a space, a fraction, "Z" or an '
    "offset), or integers"
)

_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_ZONE = rb"(Z|[-+]00(:?00)?)"
_ISO = re.compile(rb"0000-00-00([T ]00:00(:00(\.0{1,9})?)?" + _ZONE + rb"?)?")
_ZONED = re.compile(rb".{11}.*" + _ZONE)
_INTEGER = re.compile(rb"-?0{1,18}")

Form = tuple[TimeForm, bool]
"""How times are written, and whether they name their zone."""


def parse(cells: Cells) -> tuple[IndexArray, Form] | None:
    """Return times of consecutive rows, or None if one is bad or of another form.

    Args:
        cells: At least one, valid UTF-8 and without line ends.

    Returns:
        Of shape ``(T,)``: nanoseconds since 1970, or integers; and how all are written.
    """
    text = b"\n".join(cells)
    if b'"' in text or text.startswith(b" ") or b"\n " in text or b" \n" in text:
        text = "\n".join(map(plain, cells)).encode()
    text = text.removesuffix(b" ")
    forms = {_form(shape) for shape in set(text.translate(_DIGITS).split(b"\n"))}
    form = forms.pop()
    if forms or form is None:
        return None
    words = text.decode().split("\n")
    if form[0] == TimeForm.INTEGER:
        return np.array(words, dtype=np.int64), form
    try:
        moments = pd.to_datetime(words, format="ISO8601", utc=True).as_unit("ns")
    except ValueError:  # no such day or hour, or out of the range of nanoseconds
        return None
    return moments.asi8, form


def form_of(cell: bytes) -> Form | None:
    """Return how a time is written, or None if it is no time."""
    found = parse(Cells.of([cell]))
    return found[1] if found else None


def problem(cell: bytes, form: Form | None) -> str | None:
    """Return what is wrong with a time, in the rest of a sentence, or None.

    Args:
        cell: The text, valid UTF-8 and without line ends.
        form: How the times before it are written; None for the first.
    """
    if not cell.strip(b" "):
        return f"the time is missing; use {ACCEPTED}."
    found = form_of(cell)
    if found is None:
        return f"{shown(cell)} is no time between 1678 and 2261; use {ACCEPTED}."
    if form is not None and found != form:
        return (
            f"{shown(cell)} is written unlike the times before it; use one form, with "
            f"or without a zone in all rows."
        )
    return None


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
    cells: Sequence[bytes],
    columns: Columns,
    clock: Clock | None,
    machines: IndexArray | None = None,
    allows_absent: bool = False,
) -> None:
    """Refuse times that do not rise by steps of the clock.

    Args:
        times: Of shape ``(T,)``.
        cells: What was sent.
        columns: The columns of the table.
        clock: The clock of training; None if only the order is checked.
        machines: A number for the machine of each row; None if all are of one.
        allows_absent: Whether rows may be absent.

    Raises:
        SeriesError: If they do not. The message names the row and both times.
    """
    order = np.arange(len(times))
    if machines is not None:
        order = np.argsort(machines, kind="stable")
    before, after = order[:-1], order[1:]
    if machines is not None:
        is_same = machines[before] == machines[after]
        before, after = before[is_same], after[is_same]
    for is_bad, words in _unsteady(times[before], times[after], clock, allows_absent):
        if is_bad.any():
            at = np.flatnonzero(is_bad)[np.argmin(after[is_bad])]
            earlier, later = int(before[at]), int(after[at])
            raise SeriesError(
                f"{columns.place(later + 1)}: the time {shown(cells[later])} {words} "
                f"{shown(cells[earlier])} of row {earlier + 1}"
                + _advice(words, int(times[later] - times[earlier]), clock)
            )


def _unsteady(
    before: IndexArray, after: IndexArray, clock: Clock | None, allows_absent: bool
) -> Iterator[tuple[npt.NDArray[np.bool_], str]]:
    """Yield which pairs of times are wrong, and how, in the order of its gravity."""
    yield after <= before, _NOT_AFTER
    if clock is None or not len(before):
        return
    # Unsigned: five centuries are more nanoseconds than a signed number holds.
    apart = (after.view(np.uint64) - before.view(np.uint64)).astype(np.float64)
    n_steps = np.rint(apart / clock.step)
    is_off = np.abs(apart - n_steps * clock.step) > TOLERANCE * clock.step
    yield is_off | (n_steps < 1), _NO_MULTIPLE
    if len(apart) > 1:
        yield np.full(len(apart), (n_steps > 1).all()), _OTHER_RATE
    if not allows_absent:
        yield n_steps > 1, _ABSENT


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
    step = _spelled(clock.step, clock.form)
    if words == _ABSENT:
        n_absent = round(apart / clock.step) - 1
        return (
            f", so {counted(n_absent, 'row')} at steps of {step} must be missing "
            f"between; send all rows, or train with missing-values=hold."
        )
    return (
        f", {_spelled(apart, clock.form)} later; the step of training is {step}, and "
        f"rows must be that far apart, within a tenth."
    )


def _spelled(difference: int, form: TimeForm) -> str:
    """Return a difference of times in words: seconds, or the unit of integers."""
    return f"{difference / 1e9:.10g} s" if form == TimeForm.ISO else str(difference)


def _form(shape: bytes) -> Form | None:
    """Return the form of a time whose digits are all 0, or None if it is no time."""
    if _INTEGER.fullmatch(shape):
        return TimeForm.INTEGER, False
    if _ISO.fullmatch(shape):
        return TimeForm.ISO, _ZONED.fullmatch(shape) is not None
    return None
