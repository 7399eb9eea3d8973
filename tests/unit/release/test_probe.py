"""The search that proves that a release serves: as a client would, through lightrag-api."""

from typing import cast

import httpx
import pytest

from lightragctl.client.api import ApiClient, ApiError
from lightragctl.core.result import Event
from lightragctl.core.runtime import ComponentStatus, ReleaseRuntime, ReleaseStatus, State, UpOutcome
from lightragctl.release.probe import prove_search
from lightragctl.release.release import Release, ReleaseOptions

EMPTY = {"workspace": "default", "collection": "c", "hits": []}


class WithoutLightrag:
    """A runtime whose release has no lightrag-server."""

    def components(self) -> tuple[str, ...]:
        return ("lightrag-api",)


class Served:
    """A release whose lightrag-api gives these answers, one after the other."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.events: list[Event] = []
        self.release = Release(ReleaseOptions(), {})
        self.release.runtime = cast(ReleaseRuntime, WithoutLightrag())
        self.release.api = ApiClient("http://api", 1.0, transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answers.pop(0)

    def prove(self, *components: str) -> float | None:
        parts = tuple(ComponentStatus(name, State.READY, "") for name in components)
        status = ReleaseStatus("local", "local", "local", parts, data="")
        return prove_search(self.release, UpOutcome((), status), 5.0, self.events.append)


def test_one_search_that_is_not_recorded_proves_it() -> None:
    served = Served(httpx.Response(200, json=EMPTY))
    took_ms = served.prove("vector-engine", "lightrag-api")
    assert took_ms is not None
    assert took_ms >= 0
    assert [request.headers["X-Record"] for request in served.requests] == ["no"]
    assert [event.passing for event in served.events] == [True]


def test_a_release_without_the_api_is_not_searched() -> None:
    served = Served()
    assert served.prove("embedder") is None
    assert not served.requests


def test_one_that_is_busy_is_searched_again_and_says_so() -> None:
    busy = httpx.Response(503, headers={"Retry-After": "0"}, json={"detail": "a collection is being loaded"})
    served = Served(busy, httpx.Response(200, json=EMPTY))
    assert served.prove("lightrag-api") is not None
    assert "a collection is being loaded" in [event.message for event in served.events]


def test_one_that_says_no_is_an_error_at_once() -> None:
    served = Served(httpx.Response(401, json={"detail": "no key"}))
    with pytest.raises(ApiError, match="no key"):
        served.prove("lightrag-api")
