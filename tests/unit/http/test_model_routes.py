"""The routes of a multi-model endpoint, through Flask's own client."""

import json
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from lstm_ad import artifacts
from lstm_ad.artifacts import Fit
from lstm_ad.parallel import Cores
from sagemaker_container.http.app import create_app, create_multi_model_app
from sagemaker_container.http.catalogue import Catalogue
from sagemaker_container.http.model_routes import PAGE, ROUTES
from sagemaker_container.http.models import Budget, Models
from sagemaker_container.monitoring.model_counts import MAX_MODELS, ModelCounts

GB = 2**30

NAMES = ("a", "b/c", "d e")


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory, tiny_fit: Fit, overlapping_fit: Fit
) -> list[str]:
    """Return the folders of two models."""
    base = tmp_path_factory.mktemp("models")
    for name, fit in (("apart", tiny_fit), ("overlapping", overlapping_fit)):
        artifacts.save(base / name / "model", fit)
    return [str(base / name / "model") for name in ("apart", "overlapping")]


@pytest.fixture
def make_client() -> Iterator[Callable[..., FlaskClient]]:
    """Return the function that makes a client of a server without a model."""

    def make(catalogue: Catalogue, limit: int = 999 * GB) -> FlaskClient:
        models = Models(catalogue, Budget(limit, 100), Cores())
        return create_multi_model_app(models, max_payload_mb=1).test_client()

    return make


@pytest.fixture
def client(make_client) -> FlaskClient:
    """Return a client of a server without a model."""
    return make_client(Catalogue())


def load(client: FlaskClient, name: str, url: str) -> Any:
    """Return the answer to a request to load a model."""
    return client.post("/models", json={"model_name": name, "url": url})


def entry(name: str, url: str) -> dict[str, str]:
    """Return how a model is spelled in answers."""
    return {"modelName": name, "modelUrl": url}


def test_models_come_and_go(client: FlaskClient, folders: list[str]) -> None:
    """From an empty list on; each answer is the contract's."""
    url = folders[0]
    empty = client.get("/models"), client.get("/ping")
    loaded = [load(client, name, url) for name in NAMES]
    listed = client.get("/models")
    one = client.get("/models/b%2Fc")
    again = load(client, "a", url)
    unloaded = client.delete("/models/d%20e")
    unknown = client.get("/models/d e"), client.delete("/models/d e")

    assert [answer.status_code for answer in empty] == [200, 200]
    assert empty[0].json == {"models": []}
    assert {answer.status_code for answer in loaded} == {200}
    assert listed.json == {"models": [entry(name, url) for name in NAMES]}
    assert one.json == entry("b/c", url)
    assert again.status_code == 409
    assert again.text == 'The model "a" is loaded already; unload it first.\n'
    assert (unloaded.status_code, unloaded.json) == (200, entry("d e", url))
    assert [answer.status_code for answer in unknown] == [404, 404]
    assert unknown[0].text == (
        'The model "d e" is not loaded; load it with POST /models.\n'
    )
    assert load(client, "d e", url).status_code == 200


def test_a_model_answers_as_if_it_were_alone(
    client: FlaskClient, folders: list[str], make_series, as_csv
) -> None:
    """Columns, formats, last rows, errors: the bytes of a server of that model."""
    body = as_csv(make_series(120, seed=5))
    requests = [
        (body, {}),
        (body, {"Accept": "application/json"}),
        (body, {"X-Amzn-SageMaker-Custom-Attributes": "output=score;return=last:3"}),
        (body[:9], {}),
    ]
    for name, folder in zip("ab", folders, strict=True):
        load(client, name, folder)

    for name, folder in zip("ab", folders, strict=True):
        alone = create_app(artifacts.load(Path(folder)), 1).test_client()
        for data, headers in requests:
            kwargs = {"data": data, "headers": {"Content-Type": "text/csv", **headers}}
            expected = alone.post("/invocations", **kwargs)
            found = client.post(f"/models/{name}/invoke", **kwargs)
            assert found.status_code == expected.status_code
            assert found.data == expected.data
            assert found.content_type == expected.content_type


def test_the_list_comes_in_pages(client: FlaskClient, folders: list[str]) -> None:
    """In order, each model once, also if one goes in between."""
    names = sorted(f"model {number}" for number in range(2 * PAGE + 1))
    for name in names:
        load(client, name, folders[0])

    first = client.get("/models").json
    last_of_first = first["models"][-1]["modelName"]
    client.delete(f"/models/{last_of_first}")
    token = {"next_page_token": first["nextPageToken"]}
    second = client.get("/models", query_string=token).json
    token = {"next_page_token": second["nextPageToken"]}
    third = client.get("/models", query_string=token).json

    pages = first, second, third
    assert [len(page["models"]) for page in pages] == [PAGE, PAGE, 1]
    assert [m["modelName"] for page in pages for m in page["models"]] == names
    assert "nextPageToken" not in third


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "Input data was truncated"),
        (b"[1]", "Expected `object`, got `array`"),
        (b'{"model_name": "a"}', "Object missing required field `url`"),
        (b'{"model_name": 1, "url": "x"}', "Expected `str`, got `int` - at `$.model"),
        (b'{"model_name": "\xff", "url": "x"}', "codec can't decode"),
        (b'{"model_name": "", "url": "x"}', "The model_name is empty"),
        (b'{"model_name": "a", "url": ""}', "./model.json cannot be read: No such"),
        (b'{"model_name": "a", "url": "\\u0000"}', "null byte"),
        (b'{"model_name": "a", "url": "/etc"}', "/etc/model.json cannot be read: No "),
    ],
)
def test_what_cannot_be_loaded_is_400(
    client: FlaskClient, body: bytes, reason: str
) -> None:
    """One sentence says why, and nothing is loaded."""
    answer = client.post("/models", data=body)

    assert answer.status_code == 400
    assert reason.strip("./") in answer.text
    assert answer.text.count("\n") == 1
    assert client.get("/models").json == {"models": []}


def test_a_damaged_model_is_400(
    client: FlaskClient, model_dir: Path, folders: list[str]
) -> None:
    """Whichever file is damaged, and however; another model of the name may come."""
    for path in sorted(model_dir.iterdir()):
        whole = path.read_bytes()
        for data in (b"", whole[: len(whole) // 2], whole[:-1] + b"?"):
            path.write_bytes(data)
            answer = load(client, "a", str(model_dir))
            assert answer.status_code == 400, path
            assert path.name in answer.text
            assert "Traceback" not in answer.text
        path.write_bytes(whole)

    assert load(client, "a", folders[0]).status_code == 200


def test_a_model_for_which_there_is_no_memory_is_507(
    make_client, folders: list[str]
) -> None:
    """Memory for a request is kept; it says how much of what there is."""
    client = make_client(Catalogue(), limit=200 * 2**20)

    answer = load(client, "a", folders[0])

    assert answer.status_code == 507
    assert answer.text.startswith('The model "a" takes 0.0 MB, but of the 200 MB of ')
    assert answer.text.endswith("200 are kept for a request; unload another model.\n")
    assert client.get("/models").json == {"models": []}


def test_a_new_worker_has_the_models_of_the_one_that_ended(
    make_client, folders: list[str], make_series, as_csv
) -> None:
    """It loads each when it is asked to score with it."""
    catalogue = Catalogue()
    body = as_csv(make_series(47))
    before = make_client(catalogue)
    for name in "abc":
        load(before, name, folders[0])
    before.delete("/models/b")
    expected = before.post("/models/a/invoke", data=body).data

    after = make_client(catalogue)

    names = [model["modelName"] for model in after.get("/models").json["models"]]
    assert names == ["a", "c"]
    assert load(after, "a", folders[0]).status_code == 409
    assert after.post("/models/a/invoke", data=body).data == expected
    assert after.post("/models/b/invoke", data=body).status_code == 404
    assert after.delete("/models/c").status_code == 200
    assert list(catalogue.read()) == ["a"]


def test_a_catalogue_that_was_cut_off_is_empty(caplog) -> None:
    """Only a kill in the middle of a write does that; the log says so."""
    catalogue = Catalogue()
    catalogue.write({"a": "x"})
    kept = catalogue.read()
    catalogue.write({})
    emptied = catalogue.read()
    catalogue.write({"a": '"x\n'})
    quoted = catalogue.read()
    os.pwrite(catalogue._file, b"{{", 0)

    assert [kept, emptied, quoted] == [{"a": "x"}, {}, {"a": '"x\n'}]
    assert catalogue.read() == {}
    assert "load them again" in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/invocations", 404), ("GET", "/x", 404), ("PUT", "/models", 405)],
)
def test_other_paths_and_methods_name_the_routes(
    client: FlaskClient, method: str, path: str, status: int
) -> None:
    """Those of a multi-model endpoint."""
    answer = client.open(path, method=method)

    assert answer.status_code == status
    assert answer.text.endswith(f"; use {ROUTES}.\n")


def test_an_unknown_page_is_400(client: FlaskClient) -> None:
    """No answer has given such a token."""
    for token in ("x", "é", "ff"):
        answer = client.get("/models", query_string={"next_page_token": token})
        assert answer.status_code == 400
        assert f'The next_page_token "{token}" is unknown' in answer.text


def test_an_unloaded_model_is_freed_at_once(folders: list[str]) -> None:
    """Not even a cycle refers to it; and a loaded one keeps no bytes of its graph."""
    models = Models(Catalogue(), Budget(999 * GB, 100), Cores())
    models.load("a", folders[0])
    network = models.detector("a").reconstructor.network
    is_lean = not hasattr(network, "model")
    freed = weakref.ref(network)
    del network

    models.unload("a")

    assert is_lean
    assert freed() is None


def test_the_rows_of_each_model_are_counted(
    client: FlaskClient, folders: list[str], make_series, as_csv
) -> None:
    """By its name; what is sent for the sake of other rows is not counted again."""
    series = make_series(47)
    series[40, 0] = 1e6
    last = {"X-Amzn-SageMaker-Custom-Attributes": "return=last:3"}
    for name, headers in (("a", {}), ("a", last), ('b "/c', {})):
        load(client, name, folders[0])
        path = f"/models/{quote(name, safe='')}/invoke"
        client.post(path, data=as_csv(series), headers=headers).close()
    client.delete("/models/a")

    found = {
        (sample.name, sample.labels["model"]): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if "model" in sample.labels
    }

    assert found["lstm_ad_rows_total", "a"] == 47 + 3
    assert found["lstm_ad_rows_scored_total", "a"] == 37 + 3
    assert found["lstm_ad_rows_total", 'b "/c'] == 47
    assert found["lstm_ad_anomalies_total", 'b "/c'] >= 1
    assert found["lstm_ad_missing_cells_total", "a"] == 0


def test_no_more_models_are_counted_than_are_allowed() -> None:
    """Each would be a label; a model that is counted goes on being counted."""
    counts = ModelCounts()
    names = [f"model {number}" for number in range(MAX_MODELS + 1)]

    recorders = [counts.recorder(name, None) for name in names]

    assert None not in recorders[:-1]
    assert recorders[-1] is None
    assert counts.recorder(names[0], None) is not None
    assert list(counts.totals()) == names[:-1]


def test_the_log_names_the_model(
    client: FlaskClient, folders: list[str], make_series, as_csv, caplog
) -> None:
    """As the caller named it, which need not be what SageMaker calls it."""
    caplog.set_level("INFO")
    load(client, "0af3", folders[0])
    headers = {"X-Amzn-SageMaker-Target-Model": "pump.tar.gz"}
    client.post(
        "/models/0af3/invoke", data=as_csv(make_series(47)), headers=headers
    ).close()

    line = json.loads(caplog.records[-1].getMessage())
    assert line["request"] == "POST /models/0af3/invoke"
    assert line["target_model"] == "pump.tar.gz"
    assert line["rows"] == 47
