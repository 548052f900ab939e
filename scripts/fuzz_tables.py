"""Tables with names, times, ids and gaps, and an obvious reader of them, for fuzzing.

The obvious reader takes one line after the other: a regular expression for its cells,
Python's own ``float``, and its own ``datetime`` with integers for nanoseconds.
"""

import csv
import dataclasses
import datetime
import itertools
import json
import math
import random
import re
from collections import defaultdict
from fractions import Fraction

from lstm_ad.data.schema import Clock, Column, Role, Schema, TimeForm

NAMES = ("p", "flow", 'a "b", c', "Größe", "x<1>", "score", "n 1")
IDS = ("a", "b", "", '"a, ""b"""', '""', "é", "1", "nan", "x;y", "a\tb", " c ", '"d"')
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

_NUMBER = re.compile(r" *[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)? *")
_CELL = re.compile(r'"(?:[^"]|"")*"|[^",]*')
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ]([0-9]{2}:[0-9]{2})(?:(:[0-9]{2})(?:\.([0-9]{1,9}))?)?"
    r"(Z|[-+][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclasses.dataclass(frozen=True)
class Request:
    """A table, and what its reader is told."""

    text: bytes
    """The table, not yet damaged."""
    schema: Schema
    """The columns of the model."""
    keep: tuple[str, ...]
    """Further columns to carry through."""
    allows_missing: bool
    """Whether cells and rows may be missing."""


@dataclasses.dataclass(frozen=True)
class Read:
    """What a table holds."""

    values: list[list[float]]
    """Row by row, the series in the order of the model."""
    carried: list[tuple[str, list[bytes]]]
    """The names and the cells of the columns that are carried, in their order."""
    times: list[int] | None
    """The time of each row."""


AMBIGUOUS = object()
"""Said of a first row that may be a header or a row without a number."""


def make_request(source: random.Random) -> Request:
    """Return a table that must be read."""
    form = source.choice([*TimeForm, None, None])
    names = source.sample(NAMES, 5)
    columns = [Column(name, Role.SERIES) for name in names[: source.randint(1, 3)]]
    if form is not None:
        columns.append(Column("time", Role.TIMESTAMP))
    has_id, is_grouped = source.random() < 0.4, source.random() < 0.5
    if has_id:
        columns.append(Column(names[3], Role.ID))
    source.shuffle(columns)
    step = source.choice((1, 7, 60)) * (10**9 if form == TimeForm.ISO else 1)
    schema = Schema(
        tuple(columns),
        is_named=source.random() < 0.9,
        clock=Clock(form, step) if form else None,
        group=names[3] if has_id and is_grouped else "",
    )
    has_header = schema.is_named and source.random() < 0.7
    keep = (names[4],) if has_header and source.random() < 0.3 else ()
    allows_missing = source.random() < 0.5
    sent = [*columns, *(Column(name, Role.ID) for name in keep)]
    if has_header:
        source.shuffle(sent)
        if source.random() < 0.2:
            sent = [c for c in sent if c.role == Role.SERIES or c.name in keep]
    elif source.random() < 0.2:
        sent = [column for column in sent if column.role == Role.SERIES]
    lines = [",".join(_named(c.name, source) for c in sent)] if has_header else []
    lines += _rows(sent, schema, allows_missing, source)
    end = source.choice(("\n", "\n", "\r\n"))
    text = end.join(lines) + source.choice((end, end, ""))
    mark = source.choice((b"", b"", b"", b"\xef\xbb\xbf"))
    return Request(mark + text.encode(), schema, keep, allows_missing)


def _named(name: str, source: random.Random) -> str:
    """Return a name as a header may spell it."""
    if '"' in name or "," in name or source.random() < 0.2:
        return '"' + name.replace('"', '""') + '"'
    return name + source.choice(("", "", " "))


def _rows(
    sent: list[Column], schema: Schema, allows_missing: bool, source: random.Random
) -> list[str]:
    """Return some rows of a table."""
    style = source.choice(("{:%Y-%m-%d %H:%M:%S}", "{:%Y-%m-%dT%H:%M:%S}Z"))
    zone = source.choice((0, 0, 90)) if style.endswith("Z") else 0
    fractions = source.choice(([""], ["", ".05"], [".0", ".05"], [".050000001"]))
    quotes = source.choice(([""], [""], ['"'], ["", '"']))
    number = source.choice(("{!r}", "{:.3f}"))
    clock = defaultdict(lambda: source.randint(0, 10**9) * (schema.clock or _ANY).step)
    lines = []
    for row in range(source.randint(1, 9)):
        machine = source.choice(IDS[:2])
        key = machine if any(c.name == schema.group for c in sent) else ""
        cells = []
        for column in sent:
            if column.role == Role.TIMESTAMP:
                assert schema.clock is not None
                n_steps = 3 if allows_missing and row == 4 else 1
                clock[key] += n_steps * schema.clock.step
                fraction, quote = source.choice(fractions), source.choice(quotes)
                cell = _time(clock[key], schema.clock, style, zone, fraction)
                cells.append(quote + cell + quote)
            elif column.role == Role.ID:
                is_group = column.name == schema.group
                cells.append(machine if is_group else source.choice(IDS))
            elif allows_missing and row and source.random() < 0.2:
                cells.append(source.choice(("", "nan", " NaN ", " ")))
            else:
                value = source.gauss(0, 1) * 10.0 ** source.randint(-9, 9)
                cells.append(number.format(value))
        lines.append(",".join(cells))
    return lines


_ANY = Clock(TimeForm.INTEGER, 1)


def _time(moment: int, clock: Clock, style: str, zone: int, fraction: str = "") -> str:
    """Return a time as a table may spell it."""
    if clock.form == TimeForm.INTEGER:
        return str(moment)
    moment %= 8 * 10**18  # before 2262
    shift = datetime.timedelta(minutes=zone)
    found = EPOCH + datetime.timedelta(seconds=moment // 10**9) + shift
    text = style.replace("%S", f"%S{fraction}").format(found)
    return text.replace("Z", "+01:30") if zone else text


def read_slowly(data: bytes, request: Request) -> Read | object | None:
    """Return what a table holds as its documentation says; None if it is refused."""
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError:
        return None
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    lines = [line.removesuffix("\r") for line in lines]
    if not lines or any("\r" in line for line in lines):
        return None
    schema = request.schema
    columns = list(schema.columns)
    series = [column for column in columns if column.role == Role.SERIES]
    first = _cells(lines[0]) or lines[0].split(",")
    if schema.is_named and not any(_NUMBER.fullmatch(_plain(cell)) for cell in first):
        sent = _matched(lines.pop(0), request)
        if sent is None or not lines:
            return AMBIGUOUS if sent is None and request.allows_missing else None
    elif request.keep:
        return None
    elif not schema.is_named and len(series) == len(columns):
        # A detector says later that it is another number of series than its own.
        request = dataclasses.replace(request, schema=Schema.unnamed(len(first)))
        sent = list(request.schema.columns)
    else:
        sent = series if len(first) == len(series) else columns
    return _read_rows(lines, sent, request)


def _matched(line: str, request: Request) -> list[Column] | None:
    """Return the columns that a header names."""
    try:
        names = [name.strip(" ") for name in next(csv.reader([line], strict=True))]
    except csv.Error:
        return None
    known = {column.name: column for column in request.schema.columns}
    known |= {name: Column(name, Role.ID) for name in request.keep}
    if len({*names}) < len(names) or not {*names} <= {*known}:
        return None
    if not {*request.schema.series, *request.keep} <= {*names}:
        return None
    return [known[name] for name in names]


def make_document(source: random.Random) -> Request:
    """Return a table in JSON that must be read."""
    made = make_request(source)
    schema = dataclasses.replace(made.schema, is_named=True)
    names = [*schema.series]
    source.shuffle(names)
    rows: list[list[float | None]] = [
        [source.gauss(0, 1) for _ in names] for _ in range(source.randint(1, 5))
    ]
    if made.allows_missing and source.random() < 0.5:
        rows[-1][0] = None
    document: dict[str, object] = {"series": rows}
    if source.random() < 0.7:
        document["columns"] = names
    if schema.clock and source.random() < 0.8:
        moments = [(n + 5) * schema.clock.step for n in range(len(rows))]
        document["timestamps"] = [
            moment
            if schema.clock.form == TimeForm.INTEGER
            else _time(moment, schema.clock, "{:%Y-%m-%dT%H:%M:%S}Z", 0)
            for moment in moments
        ]
    texts = [*IDS, 7, -1, 2**70]
    ids = {name: [source.choice(texts) for _ in rows] for name in made.keep}
    if schema.ids and not schema.group:
        ids |= {name: [source.choice(texts) for _ in rows] for name in schema.ids}
    if ids:
        document["ids"] = ids
    items = [*document.items()]
    source.shuffle(items)
    text = json.dumps(dict(items), ensure_ascii=source.random() < 0.5)
    return dataclasses.replace(made, text=text.encode(), schema=schema)


def read_document_slowly(data: bytes, request: Request) -> Read | None:
    """Return what a table in JSON holds as its documentation says, or None."""
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode()
        pairs = json.loads(text, object_pairs_hook=_Pairs, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(pairs, _Pairs) or not _are_unique(pairs):
        return None
    document = dict(pairs)
    if not {"series"} <= {*document} <= {"series", "columns", "timestamps", "ids"}:
        return None
    rows = _json_rows(document["series"], request.allows_missing)
    ids = document.get("ids", _Pairs())
    if rows is None or not isinstance(ids, _Pairs) or not _are_unique(ids):
        return None
    schema, names = request.schema, document.get("columns")
    if names is not None:
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            return None
        if sorted(names) != sorted(schema.series) or len(names) != len(rows[0]):
            return None
        rows = [[row[names.index(name)] for name in schema.series] for row in rows]
    carried = {name: texts for name, texts in ids}
    if not {*request.keep} <= {*carried} <= {*schema.ids, *request.keep}:
        return None
    if "timestamps" in document and schema.timestamp is None:
        return None
    if schema.timestamp and "timestamps" in document:
        carried = {schema.timestamp: document["timestamps"], **carried}
    return _with_texts(rows, carried, request)


class _Pairs(list):  # type: ignore[type-arg]
    """The pairs of an object, so that keys that are given twice are seen."""


def _are_unique(pairs: _Pairs) -> bool:
    """Return whether each key is given once."""
    return len({key for key, _ in pairs}) == len(pairs)


def _refuse(word: str) -> None:
    """Refuse NaN and Infinity, which Python's reader takes for numbers."""
    raise ValueError(word)


def _json_rows(rows: object, allows_missing: bool) -> list[list[float]] | None:
    """Return rows of numbers, or None if they are anything else."""
    if type(rows) is not list or not rows:
        return None
    if not all(type(row) is list and row for row in rows):
        return None
    if len({len(row) for row in rows}) != 1:
        return None
    cells = [cell for row in rows for cell in row]
    if allows_missing:
        cells = [cell for cell in cells if cell is not None]
    if not all(type(cell) in (int, float) and abs(cell) <= 1e100 for cell in cells):
        return None
    return [[math.nan if cell is None else float(cell) for cell in row] for row in rows]


def _with_texts(
    rows: list[list[float]], texts: dict[str, object], request: Request
) -> Read | None:
    """Return rows with the texts beside them, or None if these cannot be used."""
    schema = request.schema
    for some in texts.values():
        if type(some) is not list or len(some) != len(rows):
            return None
        if not all(type(text) in (str, int) for text in some):
            return None
        if any(re.search("[\n\r\x00\ud800-\udfff]", str(text)) for text in some):
            return None
    said = {name: [str(text) for text in some] for name, some in texts.items()}
    moments = [_moment(text) for text in said.get(schema.timestamp or "", [])]
    if None in moments:
        return None
    times = [moment for moment in moments if moment is not None]
    machines = said.get(schema.group, [""] * len(rows))
    if times and not _are_steady(times, machines, schema.clock, request.allows_missing):
        return None
    carried = [(name, [text.encode() for text in some]) for name, some in said.items()]
    return Read(rows, carried, [time for time, *_ in times] if times else None)


def _read_rows(lines: list[str], sent: list[Column], request: Request) -> Read | None:
    """Return what rows hold."""
    schema, rows, times = request.schema, [], []
    carries = any(column.role != Role.SERIES for column in sent)
    raw: dict[str, list[str]] = {c.name: [] for c in sent if c.role != Role.SERIES}
    for line in lines:
        cells = _cells(line) if carries else line.split(",")
        if cells is None or len(cells) != len(sent) or "\x00" in line:
            return None
        found = {}
        for column, cell in zip(sent, cells, strict=True):
            if column.role == Role.SERIES:
                found[column.name] = _number(cell, request.allows_missing)
            else:
                raw[column.name].append(cell)
            if column.role == Role.TIMESTAMP:
                times.append(_moment(_plain(cell)))
        if None in found.values() or None in times:
            return None
        rows.append([found[name] for name in schema.series])
    machines = [_plain(cell) for cell in raw.get(schema.group, [""] * len(rows))]
    if times and not _are_steady(times, machines, schema.clock, request.allows_missing):
        return None
    carried = [(name, [cell.encode() for cell in some]) for name, some in raw.items()]
    return Read(rows, carried, [time for time, *_ in times] if times else None)


def _cells(line: str) -> list[str] | None:
    """Return the cells of a line; None if its quotes do not match."""
    cells, at = [], 0
    while True:
        match = _CELL.match(line, at)
        assert match is not None
        cells.append(match[0])
        at = match.end()
        if at == len(line):
            return cells
        if line[at] != ",":
            return None
        at += 1


def _plain(cell: str) -> str:
    """Return what a cell says."""
    if cell.startswith('"'):
        return cell[1:-1].replace('""', '"')
    return cell.strip(" ")


def _number(cell: str, allows_missing: bool) -> float | None:
    """Return the number in a cell; NaN for a missing one, None for anything else."""
    if allows_missing and cell.strip(" ") in ("", "nan", "NaN"):
        return math.nan
    if not _NUMBER.fullmatch(cell):
        return None
    number = float(cell)
    return number if math.isfinite(number) and abs(number) <= 1e100 else None


def _moment(text: str) -> tuple[int, TimeForm, bool] | None:
    """Return a time, its form and whether it names its zone."""
    if _INTEGER.fullmatch(text):
        return int(text), TimeForm.INTEGER, False
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    date, minutes, seconds, fraction, zone = match.groups()
    spelled = f"{date}T{minutes or '00:00'}{seconds or ':00'}{zone or 'Z'}"
    try:
        moment = datetime.datetime.fromisoformat(spelled) - EPOCH
    except (ValueError, OverflowError):
        return None
    nanoseconds = (moment // datetime.timedelta(seconds=1)) * 10**9
    nanoseconds += int((fraction or "").ljust(9, "0"))
    if not -(2**63) < nanoseconds < 2**63:
        return None
    return nanoseconds, TimeForm.ISO, zone is not None


def _are_steady(
    times: list[tuple[int, TimeForm, bool]],
    machines: list[str],
    clock: Clock | None,
    allows_absent: bool,
) -> bool:
    """Return whether times have one form and rise by steps, those of each machine."""
    assert clock is not None
    if len({time[1:] for time in times}) > 1 or times[0][1] != clock.form:
        return False
    by_machine = defaultdict(list)
    for (time, *_), machine in zip(times, machines, strict=True):
        by_machine[machine].append(time)
    steps = [
        Fraction(later - earlier, clock.step)
        for some in by_machine.values()
        for earlier, later in itertools.pairwise(some)
    ]
    whole = [round(step) for step in steps]
    if any(step <= 0 for step in steps) or any(number < 1 for number in whole):
        return False
    if any(abs(s - n) > Fraction(1, 10) for s, n in zip(steps, whole, strict=True)):
        return False
    if len(steps) > 1 and 1 not in whole:
        return False
    return allows_absent or all(number == 1 for number in whole)
