"""From arrays to an endpoint and back: every way to a score gives the same bits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lstm_ad import artifacts

CSV = {"Content-Type": "text/csv", "Accept": "text/csv"}


def read(body: bytes) -> np.ndarray:
    """Return an answer as the original's own clients read it."""
    lines = body.decode().split("\n")[:-1]
    return np.array([[float(c) if c else np.nan for c in x.split(",")] for x in lines])


def test_a_trained_saved_loaded_and_served_model_scores_as_itself(
    opt_ml, run_train, start_server, make_series: Callable, as_csv: Callable
) -> None:
    """The real ``train``, the real server: what arrives is ``detector.score``'s bits.

    The series ends in mid-sequence: each row after the first sequence has a score.
    """
    opt_ml.write_config(
        "hyperparameters", {"sequence-length": "10", "hidden-size": "8", "epochs": "2"}
    )
    opt_ml.add_channel("training", {"train.csv": make_series(400)})
    series = make_series(257, seed=7)

    assert run_train(opt_ml).returncode == 0
    server = start_server(opt_ml.base)
    answer = server.request("POST", "/invocations", as_csv(series), CSV)

    received = read(answer.body)
    scores = artifacts.load(opt_ml.model_dir).score(series)
    expected = np.column_stack([scores.normality_score, scores.reconstruction])
    assert received.tobytes() == expected.tobytes()
    assert np.isnan(received[:10]).all()
    assert np.isfinite(received[10:]).all()


def test_the_endpoint_answers_as_batch_transform_does(
    model_dir: Path, start_server, make_series: Callable, as_csv: Callable
) -> None:
    """With the variables and the chunked body of a transform job, byte for byte."""
    body = as_csv(make_series(500, seed=8))
    endpoint = start_server(model_dir.parent)
    batch = start_server(
        model_dir.parent,
        SAGEMAKER_BATCH="true",
        SAGEMAKER_MAX_PAYLOAD_IN_MB="100",
        SAGEMAKER_BATCH_STRATEGY="MULTI_RECORD",
        SAGEMAKER_MAX_CONCURRENT_TRANSFORMS="1",
        SAGEMAKER_MODEL_SERVER_WORKERS="2",
    )

    real_time = endpoint.request("POST", "/invocations", body, CSV)
    transformed = batch.request(
        "POST", "/invocations", iter([body[:5000], body[5000:]]), {**CSV}
    )

    assert real_time.status == 200
    assert real_time.body == transformed.body
