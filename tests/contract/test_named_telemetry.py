"""A historian's export from training to answers: names, times, and ids of a machine."""

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

DATA = Path(__file__).parents[2] / "data"
COLUMNS = {"Timestamp": 0, "asset": 1, "pressure": 2, "current": 3}
N_ROWS = 2500

PUBLISHED = [
    {
        "timestamp": "2021-03-11T22:24:00.000000",
        "prediction": 0,
        "prediction_reason": "MACHINE_OFF",
    },
    {
        "timestamp": "2021-03-11T22:25:00.000000",
        "prediction": 1,
        "prediction_reason": "ANOMALY_DETECTED",
        "anomaly_score": 0.72385,
        "diagnostics": [{"name": "component_5feceb66\\sensor0", "value": 0.02346}],
    },
    {
        "timestamp": "2025-02-10T22:42:00.000000",
        "prediction": 0,
        "prediction_reason": "NO_ANOMALY_DETECTED",
        "diagnostics": [{"name": "asset-id\\\\property-id", "value": 0.53528}],
    },
]
"""Rows that AWS publishes as results of Lookout for Equipment and of IoT SiteWise."""

RESULT = {
    "type": "object",
    "properties": {
        "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"},
        "prediction": {"enum": [0, 1]},
        "prediction_reason": {
            "enum": ["NO_ANOMALY_DETECTED", "ANOMALY_DETECTED", "MACHINE_OFF"]
        },
        "anomaly_score": {"type": "number", "minimum": 0, "maximum": 1},
        "diagnostics": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "value": {"type": "number", "minimum": 0, "maximum": 1},
                },
                "required": ["name", "value"],
            },
        },
    },
    "required": ["timestamp", "prediction", "prediction_reason"],
}
"""What readers of these results expect of a row."""


def exported(path: Path, first_day: int, names: list[str]) -> list[list[bytes]]:
    """Return the cells of a sample file as a historian exports it, a header first."""
    rows = [list(map(str.encode, names))]
    for number, line in enumerate(path.read_bytes().splitlines()):
        day, minute = divmod(number, 1440)
        time = (
            f"2024-{first_day:02d}-{day + 1:02d}T{minute // 60:02d}:{minute % 60:02d}"
        )
        cells = [f"{time}:00.000000".encode(), b'"P-7, ""left"""', *line.split(b",")]
        rows.append([cells[COLUMNS[name]] for name in names])
    return rows


def text_of(rows: list[list[bytes]]) -> bytes:
    """Return rows as CSV."""
    return b"".join(b",".join(row) + b"\n" for row in rows)


@pytest.fixture(scope="module")
def opt_ml(make_opt_ml: Callable, run_train: Callable) -> Any:
    """Return the folder of a job that was trained on the sample, exported."""
    job = make_opt_ml()
    job.write_config(
        "hyperparameters",
        {
            "timestamp-column": "Timestamp",
            "id-columns": "asset",
            "group-column": "asset",
            "hidden-size": "8",
            "epochs": "2",
        },
    )
    for channel, name, month in (("training", "train", 1), ("validation", "valid", 2)):
        rows = exported(DATA / "training" / f"{name}.csv", month, [*COLUMNS])
        job.add_channel(channel, {f"{name}.csv": text_of(rows)})
    ended = run_train(job)
    assert ended.returncode == 0, ended.log
    return job


@pytest.fixture
def score(opt_ml: Any, start_server: Callable) -> Iterator[Callable[..., bytes]]:
    """Return the function that has the server of that model score a body."""
    server = start_server(opt_ml.base)

    def score(body: bytes, content_type: str = "text/csv", accept: str = "text/csv"):
        headers = {"Content-Type": content_type, "Accept": accept}
        answer = server.request("POST", "/invocations", body, headers)
        assert answer.status == 200, answer.body
        return answer.body

    yield score
    assert not any(w in server.log for w in ("P-7", "2024-03", "asset", "pressure"))


@pytest.mark.parametrize(
    "names",
    [
        ["Timestamp", "asset", "pressure", "current"],
        ["current", "pressure", "asset", "Timestamp"],
        ["asset", "current", "Timestamp", "pressure"],
    ],
    ids=",".join,
)
def test_scores_are_those_of_the_series_alone_and_cells_come_back_byte_for_byte(
    score: Callable[..., bytes], names: list[str]
) -> None:
    """Whatever the order of the columns, and however the request is written."""
    sample = DATA / "inference/input/test_data.csv"
    rows = exported(sample, 3, names)
    alone = score(sample.read_bytes()).splitlines()
    carried = [names.index(name) for name in names if name in ("Timestamp", "asset")]

    header, *lines = score(text_of(rows)).splitlines()
    compressed = score(gzip.compress(text_of(rows)))
    objects = score(text_of(rows), accept="application/jsonlines").splitlines()

    assert header.decode().split(",") == [
        *(names[at] for at in carried),
        *("score", "reconstruction_pressure", "reconstruction_current"),
    ]
    assert len(alone) == N_ROWS
    assert lines == [
        b",".join([*(row[at] for at in carried), scores])
        for row, scores in zip(rows[1:], alone, strict=True)
    ]
    assert compressed.splitlines() == [header, *lines]
    found = [json.loads(line)["normality_score"] for line in objects]
    assert found == [float(s) if (s := line.split(b",")[0]) else None for line in alone]


def test_results_read_as_those_of_lookout_and_sitewise(
    score: Callable[..., bytes],
) -> None:
    """By a schema that accepts what AWS publishes, and nothing without a time."""
    validator = jsonschema.Draft202012Validator(RESULT)
    rows = exported(DATA / "inference/input/test_data.csv", 3, [*COLUMNS])
    document = {
        "columns": ["pressure", "current"],
        "timestamps": [row[0].decode() for row in rows[1:]],
        "ids": {"asset": [next(csv.reader([r[1].decode()]))[0] for r in rows[1:]]},
        "series": [list(map(float, row[2:])) for row in rows[1:]],
    }
    body = json.dumps(document).encode()

    from_csv = score(text_of(rows), accept="application/jsonlines")
    from_json = score(body, "application/json", "application/jsonlines")

    assert from_csv == from_json
    results = [json.loads(line) for line in from_csv.splitlines()]
    scored = [result for result in results if result["normality_score"] is not None]
    assert len(scored) == N_ROWS - 50
    wrong = [
        error for row in PUBLISHED + scored for error in validator.iter_errors(row)
    ]
    assert wrong == []
    assert not validator.is_valid({**scored[0], "timestamp": None})
    assert {row["ids"]["asset"] for row in results} == {'P-7, "left"'}
    assert {d["name"] for row in scored for d in row["diagnostics"]} == {
        "pressure",
        "current",
    }
