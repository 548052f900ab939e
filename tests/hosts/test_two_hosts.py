"""Two hosts with a cable between them, of which one goes dead without a word.

Each host is a network namespace of this machine, the cable a veth pair: what is sent
into a dead one is never answered, as when an instance loses its power.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

from sagemaker_container.launcher import SILENCE_SECONDS

pytestmark = pytest.mark.hosts

MARGIN_SECONDS = 30
"""For the survivor to end its processes, and to tell whoever is left."""

ADDRESSES = {f"lstm-ad-{os.getpid()}-{n}": f"10.177.0.{n}" for n in (1, 2)}
"""By names that a run beside this one does not take."""


def ip(*arguments: str) -> None:
    """Run iproute2's command."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Make the two hosts; return their names."""
    if not os.environ.get("HOST_TESTS"):
        pytest.skip("makes network namespaces and takes minutes: `make test-hosts`")
    if not shutil.which("ip"):
        pytest.skip("needs iproute2, for network namespaces")
    names = list(ADDRESSES)
    try:
        ip("netns", "add", names[0])
    except subprocess.CalledProcessError as error:
        pytest.skip(f"may not make network namespaces: {error.stderr.decode()}")
    try:
        ip("netns", "add", names[1])
        end = ["name", "eth0", "netns"]
        ip("link", "add", *end, names[0], "type", "veth", "peer", *end, names[1])
        for name, address in ADDRESSES.items():
            ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


@pytest.mark.parametrize("dead", [0, 1])
def test_a_host_that_goes_dead_in_mid_epoch_fails_the_job_of_the_other(
    hosts, make_opt_ml, make_series, launch_train, dead: int
) -> None:
    """Within the stated time, with a failure that names it, whichever of them it is."""
    trainings = []
    for host, address in ADDRESSES.items():
        opt_ml = make_opt_ml()
        opt_ml.write_config(
            "hyperparameters",
            {"sequence-length": "10", "hidden-size": "8", "epochs": "1000000"},
        )
        opt_ml.write_config(
            "resourceconfig",
            {
                "hosts": list(ADDRESSES.values()),
                "current_host": address,
                "network_interface_name": "eth0",
            },
        )
        opt_ml.add_channel("training", {"a.csv": make_series(2000)})
        variables = {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
        enter = ["ip", "netns", "exec", host]
        trainings.append(launch_train(opt_ml, variables, enter))
    trainings[0].wait_for_log("epoch: 3 ")

    ip("-n", hosts[dead], "link", "set", "eth0", "down")
    os.killpg(trainings[dead].process.pid, signal.SIGKILL)
    survivor = trainings[1 - dead]
    survivor.process.wait(SILENCE_SECONDS + MARGIN_SECONDS)
    end = survivor.end()

    assert end.returncode == 1
    assert end.failure == (
        f"Training failed: the instance {list(ADDRESSES.values())[dead]} has not been "
        f"heard of for {SILENCE_SECONDS} s."
    )
