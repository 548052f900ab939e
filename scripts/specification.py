"""Describe the algorithm to SageMaker: the bodies of the requests that a user sends.

:func:`create_algorithm` says everything that the service can know of the algorithm,
from the declarations that the containers themselves read. The other functions are the
smallest useful requests of a whole project; ``docs/sagemaker`` holds all of them as
JSON, with the names below in place of a user's own. `make documents` writes them.
"""

from collections.abc import Mapping
from typing import Any

from lstm_ad.hyperparameters import Declaration, declarations
from sagemaker_container.archive import MEDIA_TYPE
from sagemaker_container.formats.columns import CSV, FORMATS, JSON
from sagemaker_container.job import (
    CHANNELS,
    DEFAULT_CHECKPOINT_DIR,
    TRAINING,
    VALIDATION,
)
from sagemaker_container.job import MODEL as MODEL_CHANNEL
from sagemaker_container.metrics import METRIC_DEFINITIONS

Request = Mapping[str, Any]

ACCOUNT = "111122223333"
REGISTRY = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
TRAIN_IMAGE = f"{REGISTRY}/lstm-ad-train:latest"
INFER_IMAGE = f"{REGISTRY}/lstm-ad-infer:latest"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/SageMakerExecutionRole"
BUCKET = "s3://amzn-s3-demo-bucket/lstm-ad"
MODEL = "lstm-ad"

CPU_INSTANCES = [
    *("ml.m5.large", "ml.m5.xlarge", "ml.m5.2xlarge", "ml.m5.4xlarge"),
    *("ml.m6i.large", "ml.m6i.xlarge", "ml.m6i.2xlarge", "ml.m6i.4xlarge"),
    *("ml.c5.xlarge", "ml.c5.2xlarge", "ml.c5.4xlarge", "ml.c5.9xlarge"),
]
GPU_INSTANCES = [
    *("ml.g4dn.xlarge", "ml.g4dn.2xlarge", "ml.g4dn.12xlarge"),
    *("ml.g5.xlarge", "ml.g5.2xlarge", "ml.g5.12xlarge"),
    *("ml.p3.2xlarge", "ml.p3.8xlarge"),
]
"""For images that were built for GPUs. What serves uses one, what trains uses all."""

CHANNEL_DESCRIPTIONS = {
    "training": "Normal data as CSV: a column per series, a row per time step, no "
    "header, no index.",
    "validation": "Normal data as CSV that the model is only measured on.",
    "labels": "Which rows of the validation files are anomalies, to choose the "
    "threshold: a file of the same name for each, with a 0 or 1 per row, or ranges of "
    "time, with start,end per line.",
    "exclude": "Ranges of time that are not learnt from, with start,end per line: a "
    "file of the same name as that with the data, or one for all.",
    MODEL_CHANNEL: "The model.tar.gz of an earlier job, to start from.",
}

OBJECTIVES = ("valid_loss", "valid_mae", "calibration_loss", "calibration_mae")
"""What a tuning job may minimise: losses on data that the network has not seen."""

TUNING_RANGES = {
    "num-layers": ("1", "3", "Linear"),
    "hidden-size": ("32", "256", "Logarithmic"),
    "batch-size": ("16", "128", "Logarithmic"),
    "epochs": ("50", "200", "Linear"),
    "dropout": ("0.0", "0.5", "Linear"),
    "lr": ("0.0003", "0.01", "Logarithmic"),
}
"""Where to begin a search: smallest, largest and scale. Any other hyperparameter may
be tuned as well, but losses at different sequence lengths, or with different parts of
the data, do not compare."""


def create_algorithm() -> Request:
    """Return the body of CreateAlgorithm: the whole specification."""
    return {
        "AlgorithmName": MODEL,
        "AlgorithmDescription": "Anomaly detection in multivariate time series with "
        "LSTM-AD (Malhotra et al., ESANN 2015).",
        "TrainingSpecification": {
            "TrainingImage": TRAIN_IMAGE,
            "SupportedHyperParameters": [
                _hyperparameter(declaration) for declaration in declarations()
            ],
            "SupportedTrainingInstanceTypes": CPU_INSTANCES + GPU_INSTANCES,
            "SupportsDistributedTraining": True,
            "MetricDefinitions": METRIC_DEFINITIONS,
            "TrainingChannels": [
                {
                    "Name": name,
                    "Description": CHANNEL_DESCRIPTIONS[name],
                    "IsRequired": is_required,
                    "SupportedContentTypes": [
                        MEDIA_TYPE if name == MODEL_CHANNEL else CSV
                    ],
                    "SupportedCompressionTypes": ["None"],
                    "SupportedInputModes": ["File", "FastFile"],
                }
                for name, is_required in {**CHANNELS, MODEL_CHANNEL: False}.items()
            ],
            "SupportedTuningJobObjectiveMetrics": [
                {"Type": "Minimize", "MetricName": name} for name in OBJECTIVES
            ],
        },
        "InferenceSpecification": {
            "Containers": [{"Image": INFER_IMAGE}],
            "SupportedTransformInstanceTypes": CPU_INSTANCES + GPU_INSTANCES,
            "SupportedRealtimeInferenceInstanceTypes": CPU_INSTANCES + GPU_INSTANCES,
            "SupportedContentTypes": [CSV, JSON],
            "SupportedResponseMIMETypes": list(FORMATS),
        },
        "CertifyForMarketplace": False,
    }


def create_training_job() -> Request:
    """Return the body of CreateTrainingJob: on spot instances, with checkpoints."""
    name = f"{MODEL}-training"
    return {
        "TrainingJobName": name,
        "HyperParameters": {
            d.name: str(d.default) for d in declarations() if not d.needs_model
        },
        **training(),
        "EnableManagedSpotTraining": True,
        "CheckpointConfig": {
            "S3Uri": f"{BUCKET}/checkpoints/{name}/",
            "LocalPath": DEFAULT_CHECKPOINT_DIR,
        },
        "StoppingCondition": {
            "MaxRuntimeInSeconds": 3600,
            "MaxWaitTimeInSeconds": 7200,
        },
    }


def create_hyper_parameter_tuning_job() -> Request:
    """Return the body of CreateHyperParameterTuningJob: the smallest valid_loss."""
    return {
        "HyperParameterTuningJobName": f"{MODEL}-tuning",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {
                "Type": "Minimize",
                "MetricName": OBJECTIVES[0],
            },
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": 20,
                "MaxParallelTrainingJobs": 4,
            },
            "TrainingJobEarlyStoppingType": "Auto",
            "ParameterRanges": {
                "IntegerParameterRanges": _ranges(int),
                "ContinuousParameterRanges": _ranges(float),
            },
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {
                d.name: str(d.default)
                for d in declarations()
                if d.name not in TUNING_RANGES and not d.needs_model
            },
            **training(),
        },
    }


def create_model() -> Request:
    """Return the body of CreateModel, for endpoints and batch transform alike."""
    archive = f"{BUCKET}/output/{MODEL}-training/output/model.tar.gz"
    return {
        "ModelName": MODEL,
        "PrimaryContainer": {"Image": INFER_IMAGE, "ModelDataUrl": archive},
        "ExecutionRoleArn": ROLE,
        "EnableNetworkIsolation": True,
    }


def create_endpoint_config() -> Request:
    """Return the body of CreateEndpointConfig for an instance of its own."""
    return {
        "EndpointConfigName": f"{MODEL}-instance",
        "ProductionVariants": [
            {
                "VariantName": "AllTraffic",
                "ModelName": MODEL,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
            }
        ],
    }


def create_serverless_endpoint_config() -> Request:
    """Return the body of CreateEndpointConfig for a serverless endpoint."""
    return {
        "EndpointConfigName": f"{MODEL}-serverless",
        "ProductionVariants": [
            {
                "VariantName": "AllTraffic",
                "ModelName": MODEL,
                "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5},
            }
        ],
    }


def create_transform_job() -> Request:
    """Return the body of CreateTransformJob: every file is a request of its own."""
    return {
        "TransformJobName": f"{MODEL}-transform",
        "ModelName": MODEL,
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": 3600},
        "TransformInput": {
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": f"{BUCKET}/inference/input/",
                }
            },
            "ContentType": CSV,
            "SplitType": "None",
        },
        "TransformOutput": {
            "S3OutputPath": f"{BUCKET}/inference/output/",
            "Accept": CSV,
        },
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }


DOCUMENTS = {
    "create-algorithm": create_algorithm,
    "create-training-job": create_training_job,
    "create-hyper-parameter-tuning-job": create_hyper_parameter_tuning_job,
    "create-model": create_model,
    "create-endpoint-config": create_endpoint_config,
    "create-endpoint-config-serverless": create_serverless_endpoint_config,
    "create-transform-job": create_transform_job,
}
"""The documents by the names of their files: the commands of AWS's command line."""


def _hyperparameter(declaration: Declaration) -> Request:
    """Return a hyperparameter as CreateAlgorithm declares it.

    The default is only told: SDK v2's ``AlgorithmEstimator`` sends every
    ``DefaultValue`` as if its user had given it, and what is given is not changed by
    ``preset``, must be as in the model that a job starts from, or needs such a model.
    """
    kind = {int: "Integer", float: "Continuous", str: "Categorical"}[declaration.kind]
    if declaration.is_text:
        kind = "FreeText"
    accepted: Request = {
        "MinValue": str(declaration.minimum),
        "MaxValue": str(declaration.maximum),
    }
    if declaration.choices:
        accepted = {"Values": list(declaration.choices)}
    ranges = {"Range": {f"{kind}ParameterRangeSpecification": accepted}}
    return {
        "Name": declaration.name,
        "Description": f"{declaration.meaning} Default: "
        f"{declaration.default if declaration.default != '' else 'none'}.",
        "Type": kind,
        **({} if declaration.is_text else ranges),
        "IsTunable": not (declaration.is_text or declaration.needs_model),
        "IsRequired": False,
    }


def _ranges(kind: type[int] | type[float]) -> list[Request]:
    """Return the ranges of the tuned hyperparameters of one type."""
    return [
        {"Name": d.name, "MinValue": low, "MaxValue": high, "ScalingType": scale}
        for d in declarations()
        if d.kind is kind and d.name in TUNING_RANGES
        for low, high, scale in [TUNING_RANGES[d.name]]
    ]


def training() -> Request:
    """Return what a training job and the jobs of a tuning job say alike."""
    return {
        "AlgorithmSpecification": {
            "TrainingImage": TRAIN_IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": METRIC_DEFINITIONS,
        },
        "RoleArn": ROLE,
        "InputDataConfig": [
            {
                "ChannelName": name,
                "ContentType": CSV,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": f"{BUCKET}/{name}/",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
            for name in (TRAINING, VALIDATION)
        ],
        "OutputDataConfig": {"S3OutputPath": f"{BUCKET}/output/"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.xlarge",
            "InstanceCount": 1,
            "VolumeSizeInGB": 10,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "EnableNetworkIsolation": True,
    }
