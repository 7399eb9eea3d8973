"""One small call to each model, through model-gateway, as lightrag-api makes them. Does network I/O."""

import base64
import math
import time
from typing import Any

import httpx
import numpy as np

from lightragctl.diagnose.collect.source import Collector, Source
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import MODELS
from lightragctl.diagnose.model import FOREIGN, Endpoint
from lightragctl.diagnose.signatures import count_signs
from lightragctl.vectors.model import FloatArray

_MODEL_S = 20.0
_URN = "urn:lightragctl:"
KNOWN_CODES = frozenset(
    (
        "upstream_key", "upstream_unreachable", "upstream_broken", "upstream_timeout", "concurrency-limit",
        "breaker-open", "not-ready", "too-large", "too-many-connections", "body-memory",
        "invalid-json", "invalid-value", "internal-error",
        "invalid_api_key", "model_not_found", "context_length_exceeded", "rate_limit_exceeded", "insufficient_quota",
        "billing_hard_limit_reached", "billing_not_active", "invalid_request_error", "server_error", "not_found_error",
        "authentication_error", "permission_error", "rate_limit_error", "api_error", "overloaded_error",
    )
)  # fmt: skip
"""Codes of errors that are kept: our own, and those of OpenAI's API and servers like it. Others are free text of a
foreign server, which may repeat what was sent."""
OTHER_CODE = "unknown-code"
_THROUGH = " through the proxy "
"""In messages of model-gateway about an endpoint that it reaches by a proxy."""


def read_models(source: Source, facts: Facts) -> None:
    """Put `MODELS`; not when model-gateway itself does not answer. The chat model generates one token."""
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
    if not answer.is_success:
        return ended(status=answer.status_code, code=_code(answer), cause=_cause(answer))
    return ended(status=answer.status_code, **_measured(answer, asked.kind))


def _measured(answer: httpx.Response, kind: str) -> dict[str, Any]:
    """What an answer of status 200 holds; another answer than the OpenAI API's has the code `FOREIGN`."""
    if kind != "embedding":
        return {} if _has(answer, "choices") else {"code": FOREIGN}
    if not _has(answer, "data"):
        return {"code": FOREIGN}
    vector = vector_of(answer)
    norm = float(np.linalg.norm(vector))
    return {"dimension": len(vector), "norm": norm if math.isfinite(norm) else 0.0}


def _has(answer: httpx.Response, key: str) -> bool:
    try:
        document = answer.json()
    except ValueError:
        return False
    return isinstance(document, dict) and isinstance(document.get(key), list)


def _cause(answer: httpx.Response) -> str:
    """The known error in the text of a problem, by name."""
    if _THROUGH in answer.text:
        return "proxy"
    return next(iter(count_signs([answer.text])), "")


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
    code = str(inner.get("code") or inner.get("type") or "").removeprefix(_URN)
    return code if code in KNOWN_CODES else OTHER_CODE if code else ""


def vector_of(answer: httpx.Response) -> FloatArray:
    """The vector of an answer, as numbers or in base64; without elements when it holds none."""
    try:
        found = answer.json()["data"][0]["embedding"]
        if isinstance(found, str):
            return np.frombuffer(base64.b64decode(found), dtype=np.float32)
        return np.asarray(found, dtype=np.float32)
    except (ValueError, LookupError, TypeError):
        return np.zeros(0, dtype=np.float32)


COLLECTORS = (Collector("models", (MODELS,), read_models, deadline_s=45.0, component="model-gateway"),)
