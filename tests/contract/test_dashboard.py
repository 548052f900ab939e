"""The queries of docs/grafana.json, against what a server answers and in Prometheus."""

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

DASHBOARD = json.loads(
    (Path(__file__).parents[2] / "docs" / "grafana.json").read_text()
)
QUERIES = [
    target["expr"].replace("$__rate_interval", "1m")
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]

CONFIGURATION = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: lstm-ad
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@pytest.fixture
def server(
    model_dir: Path,
    start_server: Callable[..., Any],
    make_series: Callable,
    as_csv: Callable,
) -> Any:
    """Return a server that has scored enough rows for a drift index."""
    server = start_server(model_dir.parent)
    server.request("POST", "/invocations", as_csv(make_series(5_000)))
    return server


def test_every_metric_is_shown_by_the_dashboard_and_no_other(server: Any) -> None:
    """As the server names it; each panel has room of its own."""
    text = server.request("GET", "/metrics").body.decode()
    families = {family.name for family in text_string_to_metric_families(text)}
    asked = {name for query in QUERIES for name in re.findall(r"lstm_ad_\w+", query)}
    places = {tuple(panel["gridPos"].values()) for panel in DASHBOARD["panels"]}

    shown = {re.sub("_(total|bucket)$", "", name) for name in asked}
    assert shown == families
    assert len(places) == len(DASHBOARD["panels"]) == 10


@pytest.fixture
def prometheus(
    server: Any, tmp_path: Path, free_port: Callable[[], int]
) -> Iterator[Callable[[str], list[Any]]]:
    """Return the function that asks a Prometheus, which scrapes every second."""
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(port=server.port))
    port = free_port()
    options = {
        "config.file": configuration,
        "storage.tsdb.path": tmp_path / "tsdb",
        "web.listen-address": f"127.0.0.1:{port}",
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus", *(f"--{name}={value}" for name, value in options.items())],
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def ask(query: str) -> list[Any]:
        """Return the result of a query: nothing before Prometheus is ready."""
        text = urllib.parse.urlencode({"query": query})
        address = f"http://127.0.0.1:{port}/api/v1/query?{text}"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.URLError:
            return []

    try:
        yield ask
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="needs Debian's package prometheus"
)
def test_prometheus_answers_every_query(
    server: Any,
    prometheus: Callable[[str], list[Any]],
    make_series: Callable,
    as_csv: Callable,
) -> None:
    """With numbers, once it has scraped the server twice."""
    body = as_csv(make_series(100))
    deadline = time.monotonic() + 60
    answers: dict[str, list[Any]] = {}
    while not all(answers.get(query) for query in QUERIES):
        assert time.monotonic() < deadline, [q for q in QUERIES if not answers.get(q)]
        server.request("POST", "/invocations", body)
        time.sleep(0.2)
        answers = {query: prometheus(query) for query in QUERIES}

    for query, answer in answers.items():
        values = [float(series["value"][1]) for series in answer]
        assert all(0 <= value < float("inf") for value in values), query
    (index,) = prometheus("lstm_ad_drift_index")
    shares = {
        series["metric"]["le"]: float(series["value"][1])
        for series in answers[next(q for q in QUERIES if "score_rank" in q)]
    }
    assert float(index["value"][1]) >= 0
    assert shares["1"] == pytest.approx(1.0)
    assert shares["0.25"] < shares["0.9"]
