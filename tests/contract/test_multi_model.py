"""A multi-model endpoint as SageMaker drives it: the real server and its sockets."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from lstm_ad import artifacts
from lstm_ad.artifacts import Fit
from lstm_ad.data.rows import Rows
from lstm_ad.fitting import fit
from lstm_ad.hyperparameters import Hyperparameters
from sagemaker_container.http.body import MB
from sagemaker_container.http.model_routes import PAGE
from sagemaker_container.http.models import BYTES_PER_PAYLOAD
from sagemaker_container.limits import Limits

MULTI_MODEL = {"SAGEMAKER_MULTI_MODEL": "true", "OMP_NUM_THREADS": "2"}

ROOM_MB = 250
"""What all models may take, and the server itself."""

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
REQUESTS: list[dict[str, str]] = [
    {},
    {"Accept": "application/json"},
    {ATTRIBUTES: "output=score,is_anomaly;return=last:5"},
]


class Platform:
    """SageMaker's side of the contract: it loads what is called.

    Args:
        server: The running ``serve``.
        folder: The models by their file names, extracted from their archives.
    """

    def __init__(self, server: Any, folder: Path) -> None:
        self.server = server
        self._folder = folder

    def load(self, name: str) -> tuple[int, str]:
        """Return the status and the text of the answer to a request to load."""
        document = {"model_name": name, "url": str(self._folder / name)}
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        answer = self.server.request(
            "POST", "/models", json.dumps(document).encode(), headers
        )
        return answer.status, answer.body.decode()

    def listed(self) -> list[str]:
        """Return the names of the loaded models."""
        names: list[str] = []
        query = ""
        while True:
            answer = self.server.request("GET", f"/models{query}")
            assert answer.status == 200
            page = json.loads(answer.body)
            names += [model["modelName"] for model in page["models"]]
            if "nextPageToken" not in page:
                return names
            query = f"?next_page_token={quote(page['nextPageToken'])}"

    def invoke(self, name: str, body: bytes, headers: dict[str, str]) -> Any:
        """Return the answer of a model, loaded first if it is not there."""
        path = f"/models/{quote(name, safe='')}"
        if self.server.request("GET", path).status == 404:
            assert self.load(name)[0] in (200, 409)
        headers = {"Content-Type": "text/csv", **headers}
        headers["X-Amzn-SageMaker-Target-Model"] = f"{name}.tar.gz"
        return self.server.request("POST", f"{path}/invoke", body, headers)

    def unload(self, name: str) -> int:
        """Return the status of the answer to a request to unload."""
        return self.server.request("DELETE", f"/models/{quote(name, safe='')}").status


@pytest.fixture
def folder(tmp_path: Path, tiny_fit: Fit, overlapping_fit: Fit) -> Path:
    """Return a folder with two kinds of models, and two that are damaged."""
    folder = tmp_path / "models"
    artifacts.save(folder / "apart", tiny_fit)
    artifacts.save(folder / "overlapping", overlapping_fit)
    shutil.copytree(folder / "apart", folder / "half")
    network = folder / "half" / "network.onnx"
    network.write_bytes(network.read_bytes()[:100])
    (folder / "empty").mkdir()
    return folder


def test_models_answer_as_servers_of_one_model_do(
    folder: Path, tmp_path: Path, start_server: Callable[..., Any], make_series, as_csv
) -> None:
    """Bit by bit, while damaged models are refused, and after the worker is killed."""
    body = as_csv(make_series(123, seed=6))
    expected = {}
    for name in ("apart", "overlapping"):
        shutil.copytree(folder / name, tmp_path / name / "model")
        alone = start_server(tmp_path / name)
        headers = {"Content-Type": "text/csv"}
        expected[name] = [
            alone.request("POST", "/invocations", body, headers | asked).body
            for asked in REQUESTS
        ]
        alone.process.terminate()
    server = start_server(tmp_path / "nothing", **MULTI_MODEL)
    platform = Platform(server, folder)

    at_first = platform.listed()
    refused = {name: platform.load(name) for name in ("half", "empty", "missing")}
    with ThreadPoolExecutor(8) as pool:  # each is loaded by whoever comes first
        found = list(
            pool.map(
                lambda asked: (asked, platform.invoke(asked[0], body, asked[1]).body),
                [(name, asked) for name in expected for asked in REQUESTS] * 4,
            )
        )
    loaded = platform.listed()
    (worker,) = children(server.process.pid)
    os.kill(worker, signal.SIGKILL)
    while server.process.poll() is None and worker in children(server.process.pid):
        server.is_listening()
    after = [platform.invoke("apart", body, asked).body for asked in REQUESTS]
    kept = platform.listed()
    metrics = server.request("GET", "/metrics").body.decode()
    unloaded = [platform.unload(name) for name in ("apart", "overlapping", "apart")]

    assert at_first == []
    assert {status for status, _ in refused.values()} == {400}
    assert f"{folder}/half/network.onnx is damaged" in refused["half"][1]
    assert {text.count("\n") for _, text in refused.values()} == {1}
    for (name, asked), answer in found:
        assert answer == expected[name][REQUESTS.index(asked)]
    assert loaded == kept == ["apart", "overlapping"]
    assert after == expected["apart"]
    assert unloaded == [200, 200, 404]
    # All rows, all rows and the last five, each five times: nothing is lost in a kill.
    assert f'lstm_ad_rows_total{{model="apart"}} {5 * (123 + 123 + 5)}.0' in metrics
    assert platform.listed() == []
    assert server.request("GET", "/ping").status == 200
    assert "Traceback" not in server.log


def children(process: int) -> list[int]:
    """Return the processes that a process has started."""
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(child) for child in text.split()]


def test_loading_a_model_keeps_no_other_request_waiting(
    folder: Path, many_models: Any, make_series, as_csv
) -> None:
    """Not even for that model, which is 404 until it is there."""
    body = as_csv(make_series(123, seed=6))
    platform = Platform(many_models, folder)
    expected = platform.invoke("apart", body, {}).body
    shutil.copytree(folder / "apart", folder / "slow")
    description = folder / "slow" / "model.json"
    text = description.read_bytes()
    description.unlink()
    os.mkfifo(description)

    with ThreadPoolExecutor(2) as pool:
        loads = [pool.submit(platform.load, "slow")]
        with description.open("wb") as pipe:  # which waits for the server to read
            loads.append(pool.submit(platform.load, "slow"))
            pinged = many_models.request("GET", "/ping").status
            listed = platform.listed()
            found = platform.invoke("apart", body, {}).body
            early = many_models.request("POST", "/models/slow/invoke", body)
            pipe.write(text)
    platform.unload("apart")

    assert (pinged, listed, found) == (200, ["apart"], expected)
    assert early.status == 404
    assert [load.result()[0] for load in loads] == [200, 409]
    assert platform.invoke("slow", body, {}).body == expected
    assert platform.unload("slow") == 200


def test_a_folder_may_go_and_its_name_come_back(
    folder: Path, many_models: Any, make_series, as_csv
) -> None:
    """Any name, in any script: SageMaker deletes what it has unloaded."""
    body = as_csv(make_series(123, seed=6))
    name = "ü b/%2F?#&.tar.gz"
    platform = Platform(many_models, folder)
    headers = {"Content-Type": "text/csv"}
    path = f"/models/{quote(name, safe='')}"

    def load_and_invoke(kind: str) -> bytes:
        asked = {"model_name": name, "url": str(folder / kind)}
        answer = many_models.request("POST", "/models", json.dumps(asked).encode())
        assert answer.status == 200
        shutil.rmtree(folder / kind)
        found = [
            many_models.request("POST", f"{path}/invoke", body, headers)
            for _ in range(2)
        ]
        assert [answer.status for answer in found] == [200, 200]
        assert json.loads(many_models.request("GET", path).body)["modelName"] == name
        assert platform.listed() == [name]
        assert platform.unload(name) == 200
        return found[1].body

    answers = [load_and_invoke(kind) for kind in ("apart", "overlapping")]

    after = many_models.request("POST", f"{path}/invoke", body, headers)
    assert after.status == 404
    assert answers[0] != answers[1]


def test_the_platform_pages_through_the_list(folder: Path, many_models: Any) -> None:
    """Each model once, in the order of the names."""
    platform = Platform(many_models, folder)
    names = sorted(f"apart{'/.' * number}" for number in range(2 * PAGE + 1))

    assert {platform.load(name)[0] for name in names} == {200}

    assert platform.listed() == names
    assert {platform.unload(name) for name in names} == {200}


def test_a_model_that_is_unloaded_makes_room_for_another(
    tmp_path: Path, start_server: Callable[..., Any], make_series, as_csv
) -> None:
    """507 until SageMaker has unloaded enough; the others go on answering."""
    series = make_series(60)
    large = fit(
        Rows.of({"a.csv": series}),
        hyperparameters=Hyperparameters(sequence_length=2, hidden_size=400, epochs=1),
    )
    artifacts.save(tmp_path / "large", large)
    kept_mb = (Limits.of_container().memory_bytes // MB - ROOM_MB) // BYTES_PER_PAYLOAD
    server = start_server(
        tmp_path, **MULTI_MODEL, SAGEMAKER_MAX_PAYLOAD_IN_MB=str(kept_mb)
    )
    platform = Platform(server, tmp_path)

    def load(name: str) -> tuple[int, str]:
        asked = {"model_name": name, "url": str(tmp_path / "large")}
        answer = server.request("POST", "/models", json.dumps(asked).encode())
        return answer.status, answer.body.decode()

    names = [f"model {number}" for number in range(ROOM_MB)]
    refusals = ((name, *load(name)) for name in names)
    refused, status, sentence = next(found for found in refusals if found[1] != 200)
    loaded = platform.listed()
    unloaded = []
    while load(refused)[0] == 507:
        unloaded.append(loaded.pop(0))
        assert platform.unload(unloaded[-1]) == 200
    path = f"/models/{quote(refused)}/invoke"
    answer = server.request("POST", path, as_csv(series))

    assert status == 507
    assert sentence.endswith("are kept for a request; unload another model.\n")
    assert 1 <= len(unloaded) <= 3
    assert platform.listed() == sorted([*loaded, refused])
    assert answer.status == 200
    assert server.request("GET", "/ping").status == 200
