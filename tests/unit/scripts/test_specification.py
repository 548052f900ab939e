"""The requests that describe the algorithm are what SageMaker's interface accepts."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import specification
from lstm_ad.hyperparameters import Hyperparameters, declarations
from sagemaker_container.metrics import METRIC_DEFINITIONS

ROOT = Path(__file__).parents[3]

OPERATIONS = {
    "create-algorithm": "CreateAlgorithm",
    "create-training-job": "CreateTrainingJob",
    "create-hyper-parameter-tuning-job": "CreateHyperParameterTuningJob",
    "create-model": "CreateModel",
    "create-endpoint-config": "CreateEndpointConfig",
    "create-endpoint-config-serverless": "CreateEndpointConfig",
    "create-transform-job": "CreateTransformJob",
}


@pytest.mark.parametrize("name", specification.DOCUMENTS)
def test_every_request_is_accepted_by_sagemakers_interface(
    name: str, problems: Callable[..., list[str]]
) -> None:
    """Fields, types, values, patterns, lengths and bounds are the interface's own.

    A document is plain JSON: it can be given to AWS's command line as it is.
    """
    document = specification.DOCUMENTS[name]()

    assert problems(OPERATIONS[name], document) == []
    assert json.loads(json.dumps(document)) == document


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("ModelName", "no spaces", "does not match"),
        ("ModelName", "x" * 64, "out of bounds"),
        ("BatchStrategy", "MultiRecords", "is none of"),
        ("ModelNam", "x", "Unknown parameter"),
        ("MaxPayloadInMB", "6", "Invalid type"),
        ("MaxPayloadInMB", -1, "out of bounds|valid min value"),
    ],
)
def test_a_wrong_request_is_not_accepted(
    field: str, value: Any, problem: str, problems: Callable[..., list[str]]
) -> None:
    """The check of the requests sees what the service would refuse."""
    request = {**specification.create_transform_job(), field: value}

    assert re.search(problem, "\n".join(problems("CreateTransformJob", request)))


def test_the_committed_documents_are_the_codes_own(tmp_path: Path) -> None:
    """Whoever changes a declaration runs `make documents`."""
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "make_documents.py", tmp_path],
        env={"PYTHONPATH": str(ROOT / "src")},
        check=True,
    )
    folder = ROOT / "docs" / "sagemaker"
    committed = {path.name: path.read_text() for path in folder.iterdir()}

    assert committed == {path.name: path.read_text() for path in tmp_path.iterdir()}


def test_the_algorithm_declares_every_hyperparameter_as_the_job_reads_it() -> None:
    """All but texts are tunable; ranges, as bare strings, are accepted.

    None has a default that a client would send as if it were given: it is told.
    """
    training = specification.create_algorithm()["TrainingSpecification"]
    declared = training["SupportedHyperParameters"]
    ranges = {
        entry["Name"]: entry["Range"][f"{entry['Type']}ParameterRangeSpecification"]
        for entry in declared
        if "Range" in entry
    }
    by_name = {d.name: d for d in declarations()}
    words = {d.name: list(d.choices) for d in declarations() if d.choices}
    bounds = {name: found for name, found in ranges.items() if name not in words}

    assert [entry["Name"] for entry in declared] == [d.name for d in declarations()]
    assert {entry["Name"] for entry in declared if not entry["IsTunable"]} == {
        d.name for d in declarations() if d.is_text or d.needs_model
    }
    assert not any("DefaultValue" in entry for entry in declared)
    told = {
        entry["Name"]: entry["Description"].split("Default: ") for entry in declared
    }
    assert {name: words[1] for name, words in told.items()} == {
        d.name: f"{d.default if d.default != '' else 'none'}." for d in declarations()
    }
    for end, attribute in (("MinValue", "minimum"), ("MaxValue", "maximum")):
        read = Hyperparameters.from_strings({n: b[end] for n, b in bounds.items()})
        assert {name: read.to_public()[name] for name in bounds} == {
            name: getattr(d, attribute) for name, d in by_name.items() if name in bounds
        }
    assert {name: ranges[name]["Values"] for name in words} == words


def test_the_tuning_jobs_ranges_are_accepted_by_the_jobs_it_starts() -> None:
    """Both ends of every range, as the bare strings that a tuning job sends."""
    request = specification.create_hyper_parameter_tuning_job()
    ranges = [
        entry
        for kind in request["HyperParameterTuningJobConfig"]["ParameterRanges"].values()
        for entry in kind
    ]
    static = request["TrainingJobDefinition"]["StaticHyperParameters"]
    tuned = {entry["Name"] for entry in ranges}

    assert tuned == set(specification.TUNING_RANGES)
    assert tuned | set(static) == {d.name for d in declarations() if not d.needs_model}
    assert tuned & set(static) == set()
    for end in ("MinValue", "MaxValue"):
        strings = {**static, **{entry["Name"]: entry[end] for entry in ranges}}
        assert isinstance(Hyperparameters.from_strings(strings), Hyperparameters)


def test_every_objective_is_a_published_metric() -> None:
    """A tuning job can find its objective in the log."""
    assert set(specification.OBJECTIVES) <= {m["Name"] for m in METRIC_DEFINITIONS}
