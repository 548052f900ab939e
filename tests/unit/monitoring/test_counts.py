"""The counts that workers share: over processes, over their ends, over time."""

import os

import numpy as np
import pytest

from lstm_ad.quality.drift import BLOCK_ROWS, WINDOW_ROWS
from lstm_ad.scoring.detector import Scores
from sagemaker_container.monitoring.counts import Counts


def test_what_a_process_has_counted_stays_when_it_is_killed(worker, counts) -> None:
    """Its replacement goes on where it ended, but holds none of its requests."""
    slot = counts.claim([])
    if (process := os.fork()) == 0:
        monitor = worker(slot)
        monitor.requests.answered(200)
        with monitor.requests.holding():
            os.kill(os.getpid(), 9)
    os.waitpid(process, 0)
    held = counts.n_held

    again = counts.claim([])
    worker(again).requests.answered(200)

    assert (again, held, counts.n_held, counts.n_restarts) == (slot, 1, 0, 1)
    assert counts.totals().requests[0] == 2


def test_workers_that_replace_all_others_at_once_find_slots(counts: Counts) -> None:
    """As when gunicorn is told to reload: nobody writes into the slot of another."""
    used: list[int] = []
    for _ in range(4):
        used.append(counts.claim(used))

    assert sorted(used) == [0, 1, 2, 3]
    assert counts.n_restarts == 0


def test_news_are_what_no_process_has_been_told(worker, counts: Counts) -> None:
    """Each is told once, whoever asks."""
    worker(0).requests.answered(200)
    worker(1).requests.answered(400)
    first = counts.news()
    worker(1).requests.answered(200)

    assert first.requests[:2].tolist() == [1, 1]
    assert counts.news().requests[:2].tolist() == [1, 0]
    assert counts.news().requests.sum() == 0
    assert counts.totals().requests[:2].tolist() == [2, 1]


@pytest.mark.parametrize("n_each", [1, 7, 123, BLOCK_ROWS, 4_000])
def test_the_last_rows_are_those_of_all_workers_by_time(
    worker, counts: Counts, make_series, n_each: int
) -> None:
    """What a busy worker returns takes the place of the older rows of an idle one."""
    idle, busy = worker(0), worker(1)
    far = np.full((n_each, 2), 1e9)
    near = make_series(n_each)
    parts = [Scores(np.full(n_each, np.nan), near)]
    for _ in range(-(-WINDOW_ROWS // n_each)):
        idle.rows.returned(far, parts)
    before = counts.last_rows(2)
    for _ in range(-(-WINDOW_ROWS // n_each)):
        busy.rows.returned(near, parts)
    after = counts.last_rows(2)

    for blocks, is_far in ((before, True), (after, False)):
        n_rows = blocks.n_values[:, 0].sum()
        assert WINDOW_ROWS <= n_rows < WINDOW_ROWS + BLOCK_ROWS + n_each
        assert (blocks.sums[:, 0] >= 9 * blocks.n_values[:, 0]).all() == is_far
        assert (blocks.sums[:, 0] >= 9 * blocks.n_values[:, 0]).any() == is_far


def test_what_is_read_while_workers_write_is_read() -> None:
    """Another process begins and ends blocks as fast as it can."""
    counts = Counts(n_workers=4)
    counts.slots["n_rows"][:] = 1
    writer = os.fork()
    if writer == 0:
        while True:
            counts.slots["n_rows"][:, ::2] = 0
            counts.slots["n_rows"][:, ::2] = 1
    try:
        lengths = {len(counts.last_rows(1).sums) for _ in range(5000)}
    finally:
        os.kill(writer, 9)
        os.waitpid(writer, 0)

    assert len(lengths) > 1  # it did change meanwhile
