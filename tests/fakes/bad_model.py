"""A model on loopback whose embeddings misbehave as they are told; the vectors of good answers know words."""

import asyncio
import threading
from typing import Any, Self

import msgspec
from aiohttp import web

from lightragctl.service.hashed_embeddings import hashed_vectors
from lightragctl.service.openai_schema import (
    CHAT_PATH,
    EMBEDDINGS_PATH,
    STREAM_END,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChatMessage,
    ChunkChoice,
    Delta,
    embeddings_body,
    event,
)

DIMENSION = 64


class BadModel:
    """Serves in a thread of its own from entering to leaving.

    Attributes:
        mood: `good`, `slow` (a second), `error` (500), `limit` (429, come again in 3 s), `hang`, `rubbish`, `short`
            (vectors of another dimension), `refuse` (400 for a text with the word poison).
        calls: the texts of each call so far.
    """

    def __init__(self) -> None:
        self.mood = "good"
        self.calls: list[list[str]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._runner is not None
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self.port}"

    async def _start(self) -> int:
        app = web.Application()
        app.router.add_post(EMBEDDINGS_PATH, self._embed)
        app.router.add_post(CHAT_PATH, self._chat)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def _chat(self, request: web.Request) -> web.Response:
        """Always the same, at once."""
        if (await request.json()).get("stream"):
            chunk = ChatChunk([ChunkChoice(Delta(content="As [1] says."), finish_reason="stop")], "words")
            text = event(msgspec.json.encode(chunk)) + event(STREAM_END)
            return web.Response(body=text, content_type="text/event-stream")
        completion = ChatCompletion([ChatChoice(ChatMessage("assistant", "As [1] says."))], "words")
        return web.Response(body=msgspec.json.encode(completion), content_type="application/json")

    async def _embed(self, request: web.Request) -> web.Response:
        asked: Any = await request.json()
        texts: list[str] = asked["input"]
        self.calls.append(texts)
        vectors = hashed_vectors(texts, DIMENSION)
        match self.mood:
            case "slow":
                await asyncio.sleep(1.0)
            case "hang":
                await asyncio.sleep(3600)
            case "error":
                return web.json_response({"error": {"message": "out of memory"}}, status=500)
            case "limit":
                return web.json_response({"error": {"message": "slower"}}, status=429, headers={"Retry-After": "3"})
            case "rubbish":
                return web.Response(text="<html>a proxy's page</html>", content_type="text/html")
            case "short":
                vectors = vectors[:, :32]
            case "refuse" if any("poison" in text for text in texts):
                return web.json_response({"error": {"message": "this input is refused"}}, status=400)
        return web.json_response(embeddings_body(vectors, "base64", "words", 1))
