"""Parses responses of OpenAI-compatible servers. Pure.

Servers differ harmlessly: fields are null or missing, texts come in parts. Only fields that we use are read. Some
servers report an error with status 200; it is detected here.
"""

import re
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from lightragctl.service.openai_schema import ChatChunk, ChunkChoice, Delta
from lightragctl.service.redaction import redacted

_QUOTED_CHARS = 300
"""Characters of an endpoint's error text that are quoted in our message."""

CUT_OFF = ("length", "max_tokens", "model_length", "content_filter")
"""Finish reasons that leave an answer incomplete."""

_ABOUT_KEYS = re.compile(r"api[_ -]?key|authenti|unauthori[sz]ed|\bsk-\w", re.IGNORECASE)
_KEY_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)
"""Errors whose text is about the key and often quotes part of it; a caller of ours has no such key to fix."""

_STATUS_OF_NAME = (
    ("rate_limit", HTTPStatus.TOO_MANY_REQUESTS),
    ("insufficient_quota", HTTPStatus.TOO_MANY_REQUESTS),
    ("invalid_request", HTTPStatus.BAD_REQUEST),
    ("context_length", HTTPStatus.BAD_REQUEST),
)


class Refusal(NamedTuple):
    """An error reported by an endpoint. `text` is empty if it may quote an API key."""

    status: int
    text: str


class EmbeddingItem(msgspec.Struct):
    """One vector of a response."""

    embedding: str | list[float]
    index: int | None = None


class EmbeddingsResponse(msgspec.Struct):
    """The response to an embeddings call."""

    data: list[EmbeddingItem]

    def in_order(self) -> list[str | list[float]]:
        """The vectors in the order of their texts; ValueError if the indexes are inconsistent."""
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
    """The response to a chat call, or one chunk of a stream."""

    choices: list[_Choice] | None = None
    model: Any = None
    id: Any = None
    created: Any = None

    @property
    def text(self) -> str:
        """The text that the model generated."""
        messages = [choice.message or choice.delta for choice in (self.choices or ())[:1]]
        return "".join(message.text for message in messages if message)

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped; None while the stream continues."""
        whole = [choice.finish_reason or ("stop" if choice.message else None) for choice in (self.choices or ())[:1]]
        return whole[0] if whole else None

    @property
    def is_truncated(self) -> bool:
        """Whether the text was cut off."""
        return self.finish_reason in CUT_OFF

    def chunk(self, role: str | None) -> ChatChunk:
        """The chunk in OpenAI's own shape."""
        choices = [ChunkChoice(Delta(role, self.text or None), 0, self.finish_reason)] if self.choices else []
        created = int(self.created) if isinstance(self.created, int | float) else 0
        return ChatChunk(choices, str(self.model or ""), str(self.id or ""), created=created)


def refusal_in(raw: bytes, status: int = HTTPStatus.OK) -> Refusal | None:
    """The error in a response, from its status or, with status 200, from its body; None if there is none."""
    document = _object(raw)
    error = document.get("error")
    if not error and document.get("object") == "error":
        error = document
    if status == HTTPStatus.OK:
        return _refusal(error, HTTPStatus.BAD_GATEWAY) if error else None
    return _refusal(error or document.get("message") or document.get("detail") or _text(raw), status)


def _refusal(error: Any, status: int) -> Refusal:
    """Status and text of an error; one that came with status 200 gets the status that its code or type stands for."""
    fields = error if isinstance(error, dict) else {"message": error}
    names = f"{fields.get('code') or ''} {fields.get('type') or ''}"
    text = fields.get("message") or fields.get("detail") or fields
    text = text if isinstance(text, str) else msgspec.json.encode(text).decode()
    if status == HTTPStatus.BAD_GATEWAY:
        status = _status_of(fields.get("code"), names)
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
    """The error fields of a JSON object; empty if `raw` is not one."""
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
