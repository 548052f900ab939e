"""Describe the loop after the first day: a SageMaker pipeline, and its schedule.

::

    Train (from the current model) -> Unpack (its metrics.json) -> IsBetter?
        yes: CreateModel -> CreateEndpointConfig -> UpdateEndpoint -> Register, Keep

No step needs code of its own: the training image unpacks and copies. What the steps
give each other is written as ``{"Get": "Steps.NAME.FIELD"}``.
"""

from collections.abc import Mapping
from typing import Any

from sagemaker_container.archive import MEDIA_TYPE
from sagemaker_container.formats.columns import CSV, FORMATS, JSON
from sagemaker_container.job import MODEL as MODEL_CHANNEL
from sagemaker_container.job import TRAINING, VALIDATION
from specification import (
    ACCOUNT,
    BUCKET,
    CPU_INSTANCES,
    INFER_IMAGE,
    MODEL,
    ROLE,
    TRAIN_IMAGE,
    Request,
    training,
)

PIPELINE = f"{MODEL}-retraining"
ENDPOINT = MODEL
CURRENT = f"{BUCKET}/current"
"""Where the model is that the next execution starts from: the one in use."""

SCHEDULER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/EventBridgeSchedulerRole"
"""It may start the pipeline (``sagemaker:StartPipelineExecution``)."""

PARAMETERS = {
    "TrainingData": f"{BUCKET}/{TRAINING}/",
    "ValidationData": f"{BUCKET}/{VALIDATION}/",
    "CurrentModel": f"{CURRENT}/model.tar.gz",
    "WarmStart": "calibrate",
}
"""What an execution may be given, and the defaults."""

_INPUT, _OUTPUT = "/opt/ml/processing/input", "/opt/ml/processing/output"


def pipeline_definition() -> Request:
    """Return the definition of the pipeline, to be given as ``PipelineDefinition``."""
    return {
        "Version": "2020-12-01",
        "Metadata": {},
        "Parameters": [
            {"Name": name, "Type": "String", "DefaultValue": default}
            for name, default in PARAMETERS.items()
        ],
        "Steps": [
            {"Name": "Train", "Type": "Training", "Arguments": _train()},
            _processing(
                "Unpack",
                # The report comes with it: S3 shows it in a browser.
                ["tar", "-C", _OUTPUT, "-xzf", f"{_INPUT}/output.tar.gz"],
                _joined(
                    f"{BUCKET}/output",
                    _get("Steps.Train.TrainingJobName"),
                    "output/output.tar.gz",
                ),
                _joined(f"{BUCKET}/reports", _get("Steps.Train.TrainingJobName")),
            )
            | {
                "PropertyFiles": [
                    {
                        "PropertyFileName": "Metrics",
                        "OutputName": "output",
                        "FilePath": "metrics.json",
                    }
                ]
            },
            {"Name": "IsBetter", "Type": "Condition", "Arguments": _is_better()},
        ],
    }


def create_pipeline() -> Request:
    """Return the body of CreatePipeline; the definition is a file of its own."""
    return {
        "PipelineName": PIPELINE,
        "PipelineDescription": "Start from the model in use; replace it if the new one "
        "is better on the same rows.",
        "RoleArn": ROLE,
    }


def create_model_package_group() -> Request:
    """Return the body of CreateModelPackageGroup: where better models are listed."""
    return {
        "ModelPackageGroupName": MODEL,
        "ModelPackageGroupDescription": "Models that were better than the ones before.",
    }


def create_schedule() -> Request:
    """Return the body of EventBridge Scheduler's CreateSchedule: once a week."""
    region = TRAIN_IMAGE.split(".")[3]
    return {
        "Name": f"{PIPELINE}-weekly",
        "ScheduleExpression": "rate(7 days)",
        "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 60},
        "Target": {
            "Arn": f"arn:aws:sagemaker:{region}:{ACCOUNT}:pipeline/{PIPELINE}",
            "RoleArn": SCHEDULER_ROLE,
            "SageMakerPipelineParameters": {
                "PipelineParameterList": [
                    {"Name": "WarmStart", "Value": PARAMETERS["WarmStart"]}
                ]
            },
        },
    }


DOCUMENTS = {
    "pipeline-definition": pipeline_definition,
    "create-pipeline": create_pipeline,
    "create-model-package-group": create_model_package_group,
    "create-schedule": create_schedule,
}
"""As :data:`specification.DOCUMENTS`."""


def _train() -> Request:
    """Return the training job: as the one of the first day, from the current model."""
    job = dict(training())
    places = {TRAINING: "TrainingData", VALIDATION: "ValidationData"}
    channels = [_channel(name, CSV, place) for name, place in places.items()]
    channels.append(_channel(MODEL_CHANNEL, MEDIA_TYPE, "CurrentModel"))
    return job | {
        "HyperParameters": {"warm-start": _get("Parameters.WarmStart")},
        "InputDataConfig": channels,
    }


def _channel(name: str, content_type: str, parameter: str) -> Request:
    """Return a channel whose place is a parameter of the pipeline."""
    return {
        "ChannelName": name,
        "ContentType": content_type,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": _get(f"Parameters.{parameter}"),
                "S3DataDistributionType": "FullyReplicated",
            }
        },
    }


def _is_better() -> Request:
    """Return the condition, and what follows if it holds."""
    unpacked = "Steps.Unpack.ProcessingOutputConfig.Outputs['output'].S3Output.S3Uri"
    metrics = _joined(_get(unpacked), "metrics.json")
    return {
        "Conditions": [
            {
                "Type": "Equals",
                "LeftValue": {
                    "Std:JsonGet": {
                        "PropertyFile": _get("Steps.Unpack.PropertyFiles.Metrics"),
                        "Path": "previous.promote",
                    }
                },
                "RightValue": True,
            }
        ],
        "IfSteps": [
            {
                "Name": "CreateModel",
                "Type": "Model",
                "Arguments": {
                    "PrimaryContainer": _container(),
                    "ExecutionRoleArn": ROLE,
                    "EnableNetworkIsolation": True,
                },
            },
            {
                "Name": "CreateEndpointConfig",
                "Type": "EndpointConfig",
                "Arguments": {
                    "ProductionVariants": [
                        {
                            "VariantName": "AllTraffic",
                            "ModelName": _get("Steps.CreateModel.ModelName"),
                            "InstanceType": "ml.m5.large",
                            "InitialInstanceCount": 1,
                        }
                    ]
                },
            },
            {
                "Name": "UpdateEndpoint",
                "Type": "Endpoint",
                "Arguments": {
                    "EndpointName": ENDPOINT,
                    "EndpointConfigName": _get(
                        "Steps.CreateEndpointConfig.EndpointConfigName"
                    ),
                },
            },
            {
                "Name": "Register",
                "Type": "RegisterModel",
                "DependsOn": ["UpdateEndpoint"],
                "Arguments": {
                    "ModelPackageGroupName": MODEL,
                    "ModelApprovalStatus": "Approved",
                    "ModelMetrics": {
                        "ModelQuality": {
                            "Statistics": {"ContentType": JSON, "S3Uri": metrics}
                        }
                    },
                    "InferenceSpecification": {
                        "Containers": [_container()],
                        "SupportedContentTypes": [CSV, JSON],
                        "SupportedResponseMIMETypes": list(FORMATS),
                        "SupportedRealtimeInferenceInstanceTypes": CPU_INSTANCES,
                        "SupportedTransformInstanceTypes": CPU_INSTANCES,
                    },
                },
            },
            _processing(
                "Keep",
                ["cp", f"{_INPUT}/model.tar.gz", f"{_OUTPUT}/"],
                _get("Steps.Train.ModelArtifacts.S3ModelArtifacts"),
                CURRENT,
            )
            | {"DependsOn": ["UpdateEndpoint"]},
        ],
        "ElseSteps": [],
    }


def _container() -> Request:
    """Return what serves the new model."""
    return {
        "Image": INFER_IMAGE,
        "ModelDataUrl": _get("Steps.Train.ModelArtifacts.S3ModelArtifacts"),
    }


def _processing(
    name: str, command: list[str], source: Any, target: Any
) -> dict[str, Any]:
    """Return a step in which the training image runs a command on one file."""
    local = {
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
    }
    return {
        "Name": name,
        "Type": "Processing",
        "Arguments": {
            "AppSpecification": {
                "ImageUri": TRAIN_IMAGE,
                "ContainerEntrypoint": command,
            },
            "ProcessingInputs": [
                {
                    "InputName": "input",
                    "S3Input": {"S3Uri": source, "LocalPath": _INPUT, **local},
                }
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "output",
                        "S3Output": {
                            "S3Uri": target,
                            "LocalPath": _OUTPUT,
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceType": "ml.t3.medium",
                    "InstanceCount": 1,
                    "VolumeSizeInGB": 10,
                }
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
            "NetworkConfig": {"EnableNetworkIsolation": True},
            "RoleArn": ROLE,
        },
    }


def _get(path: str) -> Mapping[str, Any]:
    """Return a reference to a parameter, or to a field of a step."""
    return {"Get": path}


def _joined(*values: Any) -> Mapping[str, Any]:
    """Return what gives a path of several parts."""
    return {"Std:Join": {"On": "/", "Values": list(values)}}
