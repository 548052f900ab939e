"""Read a table from JSON: numbers, and the times and ids beside them."""

from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.data.codes import without_codes
from lstm_ad.data.schema import Role, Schema
from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats import time_text
from sagemaker_container.formats.header import Columns, matched
from sagemaker_container.formats.json import Document, read_document
from sagemaker_container.formats.messages import counted, shown
from sagemaker_container.formats.table import Cells, Table, quoted
from sagemaker_container.formats.timed import timed


def read_table(
    stream: BinaryIO,
    schema: Schema,
    keep: Sequence[str] = (),
    allows_missing: bool = False,
    codes: Sequence[float] = (),
) -> Table:
    """Return the table that a stream of JSON holds.

    Args:
        stream: The text.
        schema: The columns that a model was trained on.
        keep: Names of further ids, which are carried through.
        allows_missing: Whether numbers and rows may be missing.
        codes: Numbers that stand for a missing one.

    Raises:
        DocumentTooLargeError: If there is more of it than is read.
        SeriesError: If the stream is empty, cannot be read as it stands or has other
            columns than the model. The message names the row and the column where
            there is one.
    """
    document = read_document(stream, allows_missing)
    values = without_codes(_in_order(document, schema), codes)
    carried = _carried(document, schema, keep, len(values))
    columns = Columns(
        len(schema.series) + len(carried), (), dict.fromkeys(carried, 0)
    )  # for the places in messages alone: there is no header
    moments, form = None, None
    if schema.timestamp is not None and schema.timestamp in carried:
        found = time_text.parse(carried[schema.timestamp])
        if found is None:
            raise _time_problem(carried[schema.timestamp], columns)
        moments, form = found
    table = Table(values, document.columns is not None, carried, moments)
    return timed(table, form, columns, schema, allows_missing)


def _in_order(document: Document, schema: Schema) -> FloatArray:
    """Return the values with the series in the order of training."""
    names = document.columns
    if names is None:
        return document.values
    if not schema.is_named:
        raise SeriesError(
            'The JSON has "columns", but the model was trained on series without '
            "names; leave them out."
        )
    n_columns = document.values.shape[1]
    if len(names) != n_columns:
        raise SeriesError(
            f'"columns" of the JSON has {counted(len(names), "name")}, but its rows '
            f"have {counted(n_columns)}; name each column."
        )
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SeriesError(
            f'"columns" of the JSON has {shown(twice)} more than once; use each name '
            f"once."
        )
    for name in names:
        if name not in schema.series:
            raise SeriesError(
                f'"columns" of the JSON has {shown(name)}, which is no series of the '
                f"model; leave that column out."
            )
    order = matched(names, schema, ()).series
    return np.ascontiguousarray(document.values[:, order])


def _carried(
    document: Document, schema: Schema, keep: Sequence[str], n_rows: int
) -> Mapping[str, Cells]:
    """Return the times and the ids as cells of CSV, by the names of their columns."""
    ids = {column.name for column in schema.columns if column.role == Role.ID}
    carried = {}
    for key, items in document.carried.items():
        place = '"timestamps"' if key is None else f'"ids", {shown(key)},'
        name = schema.timestamp if key is None else key
        if name is None or (key is not None and key not in ids and key not in keep):
            remedy = "" if key is None else ", or name it in keep to carry it through"
            raise SeriesError(
                f"{place} of the JSON is unknown to the model; leave it out{remedy}."
            )
        if len(items) != n_rows:
            raise SeriesError(
                f"{place} of the JSON has {counted(len(items), 'item')}, but there "
                f"are {counted(n_rows, 'row')}; one per row is needed."
            )
        for row, item in enumerate(items, start=1):
            if isinstance(item, str) and not _is_line(item):
                raise SeriesError(
                    f"Row {row}: {place} of the JSON has a line break or another "
                    f"character that no line of CSV holds, {shown(item)}; leave it out."
                )
        carried[name] = Cells.of([quoted(str(item)) for item in items])
    for name in keep:
        if name not in carried:
            raise SeriesError(
                f"keep names {shown(name)}, but the ids of the JSON lack it; name ids "
                f"that are sent."
            )
    return carried


def _is_line(text: str) -> bool:
    """Return whether a text fits into a line of CSV in UTF-8."""
    return not any(c in "\n\r\x00" or "\ud800" <= c <= "\udfff" for c in text)


def _time_problem(cells: Cells, columns: Columns) -> SeriesError:
    """Return the error about the first time that cannot be read."""
    form = None
    for row, cell in enumerate(cells, start=1):
        if problem := time_text.problem(cell, form):
            return SeriesError(f'{columns.place(row)}, "timestamps": {problem}')
        form = time_text.form_of(cell)
    raise AssertionError("times that cannot be parsed hold one that cannot")
