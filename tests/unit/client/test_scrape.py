"""Looks at every replica's metrics: those that were ever seen, and what is told of one that does not answer."""

from collections.abc import Mapping

import httpx

from lightragctl.client.scrape import MetricsScraper
from lightragctl.client.server_metrics import MetricsSample
from lightragctl.core.errors import NotRunningError

TEXT = 'process_start_time_seconds 1.5e+09\nlightragctl_stage_seconds_count{stage="search"} 3.0\n'
LOOK = MetricsSample(1.5e9, {("lightragctl_stage_seconds_count", "search"): 3.0})


class Replicas:
    """Replicas that are `ready`; those of `answers` give metrics, or a status, the others break the connection."""

    def __init__(self, *ready: str) -> None:
        self.ready: Mapping[str, str] | None = {name: f"http://{name}" for name in ready}
        self.answers: dict[str, int] = dict.fromkeys(ready, 200)
        self.scraper = MetricsScraper(self.list, httpx.MockTransport(self.answer))

    def list(self) -> Mapping[str, str]:
        if self.ready is None:
            raise NotRunningError("lightrag-api has no ready pod")
        return self.ready

    def answer(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/metrics"
        if request.url.host not in self.answers:
            raise httpx.ReadError("it broke")
        return httpx.Response(self.answers[request.url.host], text=TEXT)


def test_every_replica_is_looked_at() -> None:
    assert Replicas("a", "b").scraper.scrape() == {"a": LOOK, "b": LOOK}
    assert Replicas().scraper.scrape() == {}


def test_one_that_is_not_ready_any_more_is_looked_at_again() -> None:
    replicas = Replicas("a", "b")
    replicas.scraper.scrape()
    replicas.ready = {"a": "http://a", "c": "http://c"}
    replicas.answers["c"] = 200
    assert replicas.scraper.scrape() == {"a": LOOK, "b": LOOK, "c": LOOK}


def test_what_does_not_answer_is_told_and_hides_no_other() -> None:
    replicas = Replicas("a", "b", "c")
    replicas.answers = {"a": 200, "b": 503}
    found = replicas.scraper.scrape()
    assert found == {
        "a": LOOK,
        "b": "it answered 503 to /metrics",
        "c": "its metrics could not be read: it broke",
    }


def test_that_they_cannot_be_listed_ends_no_run() -> None:
    replicas = Replicas("a")
    replicas.scraper.scrape()
    replicas.ready = None
    assert replicas.scraper.scrape() == {
        "lightrag-api": "its replicas could not be listed: lightrag-api has no ready pod",
        "a": LOOK,
    }
