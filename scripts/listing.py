"""The requests for a listing on the AWS Marketplace, as in ``specification``.

A listing needs a ``ValidationSpecification``: SageMaker trains and scores with it,
without network, before it accepts the algorithm or the model. Ours uses the sample in
``data``, copied to S3 as it is: ``aws s3 sync data s3://BUCKET/lstm-ad/sample``.
"""

from sagemaker_container.formats.columns import CSV
from sagemaker_container.job import TRAINING, VALIDATION
from specification import BUCKET, MODEL, ROLE, Request, create_algorithm

SAMPLE = {
    TRAINING: "training/train.csv",
    VALIDATION: "training/valid.csv",
}
"""The files of the sample, by channel; they lie in ``data``."""

SCORED = "inference/input/test_data.csv"

HYPERPARAMETERS = {"preset": "detection", "epochs": "20"}

_S3 = f"{BUCKET}/sample"


def create_algorithm_listing() -> Request:
    """Return the body of CreateAlgorithm that can be listed."""
    profile = {
        "ProfileName": "sample",
        "TrainingJobDefinition": {
            "TrainingInputMode": "File",
            "HyperParameters": HYPERPARAMETERS,
            "InputDataConfig": [
                {
                    "ChannelName": channel,
                    "ContentType": CSV,
                    "DataSource": _source(path),
                }
                for channel, path in SAMPLE.items()
            ],
            "OutputDataConfig": {"S3OutputPath": f"{BUCKET}/listing/output/"},
            "ResourceConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": 1,
                "VolumeSizeInGB": 10,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        },
        "TransformJobDefinition": _transform(),
    }
    return {
        **create_algorithm(),
        "ValidationSpecification": _validation(profile),
        "CertifyForMarketplace": True,
    }


def create_model_package_listing() -> Request:
    """Return the body of CreateModelPackage that can be listed: a model, to score."""
    algorithm = create_algorithm()
    inference = algorithm["InferenceSpecification"]
    (container,) = inference["Containers"]
    archive = f"{BUCKET}/output/{MODEL}-training/output/model.tar.gz"
    return {
        "ModelPackageName": f"{MODEL}-pump",
        "ModelPackageDescription": algorithm["AlgorithmDescription"],
        "InferenceSpecification": {
            **inference,
            "Containers": [{**container, "ModelDataUrl": archive}],
        },
        "ValidationSpecification": _validation(
            {"ProfileName": "sample", "TransformJobDefinition": _transform()}
        ),
        "CertifyForMarketplace": True,
    }


DOCUMENTS = {
    "create-algorithm-listing": create_algorithm_listing,
    "create-model-package-listing": create_model_package_listing,
}
"""As :data:`specification.DOCUMENTS`."""


def _validation(profile: Request) -> Request:
    """Return a specification with one profile, which is all that may be."""
    return {"ValidationRole": ROLE, "ValidationProfiles": [profile]}


def _transform() -> Request:
    """Return the transform job: the test series, as one request."""
    return {
        "TransformInput": {
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": f"{_S3}/{SCORED}",
                }
            },
            "ContentType": CSV,
            "SplitType": "None",
        },
        "TransformOutput": {
            "S3OutputPath": f"{BUCKET}/listing/scores/",
            "Accept": CSV,
        },
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }


def _source(path: str) -> Request:
    """Return where a file of the sample is."""
    return {
        "S3DataSource": {
            "S3DataType": "S3Prefix",
            "S3Uri": f"{_S3}/{path}",
            "S3DataDistributionType": "FullyReplicated",
        }
    }
