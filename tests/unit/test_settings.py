"""What the environment variables ask of the server."""

import dataclasses
from pathlib import Path

import pytest

from lstm_ad.exceptions import SettingError
from sagemaker_container.limits import Limits
from sagemaker_container.settings import ServerSettings, least_used_gpu

GB = 2**30


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return the variables of a server, none of them set but the root."""
    for name in (
        "SAGEMAKER_BATCH",
        "SAGEMAKER_BIND_TO_PORT",
        "SAGEMAKER_MODEL_SERVER_WORKERS",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB",
        "SAGEMAKER_INFERENCE_OUTPUT",
        "OMP_NUM_THREADS",
        "CUDA_VISIBLE_DEVICES",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return monkeypatch


def split(n_cores: int, memory_bytes: int = 999 * GB) -> tuple[int, int]:
    """Return how many workers, of how many threads each, a container has."""
    settings = ServerSettings.from_variables(Limits(n_cores, memory_bytes))
    return settings.n_workers, settings.threads_per_worker


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
    }


@pytest.mark.parametrize(
    ("n_cores", "memory_bytes", "expected"),
    [
        (1, 999 * GB, (1, 1)),
        (7, 999 * GB, (7, 1)),
        (8, GB // 2, (1, 8)),
        (8, GB, (1, 8)),
        (8, 3 * GB - 1, (2, 4)),
        (8, 6 * GB, (6, 1)),
        (2, 2 * GB, (2, 1)),
    ],
)
def test_an_endpoint_has_a_worker_per_core_and_gigabyte(
    server, n_cores: int, memory_bytes: int, expected: tuple[int, int]
) -> None:
    """A small endpoint must not run out of memory; threads take up the cores."""
    assert split(n_cores, memory_bytes) == expected


@pytest.mark.parametrize(
    ("variables", "memory_bytes", "expected"),
    [
        ({}, 999 * GB, (4, 12, 4)),
        ({}, 2 * GB, (2, 24, 4)),
        ({"SAGEMAKER_BATCH": "true"}, 999 * GB, (1, 48, 4)),
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "8"}, 999 * GB, (8, 6, 4)),
        ({"OMP_NUM_THREADS": "2"}, 999 * GB, (4, 2, 4)),
        ({"CUDA_VISIBLE_DEVICES": "3, 1"}, 999 * GB, (2, 24, 2)),
        ({"CUDA_VISIBLE_DEVICES": "0,-1,1"}, 999 * GB, (1, 48, 1)),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, 999 * GB, (48, 1, 0)),
    ],
    ids=str,
)
def test_an_endpoint_has_a_worker_per_gpu(
    server, variables: dict[str, str], memory_bytes: int, expected: tuple[int, int, int]
) -> None:
    """Here of four, on a machine of 48 cores, which each worker's threads share."""
    for name, value in variables.items():
        server.setenv(name, value)

    settings = ServerSettings.from_variables(Limits(48, memory_bytes, n_gpus=4))

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


def test_a_batch_transform_has_one_worker_with_all_threads(server) -> None:
    """It sends one large request at a time."""
    server.setenv("SAGEMAKER_BATCH", "true")

    assert split(8) == (1, 8)


@pytest.mark.parametrize(
    ("variable", "number", "expected"),
    [
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "1", (1, 16)),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "5", (5, 3)),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "40", (40, 1)),
        ("OMP_NUM_THREADS", "1", (16, 1)),
        ("OMP_NUM_THREADS", "5,2", (3, 5)),
        ("OMP_NUM_THREADS", "40", (1, 40)),
    ],
)
def test_the_other_half_of_a_split_follows_what_is_told(
    server, variable: str, number: str, expected: tuple[int, int]
) -> None:
    """More workers have fewer threads each, and never none; and the reverse."""
    server.setenv(variable, number)

    assert split(16) == expected


@pytest.mark.parametrize(
    ("variable", "name", "text", "expected"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "port", "9999", 9999),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "n_workers", " 3 ", 3),
        ("OMP_NUM_THREADS", "threads_per_worker", "5", 5),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "max_payload_mb", "6.0", 6),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "max_payload_mb", "0", 0),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "max_payload_mb", "0.0", 0),
        ("SAGEMAKER_BATCH", "is_batch", " True", True),
        ("SAGEMAKER_INFERENCE_OUTPUT", "columns", "is_anomaly", ("is_anomaly",)),
        ("SAGEMAKER_INFERENCE_OUTPUT", "columns", "upper, score", ("upper", "score")),
    ],
)
def test_a_variable_is_honoured(
    server, variable: str, name: str, text: str, expected: object
) -> None:
    """Each; a payload of 0 is batch transform's word for no limit."""
    server.setenv(variable, text)

    assert getattr(ServerSettings.from_variables(), name) == expected


@pytest.mark.parametrize(
    "variable",
    [
        "SAGEMAKER_BIND_TO_PORT",
        "SAGEMAKER_MODEL_SERVER_WORKERS",
        "OMP_NUM_THREADS",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB",
    ],
)
def test_a_variable_that_is_no_positive_integer_is_named(server, variable: str) -> None:
    """What is one, and the message, are in ``variables``."""
    server.setenv(variable, "many")

    with pytest.raises(SettingError, match=f'^{variable} must be .*"many" was given'):
        ServerSettings.from_variables()


@pytest.mark.parametrize("text", ["predicted_label", "score,", "score,score"])
def test_unknown_columns_are_named(server, text: str) -> None:
    """With the variable that asks for them: a server does not start with it."""
    server.setenv("SAGEMAKER_INFERENCE_OUTPUT", text)

    with pytest.raises(SettingError, match=r"^SAGEMAKER_INFERENCE_OUTPUT names "):
        ServerSettings.from_variables()
