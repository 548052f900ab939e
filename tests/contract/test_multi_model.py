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

MULTI_MODEL = {"SAGEMAKER_MULTI_MODEL": "true", "OMP_NUM_THREADS": "2"}

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
REQUESTS: list[dict[str, str]] = [
    {},
    {"Accept": "application/json"},
    {ATTRIBUTES: "output=score,is_anomaly;return=last:5"},
]


class Platform:
    """SageMaker's side of the contract: it loads what is called, and unloads on 507.

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


def test_a_model_is_refused_where_memory_is_short(
    folder: Path, tmp_path: Path, start_server: Callable[..., Any]
) -> None:
    """What is kept for a request of the largest size is more than there is: 507."""
    server = start_server(
        tmp_path, **MULTI_MODEL, SAGEMAKER_MAX_PAYLOAD_IN_MB="9999999"
    )

    status, sentence = Platform(server, folder).load("apart")

    assert status == 507
    assert sentence.endswith("are kept for a request; unload another model.\n")
    assert server.request("GET", "/ping").status == 200
