"""What the environment variables ask of the server."""

import dataclasses
from pathlib import Path

import pytest

from lstm_ad.exceptions import SettingError
from sagemaker_container.limits import Limits
from sagemaker_container.settings import ServerSettings, least_used_gpu

GB = 2**30
PLENTY = 999 * GB
BATCH, OUTPUT = "SAGEMAKER_BATCH", "SAGEMAKER_INFERENCE_OUTPUT"
PORT, MAX_PAYLOAD = "SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_MAX_PAYLOAD_IN_MB"
WORKERS, THREADS = "SAGEMAKER_MODEL_SERVER_WORKERS", "OMP_NUM_THREADS"
MULTI_MODEL = "SAGEMAKER_MULTI_MODEL"
GPUS = "CUDA_VISIBLE_DEVICES"
EMF_NAMESPACE, EMF_MODEL = "SAGEMAKER_EMF_NAMESPACE", "SAGEMAKER_EMF_MODEL"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return the variables of a server, none of them set but the root."""
    names = BATCH, OUTPUT, PORT, MAX_PAYLOAD, WORKERS, THREADS, GPUS, MULTI_MODEL
    for name in (*names, EMF_NAMESPACE, EMF_MODEL):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return monkeypatch


def test_a_server_has_defaults(server, tmp_path: Path) -> None:
    """SageMaker's port, the largest payload, and the original's columns."""
    settings = ServerSettings.from_variables(Limits(2, 4 * GB))

    assert dataclasses.asdict(settings) == {
        "model_dir": tmp_path / "model",
        "port": 8080,
        "n_workers": 2,
        "threads_per_worker": 1,
        "max_payload_mb": 100,
        "is_batch": False,
        "columns": ("score", "reconstruction"),
        "n_gpus": 0,
        "is_multi_model": False,
        "memory_bytes": 4 * GB,
        "emf_namespace": "",
        "emf_model": "",
    }


@pytest.mark.parametrize(
    ("limits", "n_warnings"),
    [
        (Limits(2, PLENTY, has_gpu=True), 1),
        (Limits(2, PLENTY, n_gpus=1, has_gpu=True), 0),
        (Limits(2, PLENTY), 0),
    ],
)
def test_a_gpu_that_cannot_be_used_is_named(
    server, limits: Limits, n_warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It is paid for, and the image for it is another one."""
    ServerSettings.from_variables(limits)

    sentence = "This instance has a GPU, but onnxruntime-gpu is not installed"
    assert [sentence in text for text in caplog.messages] == [True] * n_warnings


@pytest.mark.parametrize(
    ("limits", "variables", "expected"),
    [
        # A worker per core and gigabyte: a small endpoint must not run out of memory.
        (Limits(1, PLENTY), {}, (1, 1, 0)),
        (Limits(7, PLENTY), {}, (7, 1, 0)),
        (Limits(8, GB // 2), {}, (1, 8, 0)),
        (Limits(8, GB), {}, (1, 8, 0)),
        (Limits(8, 3 * GB - 1), {}, (2, 4, 0)),
        (Limits(8, 6 * GB), {}, (6, 1, 0)),
        (Limits(2, 2 * GB), {}, (2, 1, 0)),
        # More for each where bodies may be larger, as at asynchronous endpoints.
        (Limits(8, 8 * GB), {MAX_PAYLOAD: "1024"}, (2, 4, 0)),
        (Limits(8, 2 * GB), {MAX_PAYLOAD: "1024"}, (1, 8, 0)),
        # A worker per GPU, whose threads share the cores.
        (Limits(48, PLENTY, n_gpus=4), {}, (4, 12, 4)),
        (Limits(48, 2 * GB, n_gpus=4), {}, (2, 24, 4)),
        (Limits(48, PLENTY, n_gpus=4), {BATCH: "true"}, (1, 48, 4)),
        # Many models: each is in memory once.
        (Limits(8, PLENTY), {MULTI_MODEL: "true"}, (1, 8, 0)),
        (Limits(8, PLENTY), {MULTI_MODEL: "true", WORKERS: "1"}, (1, 8, 0)),
        (Limits(48, PLENTY, n_gpus=4), {WORKERS: "8"}, (8, 6, 4)),
        (Limits(48, PLENTY, n_gpus=4), {THREADS: "2"}, (4, 2, 4)),
        (Limits(48, PLENTY, n_gpus=4), {GPUS: "3, 1"}, (2, 24, 2)),
        (Limits(48, PLENTY, n_gpus=4), {GPUS: "0,-1,1"}, (1, 48, 1)),
        (Limits(48, PLENTY, n_gpus=4), {GPUS: "-1"}, (48, 1, 0)),
        # A batch transform sends one large request at a time: all threads are its.
        (Limits(8, PLENTY), {BATCH: "true"}, (1, 8, 0)),
        # What is told counts; the other half follows, and is never none.
        (Limits(16, PLENTY), {WORKERS: "1"}, (1, 16, 0)),
        (Limits(16, PLENTY), {WORKERS: "5"}, (5, 3, 0)),
        (Limits(16, PLENTY), {WORKERS: "40"}, (40, 1, 0)),
        (Limits(16, PLENTY), {THREADS: "1"}, (16, 1, 0)),
        (Limits(16, PLENTY), {THREADS: "5,2"}, (3, 5, 0)),
        (Limits(16, PLENTY), {THREADS: "40"}, (1, 40, 0)),
    ],
    ids=str,
)
def test_workers_and_threads_share_the_machine(
    server, limits: Limits, variables: dict[str, str], expected: tuple[int, int, int]
) -> None:
    """How many workers, of how many threads each, on how many GPUs."""
    for name, value in variables.items():
        server.setenv(name, value)

    settings = ServerSettings.from_variables(limits)

    found = (settings.n_workers, settings.threads_per_worker, settings.n_gpus)
    assert found == expected


@pytest.mark.parametrize(
    ("n_gpus", "used", "expected"),
    [
        (0, [], 0),
        (0, [0, 0], 0),
        (4, [], 0),
        (4, [0, 1], 2),
        (4, [0, 2, 3], 1),
        (2, [0, 1, 1], 0),
    ],
)
def test_workers_are_spread_over_the_gpus(
    n_gpus: int, used: list[int], expected: int
) -> None:
    """The next one takes the GPU of the fewest, also that of one that has ended."""
    assert least_used_gpu(n_gpus, used) == expected


@pytest.mark.parametrize(
    ("variable", "name", "text", "expected"),
    [
        (PORT, "port", "9999", 9999),
        (WORKERS, "n_workers", " 3 ", 3),
        (THREADS, "threads_per_worker", "5", 5),
        (MAX_PAYLOAD, "max_payload_mb", "6.0", 6),
        (MAX_PAYLOAD, "max_payload_mb", "0", 0),
        (MAX_PAYLOAD, "max_payload_mb", "0.0", 0),
        (BATCH, "is_batch", " True", True),
        (OUTPUT, "columns", "is_anomaly", ("is_anomaly",)),
        (OUTPUT, "columns", "upper, score", ("upper", "score")),
    ],
)
def test_a_variable_is_honoured(
    server, variable: str, name: str, text: str, expected: object
) -> None:
    """Each; a payload of 0 is batch transform's word for no limit."""
    server.setenv(variable, text)

    assert getattr(ServerSettings.from_variables(), name) == expected


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        *(
            (name, "many", 'must be .*"many" was given')
            for name in (PORT, WORKERS, THREADS, MAX_PAYLOAD)
        ),
        *((OUTPUT, text, "names ") for text in ("predicted_label", "score,")),
        (OUTPUT, "score,score", "names "),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(
    server, variable: str, text: str, expected: str
) -> None:
    """A server does not start with it; ``variables`` and ``columns`` say the rest."""
    server.setenv(variable, text)

    with pytest.raises(SettingError, match=f"^{variable} {expected}"):
        ServerSettings.from_variables()


def test_several_workers_of_many_models_are_refused(server) -> None:
    """They would hold each model several times, and not know of each other's."""
    server.setenv(MULTI_MODEL, "true")
    server.setenv(WORKERS, "2")

    with pytest.raises(SettingError, match=f"{WORKERS} is 2, but with {MULTI_MODEL}"):
        ServerSettings.from_variables(Limits(2, PLENTY))


def test_metrics_for_cloudwatch_are_named_as_it_takes_names(server) -> None:
    """A namespace, and what the model is called in it."""
    server.setenv(EMF_NAMESPACE, "LSTM-AD/pumps")
    server.setenv(EMF_MODEL, "pump-7")

    settings = ServerSettings.from_variables(Limits(2, 4 * GB))

    assert (settings.emf_namespace, settings.emf_model) == ("LSTM-AD/pumps", "pump-7")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({EMF_NAMESPACE: "AWS/x"}, f'{EMF_NAMESPACE} is "AWS/x", which CloudWatch'),
        ({EMF_NAMESPACE: "a b"}, "use at most 255 letters, digits"),
        ({EMF_MODEL: "m" * 256}, f"{EMF_MODEL} is "),
        ({EMF_NAMESPACE: "A", MULTI_MODEL: "true"}, "leave one of the two out"),
    ],
)
def test_other_names_are_refused(server, variables: dict, message: str) -> None:
    """CloudWatch would drop the metrics without a word."""
    for name, value in variables.items():
        server.setenv(name, value)

    with pytest.raises(SettingError, match=message):
        ServerSettings.from_variables(Limits(2, 4 * GB))
