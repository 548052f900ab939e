"""``GET /metrics`` of a running server: exact over workers, kills and a busy time."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

N_WORKERS, N_REQUESTS, N_ROWS = 4, 1000, 30


def scrape(server: Any) -> dict[str, float]:
    """Return the values of all samples, by name and labels."""
    answer = server.request("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def workers_of(server: Any) -> list[int]:
    """Return the processes of a server's workers."""
    process = server.process.pid
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return sorted(map(int, text.split()))


def counters_of(samples: dict[str, float]) -> dict[str, float]:
    """Return those that never decrease."""
    return {
        name: value
        for name, value in samples.items()
        if name.split()[0].endswith(("_total", "_bucket", "_count", "_sum"))
    }


@pytest.fixture
def server(model_dir: Path, start_server: Callable[..., Any]) -> Iterator[Any]:
    """Return a server of four workers."""
    workers = {"SAGEMAKER_MODEL_SERVER_WORKERS": str(N_WORKERS)}
    return start_server(model_dir.parent, **workers)


def wait_until(is_so: Callable[[], bool], server: Any) -> None:
    """Return once something is so."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, server.log
        time.sleep(0.01)


def test_counts_are_exact_over_all_workers_and_their_ends(
    server: Any, make_series: Callable, as_csv: Callable
) -> None:
    """A thousand requests are counted, those of a killed worker too; never fewer."""
    body = as_csv(make_series(N_ROWS))
    headers = {"X-Amzn-SageMaker-Custom-Attributes": "return=last:7"}
    seen: list[dict[str, float]] = [scrape(server)]
    one_at_a_time = threading.Lock()

    def post(number: int) -> int:
        if number % 50 == 0:
            with one_at_a_time:
                seen.append(scrape(server))
        return server.request("POST", "/invocations", body, headers).status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(post, range(N_REQUESTS)))
    wait_until(
        lambda: scrape(server)["lstm_ad_request_seconds_count"] == N_REQUESTS, server
    )
    before = workers_of(server)
    os.kill(before[0], signal.SIGKILL)
    wait_until(
        lambda: (
            len(set(workers_of(server)) - {before[0]}) == N_WORKERS
            and server.log.count("is loaded.") == N_WORKERS + 1
        ),
        server,
    )
    bad = server.request("POST", "/invocations", b"1,x\n").status
    server.request("GET", "/ping")
    last = scrape(server)

    assert statuses == [200] * N_REQUESTS
    assert bad == 400
    assert last["lstm_ad_requests_total 200"] == N_REQUESTS
    assert last["lstm_ad_requests_total 400"] == 1
    assert sum(
        v for k, v in last.items() if k.startswith("lstm_ad_requests_total")
    ) == (N_REQUESTS + 1)
    assert last["lstm_ad_rows_total"] == 7 * N_REQUESTS
    assert last["lstm_ad_rows_scored_total"] == 7 * N_REQUESTS
    assert last["lstm_ad_score_rank_total 1"] == 7 * N_REQUESTS
    assert last["lstm_ad_worker_restarts_total"] == 1
    assert last["lstm_ad_requests_held"] == 0
    assert "lstm_ad_drift_index" in last
    for earlier, later in zip(seen, [*seen[1:], last], strict=True):
        earlier, later = counters_of(earlier), counters_of(later)
        assert {name for name in earlier if earlier[name] > later[name]} == set()


def test_a_scrape_is_answered_while_everything_computes_and_is_never_logged(
    server: Any, make_series: Callable, as_csv: Callable
) -> None:
    """Its labels hold names of the model and numbers, nothing that a client sends."""
    body = as_csv(make_series(60_000))
    secret = {
        "X-Amzn-SageMaker-Inference-Id": "secret-1",
        "X-Amzn-SageMaker-Custom-Attributes": "secret-2",
        "Content-Type": "text/csv; secret=secret-3",
    }
    server.request("POST", "/secret-4", b"1,2\n", secret)

    with ThreadPoolExecutor(2 * N_WORKERS) as pool:
        posted = [
            pool.submit(server.request, "POST", "/invocations", body, secret)
            for _ in range(2 * N_WORKERS)
        ]
        wait_until(lambda: scrape(server)["lstm_ad_requests_held"] > 0, server)
        are_done = [request.done() for request in posted]
        statuses = {request.result().status for request in posted}
    text = server.request("GET", "/metrics").body.decode()

    assert statuses == {200}
    assert not all(are_done)
    assert "secret" not in text
    assert "/metrics" not in server.log
    assert server.log.count('"request"') == 2 * N_WORKERS + 1


def test_metrics_for_cloudwatch_are_one_line_per_file_of_a_batch(
    model_dir: Path,
    start_server: Callable[..., Any],
    make_series: Callable,
    as_csv: Callable,
) -> None:
    """A line of its own, which begins with a brace, about that file alone."""
    server = start_server(
        model_dir.parent,
        SAGEMAKER_BATCH="true",
        SAGEMAKER_EMF_NAMESPACE="LSTM-AD",
        SAGEMAKER_EMF_MODEL="pump-7",
    )
    for n_rows in (40, 50):
        server.request("POST", "/invocations", as_csv(make_series(n_rows)))
    wait_until(lambda: server.log.count("_aws") == 2, server)

    lines = [json.loads(li) for li in server.log.splitlines() if li.startswith("{")]
    assert [(line["Rows"], line["Model"]) for line in lines] == [
        (40, "pump-7"),
        (50, "pump-7"),
    ]
