"""Scrapes the metrics of every replica of lightrag-api, before and after a run. Network I/O."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx

from lightragctl.client import server_metrics
from lightragctl.client.server_metrics import MetricsSample, MetricsSamples
from lightragctl.core.errors import LightragctlError

_METRICS_S = 5.0

Replicas = Callable[[], Mapping[str, str]]
"""The addresses of the ready replicas by name; empty for targets without metrics."""


class MetricsScraper:
    """Scrapes every replica seen so far: one that is too busy to be ready has served requests too.

    Args:
        replicas: the addresses; called for each scrape, as replicas come and go.
        transport: an httpx transport, for tests.
    """

    def __init__(self, replicas: Replicas, transport: httpx.BaseTransport | None = None) -> None:
        self._replicas = replicas
        self._transport = transport
        self._known: dict[str, str] = {}

    def scrape(self) -> MetricsSamples:
        """A sample of each replica, scraped in parallel; never raises, so that a load test goes on."""
        unlisted = {}
        try:
            self._known.update(self._replicas())
        except LightragctlError as error:
            unlisted = {"lightrag-api": f"its replicas could not be listed: {error.message}"}
        if not self._known:
            return unlisted
        with ThreadPoolExecutor(len(self._known)) as threads:
            return {**unlisted, **dict(zip(self._known, threads.map(self._read, self._known.values()), strict=True))}

    def _read(self, address: str) -> MetricsSample | str:
        try:
            answer = _get(address, self._transport)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"its metrics could not be read: {str(error) or type(error).__name__}"
        return (
            server_metrics.parse(answer.text) if answer.is_success else f"it answered {answer.status_code} to /metrics"
        )


def read_metrics(address: str) -> str | None:
    """The metrics of the service at an address as text; None when it does not answer with them."""
    try:
        answer = _get(address, None)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    return answer.text if answer.is_success else None


def _get(address: str, transport: httpx.BaseTransport | None) -> httpx.Response:
    with httpx.Client(transport=transport, timeout=_METRICS_S, trust_env=False) as client:
        return client.get(_metrics_of(address))


def _metrics_of(address: str) -> str:
    """The metrics URL of a service, with the credentials of its address."""
    parts = urlsplit(address)
    return parts._replace(path=f"{parts.path.rstrip('/')}/metrics").geturl()
