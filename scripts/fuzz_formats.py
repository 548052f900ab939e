"""Feed the readers of CSV and JSON mutated files, and compare them with obvious ones.

Every file is a valid one that was damaged by a few random edits (seeded: the same
files in every run); every third is JSON, and every third a table with names, times, ids
and gaps. A reader may refuse it, with a SeriesError, or
must return the numbers that splitting at the commas and Python's own ``float`` give, or
Python's own reader of JSON, bit for bit. What the obvious readers accept must be
accepted.

    python scripts/fuzz_formats.py [--files 100000] [--seed 0]
"""

import argparse
import gzip
import io
import json
import math
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fuzz_tables import (
    Read,
    make_document,
    make_request,
    read_document_slowly,
    read_slowly,
)
from lstm_ad.data.schema import Schema
from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats import csv_file, csv_table, csv_text, json_table
from sagemaker_container.formats.table import plain

UNNAMED = Schema.unnamed(1)
"""Of any number of series: without names, the detector counts them."""

BLOCK_SIZES = (4, 7, 64, 4 * 2**20)
"""Bytes read at a time: lines, numbers and line ends are cut by the ends of blocks."""

FEW = (0, 0, 100, csv_text.FEW)
"""Bytes below which a block is read by the other parser: both of them are fuzzed."""

FEW_COLUMNS = (0, csv_text.FEW_COLUMNS)
"""Columns up to which pandas reads them as such: both ways are fuzzed."""

SNIPPETS = [
    *(b",", b"\n", b"\r\n", b"\r", b" ", b"\t", b";", b'"', b"'", b"#", b"\x00"),
    *(b"nan", b"NaN", b"inf", b"-inf", b"NA", b"null", b"True", b"0x1F", b"1_000"),
    *(b"1e400", b"1e101", b"-1e100", b"1e-400", b"5e-324", b".", b"-", b"+", b"e"),
    *(b"E5", b"e+", b"--1", b"1.2.3", b"1e5e5", b".5", b"5.", b"+.5e-3", b"1 2"),
    *(b"0.1e1", b"00012", b"-0", b"1d5", b"1,5", b"1j", b"\xff", b"\xef\xbb\xbf"),
    *(b"\xc2\xa0", "\u0661".encode(), "\u2212".encode(), b"\x1a", b"\x0b", b"\x0c"),
    *(b"[", b"]", b"{", b"}", b":", b"[1]", b"[[1]],", b"tru", b"nul", b'"series"'),
    *(
        b"]}",
        b'"\\',
        b"\xef\xbb",
        b"-Infinity",
        b"],[",
        b'{"series": [[1]]}',
        b"9" * 400,
    ),
    *(b"123456789012345678901234567890", b"0." + b"0" * 40 + b"1", b"a,b\n", b"//"),
]

_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")


def main() -> None:
    """Read every file both ways; end at the first difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.monotonic()
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzz.csv"
        for number in range(arguments.files):
            source = random.Random(f"{arguments.seed}/{number}")
            if number % 3 == 1:
                kind = "JSON" if number % 4 == 0 else "CSV"
                outcome = check_table(source, kind == "JSON")
                outcomes[f"tables of {kind} {outcome}"] += 1
                continue
            is_json = number % 3 == 0
            data = make_file(source, valid_json if is_json else valid_csv)
            outcome = check(data, source, path, is_json)
            outcomes[f"{'JSON' if is_json else 'CSV'} {outcome}"] += 1
    seconds = time.monotonic() - began
    shown = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    print(f"{arguments.files} files in {seconds:.0f} s: {shown}; no other exception.")


def check(data: bytes, source: random.Random, path: Path, is_json: bool) -> str:
    """Return how both readers took a file; end the run if they differ."""
    csv_text.BLOCK_SIZE = source.choice(BLOCK_SIZES)
    csv_text.FEW = source.choice(FEW)
    csv_text.FEW_COLUMNS = source.choice(FEW_COLUMNS)
    try:
        if is_json:
            found = json_table.read_table(io.BytesIO(data), UNNAMED).values
        elif source.random() < 0.05:
            path.write_bytes(gzip.compress(data, 1))
            found = np.vstack([*csv_file.read_blocks(path, "fuzz.csv")])
        else:
            found = csv_table.read_table(io.BytesIO(data), UNNAMED).values
    except SeriesError as error:
        found, message = None, str(error)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}\n{data!r}")
    expected = (read_json_slowly if is_json else read_csv_slowly)(data)
    if found is None:
        if expected is not None:
            sys.exit(f"Refused, but valid: {message}\n{data!r}")
        if "\n" in message or not message.isprintable() or len(message) > 300:
            sys.exit(f"Not one plain sentence: {message!r}\n{data!r}")
        return "refused"
    if expected is None:
        sys.exit(f"Accepted, but not valid: {found}\n{data!r}")
    if found.tobytes() != np.array(expected).tobytes():
        sys.exit(f"Other numbers: {found} instead of {expected}\n{data!r}")
    return "read alike"


def check_table(source: random.Random, is_json: bool) -> str:
    """Return how both readers took a table; end the run if they differ."""
    request = (make_document if is_json else make_request)(source)
    data = damaged(request.text, source)
    csv_text.BLOCK_SIZE = source.choice(BLOCK_SIZES)
    csv_text.FEW = source.choice(FEW)
    csv_text.FEW_COLUMNS = source.choice(FEW_COLUMNS)
    settings = {"keep": request.keep, "allows_missing": request.allows_missing}
    read = json_table.read_table if is_json else csv_table.read_table
    try:
        found = read(io.BytesIO(data), request.schema, **settings)
    except SeriesError as error:
        found, message = None, str(error)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}\n{data!r}\n{request}")
    expected = (read_document_slowly if is_json else read_slowly)(data, request)
    if data == request.text and expected is None:
        sys.exit(f"Valid, but refused by the obvious reader: {data!r}\n{request}")
    if found is None:
        if isinstance(expected, Read):
            sys.exit(f"Refused, but valid: {message}\n{data!r}\n{request}")
        if "\n" in message or not message.isprintable() or len(message) > 500:
            sys.exit(f"Not one plain sentence: {message!r}\n{data!r}")
        return "refused"
    if expected is None:
        sys.exit(f"Accepted, but not valid: {found}\n{data!r}\n{request}")
    if not isinstance(expected, Read):
        return "ambiguous"
    spelled = (lambda cell: plain(cell).encode()) if is_json else bytes
    carried = [(name, [*map(spelled, cells)]) for name, cells in found.carried.items()]
    times = None if found.times is None else found.times.tolist()
    is_alike = np.array_equal(found.values, np.array(expected.values), equal_nan=True)
    if not is_alike or (carried, times) != (expected.carried, expected.times):
        sys.exit(f"Other content: {found} instead of {expected}\n{data!r}\n{request}")
    return "read alike"


def read_csv_slowly(data: bytes) -> list[list[float]] | None:
    """Return the numbers of a file as its documentation says, or None."""
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("ascii")
    except UnicodeDecodeError:
        return None
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    table = []
    for line in lines:
        cells = [cell.strip(" ") for cell in line.removesuffix("\r").split(",")]
        if not all(map(_NUMBER.fullmatch, cells)):
            return None
        row = [float(cell) for cell in cells]
        if not all(math.isfinite(x) and abs(x) <= 1e100 for x in row):
            return None
        table.append(row)
    is_table = len({len(row) for row in table}) == 1
    return table if is_table else None


def read_json_slowly(data: bytes) -> list[list[float]] | None:
    """Return the numbers of a document as its documentation says, or None."""
    try:
        # Pairs, so that keys that are given twice are seen.
        text = data.removeprefix(b"\xef\xbb\xbf").decode()
        document = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    if not text.lstrip().startswith("{") or [key for key, _ in document] != ["series"]:
        return None
    rows = document[0][1]
    if not rows or not all(isinstance(row, list) and row for row in rows):
        return None
    if len({len(row) for row in rows}) != 1:
        return None
    cells = [cell for row in rows for cell in row]
    if not all(type(cell) in (int, float) and abs(cell) <= 1e100 for cell in cells):
        return None  # a NaN is not at most anything
    return [[float(cell) for cell in row] for row in rows]


def make_file(source: random.Random, valid: Callable[[random.Random], bytes]) -> bytes:
    """Return a valid file with zero to four edits."""
    return damaged(valid(source), source)


def damaged(data: bytes, source: random.Random) -> bytes:
    """Return a file with zero to four edits."""
    for _ in range(source.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        data = source.choice(EDITS)(data, source)
    return data


def valid_json(source: random.Random) -> bytes:
    """Return a document that the reader must accept."""
    n_columns = source.choice((1, 1, 2, 3, 8))
    rows = [
        [source.gauss(0, 1) * 10.0 ** source.randint(-99, 98) for _ in range(n_columns)]
        for _ in range(source.randint(1, 6))
    ]
    text = json.dumps({"series": rows}, indent=source.choice((None, None, 1)))
    return source.choice((b"", b"", b"", b"\xef\xbb\xbf")) + text.encode()


def valid_csv(source: random.Random) -> bytes:
    """Return a file that the reader must accept."""
    n_columns = source.choice((1, 1, 2, 3, 8))
    line_end = source.choice(("\n", "\n", "\r\n"))
    rows = [
        ",".join(spell(source) for _ in range(n_columns))
        for _ in range(source.randint(1, 12))
    ]
    text = line_end.join(rows) + source.choice((line_end, line_end, ""))
    return source.choice((b"", b"", b"", b"\xef\xbb\xbf")) + text.encode()


def spell(source: random.Random) -> str:
    """Return one number in one of the ways that a number may be written."""
    value = source.choice(
        (
            source.gauss(0, 1),
            source.uniform(-1e6, 1e6),
            source.gauss(0, 1) * 10.0 ** source.randint(-99, 98),
            source.randint(-1000, 1000),
            0.0,
        )
    )
    form = source.choice(("{!r}", "{!r}", "{:.3f}", "{:.17e}", "{:g}", "{:.25f}"))
    space = source.choice(("", "", "", "", "", " "))
    return space + form.format(value) + space


def replace_byte(data: bytes, source: random.Random) -> bytes:
    """Replace one byte by any other."""
    at = source.randrange(len(data) or 1)
    return data[:at] + bytes([source.randrange(256)]) + data[at + 1 :]


def insert_snippet(data: bytes, source: random.Random) -> bytes:
    """Insert something that confuses readers."""
    at = source.randint(0, len(data))
    return data[:at] + source.choice(SNIPPETS) + data[at:]


def replace_cell(data: bytes, source: random.Random) -> bytes:
    """Replace one cell by something that confuses readers."""
    cells = re.split(rb"([],\n[])", data)
    cells[source.randrange(0, len(cells), 2)] = source.choice(SNIPPETS)
    return b"".join(cells)


def remove_slice(data: bytes, source: random.Random) -> bytes:
    """Remove a few bytes in a row."""
    at = source.randint(0, len(data))
    return data[:at] + data[at + source.randint(1, 8) :]


def repeat_slice(data: bytes, source: random.Random) -> bytes:
    """Write a few bytes in a row twice."""
    first = source.randint(0, len(data))
    last = first + source.randint(1, 16)
    return data[:last] + data[first:last] + data[last:]


def double_key(data: bytes, source: random.Random) -> bytes:
    """Give the only key of a document twice."""
    return data.replace(b"{", b'{"series": [[%d]], ' % source.randint(0, 9), 1)


def cut_end(data: bytes, source: random.Random) -> bytes:
    """Cut the file off anywhere."""
    return data[: source.randint(0, len(data))]


EDITS: list[Callable[[bytes, random.Random], bytes]] = [
    replace_byte,
    insert_snippet,
    replace_cell,
    remove_slice,
    repeat_slice,
    double_key,
    cut_end,
]


if __name__ == "__main__":
    main()
