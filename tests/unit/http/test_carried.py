"""Requests with names, times and ids: what of them comes back, and where."""

import csv
import dataclasses
import gzip
import io
import itertools
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from lstm_ad.data.schema import Clock, Column, Role, Schema, TimeForm
from lstm_ad.scoring.detector import LSTMAD
from sagemaker_container.http.app import create_app

ANSWERS = Path(__file__).parents[3] / "docs" / "answer.schema.json"
SCHEMA = json.loads(ANSWERS.read_text())
ROW = {"$ref": "#/$defs/row", "$defs": SCHEMA["$defs"]}

NAMES = ("time", "asset", 'flow, "left" <in>', "pressure")
FLOW = NAMES[2]
COLUMNS = Schema(
    (
        Column("time", Role.TIMESTAMP),
        Column(FLOW, Role.SERIES),
        Column("pressure", Role.SERIES),
        Column("asset", Role.ID),
    ),
    is_named=True,
    clock=Clock(TimeForm.ISO, 60 * 10**9),
)
UNNAMED = Schema(
    (
        Column("timestamp", Role.TIMESTAMP),
        Column("id_2", Role.ID),
        Column("1", Role.SERIES),
        Column("2", Role.SERIES),
    ),
    is_named=False,
    clock=Clock(TimeForm.INTEGER, 10),
)
N_ROWS = 47
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


@pytest.fixture
def series(make_series: Callable[..., np.ndarray]) -> np.ndarray:
    """Return a series with a spike."""
    series = make_series(N_ROWS, seed=5)
    series[30, 1] += 1000.0
    return series


@pytest.fixture
def cells(series: np.ndarray) -> dict[str, list[str]]:
    """Return the cells of a table, as a historian spells them."""
    return {
        "time": [f"2024-05-01 13:{row:02d}:00" for row in range(N_ROWS)],
        "asset": [f'" P{row % 2}, ""old"" é"' for row in range(N_ROWS)],
        FLOW: [repr(value) for value in series[:, 0].tolist()],
        "pressure": [repr(value) for value in series[:, 1].tolist()],
    }


def client_of(detector: LSTMAD, schema: Schema = COLUMNS, max_gap: int = 0, **settings):
    """Return a client of a server whose model was trained on some columns."""
    reconstructor = dataclasses.replace(detector.reconstructor, max_gap=max_gap)
    detector = dataclasses.replace(detector, schema=schema, reconstructor=reconstructor)
    return create_app(detector, max_payload_mb=1, **settings).test_client()


@pytest.fixture
def client(detector: LSTMAD) -> FlaskClient:
    """Return a client of the server of a model with names, times and ids."""
    return client_of(detector)


def spelled(cells: Mapping[str, list[str]], names=NAMES, has_header=True) -> bytes:
    """Return some columns as CSV, in some order."""
    head = io.StringIO()
    csv.writer(head, lineterminator="\n").writerow(names)
    rows = map(",".join, zip(*(cells[name] for name in names), strict=True))
    text = "".join(f"{row}\n" for row in rows)
    return (head.getvalue() * has_header + text).encode()


def post(client: FlaskClient, body: bytes, attributes: str = "", **headers: str):
    """Return the answer to a body."""
    content_type = headers.pop("content_type", "text/csv")
    return client.post(
        "/invocations",
        data=body,
        content_type=content_type,
        headers={ATTRIBUTES: attributes, **headers},
    )


def lines_of(response: TestResponse) -> list[str]:
    """Return the lines of an answer."""
    assert response.status_code == 200, response.text
    assert response.data.endswith(b"\n")
    return response.data.decode()[:-1].split("\n")


def objects_of(response: TestResponse) -> list[dict]:
    """Return the rows of an answer in JSON Lines, which are as the schema has them."""
    rows = [json.loads(line) for line in lines_of(response)]
    validator = jsonschema.Draft202012Validator(ROW)
    assert [error for row in rows for error in validator.iter_errors(row)] == []
    return rows


@pytest.fixture
def bare(client: FlaskClient, series: np.ndarray, as_csv) -> list[str]:
    """Return the answer to the series alone, line by line."""
    return lines_of(post(client, as_csv(series)))


def as_json(cells: Mapping[str, list[str]], series: np.ndarray) -> bytes:
    """Return the table as JSON, the series in another order than that of training."""
    document = {
        "timestamps": cells["time"],
        "ids": {"asset": [plain(cell) for cell in cells["asset"]]},
        "columns": ["pressure", FLOW],
        "series": series[:, ::-1].tolist(),
    }
    return json.dumps(document).encode()


def plain(cell: str) -> str:
    """Return what a cell says."""
    return next(csv.reader([cell]))[0]


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("is_batch", [False, True])
@pytest.mark.parametrize("names", list(itertools.permutations(NAMES))[::5])
def test_csv_repeats_the_header_and_what_is_carried_first_in_the_order_sent(
    detector: LSTMAD,
    cells: dict[str, list[str]],
    bare: list[str],
    names: tuple[str, ...],
    is_batch: bool,
    compress: Callable[[bytes], bytes],
) -> None:
    """Cells byte for byte; the scores are those of the series alone."""
    client = client_of(detector, is_batch=is_batch)
    first = [name for name in names if name in ("time", "asset")]

    head, *lines = lines_of(post(client, compress(spelled(cells, names))))

    assert next(csv.reader([head])) == [
        *first,
        "score",
        f"reconstruction_{FLOW}",
        "reconstruction_pressure",
    ]
    carried = zip(*(cells[name] for name in first), strict=True)
    assert lines == [",".join([*c, s]) for c, s in zip(carried, bare, strict=True)]


def test_names_alone_give_a_header_alone(
    client: FlaskClient, cells: dict[str, list[str]], bare: list[str]
) -> None:
    """Times and ids may be left out; ``header`` says otherwise."""
    body = spelled(cells, ("pressure", FLOW))

    assert lines_of(post(client, body))[1:] == bare
    assert lines_of(post(client, body, "header=false")) == bare
    no_names = spelled(cells, (FLOW, "pressure"), has_header=False)
    assert lines_of(post(client, no_names, "header=true")) == lines_of(
        post(client, body)
    )


def test_columns_without_names_are_carried_too(
    detector: LSTMAD, series: np.ndarray, bare: list[str]
) -> None:
    """By their places; a header is written if it is asked for."""
    client = client_of(detector, UNNAMED)
    carried = [f"{10 * row},M 1" for row in range(N_ROWS)]
    rows = zip(carried, series.tolist(), strict=True)
    body = "".join(f"{c},{a!r},{b!r}\n" for c, (a, b) in rows).encode()

    lines = lines_of(post(client, body))
    head, *_ = lines_of(post(client, body, "header=true"))

    assert lines == [f"{c},{s}" for c, s in zip(carried, bare, strict=True)]
    assert head == "timestamp,id_2,score,reconstruction_1,reconstruction_2"


def test_what_is_named_in_output_alone_is_carried_in_that_place(
    client: FlaskClient, cells: dict[str, list[str]], bare: list[str]
) -> None:
    """Columns that name neither times nor ids have both in front."""
    scores = [line.partition(",")[0] for line in bare]
    body = spelled(cells | {"batch": ["b"] * N_ROWS}, (*NAMES, "batch"))

    placed = lines_of(post(client, body, "output=score,id,timestamp;keep=batch"))
    time_alone = lines_of(post(client, spelled(cells), "output=score,timestamp"))
    in_front = lines_of(post(client, spelled(cells), "output=score"))

    assert placed[0] == "score,asset,batch,time"
    assert time_alone[0] == "score,time"
    assert in_front[0] == "time,asset,score"
    rows = list(zip(scores, cells["asset"], cells["time"], strict=True))
    assert placed[1:] == [f"{s},{a},b,{t}" for s, a, t in rows]
    assert time_alone[1:] == [f"{s},{t}" for s, _, t in rows]
    assert in_front[1:] == [f"{t},{a},{s}" for s, a, t in rows]


@pytest.mark.parametrize(
    ("attributes", "names", "expected"),
    [
        (
            "output=timestamp,score",
            (FLOW, "pressure"),
            "The columns of the answer include timestamp, but the request has no such "
            "column; send it, or ask for other columns.",
        ),
        (
            "output=id,score",
            ("time", FLOW, "pressure"),
            "The columns of the answer include id, but the request has no such column; "
            "send it, or ask for other columns.",
        ),
        (
            "keep=score",
            (*NAMES, "score"),
            'The answer would have two columns called "score": one of the request\'s, '
            "and one of its own; rename that of the request, or send the custom "
            "attribute header=false.",
        ),
    ],
)
def test_what_cannot_be_carried_is_refused(
    client: FlaskClient,
    cells: dict[str, list[str]],
    attributes: str,
    names: tuple[str, ...],
    expected: str,
) -> None:
    """What is not there, and what is called as a column of the answer."""
    body = spelled(cells | {"score": ["s"] * N_ROWS}, names)

    response = post(client, body, attributes)

    assert (response.status_code, response.text) == (400, expected + "\n")


def test_without_a_header_names_cannot_collide(
    client: FlaskClient, cells: dict[str, list[str]]
) -> None:
    """Only then is it clear to whoever reads the answer which column is which."""
    body = spelled(cells | {"score": ["s"] * N_ROWS}, (*NAMES, "score"))

    lines = lines_of(post(client, body, "keep=score;header=false"))

    assert lines[0] == f"{cells['time'][0]},{cells['asset'][0]},s,,,"


@pytest.mark.parametrize("content_type", ["text/csv", "application/json"])
def test_json_has_times_and_ids_in_each_row_and_names_in_all(
    client: FlaskClient,
    cells: dict[str, list[str]],
    series: np.ndarray,
    bare: list[str],
    content_type: str,
) -> None:
    """The time is the first field; what was quoted is the text itself."""
    is_json = content_type == "application/json"
    body = as_json(cells, series) if is_json else spelled(cells)

    rows = objects_of(
        post(client, body, content_type=content_type, Accept="application/jsonlines")
    )

    assert [list(row)[:3] for row in rows] == [
        ["timestamp", "ids", "prediction"]
    ] * N_ROWS
    assert [row["timestamp"] for row in rows] == cells["time"]
    assert [row["ids"] for row in rows] == [
        {"asset": f' P{row % 2}, "old" é'} for row in range(N_ROWS)
    ]
    scores = [float(line.partition(",")[0] or "nan") for line in bare]
    found = [row["normality_score"] or np.nan for row in rows]
    assert np.array_equal(found, scores, equal_nan=True)
    assert {tuple(d["name"] for d in row["diagnostics"]) for row in rows[10:]} == {
        (FLOW, "pressure")
    }


def test_json_in_gives_the_csv_that_csv_gives(
    client: FlaskClient, cells: dict[str, list[str]], series: np.ndarray
) -> None:
    """Byte for byte, quotes where they are needed."""
    from_json = post(
        client, as_json(cells, series), content_type="application/json", Accept="*/*"
    )

    assert from_json.data == post(client, spelled(cells)).data


def test_events_say_when_and_name_the_series(
    client: FlaskClient, cells: dict[str, list[str]]
) -> None:
    """By the times that were sent."""
    response = post(client, spelled(cells), Accept="application/json")

    document = response.get_json()
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    (event,) = document["events"]
    for name in ("start", "end", "peak"):
        assert event[f"{name}_time"] == cells["time"][event[f"{name}_row"] - 1]
    assert (event["start_row"], event["name"]) == (31, "pressure")
    assert event["lasting"] == 1
    assert "machine" not in event


def test_machines_in_one_request_are_a_series_each(
    detector: LSTMAD, make_series: Callable[..., np.ndarray]
) -> None:
    """Answers come in the order sent, events name the machine, the last rows count."""
    client = client_of(detector, dataclasses.replace(COLUMNS, group="asset"))
    alone = [make_series(40, seed=seed) for seed in (5, 6)]
    alone[1][30, 0] -= 1000.0
    whole = np.stack(alone, axis=1).reshape(-1, 2)
    cells = {
        "time": [f"2024-05-01T13:{row // 2:02d}Z" for row in range(80)],
        "asset": ["a", '"b,"'] * 40,
        FLOW: [repr(value) for value in whole[:, 0].tolist()],
        "pressure": [repr(value) for value in whole[:, 1].tolist()],
    }
    expected = np.stack([detector.score(s).normality_score for s in alone], axis=1)

    lines = lines_of(post(client, spelled(cells), "output=score;return=last:75"))
    document = post(client, spelled(cells), Accept="application/json").get_json()

    assert lines[0] == "time,asset,score"
    assert (
        lines[1:]
        == [
            f"{time},{asset},{'' if score != score else repr(score)}"
            for time, asset, score in zip(
                cells["time"], cells["asset"], expected.ravel().tolist(), strict=True
            )
        ][-75:]
    )
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    (event,) = document["events"]
    assert event["machine"] == "b,"
    assert event["start_row"] == 62
    assert event["start_time"] == "2024-05-01T13:30Z"
    assert document["rows"][61]["prediction"] == 1


def test_missing_cells_and_rows_are_scored_if_the_model_holds_them(
    detector: LSTMAD, client: FlaskClient, cells: dict[str, list[str]]
) -> None:
    """A row without enough values says so; absent rows do not appear."""
    holding = client_of(detector, max_gap=4)
    cells[FLOW][20] = cells["pressure"][20] = ""
    cells["pressure"][25] = "nan"
    for column in cells.values():
        del column[22:24]

    rows = objects_of(post(holding, spelled(cells), Accept="application/jsonlines"))
    lines = lines_of(post(holding, spelled(cells), "output=missing"))
    refusal = post(client, spelled(cells))

    assert [row["timestamp"] for row in rows] == cells["time"]
    reasons = [row["prediction_reason"] for row in rows]
    assert reasons[:10] == ["WARM_UP"] * 10
    assert reasons[20] == "MISSING_DATA"
    assert [n for n in range(10, N_ROWS - 2) if "ANOMALY" not in reasons[n]] == [20]
    assert rows[23]["diagnostics"][1]["value"] == 0
    missing = {line.split(",")[0]: line.split(",")[-1] for line in lines[1:]}
    assert missing.pop(cells["time"][20]) == "2"
    assert missing.pop("2024-05-01 13:25:00") == "1"
    assert set(missing.values()) == {"0"}
    assert refusal.status_code == 400


def test_an_absent_row_is_refused_if_the_model_holds_nothing(
    client: FlaskClient, cells: dict[str, list[str]]
) -> None:
    """With the row, and both times."""
    for column in cells.values():
        del column[22]

    response = post(client, spelled(cells))

    assert response.status_code == 400
    assert response.text.startswith(
        'Row 23 after the header: the time "2024-05-01 13:23:00" comes more than a '
        'step after "2024-05-01 13:21:00" of row 22'
    )


def test_nothing_of_a_payload_is_logged(
    client: FlaskClient,
    cells: dict[str, list[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither names nor times nor ids, whether it is answered or refused."""
    caplog.set_level(logging.DEBUG)

    answers = [
        post(client, spelled(cells)),
        post(client, spelled(cells, NAMES[:3]), "keep=batch"),
    ]
    for answer in answers:
        answer.close()

    assert [answer.status_code for answer in answers] == [200, 400]
    log = caplog.text
    assert log.count('"status":') == 2
    for text in ("pressure", "flow", "asset", "P0", "2024-05", "time", "batch"):
        assert text not in log
