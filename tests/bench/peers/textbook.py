"""The service that everybody writes first: FastAPI, httpx for the vector, AsyncMilvusClient for the search.

python -m tests.bench.peers.textbook PORT MILVUS_URI MODEL_URL COLLECTION
"""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel
from pymilvus import AsyncMilvusClient

PORT, MILVUS, MODEL, COLLECTION = sys.argv[1:5]


class Question(BaseModel):
    query: str
    top_k: int = 5


class Passage(BaseModel):
    id: str
    score: float
    text: str
    source: str


class Answer(BaseModel):
    hits: list[Passage]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    app.state.http = httpx.AsyncClient(base_url=MODEL)
    app.state.milvus = AsyncMilvusClient(MILVUS)
    yield
    await app.state.milvus.close()
    await app.state.http.aclose()


app = FastAPI(lifespan=lifespan)


@app.post("/retrieve")
async def retrieve(question: Question, request: Request) -> Answer:
    state: Any = request.app.state
    body = {"model": "mock", "input": [question.query]}
    vector = (await state.http.post("/v1/embeddings", json=body)).json()["data"][0]["embedding"]
    (hits,) = await state.milvus.search(
        COLLECTION,
        [vector],
        limit=question.top_k,
        output_fields=["content", "file_path"],
        search_params={"metric_type": "COSINE", "params": {"ef": 64}},
        timeout=10,
    )
    return Answer(
        hits=[
            Passage(
                id=hit["id"], score=hit["distance"], text=hit["entity"]["content"], source=hit["entity"]["file_path"]
            )
            for hit in hits
        ]
    )


if __name__ == "__main__":
    uvicorn.run(app, port=int(PORT), access_log=False, log_level="warning")
