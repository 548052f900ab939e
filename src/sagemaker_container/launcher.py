"""Start the processes of a host that train together, and end them when others fail.

torch.distributed's elastic agent (what ``torchrun`` is) starts the processes of this
host, gives each its rank, and ends all of them when one fails. What it leaves out is
added here:

- the platform's SIGTERM does not end the processes, but asks them to stop;
- a failure has one reason, the first that was reported, on every host;
- a host that falls silent is noticed within ``SILENCE_SECONDS``, whatever the
  processes are busy with.

All of that goes through the key-value store that the first host serves, before its
agent, which then uses the same one.
"""

import logging
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing.sharedctypes import RawValue
from typing import Any

import torch
from torch.distributed import (  # type: ignore[attr-defined]
    DistError,
    PrefixStore,
    TCPStore,
)
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from lstm_ad.exceptions import LaunchError
from sagemaker_container.job import Cluster

logger = logging.getLogger(__name__)

SILENCE_SECONDS = 60
"""After how long without a sign of life a host counts as lost."""

START_SECONDS = 600
"""How long hosts wait for each other at the beginning."""

ENDING_SECONDS = 10
"""How long a host that has failed stays to tell the others why."""

_BEAT_SECONDS = 1.0
_REASON = "reason"


def n_processes(cluster: Cluster) -> int:
    """Return how many processes train on this host: one per GPU, or as on CPUs."""
    return torch.cuda.device_count() or cluster.n_cpu_processes


def launch(cluster: Cluster, work: Callable[..., None], *arguments: Any) -> None:
    """Run ``work(*arguments)`` in every process of this host, to their end.

    Args:
        cluster: The hosts; every one of them launches.
        work: A function of a module, which joins the group by torchrun's variables.
        arguments: What it is given; can be pickled, or comes from :func:`make_stop`.

    Raises:
        LaunchError: If a process fails, here or on another host, or if a host does
            not come. The message is the reason that was reported first, if there is
            one.
    """
    # Its progress is of no interest, and its errors are reported from here.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=len(cluster.hosts),
        max_nodes=len(cluster.hosts),
        nproc_per_node=n_processes(cluster),
        run_id="train",
        rdzv_backend="static",
        rdzv_endpoint=f"{cluster.hosts[0]}:{cluster.port}",
        rdzv_configs={"rank": cluster.rank, "timeout": START_SECONDS},
        local_addr=cluster.current_host,
        max_restarts=0,
        start_method="forkserver",  # see `process.preload_processes`
        signals_to_handle="SIGINT",  # SIGTERM has a handler already
        shutdown_timeout=1,
    )
    watch = _Watch(cluster)
    try:
        watch.start()
        elastic_launch(config, work)(*arguments)
    except ChildFailedError as error:
        raise LaunchError(watch.reason_for_all(_cause(error))) from error
    except DistError as error:
        if missing := watch.missing_hosts():
            raise LaunchError(_absent(missing)) from error
        raise
    finally:
        watch.end()


def make_stop() -> Any:
    """Return a value that is shared with the processes: 1 asks them to stop.

    It has no lock, so that a signal may set it at any moment.
    """
    return RawValue("b", 0)


def end_with_launcher() -> None:
    """End this process as soon as the one that launched it has ended."""
    launcher = multiprocessing.parent_process()
    if launcher is None:
        return

    def wait() -> None:
        """Wait for its end."""
        launcher.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def report(cluster: Cluster, reason: str) -> None:
    """Say why the job fails, from one of its processes; the first reason counts."""
    _store(cluster).compare_set(_REASON, "", reason)


def _cause(error: ChildFailedError) -> str | None:
    """Return what is known of a process that could not say why it ended."""
    for rank, failure in error.failures.items():
        if failure.exitcode < 0 and -failure.exitcode != signal.SIGTERM:
            name = signal.Signals(-failure.exitcode).name
            memory = ": is its memory too small?" if name == "SIGKILL" else "."
            return f"Training process {rank} was killed with {name}{memory}"
    return None


class _Watch:
    """Tells the other hosts that this one lives, and ends it when one of them fails.

    Args:
        cluster: The hosts.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lost: str | None = None
        self._ended = threading.Event()
        self._expected_by = math.inf
        self._server: TCPStore | None = None
        self._store: PrefixStore | None = None

    def start(self) -> None:
        """Give a first sign of life, and begin to watch.

        A host joins the others only after that: one that never gave any has not come
        yet, and the others wait for it, as long as they wait at the beginning.

        Raises:
            DistError: If the first host does not come.
        """
        cluster = self._cluster
        if cluster.rank == 0:
            timeout = timedelta(seconds=START_SECONDS)
            self._server = TCPStore(  # kept, as nothing else holds it until then
                cluster.hosts[0],
                cluster.port,
                is_master=True,
                timeout=timeout,
                wait_for_workers=False,
                multi_tenant=True,
            )
        self._store = _store(cluster, START_SECONDS)
        self._store.add(_alive(cluster.current_host), 1)
        self._store.set_timeout(timedelta(seconds=SILENCE_SECONDS))
        self._expected_by = time.monotonic() + SILENCE_SECONDS
        threading.Thread(target=self._beat, args=(self._store,), daemon=True).start()
        threading.Thread(target=self._guard, daemon=True).start()

    def end(self) -> None:
        """Watch no longer."""
        self._ended.set()

    def reason_for_all(self, cause: str | None) -> str:
        """Return the reason of a failure, once all hosts know it or are gone."""
        self._ended.set()
        if self._lost:
            return self._lost
        reason = cause or (
            "Training failed: another process of the job ended, or cannot be reached "
            "any more. The failure reason of its host says more."
        )
        try:
            store = _store(self._cluster, ENDING_SECONDS)
            if cause:
                store.compare_set(_REASON, "", cause)
            _wait(lambda: store.check([_REASON]), ENDING_SECONDS / 2)
            reason = store.compare_set(_REASON, "", reason).decode()
            store.add("ended", 1)
            if self._cluster.rank == 0:  # whose store it is
                n_hosts = len(self._cluster.hosts)
                _wait(lambda: store.add("ended", 0) >= n_hosts, ENDING_SECONDS)
        except RuntimeError:
            logger.error("The first instance cannot be reached any more.")
        return reason

    def missing_hosts(self) -> list[str]:
        """Return the hosts that have not come, as far as this one can know."""
        hosts = self._cluster.hosts
        if self._store is None:
            return [hosts[0]] if self._cluster.rank else []
        try:
            return [host for host in hosts if not self._store.add(_alive(host), 0)]
        except DistError:  # the first one is gone
            return []

    def _beat(self, store: PrefixStore) -> None:
        """Say every second that this host lives, and look whether the others do."""
        cluster = self._cluster
        try:
            beats = dict.fromkeys(cluster.hosts, 0)
            heard = dict.fromkeys(cluster.hosts, time.monotonic())
            while not self._ended.wait(_BEAT_SECONDS):
                store.add(_alive(cluster.current_host), 1)
                for host in cluster.hosts:
                    found = store.add(_alive(host), 0)
                    if found != beats[host] or not found:
                        beats[host], heard[host] = found, time.monotonic()
                    elif time.monotonic() - heard[host] > SILENCE_SECONDS:
                        store.compare_set(_REASON, "", _silent(host))
                self._expected_by = time.monotonic() + SILENCE_SECONDS
                if store.check([_REASON]):
                    self._end_processes()
                    return
        except RuntimeError:
            if not self._ended.is_set():
                self._lose_first_host()

    def _guard(self) -> None:
        """Notice that the first host does not answer: the other thread waits for it."""
        while not self._ended.wait(_BEAT_SECONDS):
            if time.monotonic() > self._expected_by:
                self._lose_first_host()
                return

    def _lose_first_host(self) -> None:
        """End this host's processes, because the first one is gone."""
        self._lost = _silent(self._cluster.hosts[0])
        self._end_processes()

    def _end_processes(self) -> None:
        """End the processes of this host; the agent then reports that they failed."""
        for process in multiprocessing.active_children():
            if process.pid:
                os.kill(process.pid, signal.SIGTERM)


def _alive(host: str) -> str:
    """Return the key of a host's signs of life: how many it gave."""
    return f"alive/{host}"


def _absent(hosts: Sequence[str]) -> str:
    """Return the sentence about hosts that have not come."""
    return (
        f"Training failed: not all instances came within {START_SECONDS} s; missing: "
        f"{', '.join(hosts)}."
    )


def _silent(host: str) -> str:
    """Return the sentence about a host that is gone."""
    return (
        f"Training failed: the instance {host} has not been heard of for "
        f"{SILENCE_SECONDS} s."
    )


def _store(cluster: Cluster, timeout_seconds: float = SILENCE_SECONDS) -> PrefixStore:
    """Return a connection of its own to the store of the first host."""
    timeout = timedelta(seconds=timeout_seconds)
    server = TCPStore(cluster.hosts[0], cluster.port, timeout=timeout)
    return PrefixStore("launcher", server)


def _wait(has_come: Callable[[], bool], timeout_seconds: float) -> None:
    """Return when something has come, or after a time."""
    deadline = time.monotonic() + timeout_seconds
    while not has_come() and time.monotonic() < deadline:
        time.sleep(0.05)
