"""What a process sets for its libraries."""

import os
from collections.abc import Callable

import pytest

from sagemaker_container import process


def prepare() -> None:
    """Prepare a process group whose network has a name."""
    process.prepare_process_group("eth1")


@pytest.mark.parametrize(
    ("prepare", "variable", "expected"),
    [
        (process.use_passive_openmp_waits, "OMP_WAIT_POLICY", "PASSIVE"),
        (process.limit_blas_threads, "OPENBLAS_NUM_THREADS", "1"),
        (process.disable_telemetry, "ORT_DISABLE_TELEMETRY", "1"),
        (prepare, "GLOO_SOCKET_IFNAME", "eth1"),
        (prepare, "NCCL_SOCKET_IFNAME", "eth1"),
        (prepare, "OMP_NUM_THREADS", "1"),
    ],
)
def test_a_variable_is_set_unless_the_user_has(
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[], None],
    variable: str,
    expected: str,
) -> None:
    """A default, not an order."""
    monkeypatch.setattr(os, "environ", {})
    prepare()
    by_default = os.environ[variable]
    os.environ[variable] = "user's"
    prepare()

    assert (by_default, os.environ[variable]) == (expected, "user's")
