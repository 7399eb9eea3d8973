"""lightrag-server: its health, its documents in numbers, what its pipeline does. Does network I/O."""

from datetime import datetime
from typing import Any

import httpx

from lightragctl.diagnose.collect.source import Collector, Source
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import LIGHTRAG
from lightragctl.diagnose.model import LightragState
from lightragctl.diagnose.text import redacted

_OPEN = ("pending", "processing", "preprocessed", "parsing", "analyzing")


def read_lightrag(source: Source, facts: Facts) -> None:
    """Put `LIGHTRAG`."""
    url = source.address("lightrag-server")
    key = source.release.runtime.api_key("lightrag-server")
    headers = {"X-API-Key": key} if key else {}
    try:
        health = source.http.get(f"{url}/health", headers=headers)
    except httpx.HTTPError as error:
        facts.put(LIGHTRAG, LightragState(error=redacted(str(error) or type(error).__name__)))
        return
    document = _json(health)
    configuration = _part(document, "configuration")
    counts, pipeline = _counts(source, url, headers), _json(_get(source, f"{url}/documents/pipeline_status", headers))
    anonymous = _get(source, f"{url}/documents/status_counts", {})
    dimension = configuration.get("embedding_dim")
    facts.put(
        LIGHTRAG,
        LightragState(
            status=health.status_code,
            version=str(document.get("core_version") or ""),
            workspace=str(configuration.get("workspace") or ""),
            auth=str(document.get("auth_mode") or ""),
            model=str(configuration.get("embedding_model") or ""),
            dimension=dimension if isinstance(dimension, int) else None,
            counts=counts,
            oldest_open_s=_oldest_open_s(source, url, headers) if any(counts.get(name) for name in _OPEN) else 0.0,
            busy=bool(pipeline.get("busy")),
            recovery=bool(pipeline.get("recovery_required")),
            without_key=anonymous.status_code if anonymous is not None else 0,
        ),
    )


def _get(source: Source, url: str, headers: dict[str, str]) -> httpx.Response | None:
    try:
        return source.http.get(url, headers=headers)
    except httpx.HTTPError:
        return None


def _json(answer: httpx.Response | None) -> dict[str, Any]:
    if answer is None or not answer.is_success:
        return {}
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _part(document: dict[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _counts(source: Source, url: str, headers: dict[str, str]) -> dict[str, int]:
    """Documents by state, as upstream counts them."""
    found = _part(_json(_get(source, f"{url}/documents/status_counts", headers)), "status_counts")
    return {str(name).lower(): count for name, count in found.items() if isinstance(count, int)}


def _oldest_open_s(source: Source, url: str, headers: dict[str, str]) -> float:
    """How long ago the document that waits longest was last touched."""
    asked = {"page": 1, "page_size": 50, "sort_field": "updated_at", "sort_direction": "asc"}
    try:
        page = _json(source.http.post(f"{url}/documents/paginated", json=asked, headers=headers))
    except httpx.HTTPError:
        return 0.0
    times = [
        _unix(str(one.get("updated_at") or ""))
        for one in page.get("documents") or ()
        if isinstance(one, dict) and str(one.get("status", "")).lower() in _OPEN
    ]
    return max((source.now - at for at in times if at), default=0.0)


def _unix(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


COLLECTORS = (Collector("lightrag-server", (LIGHTRAG,), read_lightrag, None, 20.0, "lightrag-server"),)
