"""How many processes of a host are worth their start.

What is asked for counts: SageMaker's switch, or ``OMP_NUM_THREADS``. The rule is for
jobs that say nothing: docs/scaling.md has the measurements that it stands on.
"""

import dataclasses

from lstm_ad.data.rows import TRAINING, Rows
from lstm_ad.hyperparameters import CALIBRATE, Hyperparameters
from sagemaker_container.job import Cluster
from sagemaker_container.limits import Limits

PRODUCTS_PER_SECOND = 1e10
"""What one core multiplies and adds while it trains: of each row read, every weight."""

SECONDS_WORTH_SHARING = 12
"""The training of one process from which on several are started: they take 2.5 CPU
seconds more to start, which cores that other work shares make several seconds."""

SEQUENCES_WORTH_A_PROCESS = 32
"""Of a batch: the smallest share for which a gain was measured."""

PROCESS_BYTES = 2**30
"""The memory of a host for each of its processes."""


_ADDRESS, _INTERFACE = "127.0.0.1", "lo"
"""Where they meet: the name of the only host need not be known to any network."""


def divided(
    cluster: Cluster, hyperparameters: Hyperparameters, rows: Rows, limits: Limits
) -> Cluster:
    """Return the cluster with as many processes as are worth their start.

    Args:
        cluster: As the platform and the user have it.
        hyperparameters: The settings of the job.
        rows: The rows of this host.
        limits: What the container may use of the machine.
    """
    if not cluster.is_undecided or limits.trains_on_gpu:
        return cluster
    files = [file for file in rows.files if file.channel == TRAINING]
    settings = hyperparameters.for_series(files[0].n_series)
    if seconds_of_training(settings, rows) < SECONDS_WORTH_SHARING:
        return cluster
    n_processes = min(
        limits.n_cores,
        settings.batch_size // SEQUENCES_WORTH_A_PROCESS,
        limits.memory_bytes // PROCESS_BYTES,
    )
    if n_processes < 2:
        return cluster
    return dataclasses.replace(
        cluster,
        hosts=(_ADDRESS,),
        current_host=_ADDRESS,
        network_interface=_INTERFACE,
        is_distributed=True,
        n_cpu_processes=n_processes,
    )


def seconds_of_training(hyperparameters: Hyperparameters, rows: Rows) -> float:
    """Return about how long one process would train on one core.

    Small networks take longer: their products are not what takes the time.

    Args:
        hyperparameters: The settings of the job, those of the preset for its series.
        rows: The rows of this host.
    """
    if hyperparameters.warm_start == CALIBRATE:
        return 0.0
    files = [file for file in rows.files if file.channel == TRAINING]
    lengths = [hyperparameters.n_fitting(file.n_timesteps) for file in files]
    hidden, n_series = hyperparameters.hidden_size, files[0].n_series
    inputs = n_series + hidden * (2 * hyperparameters.num_layers - 1)
    n_weights = 4 * hidden * inputs
    n_read = sum(lengths) * hyperparameters.epochs
    return n_read * n_weights / PRODUCTS_PER_SECOND
