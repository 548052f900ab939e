"""Time the ``train`` command of several versions of the product, job by job, in turn.

``training.py`` prints the table. Each version is a copy of its ``src``, compiled, and
runs with the libraries that are installed.
"""

import contextlib
import dataclasses
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import laptop

NOW = "now"
"""The name of the working tree."""

DETECTION = {"preset": "detection"}

BEFORE_THE_PRESET = {
    **{"context-length": "100", "prediction-length": "5", "sequence-stride": "1"},
    **{"hidden-size": "64", "dropout": "0", "lr": "0.005", "batch-size": "32"},
}
"""What the preset sets for the network, for versions without it, beside the epochs."""

CHOSEN_BY_THE_PROCESS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What a job is run without: a user gives none."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What is trained."""

    name: str
    """The row of the table."""
    training: bytes
    """A CSV file."""
    validation: bytes = b""
    """Likewise; empty if there is none."""
    epochs_of_preset: int = 0
    """Of the preset for so many series; 0 if the job has the defaults."""

    def settings(self, has_preset: bool) -> dict[str, str]:
        """Return the hyperparameters, for a version with the preset or without."""
        if not self.epochs_of_preset:
            return {}
        if has_preset:
            return DETECTION
        return BEFORE_THE_PRESET | {"epochs": str(self.epochs_of_preset)}


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one run took, in seconds."""

    wall: float
    cpu: float
    first_wall: float
    """From its start to the end of the first epoch."""
    first_cpu: float
    """Likewise, of all its processes."""


def compare(
    jobs: Sequence[Job], revisions: Sequence[str], cores: Sequence[int], rounds: int
) -> None:
    """Print a row per job and number of cores, a column per version.

    Args:
        jobs: What is trained.
        revisions: Names of commits; the working tree comes last.
        cores: How many cores a job may use, one table row each.
        rounds: How often each is run; medians are printed.
    """
    versions = [*revisions, NOW]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"Load of the last 1, 5 and 15 minutes at the start: {load}.\n")
    print("| s: wall, CPU; first epoch: wall, CPU | cores |", " | ".join(versions), "|")
    print("|---" * (2 + len(versions)) + "|", flush=True)
    with tempfile.TemporaryDirectory() as base:
        sources = {name: source_of(name, Path(base)) for name in versions}
        for job in jobs:
            for n_cores in cores:
                costs: dict[str, list[Cost]] = {name: [] for name in versions}
                for _ in range(rounds):
                    for name, source in sources.items():
                        costs[name].append(run(job, source, n_cores))
                cells = " | ".join(shown(costs[name]) for name in versions)
                print(f"| {job.name} | {n_cores} | {cells} |", flush=True)


def source_of(version: str, base: Path) -> Path:
    """Return a compiled copy of a version's ``src``."""
    folder = base / version
    folder.mkdir()
    command = ["git", "archive", version, "src"]
    if version == NOW:
        command = ["tar", "--create", "--exclude=__pycache__", "src"]
    packed = subprocess.run(command, cwd=laptop.ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "-x"], cwd=folder, input=packed.stdout, check=True)
    compiled = [sys.executable, "-m", "compileall", "-q", folder / "src"]
    subprocess.run(compiled, check=True)
    return folder / "src"


def run(job: Job, source: Path, n_cores: int) -> Cost:
    """Return what a job costs a version, on so many cores."""
    has_preset = '"preset"' in (source / "lstm_ad/hyperparameters.py").read_text()
    channels = {"training": job.training, "validation": job.validation}
    channels = {name: data for name, data in channels.items() if data}
    with tempfile.TemporaryDirectory() as base, on_cores(n_cores):
        laptop.lay_out(Path(base), channels, job.settings(has_preset))
        variables = {
            "PYTHONPATH": str(source),
            "PYTHONUNBUFFERED": "1",
            "SAGEMAKER_BASE_DIR": base,
            **laptop.TRAINING_MODULE,
        }
        return timed(variables)


@contextlib.contextmanager
def on_cores(n_cores: int) -> Iterator[None]:
    """Let this process, and what it starts, use the first cores only."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:n_cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def timed(variables: Mapping[str, str]) -> Cost:
    """Return what ``train`` costs in an environment."""
    kept = {k: v for k, v in os.environ.items() if k not in CHOSEN_BY_THE_PROCESS}
    before, began, first = cpu_of_children(), time.monotonic(), (0.0, 0.0)
    with subprocess.Popen(
        laptop.TRAIN,
        env=kept | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # its processes are known by their session
    ) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "epoch: 1 " in line:
                first = time.monotonic() - began, cpu_of_session(process.pid)
    if process.returncode:
        raise SystemExit("".join(lines))
    return Cost(time.monotonic() - began, cpu_of_children() - before, *first)


def cpu_of_session(leader: int) -> float:
    """Return the CPU seconds of a session's processes so far, ended ones too."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def cpu_of_children() -> float:
    """Return the CPU seconds of all processes that were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def shown(costs: Sequence[Cost]) -> str:
    """Return the medians of some runs."""
    names = [field.name for field in dataclasses.fields(Cost)]
    medians = [median(getattr(cost, name) for cost in costs) for name in names]
    return "{:.1f}, {:.1f}; {:.1f}, {:.1f}".format(*medians)
