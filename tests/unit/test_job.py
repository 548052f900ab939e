"""What SageMaker gives a training job."""

import re

import pytest

from lstm_ad.exceptions import HyperparameterError, SettingError
from lstm_ad.hyperparameters import Hyperparameters
from sagemaker_container.job import Cluster, TrainingEnvironment, prepare_training
from sagemaker_container.limits import Limits

CSV = b"1,2\n"


@pytest.fixture
def job(opt_ml, monkeypatch: pytest.MonkeyPatch):
    """Return a job's folder that the environment is read from."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(opt_ml.base))
    return opt_ml


def test_a_job_is_read_from_its_files(job) -> None:
    """Hyperparameters, the files of each channel, and where the model goes."""
    job.write_config("hyperparameters", {"lr": "0.5", "epochs": '"7"'})
    job.add_channel("training", {"b.csv": CSV, "a.csv": CSV})
    job.add_channel("validation", {"v.csv": CSV})
    job.add_channel("labels", {"v.csv": b"0\n1\n"})

    environment = TrainingEnvironment.from_files()

    assert environment.hyperparameters == Hyperparameters(lr=0.5, epochs=7)
    assert {k: list(v) for k, v in environment.channels.items()} == {
        "training": ["a.csv", "b.csv"],
        "validation": ["v.csv"],
        "labels": ["v.csv"],
    }
    assert environment.channels["training"]["a.csv"].read_bytes() == CSV
    assert environment.model_dir == job.base / "model"


def test_the_platforms_own_hyperparameters_are_ignored(job) -> None:
    """What the SDK and the tuner add is no fault of the user."""
    job.write_config(
        "hyperparameters",
        {
            "_tuning_objective_metric": "valid_loss",
            "sagemaker_program": '"train.py"',
            "sagemaker_container_log_level": "20",
            "lr": "0.5",
        },
    )
    job.add_channel("training", {"a.csv": CSV})

    assert TrainingEnvironment.from_files().hyperparameters == Hyperparameters(lr=0.5)


def test_values_that_are_no_strings_are_read_as_json(job) -> None:
    """Local tools write numbers where the service writes strings."""
    job.write_config("hyperparameters", {"lr": 0.5, "epochs": 7})
    job.add_channel("training", {"a.csv": CSV})

    settings = TrainingEnvironment.from_files().hyperparameters

    assert settings == Hyperparameters(lr=0.5, epochs=7)


@pytest.mark.parametrize("value", [True, None, [1], {"a": 1}])
def test_values_that_are_no_numbers_are_refused(job, value: object) -> None:
    """JSON's other kinds are named as they stand in the file."""
    job.write_config("hyperparameters", {"epochs": value})
    job.add_channel("training", {"a.csv": CSV})

    with pytest.raises(HyperparameterError, match=r"^epochs must be an integer from 1"):
        TrainingEnvironment.from_files()


def test_files_of_sub_folders_are_found_under_their_own_names(job) -> None:
    """Equal names in two folders are two files; the order is that of the paths."""
    files = {"b/x.csv": CSV, "a/x.csv": CSV, "a/b/x.csv": CSV, "c.csv": CSV}
    job.add_channel("training", files)

    channels = TrainingEnvironment.from_files().channels

    assert list(channels["training"]) == ["a/b/x.csv", "a/x.csv", "b/x.csv", "c.csv"]
    assert channels["validation"] == {}


def test_what_is_no_data_is_skipped(job) -> None:
    """Hidden files, the platform's markers and manifests, and empty files: by name."""
    no_data = [".folder/a.csv", ".hidden", ".sagemaker-x", "a.sagemaker-uploading"]
    no_data += ["b.sagemaker-uploaded"]
    manifest = b'[\n  {"prefix": "s3://bucket/"},\n  "a.csv"\n]\n'
    manifests = {"training-manifest": manifest, "x.manifest": manifest}
    files = {"a.csv": CSV, "c.csv": b"", **dict.fromkeys(no_data, CSV), **manifests}
    job.add_channel("training", files)

    environment = TrainingEnvironment.from_files()

    assert list(environment.channels["training"]) == ["a.csv"]
    assert environment.left_out == {
        "training": [*no_data, "c.csv", "training-manifest", "x.manifest"]
    }


def test_a_users_file_may_be_called_a_manifest(job) -> None:
    """What is in it says whether it is SageMaker's."""
    job.add_channel("training", {"cargo_manifest": CSV, "manifest": b"[1]\n"})

    environment = TrainingEnvironment.from_files()

    assert list(environment.channels["training"]) == ["cargo_manifest", "manifest"]
    assert environment.left_out == {"training": []}


def test_links_are_followed(job, tmp_path) -> None:
    """To a file, and as the channel itself: local mode mounts channels so."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "data").write_bytes(CSV)
    (elsewhere / "link.csv").symlink_to(elsewhere / "data")
    job.add_channel("training", {})
    (job.data_dir / "training").rmdir()
    (job.data_dir / "training").symlink_to(elsewhere)

    channels = TrainingEnvironment.from_files().channels

    assert list(channels["training"]) == ["data", "link.csv"]


def test_a_dangling_link_is_refused(job) -> None:
    """Data that its owner believes to be there is not passed over in silence."""
    job.add_channel("training", {"a.csv": CSV})
    (job.data_dir / "training" / "b.csv").symlink_to(job.base / "missing")
    expected = (
        "The training channel holds b.csv, which is no file: accepted are files, links "
        "to files, and folders of them."
    )

    with pytest.raises(SettingError, match=f"^{re.escape(expected)}$"):
        TrainingEnvironment.from_files()


def test_fast_file_mode_is_accepted(job) -> None:
    """Its files look like any others."""
    job.add_channel("training", {"a.csv": CSV}, mode="FastFile")

    assert list(TrainingEnvironment.from_files().channels["training"]) == ["a.csv"]


def test_a_channel_without_a_mode_is_in_file_mode(job) -> None:
    """The service leaves out what has a default."""
    job.add_channel("training", {"a.csv": CSV})
    job.write_config("inputdataconfig", {"training": {}})

    assert list(TrainingEnvironment.from_files().channels["training"]) == ["a.csv"]


def test_the_training_channel_is_mandatory(job) -> None:
    """The message says what it holds."""
    job.add_channel("validation", {"a.csv": CSV})
    expected = (
        "The job has no training channel: it is mandatory, and holds CSV files of "
        "normal data."
    )

    with pytest.raises(SettingError, match=f"^{re.escape(expected)}$"):
        TrainingEnvironment.from_files()


def test_an_unknown_channel_is_refused(job) -> None:
    """Nobody's data is silently left unread."""
    job.add_channel("training", {"a.csv": CSV})
    job.add_channel("train", {"a.csv": CSV})
    expected = (
        "The job has an unknown channel, train: accepted are training, validation and "
        "labels."
    )

    with pytest.raises(SettingError, match=f"^{re.escape(expected)}$"):
        TrainingEnvironment.from_files()


@pytest.mark.parametrize("channel", ["training", "validation"])
def test_pipe_mode_is_refused(job, channel: str) -> None:
    """The message has the two modes that are accepted."""
    job.add_channel("training", {"a.csv": CSV})
    job.add_channel(channel, {}, mode="Pipe")
    expected = (
        f"The {channel} channel has input mode Pipe: accepted are File and FastFile."
    )

    with pytest.raises(SettingError, match=f"^{re.escape(expected)}$"):
        TrainingEnvironment.from_files()


@pytest.mark.parametrize("channel", ["training", "validation"])
@pytest.mark.parametrize("files", [{}, {"a.csv": b""}, {".hidden": CSV}])
def test_a_channel_without_data_is_refused(job, channel: str, files: dict) -> None:
    """Nothing in it, nothing but empty files, or nothing but hidden ones."""
    job.add_channel("training", {"a.csv": CSV} if channel == "validation" else {})
    job.add_channel(channel, files)
    expected = (
        f"The {channel} channel is empty: {job.data_dir / channel} holds no file with "
        f"data, but at least one CSV file is needed."
    )

    with pytest.raises(SettingError, match=f"^{re.escape(expected)}$"):
        TrainingEnvironment.from_files()


def test_a_missing_file_of_the_platform_is_named(job) -> None:
    """The whole path, and the system's reason."""
    path = job.config_dir / "inputdataconfig.json"
    path.unlink()
    expected = f"{path} cannot be read: No such file or directory."

    with pytest.raises(SettingError, match=f"^{re.escape(expected)}$"):
        TrainingEnvironment.from_files()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", " is no JSON document: "),
        ("", " is no JSON document: "),
        ("[1]", " must hold a JSON object, but holds [1]."),
        ('"a"', " must hold a JSON object, but holds 'a'."),
    ],
)
def test_a_damaged_file_of_the_platform_is_named(job, text: str, expected: str) -> None:
    """The whole path, and what is wrong in it."""
    path = job.config_dir / "hyperparameters.json"
    path.write_text(text)

    with pytest.raises(SettingError, match=f"^{re.escape(str(path) + expected)}"):
        TrainingEnvironment.from_files()


def test_preparing_makes_folders_and_removes_a_stale_failure(job) -> None:
    """A job must not report the failure of the one before it."""
    job.failure_file.parent.mkdir()
    job.failure_file.write_text("stale")

    prepare_training()

    assert job.model_dir.is_dir()
    assert (job.base / "output" / "data").is_dir()
    assert not job.failure_file.exists()
    prepare_training()  # once more changes nothing
    assert list(job.model_dir.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(job) -> None:
    """Here a file is where the model goes."""
    job.model_dir.write_text("")
    expected = f"The job cannot write to {job.model_dir}: File exists."

    with pytest.raises(SettingError, match=f"^{re.escape(expected)}$"):
        prepare_training()


@pytest.fixture
def cluster_job(job, monkeypatch: pytest.MonkeyPatch):
    """Return the function that gives the cluster of a job on a machine of 16 cores."""
    sixteen = staticmethod(lambda: Limits(n_cores=16, memory_bytes=2**40))
    monkeypatch.setattr(Limits, "of_container", sixteen)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)

    def read(n_hosts: int = 1, **hyperparameters: str) -> Cluster:
        hosts = [f"algo-{number + 1}" for number in range(n_hosts)]
        resources = {"hosts": hosts, "current_host": hosts[-1]}
        job.write_config("resourceconfig", resources)
        job.write_config("hyperparameters", hyperparameters)
        job.add_channel("training", {"a.csv": CSV})
        return TrainingEnvironment.from_files().cluster

    return read


SWITCH = "sagemaker_torch_distributed_enabled"


@pytest.mark.parametrize("text", ["true", '"true"', "True", '"True"'])
def test_sagemakers_switch_makes_one_host_train_with_several_processes(
    cluster_job, text: str
) -> None:
    """As the SDKs spell it; without it, one host trains with one process."""
    assert cluster_job(**{SWITCH: text}).is_distributed
    assert not cluster_job(**{SWITCH: "false"}).is_distributed
    assert not cluster_job().is_distributed


def test_several_hosts_train_together_without_the_switch(cluster_job) -> None:
    """Each knows its number, and where the first one answers."""
    cluster = cluster_job(n_hosts=3)

    assert cluster == Cluster(
        hosts=("algo-1", "algo-2", "algo-3"),
        current_host="algo-3",
        is_distributed=True,
        n_cpu_processes=5,
        port=7777,
    )
    assert cluster.rank == 2


@pytest.mark.parametrize(
    ("batch_size", "n_hosts", "n_threads", "n_processes"),
    [
        ("64", 1, None, 16),  # a core each
        ("64", 1, "4", 4),  # the threads that the user asks for
        ("64", 4, None, 4),  # 4 sequences of a batch each
        ("8", 1, None, 2),
        ("1", 2, None, 1),
        ("64", 1, "32", 1),
    ],
)
def test_a_process_has_a_core_and_four_sequences_of_a_batch(
    cluster_job,
    monkeypatch: pytest.MonkeyPatch,
    batch_size: str,
    n_hosts: int,
    n_threads: str | None,
    n_processes: int,
) -> None:
    """At least; and there is at least one process."""
    if n_threads:
        monkeypatch.setenv("OMP_NUM_THREADS", n_threads)

    cluster = cluster_job(n_hosts, **{"batch-size": batch_size, SWITCH: "true"})

    assert cluster.n_cpu_processes == n_processes


def test_a_host_that_is_none_of_the_hosts_is_refused(cluster_job, job) -> None:
    """The message names it, and them."""
    cluster_job()
    job.write_config("resourceconfig", {"hosts": ["a", "b"], "current_host": "c"})
    expected = (
        "resourceconfig.json names c as the current host, but it is none of its hosts: "
        "a, b."
    )

    with pytest.raises(SettingError, match=f"^{re.escape(expected)}$"):
        TrainingEnvironment.from_files()


def test_a_host_may_have_no_file_where_another_has_one(cluster_job, job) -> None:
    """SageMaker divides files by key; who has none is told by the others' lists."""
    (job.data_dir / "training").mkdir(parents=True)
    job.write_config("inputdataconfig", {"training": {"TrainingInputMode": "File"}})
    job.write_config("resourceconfig", {"hosts": ["a", "b"], "current_host": "b"})

    assert TrainingEnvironment.from_files().channels["training"] == {}
