"""Embedding client of the tool, for any OpenAI-compatible endpoint. Sync; does network I/O.

lightrag-api has an async client of its own (`service.model_clients`), which the tool does not load.
"""

from collections.abc import Callable, Sequence

import httpx
import numpy as np
from pydantic import BaseModel, ValidationError

from lightragctl.core.errors import LightragctlError, UnavailableError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.settings import EmbeddingModel
from lightragctl.vectors.model import FloatArray

_BATCH = 32
"""Texts of one call; what lightrag-api sends at most by default."""
_QUOTED_CHARS = 300
_STATUS_HINT = Hint("see: ", Command("status"))


class _Vector(BaseModel):
    index: int
    embedding: list[float]


class _Answer(BaseModel):
    data: list[_Vector]


class QuestionEmbedder:
    """Embeds queries as lightrag-api does: with the model's query prefix.

    Args:
        base_url: of the endpoint without `/v1`, such as model-gateway's.
        model: name, dimension and prefix.
        timeout_s: the longest silence of the endpoint that is waited out.
        transport: another way to send requests, for tests.
        api_key: sent as a bearer token; None: the endpoint requires none.
    """

    def __init__(
        self,
        base_url: str,
        model: EmbeddingModel,
        timeout_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
        api_key: str | None = None,
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/v1/embeddings"
        self._model = model
        self._timeout_s = timeout_s
        self._transport = transport
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    def __call__(self, questions: Sequence[str], progress: Callable[[int], None] = lambda done: None) -> FloatArray:
        """Vectors of the questions, `(len(questions), dimension)`, in their order.

        Args:
            questions: without prefix.
            progress: told how many are done after each call to the endpoint.

        Raises:
            UnavailableError: the endpoint does not respond.
            LightragctlError: it refuses, or its answer cannot be used.
        """
        parts = [np.empty((0, self._model.dimension), np.float32)]
        with httpx.Client(
            timeout=self._timeout_s, transport=self._transport, headers=self._headers, trust_env=False
        ) as client:
            for begin in range(0, len(questions), _BATCH):
                batch = questions[begin : begin + _BATCH]
                parts.append(self._checked(self._asked(client, batch), len(batch)))
                progress(begin + len(batch))
        return np.concatenate(parts)

    def _texts(self, questions: Sequence[str]) -> list[str]:
        """What is sent. lightrag-api, too, strips a question before it embeds it: a space more is another vector."""
        return [self._model.query_prefix + text.replace("\0", " ").strip() for text in questions]

    def _asked(self, client: httpx.Client, questions: Sequence[str]) -> _Answer:
        try:
            response = client.post(self._url, json={"model": self._model.name, "input": self._texts(questions)})
        except httpx.TransportError as error:
            cause = str(error) or type(error).__name__
            raise UnavailableError(
                f"the embedding model at {self._url} does not respond: {cause}", _STATUS_HINT
            ) from error
        if response.is_error:
            text = " ".join(response.text.split())[:_QUOTED_CHARS]
            raise LightragctlError(f"{self._url} responded with {response.status_code}: {text}", _STATUS_HINT)
        try:
            return _Answer.model_validate_json(response.content)
        except ValidationError as error:
            raise self._wrong("an answer that is not in OpenAI's shape") from error

    def _checked(self, answer: _Answer, count: int) -> FloatArray:
        items = sorted(answer.data, key=lambda item: item.index)
        if [item.index for item in items] != list(range(count)):
            raise self._wrong(f"{len(items)} vectors for {count} texts")
        for item in items:
            if len(item.embedding) != self._model.dimension:
                raise self._wrong(f"{len(item.embedding)} dimensions where {self._model.dimension} are expected")
        vectors = np.array([item.embedding for item in items], np.float32)
        if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            raise self._wrong("a vector that has no direction: zeros, NaN or infinity")
        return vectors

    def _wrong(self, what: str) -> LightragctlError:
        message = f"the embedding model {self._model.name} at {self._url} gave {what}"
        return LightragctlError(message, "do name and dimension in models.embedding fit the endpoint's model?")


class PassageEmbedder(QuestionEmbedder):
    """Embeds stored texts as both write paths do: with the model's document prefix, and otherwise as they are."""

    def _texts(self, questions: Sequence[str]) -> list[str]:
        return [self._model.document_prefix + text for text in questions]
