"""What the C library does with freed memory; each in a process of its own.

The settings are those of a whole process.
"""

import os
import subprocess
import sys

import pytest

FIVE = {"MALLOC_ARENA_MAX": "5"}


def run(code: str, **variables: str) -> str:
    """Return what a process prints that runs ``code``; both streams."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | variables
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ).stdout


@pytest.mark.parametrize(
    ("keep", "n_bytes"),
    [
        pytest.param("keep_freed_memory", 2**26, id="training"),
        pytest.param("keep_memory_of_requests", 2**22, id="serving"),
    ],
)
def test_what_is_freed_is_kept_for_what_is_asked_for_next(
    keep: str, n_bytes: int
) -> None:
    """The second of two large pieces takes no page from the kernel.

    The first takes about a page per 4 KB.
    """
    output = run(f"""
import resource
from sagemaker_container.memory import {keep}

def pages_taken():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray({n_bytes})
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

{keep}()
print(pages_taken(), pages_taken())
""")

    first, second = map(int, output.split())
    assert first > n_bytes / 4096 / 2
    assert second < first / 100


@pytest.mark.parametrize(("variables", "expected"), [({}, 2), (FIVE, 5)])
def test_threads_share_what_is_freed(variables: dict[str, str], expected: int) -> None:
    """Twelve threads that hold memory at a time do so in two pools, not in twelve.

    Unless glibc's variable asks for another number.
    """
    code = """
import ctypes, threading
from sagemaker_container.memory import share_freed_memory

share_freed_memory()
all_hold, may_end = threading.Barrier(13), threading.Event()

def hold():
    piece = bytearray(1000)
    all_hold.wait()
    may_end.wait()

threads = [threading.Thread(target=hold) for _ in range(12)]
for thread in threads:
    thread.start()
all_hold.wait()
ctypes.CDLL(None).malloc_stats()
may_end.set()
"""

    output = run(code, **variables)

    n_pools = sum(line.startswith("Arena") for line in output.splitlines())
    assert n_pools == expected


@pytest.mark.parametrize(
    "call",
    [
        pytest.param("give_back_freed_memory()", id="on demand"),
        pytest.param("worker.notify()", id="by a worker, as it reports"),
    ],
)
def test_what_a_server_frees_is_given_back(call: str) -> None:
    """100 MB in small pieces, below one that is still in use, leave the process."""
    output = run(f"""
import os
from gunicorn.config import Config
from sagemaker_container.http.worker import ServerLogger, Worker
from sagemaker_container.memory import give_back_freed_memory

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

settings = Config()
worker = Worker(1, os.getpid(), [], None, 30, settings, ServerLogger(settings))
pieces = [bytearray(50_000) for _ in range(2000)]
del pieces[:-1]
before = resident_mb()
{call}
print(before - resident_mb())
""")

    assert float(output) > 80
