"""The subset of OpenAI's schemas that we use, vectors in base64, and the RAG prompt shared with mock-llm. Pure."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from lightragctl.vectors.model import FloatArray

EMBEDDINGS_PATH = "/v1/embeddings"
CHAT_PATH = "/v1/chat/completions"
MODELS_PATH = "/v1/models"

_FLOAT32 = np.dtype("<f4")
"""OpenAI's base64 vectors are little-endian float32."""


class EmbeddingsRequest(msgspec.Struct):
    """Body of POST /v1/embeddings. Unknown fields are ignored, since OpenAI's clients send many."""

    model: str
    input: str | list[str]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None

    def texts(self) -> list[str]:
        """The inputs, always as a list."""
        return [self.input] if isinstance(self.input, str) else self.input


class Embedding(msgspec.Struct):
    """One vector of a response."""

    index: int
    embedding: str | list[float]
    object: str = "embedding"


class Usage(msgspec.Struct):
    """Token usage of a call."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class EmbeddingsAnswer(msgspec.Struct):
    """Response of POST /v1/embeddings."""

    data: list[Embedding]
    model: str = ""
    object: str = "list"
    usage: Usage | None = None


class ChatMessage(msgspec.Struct):
    """One message; plain text only."""

    role: str
    content: str | None = None


class ChatRequest(msgspec.Struct):
    """Body of POST /v1/chat/completions."""

    model: str
    messages: list[ChatMessage]
    stream: bool = False


class ChatChoice(msgspec.Struct):
    """One choice of the model."""

    message: ChatMessage
    index: int = 0
    finish_reason: str | None = "stop"


class ChatCompletion(msgspec.Struct):
    """Response of POST /v1/chat/completions."""

    choices: list[ChatChoice]
    model: str = ""
    id: str = ""
    object: str = "chat.completion"
    created: int = 0
    usage: Usage | None = None


class Delta(msgspec.Struct, omit_defaults=True):
    """What a chunk adds to the message."""

    role: str | None = None
    content: str | None = None


class ChunkChoice(msgspec.Struct):
    """A chunk of one choice; the last has `finish_reason`."""

    delta: Delta
    index: int = 0
    finish_reason: str | None = None


class ChatChunk(msgspec.Struct):
    """One event of a streamed chat completion."""

    choices: list[ChunkChoice]
    model: str = ""
    id: str = ""
    object: str = "chat.completion.chunk"
    created: int = 0


STREAM_END = b"[DONE]"
"""The data of the last event of a stream."""


class ModelCard(msgspec.Struct):
    """One model of GET /v1/models."""

    id: str
    owned_by: str = "lightragctl"
    object: str = "model"


class ModelList(msgspec.Struct):
    """Response of GET /v1/models."""

    data: list[ModelCard]
    object: str = "list"


def event(data: bytes) -> bytes:
    """A server-sent event."""
    return b"data: %b\n\n" % data


def embeddings_body(vectors: FloatArray, encoding: str, model: str, tokens: int) -> dict[str, Any]:
    """The response to an embeddings call, as plain data; `tokens` is the number that the model read."""
    if encoding == "base64":
        encoded: list[Any] = [base64.b64encode(row.astype(_FLOAT32, copy=False).tobytes()).decode() for row in vectors]
    else:
        encoded = vectors.tolist()
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": one} for i, one in enumerate(encoded)],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def vector_of(encoded: str | Sequence[float]) -> FloatArray:
    """A vector from base64 or from numbers; ValueError for anything else."""
    if not isinstance(encoded, str):
        return np.asarray(encoded, dtype=np.float32)
    try:
        raw = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
    return np.frombuffer(raw, dtype=_FLOAT32)


def prompt(question: str, passages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The prompt for an answer from passages; each passage has `source` and `text`.

    Passages are numbered from 1 and the answer cites them as `[1]`.
    """
    rules = (
        "Answer the question from the passages alone, in the language of the question. "
        "After each statement cite its passage as [1], [2]. "
        "If the passages do not hold the answer, say so."
    )
    numbered = "\n\n".join(f"[{n}] ({one['source']}) {one['text']}" for n, one in enumerate(passages, start=1))
    content = f"Question: {question}\n\nPassages:\n{numbered}"
    return [{"role": "system", "content": rules}, {"role": "user", "content": content}]
