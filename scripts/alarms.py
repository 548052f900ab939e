"""The requests for alarms on the metrics that an endpoint writes into its log.

The model's environment names the metrics; the alarms are on the names that the lines in
the log then have (:mod:`sagemaker_container.monitoring.emf`).
"""

from lstm_ad.hyperparameters import Hyperparameters
from sagemaker_container.monitoring.emf import DIMENSION
from sagemaker_container.settings import EMF_MODEL, EMF_NAMESPACE
from specification import BUCKET, INFER_IMAGE, MODEL, ROLE, Request

NAMESPACE = "LSTM-AD"
MONITORED = f"{MODEL}-monitored"

TOO_OFTEN = 10
"""How many times the expected rate of alarms is an alarm."""

RETRAIN = 0.25
"""The drift index from which on the model should be trained anew."""


def create_monitored_model() -> Request:
    """Return the body of CreateModel: two variables turn the metrics on."""
    return {
        "ModelName": MONITORED,
        "PrimaryContainer": {
            "Image": INFER_IMAGE,
            "ModelDataUrl": f"{BUCKET}/output/{MODEL}-training/output/model.tar.gz",
            "Environment": {EMF_NAMESPACE: NAMESPACE, EMF_MODEL: MONITORED},
        },
        "ExecutionRoleArn": ROLE,
        "EnableNetworkIsolation": True,
    }


def put_metric_alarm_alarm_rate() -> Request:
    """Return the body of PutMetricAlarm: by far more anomalies than expected."""
    expected = Hyperparameters().max_alarm_rate
    return _alarm(
        "AlarmRate",
        "More than 10 times the expected rate of anomalies, for three minutes.",
        TOO_OFTEN * expected,
        ("Average", 3),
    )


def put_metric_alarm_drift() -> Request:
    """Return the body of PutMetricAlarm: the data are no longer those of training."""
    return _alarm(
        "DriftIndex",
        "The data have drifted: train the model anew, or calibrate it.",
        RETRAIN,
        ("Maximum", 1),  # of several instances
    )


def _alarm(
    metric: str, meaning: str, threshold: float, how: tuple[str, int]
) -> Request:
    """Return the body of PutMetricAlarm on one metric, a value a minute.

    Args:
        metric: Its name.
        meaning: What the alarm says.
        threshold: What is exceeded.
        how: By which statistic of a minute, and in how many minutes in turn.
    """
    statistic, n_periods = how
    return {
        "AlarmName": f"{MONITORED}-{metric}",
        "AlarmDescription": meaning,
        "Namespace": NAMESPACE,
        "MetricName": metric,
        "Dimensions": [{"Name": DIMENSION, "Value": MONITORED}],
        "Statistic": statistic,
        "Period": 60,
        "EvaluationPeriods": n_periods,
        "DatapointsToAlarm": n_periods,
        "Threshold": threshold,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }


DOCUMENTS = {
    "create-model-monitored": create_monitored_model,
    "put-metric-alarm-alarm-rate": put_metric_alarm_alarm_rate,
    "put-metric-alarm-drift": put_metric_alarm_drift,
}
"""As :data:`specification.DOCUMENTS`."""
