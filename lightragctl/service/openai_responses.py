"""Reading what OpenAI-like servers answer. Pure.

Servers differ harmlessly: fields are null or left out, `index` is missing, texts come in parts. Only what is used is
read, so that the rest may be as it likes. Some tell an error with status 200; it is found here.
"""

import re
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from lightragctl.service.openai_schema import ChatChunk, ChunkChoice, Delta
from lightragctl.service.redaction import redacted

_QUOTED_CHARS = 300
"""How much of an endpoint's error text goes into ours."""

CUT_OFF = ("length", "max_tokens", "model_length", "content_filter")
"""Reasons to end that leave an answer incomplete."""

_ABOUT_KEYS = re.compile(r"api[_ -]?key|authenti|unauthori[sz]ed|\bsk-\w", re.IGNORECASE)
_KEY_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)
"""Their text is about the key, often quotes it in part, and is of no use to a caller, who has no key to fix."""

_STATUS_OF_NAME = (
    ("rate_limit", HTTPStatus.TOO_MANY_REQUESTS),
    ("insufficient_quota", HTTPStatus.TOO_MANY_REQUESTS),
    ("invalid_request", HTTPStatus.BAD_REQUEST),
    ("context_length", HTTPStatus.BAD_REQUEST),
)


class Refusal(NamedTuple):
    """An error that an endpoint tells. `text` is empty where it may quote an API key."""

    status: int
    text: str


class EmbeddingItem(msgspec.Struct):
    """One vector of an answer."""

    embedding: str | list[float]
    index: int | None = None


class EmbeddingsResponse(msgspec.Struct):
    """An answer to an embeddings call."""

    data: list[EmbeddingItem]

    def in_order(self) -> list[str | list[float]]:
        """The vectors in the order of their texts; ValueError when that is not sure."""
        indexes = [one.index for one in self.data]
        if all(index is None for index in indexes):
            return [one.embedding for one in self.data]
        by_index = {one.index: one.embedding for one in self.data}
        if set(indexes) != set(range(len(self.data))):
            raise ValueError(f"vectors with the indexes {indexes[:10]}")
        return [by_index[index] for index in range(len(self.data))]


class _Part(msgspec.Struct):
    text: str | None = None


class _Message(msgspec.Struct):
    content: str | list[str | _Part] | None = None
    refusal: str | None = None

    @property
    def text(self) -> str:
        content = self.content
        if isinstance(content, list):
            content = "".join(part if isinstance(part, str) else part.text or "" for part in content)
        return content or self.refusal or ""


class _Choice(msgspec.Struct):
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None


class ChatResponse(msgspec.Struct):
    """An answer to a chat call, or one piece of it."""

    choices: list[_Choice] | None = None
    model: Any = None
    id: Any = None
    created: Any = None

    @property
    def text(self) -> str:
        """What the model wrote."""
        said = [choice.message or choice.delta for choice in (self.choices or ())[:1]]
        return "".join(message.text for message in said if message)

    @property
    def finish_reason(self) -> str | None:
        """Why the model ended; None while it goes on."""
        whole = [choice.finish_reason or ("stop" if choice.message else None) for choice in (self.choices or ())[:1]]
        return whole[0] if whole else None

    @property
    def is_truncated(self) -> bool:
        """Whether the model was stopped before its end."""
        return self.finish_reason in CUT_OFF

    def chunk(self, role: str | None) -> ChatChunk:
        """The piece in OpenAI's own shape."""
        choices = [ChunkChoice(Delta(role, self.text or None), 0, self.finish_reason)] if self.choices else []
        created = int(self.created) if isinstance(self.created, int | float) else 0
        return ChatChunk(choices, str(self.model or ""), str(self.id or ""), created=created)


def refusal_in(raw: bytes, status: int = HTTPStatus.OK) -> Refusal | None:
    """The error that an answer tells, by its status or, with status 200, in its body; None when it tells none."""
    document = _object(raw)
    error = document.get("error")
    if not error and document.get("object") == "error":
        error = document
    if status == HTTPStatus.OK:
        return _refusal(error, HTTPStatus.BAD_GATEWAY) if error else None
    return _refusal(error or document.get("message") or document.get("detail") or _text(raw), status)


def _refusal(error: Any, status: int) -> Refusal:
    """What an error says; one that told no error by its status gets the one that its code or type stands for."""
    told = error if isinstance(error, dict) else {"message": error}
    names = f"{told.get('code') or ''} {told.get('type') or ''}"
    text = told.get("message") or told.get("detail") or told
    text = text if isinstance(text, str) else msgspec.json.encode(text).decode()
    if status == HTTPStatus.BAD_GATEWAY:
        status = _status_of(told.get("code"), names)
    is_secret = status in _KEY_REFUSED or _ABOUT_KEYS.search(f"{names} {text}")
    text = redacted(text.encode("utf-8", "replace")).decode()
    return Refusal(status, "" if is_secret else " ".join(text.split())[:_QUOTED_CHARS])


def _status_of(code: Any, names: str) -> int:
    number = int(code) if isinstance(code, int) or (isinstance(code, str) and code.isdecimal()) else 0
    if HTTPStatus.BAD_REQUEST <= number < 600:
        return number
    if re.search(r"api_key|authenti", names):
        return HTTPStatus.UNAUTHORIZED
    return next((status for name, status in _STATUS_OF_NAME if name in names), HTTPStatus.BAD_GATEWAY)


def _object(raw: bytes) -> dict[str, Any]:
    """The JSON object, with what is not looked at left out; empty when it is none."""
    try:
        found = msgspec.json.decode(raw, type=_ErrorFields)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return msgspec.structs.asdict(found)


class _ErrorFields(msgspec.Struct):
    error: Any = None
    message: Any = None
    detail: Any = None
    object: Any = None
    code: Any = None
    type: Any = None


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
