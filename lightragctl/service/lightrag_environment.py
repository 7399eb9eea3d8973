"""The environment of upstream's lightrag-server, and the safety checks before it starts. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lightragctl.core.errors import RefusedError, UsageError
from lightragctl.core.settings import EmbeddingModel, Index, LightragServerSettings
from lightragctl.vectors.applied import AppliedIndex
from lightragctl.vectors.control import KINDS, collection_name

NO_PREFIX = "NO_PREFIX"
"""Upstream's value for an empty prefix."""

MOST_ERRORS = 2
SILENT_S = 120.0

INHERITED = frozenset(
    [
        "PATH",
        "LANG",
        "LC_ALL",
        "TZ",
        "TMPDIR",
        "LD_LIBRARY_PATH",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTPS_PROXY",
        "https_proxy",
        "PYTHONUNBUFFERED",
        "PYTHONDONTWRITEBYTECODE",
        "TIKTOKEN_CACHE_DIR",
    ]
)
"""Variables inherited from our own environment. A user's `MILVUS_WORKSPACE` or `AUTH_ACCOUNTS` must not leak in."""

_UNUSED_KEY = "none"
"""model-gateway requires no key, but upstream does not start without one."""

_GENERATION = re.compile(r"_g\d+$")
_MODEL = re.compile(r"_\d+d$")


class UnsafeStartError(RefusedError):
    """Upstream would start, and mix or lose data."""

    code = "unsafe-start"


def environment(settings: LightragServerSettings, here: Path, api_key: str, added: Mapping[str, str]) -> dict[str, str]:
    """The environment of upstream's process.

    Upstream reads no other configuration: there is no `.env`. `WHITELIST_PATHS` exempts only /health from the API key;
    upstream's default also exempts /api.

    Args:
        settings: of lightrag-server.
        here: relative folders are below it.
        api_key: of lightrag-server; empty without one.
        added: variables of the profile, with secrets resolved.

    Raises:
        UsageError: the profile's `environment` sets a variable that is derived from the rest of the profile.
    """
    ours = _ours(settings, here, api_key)
    twice = sorted(set(ours) & set(added))
    if twice:
        message = f"components.lightrag-server.environment sets {', '.join(twice)}, which other keys of the profile set"
        raise UsageError(message, "remove them; docs/guides/lightrag-server.md lists the keys that set them")
    return {**added, **ours}


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of our own environment that upstream inherits."""
    return {name: value for name, value in environ.items() if name in INHERITED}


def _ours(settings: LightragServerSettings, here: Path, api_key: str) -> dict[str, str]:
    tuning, model = settings.tuning, settings.embedding
    scratch = here / settings.scratch
    return {
        "HOST": settings.host,
        "PORT": str(settings.lightrag_port),
        "WORKERS": str(tuning.workers),
        "WORKSPACE": settings.workspace,
        "WORKING_DIR": str(here / settings.storage),
        "INPUT_DIR": str(here / settings.inputs),
        "LOG_DIR": str(scratch),
        "HOME": str(scratch),
        "WHITELIST_PATHS": "/health",
        **({"LIGHTRAG_API_KEY": api_key} if api_key else {}),
        "LIGHTRAG_VECTOR_STORAGE": "MilvusVectorDBStorage",
        "MILVUS_URI": settings.vector_engine_uri,
        "MILVUS_DB_NAME": "",  # Milvus 2.3 fails on a database name
        **_index(settings.index),
        "LLM_BINDING": "openai",
        "LLM_BINDING_HOST": f"{settings.gateway_url}/v1",
        "LLM_BINDING_API_KEY": _UNUSED_KEY,
        "LLM_MODEL": settings.chat_model,
        "LLM_TIMEOUT": str(tuning.llm_timeout_s),
        "EMBEDDING_BINDING": "openai",
        "EMBEDDING_BINDING_HOST": f"{settings.gateway_url}/v1",
        "EMBEDDING_BINDING_API_KEY": _UNUSED_KEY,
        "EMBEDDING_MODEL": model.name,
        "EMBEDDING_DIM": str(model.dimension),
        **_prefixes(model),
        "EMBEDDING_TIMEOUT": str(tuning.embedding_timeout_s),
        "CHUNK_SIZE": str(tuning.chunk_tokens),
        "CHUNK_OVERLAP_SIZE": str(tuning.chunk_overlap_tokens),
        "MAX_ASYNC_LLM": str(tuning.llm_in_flight),
        "EMBEDDING_FUNC_MAX_ASYNC": str(tuning.embedding_in_flight),
        "MAX_PARALLEL_INSERT": str(tuning.parallel_documents),
        "MAX_GLEANING": str(tuning.gleaning),
        "COSINE_THRESHOLD": str(tuning.cosine_threshold),
    }


_TUNED = {
    "M": "MILVUS_HNSW_M",
    "efConstruction": "MILVUS_HNSW_EF_CONSTRUCTION",
    "ef": "MILVUS_HNSW_EF",
    "nlist": "MILVUS_IVF_NLIST",
    "nprobe": "MILVUS_IVF_NPROBE",
}


def index_type(index: Index) -> str:
    """Upstream's name of the index type: it has no FLAT, which Milvus Lite builds for AUTOINDEX."""
    return "AUTOINDEX" if index.type == "FLAT" else index.type


def _index(index: Index) -> dict[str, str]:
    return {
        "MILVUS_INDEX_TYPE": index_type(index),
        "MILVUS_METRIC_TYPE": index.metric,
        "MILVUS_HNSW_M": str(index.m),
        "MILVUS_HNSW_EF_CONSTRUCTION": str(index.ef_construction),
        "MILVUS_HNSW_EF": str(index.ef),
        "MILVUS_IVF_NLIST": str(index.nlist),
        "MILVUS_IVF_NPROBE": str(index.nprobe),
    }


def tuned_environment(index: AppliedIndex) -> dict[str, str]:
    """The variables of an index that was rebuilt or searched otherwise than the profile says.

    Upstream builds missing collections by them, and searches all by them.
    """
    given = {**index.build, **index.search}
    named = {name: str(given[key]) for key, name in _TUNED.items() if key in given}
    return {"MILVUS_INDEX_TYPE": index.index_type, "MILVUS_METRIC_TYPE": index.metric, **named}


def _prefixes(model: EmbeddingModel) -> dict[str, str]:
    """Upstream applies prefixes only if asymmetric embedding is on."""
    if not (model.query_prefix or model.document_prefix):
        return {"EMBEDDING_ASYMMETRIC": "false"}
    return {
        "EMBEDDING_ASYMMETRIC": "true",
        "EMBEDDING_QUERY_PREFIX": model.query_prefix or NO_PREFIX,
        "EMBEDDING_DOCUMENT_PREFIX": model.document_prefix or NO_PREFIX,
    }


def check_collections(workspace: str, model: EmbeddingModel, names: Sequence[str], aliases: Mapping[str, str]) -> None:
    """Refuse to start on collections of another owner or model.

    Args:
        workspace: of the release.
        model: the configured embedding model.
        names: the physical names of all collections.
        aliases: upstream's collection names of this workspace that are aliases, with their targets.

    Raises:
        UnsafeStartError: names the conflicting collection.
    """
    if aliases or any(_GENERATION.search(name) for name in _of_workspace(workspace, names)):
        message = f"workspace '{workspace}' was loaded through lightrag-api, and lightrag-server must not write to it"
        hint = (
            "use another workspace (--set workspace=NAME) and load the documents again, "
            "or disable lightrag-server (--set components.lightrag-server.enabled=false)"
        )
        raise UnsafeStartError(message, hint)
    for kind in KINDS:
        wanted = collection_name(workspace, kind, model)
        if wanted in names:
            continue
        _check_missing(f"{workspace}_{kind}", wanted, names)


def _check_missing(legacy: str, wanted: str, names: Sequence[str]) -> None:
    """Upstream would create `wanted`: empty, or as a copy of `legacy`, whose model is unknown."""
    if legacy in names:
        raise UnsafeStartError(
            f"lightrag-server would copy the vectors of {legacy}, whose embedding model is unknown, into {wanted}",
            "use another workspace (--set workspace=NAME) and load the documents again",
        )
    others = [name for name in names if name.startswith(f"{legacy}_") and _MODEL.search(name) and name != wanted]
    if others:
        raise UnsafeStartError(
            f"{wanted} does not exist, and the documents were loaded with another model: {', '.join(sorted(others))}",
            "set models.embedding back to that model, or use another workspace and load the documents again",
        )


def _of_workspace(workspace: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if any(name.startswith(f"{workspace}_{kind}") for kind in KINDS)]


def query_error(status: int, document: object) -> str:
    """Why a query failed, from its response; empty on success. An empty result is a success."""
    if status != 200:
        detail = document.get("detail") if isinstance(document, dict) else None
        return f"a query got status {status}: {detail or 'no reason given'}"
    response = document if isinstance(document, dict) else {}
    metadata = response.get("metadata") if isinstance(response.get("metadata"), dict) else {}
    if response.get("status") == "success" or (metadata or {}).get("failure_reason") == "no_results":
        return ""
    return f"a query failed: {response.get('message') or 'no reason given'}"


class UpstreamHealth:
    """Readiness of upstream's server; `reason` is why it is not ready, empty if it is.

    After its first success, two errors in a row or `SILENT_S` without a response make it unready: during ingestion, a
    query waits behind the passages for the embedder.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answered_s: float | None = None
        self._errors = 0
        self.reason = "starting"

    @property
    def uncertain(self) -> bool:
        """Whether the last query failed."""
        return bool(self.reason or self._errors)

    def note(self, trouble: str) -> None:
        """Record a response: empty, or the reason of an error."""
        if not trouble:
            self._answered_s, self._errors, self.reason = self._clock(), 0, ""
            return
        self._errors += 1
        if self._answered_s is None or self._errors >= MOST_ERRORS:
            self.reason = trouble

    def note_slow(self, waited_s: float) -> None:
        """Record a query without a response within `waited_s`."""
        if self._answered_s is None or self._clock() - self._answered_s > SILENT_S:
            self.reason = f"no response to a query within {waited_s:g} s"
