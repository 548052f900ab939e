"""Cores and memory of the container, read from simulated cgroup trees."""

import importlib.metadata
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from sagemaker_container.limits import Limits

GB = 2**30
CORES, MEMORY = 64, 100 * GB
"""Of the simulated machine."""

V1_NONE = f"{2**63 - 4096}\n"
"""What version 1 says of memory without a limit."""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this a machine of 64 cores and 100 GB."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CORES)))
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": MEMORY // 4096}
    monkeypatch.setattr(os, "sysconf", sizes.get)


def v1(quota: str, period: str = "100000\n", below: str = "") -> dict[str, str]:
    """Return the files of a limit to the cores in version 1."""
    return {
        f"cpu{below}/cpu.cfs_quota_us": quota,
        f"cpu{below}/cpu.cfs_period_us": period,
    }


@pytest.mark.parametrize(
    ("files", "processes", "expected"),
    [
        # Version 2.
        ({}, "0::/\n", (64, 100)),
        ({"cpu.max": "max 100000\n", "memory.max": "max\n"}, "0::/\n", (64, 100)),
        ({"cpu.max": "200000 100000\n"}, "0::/\n", (2, 100)),
        ({"cpu.max": "250000 100000\n"}, "0::/\n", (3, 100)),
        ({"cpu.max": "50000 100000\n"}, "0::/\n", (1, 100)),
        ({"cpu.max": "9900000 100000\n"}, "0::/\n", (64, 100)),
        ({"memory.max": f"{2 * GB}\n"}, "0::/\n", (64, 2)),
        ({"memory.max": f"{200 * GB}\n"}, "0::/\n", (64, 100)),
        # Version 1.
        (v1("200000\n"), "4:cpu,cpuacct:/docker/x\n", (2, 100)),
        (v1("50000\n"), "", (1, 100)),
        (v1("-1\n"), "", (64, 100)),
        ({"memory/memory.limit_in_bytes": f"{2 * GB}\n"}, "", (64, 2)),
        ({"memory/memory.limit_in_bytes": V1_NONE}, "", (64, 100)),
        ({"memory/memory.limit_in_bytes": "-1\n"}, "", (64, 100)),
        # A process that sees the groups of the whole machine is in one below; the
        # groups between count as well, those beside it do not.
        ({"a/b/cpu.max": "300000 100000\n"}, "0::/a/b\n", (3, 100)),
        (
            {"a/cpu.max": "2 1\n", "a/b/cpu.max": "3 1\n", "c/cpu.max": "1 1\n"},
            "0::/a/b\n",
            (2, 100),
        ),
        (
            v1("300000\n", below="/a") | {"memory/b/memory.limit_in_bytes": f"{GB}"},
            "11:cpuset:/c\n4:cpu,cpuacct:/a\n3:memory:/b\n0::/\n",
            (3, 1),
        ),
        (v1("300000\n"), "4:cpu:/../..\n", (3, 100)),
        # Both kinds at once: the lower one holds.
        ({"cpu.max": "4 1\n"} | v1("300000\n"), "1:cpu:/\n0::/\n", (3, 100)),
        # What cannot be read is no limit.
        ({"cpu.max": "", "memory.max": ""}, "", (64, 100)),
        ({"cpu.max": "2\n", "memory.max": "much\n"}, "nonsense\n", (64, 100)),
        ({"cpu.max": "0 100000\n", "memory.max": "0\n"}, "::\n", (64, 100)),
        ({"cpu.max": "2 0\n"}, "", (64, 100)),
        (v1("200000\n", period="0\n"), "", (64, 100)),
        (v1("200000\n", period=""), "", (64, 100)),
    ],
    ids=str,
)
def test_the_limits_of_the_container_are_found(
    machine: None,
    tmp_path: Path,
    files: Mapping[str, str],
    processes: str,
    expected: tuple[int, int],
) -> None:
    """Cores, rounded up, and GB: never more than the machine has, never none."""
    tree = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in {**tree, "proc/self/cgroup": processes}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    limits = Limits.of_container(tmp_path)

    assert (limits.n_cores, limits.memory_bytes / GB) == expected


@pytest.mark.parametrize(
    ("devices", "package", "expected"),
    [
        (["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"], "numpy", 2),
        (["nvidia3"], "numpy", 1),
        ([], "numpy", 0),
        (["nvidia0"], "onnxruntime-for-another", 0),
    ],
)
def test_gpus_count_where_they_can_be_used(
    machine: None, tmp_path: Path, devices: list[str], package: str, expected: int
) -> None:
    """By their devices, if the package is installed that computes on them."""
    (tmp_path / "dev").mkdir()
    for device in devices:
        (tmp_path / "dev" / device).touch()

    assert Limits.of_container(tmp_path, package).n_gpus == expected


@pytest.mark.parametrize(
    ("device", "torch", "trains_on_gpu"),
    [
        ("nvidia0", "2.13.0", True),
        ("nvidia0", "2.13.0+cu130", True),
        ("nvidia0", "2.13.0+cpu", False),
        ("null", "2.13.0", False),
    ],
)
def test_a_gpu_trains_with_a_build_of_torch_for_it(
    machine: None,
    tmp_path: Path,
    device: str,
    torch: str,
    trains_on_gpu: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What its version says, without importing it; a GPU without one is named."""
    monkeypatch.setattr(importlib.metadata, "version", lambda name: torch)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / device).touch()

    limits = Limits.of_container(tmp_path)
    limits.warn_of_unused_gpu()

    assert limits.trains_on_gpu == trains_on_gpu
    assert limits.has_gpu == (device == "nvidia0")
    unused = "This instance has a GPU, but torch is a build for processors: use an "
    is_named = [text.startswith(unused) for text in caplog.messages]
    assert is_named == [True] * (limits.has_gpu and not trains_on_gpu)


def test_without_control_groups_the_machine_is_the_limit(
    machine: None, tmp_path: Path
) -> None:
    """Nothing is mounted."""
    assert Limits.of_container(tmp_path) == Limits(CORES, MEMORY)
