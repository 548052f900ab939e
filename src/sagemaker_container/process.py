"""What a process sets for its libraries; each before it imports them.

A variable that the user has set is left as it is.
"""

import multiprocessing
import os
from multiprocessing import forkserver

from sagemaker_container.limits import Limits
from sagemaker_container.variables import THREADS, text

PRELOADED = (
    "sagemaker_training.cli.train",
    "train",
    "lstm_ad.artifacts",
    "lstm_ad.fitting",
    "lstm_ad.training.loop",
    "lstm_ad.training.processes",
)
"""What all processes that train together import: it takes seconds."""


def disable_telemetry() -> None:
    """Keep ONNX Runtime from reporting to its maker; call it before importing that.

    It would also write an identifier into the home directory.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def use_passive_openmp_waits() -> None:
    """Make OpenMP's threads sleep while they wait; call it before importing torch.

    By default they wait busily, and a machine that also runs something else trains
    twenty times slower: the waiting threads hold the cores that the working ones need.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def limit_openmp_threads() -> None:
    """Keep torch's threads to the container's cores; call it before importing torch.

    OpenMP counts the cores that the process may run on. A container of 2 CPUs may run
    on all 64 of its machine, for a thirty-second of the time.
    """
    n_cores = Limits.of_container().n_cores
    if n_cores < len(os.sched_getaffinity(0)) and not text(THREADS):
        os.environ[THREADS] = str(n_cores)


def limit_blas_threads() -> None:
    """Make NumPy compute in the thread that calls it; call it before importing NumPy.

    By default NumPy starts a thread per core of the machine, in every worker, beside
    the threads that the workers share the cores with.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def prepare_process_group(network_interface: str) -> None:
    """Set what processes that train together inherit; call it before importing torch.

    They talk over the network that the platform names, and compute with one thread
    each: on small LSTMs, processes of one thread are much faster than one process of
    several.

    Args:
        network_interface: Its name; empty if the platform names none.
    """
    if network_interface:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", network_interface)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", network_interface)
    if not text(THREADS):
        os.environ[THREADS] = "1"


def preload_processes() -> None:
    """Begin to import what processes that train together need, beside this one.

    They are forked from a server that imports it once for all. It has none of the
    threads, connections and handlers of signals that they would inherit from here. What
    it inherits itself must have been set before.
    """
    multiprocessing.set_forkserver_preload(list(PRELOADED))
    forkserver.ensure_running()
