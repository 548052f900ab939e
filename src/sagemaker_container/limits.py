"""What this container may use of the machine: cores, memory and GPUs.

The kernel keeps the limits of a container in control groups (cgroups), files under
``/sys/fs/cgroup``. Version 1 (Amazon Linux 2) has a tree of directories for each kind
of limit, version 2 has one tree for all. A process without a view of its own on them
is in a nested directory, which ``/proc/self/cgroup`` names; the limits of the
directories above it count as well.
"""

import dataclasses
import importlib.metadata
import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What this container may use of the machine."""

    n_cores: int
    """Cores at a time, at least 1."""
    memory_bytes: int
    """Memory."""
    n_gpus: int = 0
    """GPUs that ONNX Runtime can compute on."""
    trains_on_gpu: bool = False
    """Whether there are GPUs, and a build of torch for them."""
    has_gpu: bool = False
    """Whether there are GPUs at all."""

    @classmethod
    def of_container(
        cls, root: Path = Path("/"), gpu_package: str = "onnxruntime-gpu"
    ) -> "Limits":
        """Return the limits of the container that this process runs in.

        Args:
            root: Where ``/sys``, ``/proc`` and ``/dev`` are.
            gpu_package: The package without which a GPU is of no use.
        """
        cores = float(len(os.sched_getaffinity(0)))
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(
            n_cores=max(1, math.ceil(min([cores, *_core_limits(root)]))),
            memory_bytes=min([memory, *_memory_limits(root)]),
            n_gpus=_n_gpus(root) if _is_installed(gpu_package) else 0,
            trains_on_gpu=_n_gpus(root) > 0 and not _is_cpu_build(),
            has_gpu=_n_gpus(root) > 0,
        )

    def warn_of_unused_gpu(self) -> None:
        """Warn where torch cannot train on a GPU that is paid for."""
        if self.has_gpu and not self.trains_on_gpu:
            logger.warning(
                "This instance has a GPU, but torch is a build for processors: use an "
                "image with a CUDA build of torch, or an instance without GPUs."
            )


def _core_limits(root: Path) -> Iterator[float]:
    """Yield the limits to the cores that this process may use."""
    for directory in _directories(root, "cpu"):
        quota, *period = (
            _numbers(directory / "cpu.max")
            or (
                *_numbers(directory / "cpu.cfs_quota_us"),
                *_numbers(directory / "cpu.cfs_period_us"),
            )
            or (0,)
        )
        if quota > 0 and period and period[0] > 0:  # microseconds of how many
            yield quota / period[0]


def _memory_limits(root: Path) -> Iterator[int]:
    """Yield the limits in bytes to the memory that this process may use."""
    for directory in _directories(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            yield from (limit for limit in _numbers(directory / name) if limit > 0)


def _directories(root: Path, controller: str) -> Iterator[Path]:
    """Yield the control groups that this process is in, of both versions."""
    mount = root / "sys/fs/cgroup"
    trees = {"": mount, controller: mount / controller}
    yield from trees.values()
    for line in _lines(root / "proc/self/cgroup"):
        _, _, controllers_and_path = line.partition(":")  # "4:cpu,cpuacct:/a/b"
        controllers, _, path = controllers_and_path.partition(":")
        nested = PurePosixPath(path.lstrip("/"))
        for name in set(controllers.split(",")) & set(trees):
            if ".." not in nested.parts:  # outside of what this process can see
                yield from (trees[name] / part for part in (nested, *nested.parents))


def _numbers(path: Path) -> tuple[int, ...]:
    """Return the integers in a file; none if it is missing, or says "max"."""
    try:
        return tuple(int(word) for line in _lines(path) for word in line.split())
    except ValueError:
        return ()


def _lines(path: Path) -> list[str]:
    """Return the lines of a file; none if it cannot be read."""
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _n_gpus(root: Path) -> int:
    """Return how many GPUs the container has: NVIDIA's runtime makes a device of each.

    ONNX Runtime would say so, too, but must not be imported before the workers fork.
    """
    return sum(path.name[6:].isdecimal() for path in (root / "dev").glob("nvidia*"))


def _is_cpu_build() -> bool:
    """Return whether torch is built without CUDA, or missing, without importing it."""
    try:
        return importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return True


def _is_installed(package: str) -> bool:
    """Return whether a package is installed, without importing it."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
