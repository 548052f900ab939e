"""The one slow job of the tests, run beside all the others."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

ORIGINAL = Path(__file__).parents[3] / "shared" / "original"
"""The original product's sample: beside the repository where it may be used."""


@pytest.fixture(scope="session", autouse=True)
def original_training(
    request: pytest.FixtureRequest,
    make_opt_ml: Callable[[], Any],
    run_train: Callable[..., Any],
) -> Iterator[Future[Any] | None]:
    """Start training on the original's sample; yield what will be (folder, end).

    It takes half a minute of one core, so it begins with the first contract test and
    is awaited by the tests that need it. Without those, or without the sample, there
    is nothing to start.
    """
    is_needed = any(i.path.name == "test_original.py" for i in request.session.items)
    if not (is_needed and ORIGINAL.is_dir()):
        yield None
        return
    job = make_opt_ml()
    for channel, name in (("training", "train.csv"), ("validation", "valid.csv")):
        job.add_channel(channel, {name: (ORIGINAL / name).read_bytes()})
    with ThreadPoolExecutor(max_workers=1) as background:
        yield background.submit(lambda: (job, run_train(job)))
