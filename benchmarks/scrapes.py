"""Scrape a server's metrics each second of a soak, and check what they count."""

import http.client
import threading
import time
from collections.abc import Callable

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

PERIOD_SECONDS = 1.0
SLOWEST_P99 = 0.1
"""Seconds, of a scrape under the load of the soak."""

_COUNTED = ("_total", "_bucket", "_count", "_sum")


class Scrapes:
    """What scrapes have shown.

    Args:
        fetch: Called for the text of a scrape; it raises an exception of the network
            if there is none.
    """

    def __init__(self, fetch: Callable[[], str]) -> None:
        self._fetch = fetch
        self.seconds: list[float] = []
        self.n_lost = 0
        self.last: dict[str, float] = {}
        self.decreased: set[str] = set()

    def run(self, is_over: threading.Event) -> None:
        """Scrape until something is over."""
        while not is_over.wait(PERIOD_SECONDS):
            self.scrape()

    def scrape(self) -> None:
        """Scrape once."""
        began = time.monotonic()
        try:
            text = self._fetch()
        except (OSError, http.client.HTTPException):
            self.n_lost += 1
            return
        self.seconds.append(time.monotonic() - began)
        values = samples(text)
        self.decreased |= {
            name
            for name, value in self.last.items()
            if name.split()[0].endswith(_COUNTED) and values[name] < value
        }
        self.last = values

    @property
    def p99(self) -> float:
        """The seconds that a scrape takes."""
        return float(np.percentile(self.seconds, 99))

    def unexpected(self, n_answered: int, n_uncertain: int, n_kills: int) -> list[str]:
        """Return what is not as it should be.

        Args:
            n_answered: The requests that clients have seen answered with 200.
            n_uncertain: Those that were lost: counted, or not yet.
            n_kills: The workers that were killed.
        """
        found = []
        n_counted = self.last["lstm_ad_requests_total 200"]
        if not n_answered <= n_counted <= n_answered + n_uncertain:
            found.append(
                f"{n_counted:.0f} answers are counted, but clients had {n_answered} "
                f"and lost {n_uncertain}"
            )
        if self.last["lstm_ad_worker_restarts_total"] != n_kills:
            found.append("a worker ended that nobody killed")
        if self.decreased:
            found.append(f"{', '.join(sorted(self.decreased))} decreased")
        if self.n_lost > n_kills:
            found.append(f"{self.n_lost} scrapes without an answer")
        if self.p99 > SLOWEST_P99:
            found.append(f"the p99 of scrapes is {1000 * self.p99:.0f} ms")
        return found


def samples(text: str) -> dict[str, float]:
    """Return the values of a scrape by the names of the metrics and of the labels."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
