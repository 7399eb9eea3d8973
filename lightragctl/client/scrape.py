"""Looks at the metrics of every replica of lightrag-api, at the borders of a run. Does network I/O."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx

from lightragctl.client import server_metrics
from lightragctl.client.server_metrics import MetricsSample, MetricsSamples
from lightragctl.core.errors import LightragctlError

_METRICS_S = 5.0

Replicas = Callable[[], Mapping[str, str]]
"""The addresses of the replicas that are ready now, by name; none where nothing tells of itself."""


class MetricsScraper:
    """Looks again at every replica that it has ever seen: one that is too busy to be ready has done its part.

    Args:
        replicas: where to look; asked at each look, as replicas come and go.
        transport: another way to send requests, for tests.
    """

    def __init__(self, replicas: Replicas, transport: httpx.BaseTransport | None = None) -> None:
        self._replicas = replicas
        self._transport = transport
        self._known: dict[str, str] = {}

    def scrape(self) -> MetricsSamples:
        """What each says, all asked at the same time; never raises, as the load is what matters."""
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
            with httpx.Client(transport=self._transport, timeout=_METRICS_S, trust_env=False) as client:
                answer = client.get(_metrics_of(address))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"its metrics were not given: {str(error) or type(error).__name__}"
        return (
            server_metrics.parse(answer.text) if answer.is_success else f"it answered {answer.status_code} to /metrics"
        )


def _metrics_of(address: str) -> str:
    """Where a service tells its metrics: below its address, with the credentials of that."""
    parts = urlsplit(address)
    return parts._replace(path=f"{parts.path.rstrip('/')}/metrics").geturl()
