"""The answer to a scrape, as prometheus_client's parser reads it."""

import dataclasses

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lstm_ad.scoring.detector import Scores
from lstm_ad.threshold.decision import LabelledThreshold
from sagemaker_container.monitoring.counts import STATUSES, Counts
from sagemaker_container.monitoring.exposition import exposition
from sagemaker_container.monitoring.model import MAX_SHIFTS, ServedModel
from sagemaker_container.monitoring.recorder import RowRecorder

LABELLED = LabelledThreshold(0.0, 1.0, 0.5, 0.5, 0.5, 100, 10)


def scraped(counts: Counts, model: ServedModel | None) -> dict[tuple[str, ...], float]:
    """Return the values of all samples, by their names and the values of labels."""
    text = exposition(counts, model).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_is_about_all_workers(worker, counts, model, make_series, detector):
    """Their counts are added up; the histogram and the ranks are cumulative."""
    series = make_series(200)
    for slot in (0, 1):
        monitor = worker(slot)
        monitor.requests.answered(200)
        monitor.requests.sent(0.004)
        monitor.rows.returned(series, list(detector.score_in_parts(series)))
    found = scraped(counts, model)

    assert found["lstm_ad_requests_total", "200"] == 2
    assert {name[1] for name in found if name[0] == "lstm_ad_requests_total"} == {
        *STATUSES
    }
    assert found["lstm_ad_request_seconds_bucket", "0.0025"] == 0
    assert found["lstm_ad_request_seconds_bucket", "0.005"] == 2
    assert found["lstm_ad_request_seconds_bucket", "+Inf"] == 2
    assert found["lstm_ad_request_seconds_count",] == 2
    assert found["lstm_ad_request_seconds_sum",] == pytest.approx(0.008)
    assert found["lstm_ad_requests_held",] == 0
    assert found["lstm_ad_worker_restarts_total",] == 0
    assert found["lstm_ad_rows_total",] == 400
    assert found["lstm_ad_rows_scored_total",] == 380
    assert found["lstm_ad_missing_cells_total",] == 0
    assert found["lstm_ad_score_rank_total", "1"] == 380
    assert 0 < found["lstm_ad_score_rank_total", "0.5"] < 380
    assert found["lstm_ad_anomalies_total",] == counts.totals().anomalies
    assert found["lstm_ad_alarm_rate_expected",] == 0.001
    assert found["lstm_ad_model_info", "0123456789abcdef", "320"] == 1


def test_drift_is_told_from_enough_rows_on(counts: Counts, model: ServedModel) -> None:
    """And no more than fifty series, those that have shifted most."""
    assert ("lstm_ad_drift_index",) not in scraped(counts, model)
    wide = dataclasses.replace(
        model,
        series=tuple(f"series {i}" for i in range(60)),
        reference=dataclasses.replace(
            model.reference, mean=np.zeros(60), scale=np.ones(60)
        ),
    )
    values = np.random.default_rng(0).normal(size=(5000, 60)) + np.arange(60) / 10
    recorder = RowRecorder(counts.slot(0), wide.reference, wide.decision)
    recorder.returned(values, [Scores(np.zeros(len(values)), values)])

    found = scraped(counts, wide)
    shifts = {name[1] for name in found if name[0] == "lstm_ad_series_shift"}

    assert found["lstm_ad_drift_index",] > 0.25
    assert shifts == {f"series {i}" for i in range(60 - MAX_SHIFTS, 60)}


def test_with_labels_the_expected_rate_is_that_of_their_threshold(model, counts):
    """It is not max-alarm-rate that chose it."""
    threshold = -model.decision.tail.quantile(0.05)
    labelled = dataclasses.replace(LABELLED, threshold=threshold)
    decision = dataclasses.replace(model.decision, labelled=labelled)

    found = scraped(counts, dataclasses.replace(model, decision=decision))

    assert found["lstm_ad_alarm_rate_expected",] == pytest.approx(0.05)


def test_of_several_models_the_requests_are_counted(counts: Counts) -> None:
    """Their rows are not in one sum: they would be those of all models together."""
    names = {name for name, *_ in scraped(counts, None)}

    assert "lstm_ad_requests_total" in names
    assert "lstm_ad_rows_total" not in names
