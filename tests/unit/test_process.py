"""What a process sets for its libraries."""

import os
from collections.abc import Callable

import pytest

from sagemaker_container import process
from sagemaker_container.limits import Limits
from sagemaker_container.variables import THREADS


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


@pytest.mark.parametrize(
    ("n_allowed", "given", "expected"),
    [(2, None, "2"), (2, "", "2"), (2, "5", "5"), (64, None, None)],
)
def test_torch_starts_no_more_threads_than_the_container_has_cores(
    monkeypatch: pytest.MonkeyPatch,
    n_allowed: int,
    given: str | None,
    expected: str | None,
) -> None:
    """Of 64; the user's number counts, and without a limit torch knows best."""
    monkeypatch.setattr(os, "environ", {} if given is None else {THREADS: given})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    limits = staticmethod(lambda: Limits(n_cores=n_allowed, memory_bytes=2**40))
    monkeypatch.setattr(Limits, "of_container", limits)

    process.limit_openmp_threads()

    assert os.environ.get(THREADS) == expected
