"""The requests for endpoints of every kind, and for a listing, are AWS's own."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import alarms
import endpoints
import listing
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.scoring.detector import LSTMAD
from sagemaker_container.job import CHANNELS
from sagemaker_container.limits import Limits
from sagemaker_container.monitoring.emf import EmfWriter
from sagemaker_container.monitoring.monitor import Monitor
from sagemaker_container.settings import ServerSettings

DATA = Path(__file__).parents[3] / "data"

DOCUMENTS = {**endpoints.DOCUMENTS, **listing.DOCUMENTS, **alarms.DOCUMENTS}

OPERATIONS = {
    "create-model-asynchronous": ("CreateModel", "sagemaker"),
    "create-endpoint-config-asynchronous": ("CreateEndpointConfig", "sagemaker"),
    "invoke-endpoint-async": ("InvokeEndpointAsync", "sagemaker-runtime"),
    "register-scalable-target": ("RegisterScalableTarget", "application-autoscaling"),
    "put-scaling-policy": ("PutScalingPolicy", "application-autoscaling"),
    "put-scaling-policy-from-zero": ("PutScalingPolicy", "application-autoscaling"),
    "put-metric-alarm-from-zero": ("PutMetricAlarm", "cloudwatch"),
    "create-model-multi-model": ("CreateModel", "sagemaker"),
    "create-endpoint-config-multi-model": ("CreateEndpointConfig", "sagemaker"),
    "create-model-monitored": ("CreateModel", "sagemaker"),
    "put-metric-alarm-alarm-rate": ("PutMetricAlarm", "cloudwatch"),
    "put-metric-alarm-drift": ("PutMetricAlarm", "cloudwatch"),
    "create-algorithm-listing": ("CreateAlgorithm", "sagemaker"),
    "create-model-package-listing": ("CreateModelPackage", "sagemaker"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_request_is_accepted_by_the_interface_of_its_service(
    name: str, problems: Callable[..., list[str]]
) -> None:
    """It is plain JSON, for AWS's command line as it is."""
    document = DOCUMENTS[name]()
    operation, service = OPERATIONS[name]

    assert problems(operation, document, service) == []
    assert json.loads(json.dumps(document)) == document


def test_an_asynchronous_instance_has_a_worker_for_each_of_its_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the model's environment, on 2 cores and the 8 GB of its instance type."""
    model = endpoints.create_asynchronous_model()
    config = endpoints.create_asynchronous_endpoint_config()
    for name, value in model["PrimaryContainer"]["Environment"].items():
        monkeypatch.setenv(name, value)

    settings = ServerSettings.from_variables(Limits(2, 8 * 2**30))

    (variant,) = config["ProductionVariants"]
    client = config["AsyncInferenceConfig"]["ClientConfig"]
    assert settings.max_payload_mb == endpoints.MAX_ASYNCHRONOUS_MB
    assert settings.n_workers == client["MaxConcurrentInvocationsPerInstance"]
    assert variant["InstanceType"] == "ml.m5.large"
    assert variant["ModelName"] == model["ModelName"]


def test_what_scales_is_the_asynchronous_endpoint() -> None:
    """Both policies, and the alarm's metric, are those of the target."""
    target = endpoints.register_scalable_target()
    policies = endpoints.put_scaling_policy(), endpoints.put_scaling_policy_from_zero()
    alarm = endpoints.put_metric_alarm_from_zero()

    name = endpoints.create_asynchronous_endpoint_config()["EndpointConfigName"]
    assert target["MinCapacity"] == 0
    assert {p["ResourceId"] for p in policies} == {target["ResourceId"]}
    assert target["ResourceId"].split("/")[1] == name
    assert alarm["Dimensions"] == [{"Name": "EndpointName", "Value": name}]


def test_a_listing_is_validated_with_the_sample() -> None:
    """Its files, its channels and its hyperparameters are those of a job."""
    algorithm = listing.create_algorithm_listing()["ValidationSpecification"]
    package = listing.create_model_package_listing()["ValidationSpecification"]
    (profile,) = algorithm["ValidationProfiles"]
    (scored,) = package["ValidationProfiles"]
    channels = profile["TrainingJobDefinition"]["InputDataConfig"]
    given = [channel["ChannelName"] for channel in channels]

    places = [
        part["DataSource"]["S3DataSource"]["S3Uri"].partition("/sample/")[2]
        for part in (*channels, profile["TransformJobDefinition"]["TransformInput"])
    ]
    assert [path for path in places if not (DATA / path).is_file()] == []
    assert {name for name, required in CHANNELS.items() if required} <= set(given)
    assert set(given) <= set(CHANNELS)
    assert Hyperparameters.from_strings(
        profile["TrainingJobDefinition"]["HyperParameters"]
    )
    assert scored["TransformJobDefinition"] == profile["TransformJobDefinition"]


@pytest.mark.parametrize(
    ("document", "metric", "threshold"),
    [
        ("put-metric-alarm-alarm-rate", "AlarmRate", 0.01),
        ("put-metric-alarm-drift", "DriftIndex", 0.25),
    ],
)
def test_an_alarm_is_on_a_metric_of_the_log_of_its_model(
    detector: LSTMAD,
    make_series: Callable,
    monkeypatch: pytest.MonkeyPatch,
    document: str,
    metric: str,
    threshold: float,
) -> None:
    """Under the namespace and the dimension that the model's environment names."""
    container = alarms.create_monitored_model()["PrimaryContainer"]
    for name, value in container["Environment"].items():
        monkeypatch.setenv(name, value)
    settings = ServerSettings.from_variables(Limits(2, 8 * 2**30))
    monitor = Monitor.alone(detector)
    series = make_series(5_000) + 100
    monitor.rows.returned(series, list(detector.score_in_parts(series)))
    lines: list[str] = []
    EmfWriter(
        settings.emf_namespace,
        settings.emf_model,
        monitor.counts,
        monitor.model,
        lines.append,
    ).write()
    alarm = DOCUMENTS[document]()

    line = json.loads(lines[0])
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    (dimension,) = alarm["Dimensions"]
    assert alarm["Namespace"] == directive["Namespace"]
    assert [[dimension["Name"]]] == directive["Dimensions"]
    assert dimension["Value"] == line[dimension["Name"]]
    assert alarm["MetricName"] == metric
    assert line[metric] > alarm["Threshold"] == threshold
