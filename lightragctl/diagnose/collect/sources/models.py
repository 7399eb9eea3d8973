"""One small call to each model, through model-gateway, as lightrag-api makes them. Does network I/O."""

import math
import time
from typing import Any

import httpx

from lightragctl.diagnose.collect.source import Collector, Source
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import MODELS
from lightragctl.diagnose.model import Endpoint
from lightragctl.diagnose.text import redacted

_MODEL_S = 20.0
_URN = "urn:lightragctl:"


def read_models(source: Source, facts: Facts) -> None:
    """Put `MODELS`. The chat model is asked for one token."""
    release = source.deployed
    url = source.address("model-gateway")
    embedding = {"model": release.model, "input": [f"{release.query_prefix}test"]}
    chat = {"model": release.chat_model, "max_tokens": 1, "messages": [{"role": "user", "content": "test"}]}
    asked = Endpoint("embedding", release.model, release.embedding_at)
    spoken = Endpoint("chat", release.chat_model, release.chat_at)
    found = [_call(source, f"{url}/v1/embeddings", embedding, asked)]
    facts.put(MODELS, [*found, _call(source, f"{url}/v1/chat/completions", chat, spoken)])


def _call(source: Source, url: str, body: dict[str, Any], asked: Endpoint) -> Endpoint:
    begin = time.monotonic()

    def ended(**values: Any) -> Endpoint:
        took_s = round(time.monotonic() - begin, 4)
        return Endpoint(asked.kind, asked.model, asked.at, took_s=took_s, **values)

    try:
        answer = source.http.post(url, json=body, timeout=_MODEL_S)
    except httpx.TimeoutException:
        return ended(code="timeout", error=f"no answer within {_MODEL_S:g} s")
    except httpx.HTTPError as error:
        return ended(code="unreachable", error=redacted(str(error)))
    if not answer.is_success:
        return ended(status=answer.status_code, code=_code(answer))
    vector = _vector(answer) if asked.kind == "embedding" else []
    norm = math.sqrt(sum(value * value for value in vector))
    return ended(status=answer.status_code, dimension=len(vector), norm=round(norm, 4))


def _code(answer: httpx.Response) -> str:
    """The code of a problem; never its text, which may repeat what was sent."""
    try:
        document = answer.json()
    except ValueError:
        return ""
    if not isinstance(document, dict):
        return ""
    error = document.get("error")
    inner = error if isinstance(error, dict) else document
    return redacted(str(inner.get("code") or inner.get("type") or "").removeprefix(_URN), 60)


def _vector(answer: httpx.Response) -> list[float]:
    try:
        return [float(one) for one in answer.json()["data"][0]["embedding"]]
    except (ValueError, LookupError, TypeError):
        return []


COLLECTORS = (Collector("models", (MODELS,), read_models, deadline_s=45.0, component="model-gateway"),)
