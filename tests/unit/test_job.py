"""What SageMaker gives a training job."""

import re

import pytest

from lstm_ad.data.schema import Schema
from lstm_ad.exceptions import HyperparameterError, LSTMADError, SettingError
from lstm_ad.hyperparameters import Hyperparameters
from sagemaker_container.job import Cluster, TrainingEnvironment, prepare_training
from sagemaker_container.limits import Limits

CSV = b"1,2\n"
SWITCH = "sagemaker_torch_distributed_enabled"


@pytest.fixture
def job(opt_ml, monkeypatch: pytest.MonkeyPatch):
    """Return a job's folder that the environment is read from."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(opt_ml.base))
    return opt_ml


@pytest.fixture
def usable(job):
    """Return the folder of a job with a training channel."""
    job.add_channel("training", {"a.csv": CSV})
    return job


def training_files() -> list[str]:
    """Return the names of the files of the training channel."""
    return list(TrainingEnvironment.from_files().channels["training"])


def check_refused(expected: str, kind: type[LSTMADError] = SettingError) -> None:
    """Check the whole sentence that a job is refused with."""
    with pytest.raises(kind, match=f"^{re.escape(expected)}$"):
        TrainingEnvironment.from_files()


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
        "exclude": [],
        "model": [],
    }
    assert environment.channels["training"]["a.csv"].read_bytes() == CSV
    assert environment.model_dir == job.base / "model"


@pytest.mark.parametrize(
    "values",
    [
        {"lr": 0.5, "epochs": 7},  # local tools write numbers
        {
            "lr": "0.5",
            "epochs": "7",
            "_tuning_objective_metric": "valid_loss",
            "sagemaker_program": '"train.py"',
            "sagemaker_container_log_level": "20",
        },
    ],
    ids=["numbers", "names of the platform"],
)
def test_hyperparameters_are_read_as_any_tool_writes_them(usable, values) -> None:
    """What the SDK and the tuner add is no fault of the user."""
    usable.write_config("hyperparameters", values)

    found = TrainingEnvironment.from_files().hyperparameters

    assert found == Hyperparameters(lr=0.5, epochs=7)


@pytest.mark.parametrize("value", [True, None, [1], {"a": 1}])
def test_values_that_are_no_numbers_are_refused(usable, value: object) -> None:
    """JSON's other kinds are named as they stand in the file."""
    usable.write_config("hyperparameters", {"epochs": value})

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
    """Hidden files, the platform's markers and manifests, and empty files: by name.

    What is in a manifest says whether it is SageMaker's or the user's.
    """
    no_data = [".folder/a.csv", ".hidden", ".sagemaker-x", "a.sagemaker-uploading"]
    no_data += ["b.sagemaker-uploaded"]
    manifest = b'[\n  {"prefix": "s3://bucket/"},\n  "a.csv"\n]\n'
    manifests = {"training-manifest": manifest, "x.manifest": manifest}
    data = {"a.csv": CSV, "cargo_manifest": CSV, "manifest": b"[1]\n"}
    skipped = {"c.csv": b"", **dict.fromkeys(no_data, CSV), **manifests}
    job.add_channel("training", data | skipped)

    environment = TrainingEnvironment.from_files()

    assert list(environment.channels["training"]) == list(data)
    assert environment.left_out == {"training": [*no_data, "c.csv", *manifests]}


def test_links_are_followed(job, tmp_path) -> None:
    """To a file, and as the channel itself: local mode mounts channels so."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "data").write_bytes(CSV)
    (elsewhere / "link.csv").symlink_to(elsewhere / "data")
    job.add_channel("training", {})
    (job.data_dir / "training").rmdir()
    (job.data_dir / "training").symlink_to(elsewhere)

    assert training_files() == ["data", "link.csv"]


def test_a_dangling_link_is_refused(usable) -> None:
    """Data that its owner believes to be there is not passed over in silence."""
    (usable.data_dir / "training" / "b.csv").symlink_to(usable.base / "missing")

    check_refused(
        "The training channel holds b.csv, which is no file; use files, links "
        "to files, and folders of them."
    )


@pytest.mark.parametrize("entry", [{}, {"TrainingInputMode": "FastFile"}])
def test_files_have_two_modes(usable, entry: dict[str, str]) -> None:
    """File, which the service may leave out as the default, and FastFile."""
    usable.write_config("inputdataconfig", {"training": entry})

    assert training_files() == ["a.csv"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"validation": {}},
            "The job has no training channel: it is mandatory, and holds CSV files of "
            "normal data.",
        ),
        (
            {"training": {}, "train": {}},
            "The job has an unknown channel, train; use training, validation, "
            "labels, exclude or model.",
        ),
        *(
            (
                {"training": {}, channel: {"TrainingInputMode": "Pipe"}},
                f"The {channel} channel has input mode Pipe; use File or FastFile.",
            )
            for channel in ("training", "validation")
        ),
    ],
    ids=["none", "unknown", "a piped one", "another piped one"],
)
def test_channels_that_cannot_be_used_are_refused(usable, config, expected) -> None:
    """Nobody's data is silently left unread; the message says what is accepted."""
    usable.write_config("inputdataconfig", config)

    check_refused(expected)


@pytest.mark.parametrize("channel", ["training", "validation"])
@pytest.mark.parametrize("files", [{}, {"a.csv": b""}, {".hidden": CSV}])
def test_a_channel_without_data_is_refused(job, channel: str, files: dict) -> None:
    """Nothing in it, nothing but empty files, or nothing but hidden ones."""
    job.add_channel("training", {"a.csv": CSV} if channel == "validation" else {})
    job.add_channel(channel, files)

    check_refused(
        f"The {channel} channel is empty: {job.data_dir / channel} holds no file with "
        f"data, but at least one CSV file is needed."
    )


def test_a_model_that_is_asked_for_must_be_there(usable) -> None:
    """A channel without one, and a setting for one without the channel."""
    usable.write_config("hyperparameters", {"warm-start": "calibrate"})
    check_refused(
        "warm-start is given, but the job has no model channel; add one that holds the "
        "model.tar.gz to start from, or leave warm-start out."
    )
    usable.add_channel("model", {"model.tar.gz": b""})
    check_refused(
        f"The model channel is empty: {usable.data_dir / 'model'} holds no file with "
        f"data, but model.tar.gz is needed."
    )


def test_a_job_that_starts_from_a_model_has_its_settings(usable, model_dir) -> None:
    """And its columns, by whose names files are matched, but no clock."""
    usable.write_config("hyperparameters", {"epochs": "7"})
    usable.add_channel("model", {"model.json": b"{}"})

    environment = TrainingEnvironment.from_files().started_from(model_dir)

    assert environment.hyperparameters.sequence_length == 10
    assert environment.hyperparameters.epochs == 7
    assert environment.parent_dir == model_dir
    assert environment.schema == Schema.unnamed(2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "{path} cannot be read: No such file or directory."),
        (
            "{",
            "{path} is no JSON document: Expecting property name enclosed in double "
            "quotes: line 1 column 2 (char 1).",
        ),
        ("", "{path} is no JSON document: Expecting value: line 1 column 1 (char 0)."),
        ("[1]", "{path} must hold a JSON object, but holds [1]."),
        ('"a"', "{path} must hold a JSON object, but holds 'a'."),
    ],
)
@pytest.mark.parametrize("name", ["hyperparameters", "inputdataconfig"])
def test_a_file_of_the_platform_that_cannot_be_read_is_named(
    usable, name: str, text: str | None, expected: str
) -> None:
    """The whole path, and the system's reason or what is wrong in it."""
    path = usable.config_dir / f"{name}.json"
    path.unlink() if text is None else path.write_text(text)

    check_refused(expected.format(path=path))


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
def cluster_job(usable, monkeypatch: pytest.MonkeyPatch):
    """Return the function that gives the cluster of a job on a machine of 16 cores."""
    sixteen = staticmethod(lambda: Limits(n_cores=16, memory_bytes=2**40))
    monkeypatch.setattr(Limits, "of_container", sixteen)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)

    def read(n_hosts: int = 1, **hyperparameters: str) -> Cluster:
        hosts = [f"algo-{number + 1}" for number in range(n_hosts)]
        resources = {"hosts": hosts, "current_host": hosts[-1]}
        usable.write_config("resourceconfig", resources)
        usable.write_config("hyperparameters", hyperparameters)
        return TrainingEnvironment.from_files().cluster

    return read


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


def test_the_only_host_decides_if_nothing_else_does(cluster_job, monkeypatch) -> None:
    """Neither the switch nor OMP_NUM_THREADS; and it takes a port that is free."""
    alone = cluster_job()

    assert alone.is_undecided
    assert alone.port != 7777
    assert not cluster_job(n_hosts=2).is_undecided
    assert not cluster_job(**{SWITCH: "true"}).is_undecided
    assert not cluster_job(**{SWITCH: "false"}).is_undecided
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("MASTER_PORT", "7000")
    assert not cluster_job().is_undecided
    assert cluster_job().port == 7000


@pytest.mark.parametrize(
    ("batch_size", "n_hosts", "n_threads", "n_processes"),
    [
        ("64", 1, "", 16),  # a core each
        ("64", 1, "4", 4),  # the threads that the user asks for
        ("64", 4, "", 4),  # 4 sequences of a batch each
        ("8", 1, "", 2),
        ("1", 2, "", 1),
        ("64", 1, "32", 1),
    ],
)
def test_a_process_has_a_core_and_four_sequences_of_a_batch(
    cluster_job, monkeypatch, batch_size, n_hosts, n_threads, n_processes
) -> None:
    """At least; and there is at least one process."""
    monkeypatch.setenv("OMP_NUM_THREADS", n_threads)

    cluster = cluster_job(n_hosts, **{"batch-size": batch_size, SWITCH: "true"})

    assert cluster.n_cpu_processes == n_processes


def test_hosts_that_would_train_the_same_model_or_are_unknown_are_refused(
    usable,
) -> None:
    """Several with the switch off, and a current host that is none of them."""
    usable.write_config("hyperparameters", {SWITCH: "false"})
    usable.write_config("resourceconfig", {"hosts": ["a", "b"], "current_host": "a"})
    check_refused(
        f"The job has 2 instances, but {SWITCH} is false: each would train the same "
        f"model by itself. Accepted are one instance, or several with {SWITCH} being "
        f"true or left out."
    )

    usable.write_config("resourceconfig", {"hosts": ["a", "b"], "current_host": "c"})
    check_refused(
        "resourceconfig.json names c as the current host, but it is none of its hosts: "
        "a, b."
    )


def test_a_host_may_have_no_file_where_another_has_one(job) -> None:
    """SageMaker divides files by key; who has none is told by the others' lists."""
    job.add_channel("training", {})
    job.write_config("resourceconfig", {"hosts": ["a", "b"], "current_host": "b"})

    assert training_files() == []
