"""The pipeline of the loop after the first day, and its schedule.

A step's arguments are the body of the request that SageMaker makes of them, so they are
checked as such, with the fields of earlier steps in place of references to them.
"""

import json
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

import retraining
from lstm_ad.hyperparameters import Hyperparameters
from sagemaker_container.job import CHANNELS, MODEL

DEFINITION = retraining.pipeline_definition()
*FIRST, CONDITION = DEFINITION["Steps"]
STEPS = {s["Name"]: s for s in [*FIRST, *CONDITION["Arguments"]["IfSteps"]]}

OPERATIONS = {
    "Training": ("CreateTrainingJob", "TrainingJobName"),
    "Processing": ("CreateProcessingJob", "ProcessingJobName"),
    "Model": ("CreateModel", "ModelName"),
    "EndpointConfig": ("CreateEndpointConfig", "EndpointConfigName"),
    "Endpoint": ("CreateEndpoint", None),
    "RegisterModel": ("CreateModelPackage", None),
}
"""What SageMaker asks for at each type of step, and the name that it gives."""


def references(value: Any) -> Iterator[str]:
    """Yield what a step refers to."""
    if isinstance(value, dict):
        if "Get" in value:
            yield value["Get"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def resolved(value: Any) -> Any:
    """Return arguments with something in place of every reference."""
    if isinstance(value, list):
        return [resolved(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "Std:Join" in value:
        join = value["Std:Join"]
        return join["On"].join(resolved(item) for item in join["Values"])
    if "Get" in value:
        place, _, name = value["Get"].partition(".")
        if place == "Parameters":
            return retraining.PARAMETERS[name]
        return "s3://bucket/key" if "S3" in name else "pipelines-abc-Step"
    return {name: resolved(item) for name, item in value.items()}


@pytest.mark.parametrize("name", STEPS)
def test_every_step_is_accepted_by_sagemakers_interface(
    name: str, problems: Callable[..., list[str]]
) -> None:
    """As the request that is made of it, with the name that SageMaker gives it."""
    operation, given = OPERATIONS[STEPS[name]["Type"]]
    request = resolved(STEPS[name]["Arguments"])
    assert given not in request

    named = request | ({given: "pipelines-abc-Step"} if given else {})
    assert problems(operation, named) == []


def test_every_reference_is_to_an_earlier_step_and_an_existing_field() -> None:
    """Of what SageMaker says of the job of that step, or to a parameter."""
    describe = {
        "Training": "DescribeTrainingJob",
        "Processing": "DescribeProcessingJob",
    }
    describe |= {"Model": "DescribeModel", "EndpointConfig": "DescribeEndpointConfig"}
    model = botocore.session.get_session().get_service_model("sagemaker")
    found = set()
    before: list[str] = []
    for step in [*FIRST, CONDITION, *CONDITION["Arguments"]["IfSteps"]]:
        arguments = step["Arguments"]
        if step is CONDITION:
            arguments = arguments["Conditions"]
        for reference in references(arguments):
            kind, name, *fields = re.findall(r"\w+", reference)
            found.add(reference)
            if kind == "Parameters":
                assert name in retraining.PARAMETERS
                continue
            assert name in before
            if fields[0] == "PropertyFiles":
                files = STEPS[name]["PropertyFiles"]
                assert [file["PropertyFileName"] for file in files] == fields[1:]
                continue
            shape = model.operation_model(describe[STEPS[name]["Type"]]).output_shape
            for field in fields:
                if shape.type_name == "list":  # by the name of the output
                    shape = shape.member
                    assert field == "output"
                else:
                    shape = shape.members[field]
        assert set(step.get("DependsOn", ())) <= set(before)
        before.append(step["Name"])

    assert len(found) > len(retraining.PARAMETERS)


def test_the_job_is_one_that_the_image_accepts() -> None:
    """Its channels are known, and its setting is a hyperparameter of theirs."""
    job = resolved(STEPS["Train"]["Arguments"])

    channels = [channel["ChannelName"] for channel in job["InputDataConfig"]]
    assert set(channels) <= {*CHANNELS, MODEL}
    assert MODEL in channels
    given = Hyperparameters.from_strings(job["HyperParameters"]).given
    assert given == {"warm_start"}


def test_what_is_unpacked_decides(tmp_path: Path) -> None:
    """The command of the step, run on what a job leaves; its path leads to the answer.

    What is kept is where the next execution looks for the model.
    """
    folders = {"input": tmp_path / "input", "output": tmp_path / "output"}
    for folder in folders.values():
        folder.mkdir()
    metrics = tmp_path / "metrics.json"
    metrics.write_text(json.dumps({"previous": {"promote": True}}))
    with tarfile.open(folders["input"] / "output.tar.gz", "w:gz") as archive:
        archive.add(metrics, "metrics.json")
    (folders["input"] / "model.tar.gz").write_bytes(b"model")

    for name in ("Unpack", "Keep"):
        command = STEPS[name]["Arguments"]["AppSpecification"]["ContainerEntrypoint"]
        local = [part.replace("/opt/ml/processing", str(tmp_path)) for part in command]
        subprocess.run(local, check=True)

    (condition,) = CONDITION["Arguments"]["Conditions"]
    (file,) = STEPS["Unpack"]["PropertyFiles"]
    value = json.loads((folders["output"] / file["FilePath"]).read_text())
    for key in condition["LeftValue"]["Std:JsonGet"]["Path"].split("."):
        value = value[key]
    assert value is condition["RightValue"] is True
    (kept,) = STEPS["Keep"]["Arguments"]["ProcessingOutputConfig"]["Outputs"]
    assert (folders["output"] / "model.tar.gz").read_bytes() == b"model"
    assert retraining.PARAMETERS["CurrentModel"] == (
        f"{kept['S3Output']['S3Uri']}/model.tar.gz"
    )


def test_the_other_requests_are_accepted(problems: Callable[..., list[str]]) -> None:
    """The pipeline with its definition, its group of models, and the schedule of it."""
    pipeline = retraining.create_pipeline()
    whole = pipeline | {
        "PipelineDefinition": json.dumps(DEFINITION),
        "ClientRequestToken": 32 * "x",  # which every client adds
    }
    group = retraining.create_model_package_group()
    schedule = retraining.create_schedule()

    assert problems("CreatePipeline", whole) == []
    assert problems("CreateModelPackageGroup", group) == []
    assert problems("CreateSchedule", schedule, "scheduler") == []
    assert schedule["Target"]["Arn"].endswith(f":pipeline/{pipeline['PipelineName']}")
    parameters = schedule["Target"]["SageMakerPipelineParameters"]
    assert {p["Name"] for p in parameters["PipelineParameterList"]} <= set(
        retraining.PARAMETERS
    )
    register = STEPS["Register"]["Arguments"]["ModelPackageGroupName"]
    assert register == group["ModelPackageGroupName"]
