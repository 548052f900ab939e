"""The requests for asynchronous and for multi-model endpoints, as in ``specification``.

An asynchronous endpoint reads bodies of up to 1 GB from S3, takes up to an hour for
each, and has no instance, and no costs, while there is nothing to do. Two policies
scale it: one by the requests that wait for each instance, and one from no instance to
one, because nothing can wait for an instance that is not there.
"""

from sagemaker_inference import parameters

from sagemaker_container.formats.columns import CSV
from specification import BUCKET, INFER_IMAGE, MODEL, ROLE, Request

MAX_ASYNCHRONOUS_MB = 1024
"""The largest body that SageMaker sends."""

ASYNCHRONOUS = f"{MODEL}-asynchronous"
MULTI_MODEL = f"{MODEL}-multi-model"

_VARIANT = "AllTraffic"

_SCALED = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": f"endpoint/{ASYNCHRONOUS}/variant/{_VARIANT}",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
"""What scales: the number of instances."""

_DIMENSIONS = [{"Name": "EndpointName", "Value": ASYNCHRONOUS}]


def create_asynchronous_model() -> Request:
    """Return the body of CreateModel: the one setting lifts the limit of a body."""
    return {
        "ModelName": ASYNCHRONOUS,
        "PrimaryContainer": {
            "Image": INFER_IMAGE,
            "ModelDataUrl": f"{BUCKET}/output/{MODEL}-training/output/model.tar.gz",
            "Environment": {parameters.MAX_REQUEST_SIZE: str(MAX_ASYNCHRONOUS_MB)},
        },
        "ExecutionRoleArn": ROLE,
        "EnableNetworkIsolation": True,
    }


def create_asynchronous_endpoint_config() -> Request:
    """Return the body of CreateEndpointConfig: as many requests as there are workers.

    An ml.m5.large has 8 GB and 2 cores: two workers, each with memory for a body of
    1 GB.
    """
    return {
        "EndpointConfigName": ASYNCHRONOUS,
        "ProductionVariants": [
            {
                "VariantName": _VARIANT,
                "ModelName": ASYNCHRONOUS,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
            }
        ],
        "AsyncInferenceConfig": {
            "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 2},
            "OutputConfig": {
                "S3OutputPath": f"{BUCKET}/asynchronous/output/",
                "S3FailurePath": f"{BUCKET}/asynchronous/failure/",
            },
        },
    }


def invoke_endpoint_async() -> Request:
    """Return the parameters of InvokeEndpointAsync; the body is on S3."""
    return {
        "EndpointName": ASYNCHRONOUS,
        "ContentType": CSV,
        "Accept": CSV,
        "CustomAttributes": "output=score,is_anomaly;header=true",
        "InputLocation": f"{BUCKET}/asynchronous/input/test_data.csv",
        "InvocationTimeoutSeconds": 3600,
    }


def register_scalable_target() -> Request:
    """Return the body of RegisterScalableTarget: from no instance to four."""
    return {**_SCALED, "MinCapacity": 0, "MaxCapacity": 4}


def put_scaling_policy() -> Request:
    """Return the body of PutScalingPolicy: two requests wait for each instance."""
    return {
        **_SCALED,
        "PolicyName": f"{ASYNCHRONOUS}-backlog",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": 2.0,
            "CustomizedMetricSpecification": {
                "MetricName": "ApproximateBacklogSizePerInstance",
                "Namespace": "AWS/SageMaker",
                "Dimensions": _DIMENSIONS,
                "Statistic": "Average",
            },
            "ScaleInCooldown": 600,
            "ScaleOutCooldown": 300,
        },
    }


def put_scaling_policy_from_zero() -> Request:
    """Return the body of PutScalingPolicy: an instance where there is none."""
    return {
        **_SCALED,
        "PolicyName": f"{ASYNCHRONOUS}-from-zero",
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ChangeInCapacity",
            "MetricAggregationType": "Average",
            "Cooldown": 300,
            "StepAdjustments": [
                {"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}
            ],
        },
    }


def put_metric_alarm_from_zero() -> Request:
    """Return the body of PutMetricAlarm: what starts the policy above.

    ``AlarmActions`` is the ARN that the request for that policy answered.
    """
    return {
        "AlarmName": f"{ASYNCHRONOUS}-waits-for-an-instance",
        "Namespace": "AWS/SageMaker",
        "MetricName": "HasBacklogWithoutCapacity",
        "Dimensions": _DIMENSIONS,
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 2,
        "DatapointsToAlarm": 2,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "missing",
        "AlarmActions": ["POLICY_ARN"],
    }


def create_multi_model() -> Request:
    """Return the body of CreateModel: every archive in a folder of S3 is a model."""
    return {
        "ModelName": MULTI_MODEL,
        "PrimaryContainer": {
            "Image": INFER_IMAGE,
            "Mode": "MultiModel",
            "ModelDataUrl": f"{BUCKET}/models/",
        },
        "ExecutionRoleArn": ROLE,
        "EnableNetworkIsolation": True,
    }


def create_multi_model_endpoint_config() -> Request:
    """Return the body of CreateEndpointConfig for many models."""
    return {
        "EndpointConfigName": MULTI_MODEL,
        "ProductionVariants": [
            {
                "VariantName": _VARIANT,
                "ModelName": MULTI_MODEL,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
            }
        ],
    }


DOCUMENTS = {
    "create-model-asynchronous": create_asynchronous_model,
    "create-endpoint-config-asynchronous": create_asynchronous_endpoint_config,
    "invoke-endpoint-async": invoke_endpoint_async,
    "register-scalable-target": register_scalable_target,
    "put-scaling-policy": put_scaling_policy,
    "put-scaling-policy-from-zero": put_scaling_policy_from_zero,
    "put-metric-alarm-from-zero": put_metric_alarm_from_zero,
    "create-model-multi-model": create_multi_model,
    "create-endpoint-config-multi-model": create_multi_model_endpoint_config,
}
"""As :data:`specification.DOCUMENTS`."""
