"""Hosts that come together to train, and what is said if one does not."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

HOSTS = ("127.0.0.1", "127.0.0.2")

LAUNCH = """
import sys
from lstm_ad.exceptions import LaunchError
from sagemaker_container import launcher
from sagemaker_container.job import Cluster

hosts, host, port, seconds = sys.argv[1:]
launcher.START_SECONDS = int(seconds)
try:
    launcher.launch(Cluster(tuple(hosts.split()), host, True, 1, int(port)), print)
except LaunchError as error:
    print(error)
"""

Launch = Callable[[str, int, int], subprocess.Popen[str]]


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Return the function that launches on a host: it waits some seconds for others."""
    processes = []

    def start(host: str, port: int, seconds: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", LAUNCH, " ".join(HOSTS), host]
        command += [str(port), str(seconds)]
        variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=variables
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_host_that_joins_has_given_a_sign_of_life(
    launch: Launch, free_port: Callable[[], int]
) -> None:
    """Else one that dies at once would never be missed."""
    port = free_port()
    launch(HOSTS[1], port, 60)
    all_joined = TCPStore(HOSTS[0], port, 2, True, timedelta(seconds=60))

    assert PrefixStore("launcher", all_joined).add(f"alive/{HOSTS[1]}", 0) >= 1


@pytest.mark.parametrize(("host", "missing"), [HOSTS, HOSTS[::-1]])
def test_a_host_that_does_not_come_is_named(
    launch: Launch, free_port: Callable[[], int], host: str, missing: str
) -> None:
    """By those that wait for it."""
    output, _ = launch(host, free_port(), 1).communicate(timeout=60)

    assert output == (
        f"Training failed: not all instances came within 1 s; missing: {missing}.\n"
    )
