"""What upstream's lightrag-server is started with, and whether it may start on the collections that are there. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lightragctl.core.errors import RefusedError, UsageError
from lightragctl.core.settings import EmbeddingModel, Index, LightragServerSettings
from lightragctl.vectors.control import KINDS, collection_name

NO_PREFIX = "NO_PREFIX"
"""What upstream wants to read where one of the two prefixes is empty."""

MOST_ERRORS = 2
SILENT_S = 120.0

PASSED_ON = frozenset(
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
"""Of our own environment. A `MILVUS_WORKSPACE` or an `AUTH_ACCOUNTS` of whoever typed `up` would change what it is."""

_UNUSED_KEY = "none"
"""model-gateway asks for no key, and upstream does not start without one."""

_GENERATION = re.compile(r"_g\d+$")
_MODEL = re.compile(r"_\d+d$")


class UnsafeStartError(RefusedError):
    """Upstream would start, and would mix or lose data."""

    code = "unsafe-start"


def environment(settings: LightragServerSettings, here: Path, api_key: str, added: Mapping[str, str]) -> dict[str, str]:
    """The environment of upstream's process; relative folders are below `here`. `added`: the profile's, resolved.

    Upstream takes nothing else: it reads no `.env` where there is none, and `WHITELIST_PATHS` lets nothing but /health
    pass without the key, where upstream's own default lets everybody ask through /api.

    Raises:
        UsageError: the profile's `environment` sets what follows from the rest of the profile.
    """
    ours = _ours(settings, here, api_key)
    twice = sorted(set(ours) & set(added))
    if twice:
        message = f"components.lightrag-server.environment sets {', '.join(twice)}, which follow from the profile"
        raise UsageError(message, "leave them out; see docs/guides/lightrag-server.md for the keys that set them")
    return {**added, **ours}


def passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """What of our own environment upstream may see."""
    return {name: value for name, value in environ.items() if name in PASSED_ON}


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
        "MILVUS_DB_NAME": "",  # Milvus 2.3 fails when it is asked for a database by name
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


def index_type(index: Index) -> str:
    """The profile's index in upstream's words: it knows no FLAT, and Milvus Lite makes one of AUTOINDEX."""
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


def _prefixes(model: EmbeddingModel) -> dict[str, str]:
    """Upstream heeds prefixes only where it is told that questions and passages are embedded otherwise."""
    if not (model.query_prefix or model.document_prefix):
        return {"EMBEDDING_ASYMMETRIC": "false"}
    return {
        "EMBEDDING_ASYMMETRIC": "true",
        "EMBEDDING_QUERY_PREFIX": model.query_prefix or NO_PREFIX,
        "EMBEDDING_DOCUMENT_PREFIX": model.document_prefix or NO_PREFIX,
    }


def check_collections(workspace: str, model: EmbeddingModel, names: Sequence[str], aliases: Mapping[str, str]) -> None:
    """Refuse a start on collections of another kind or model.

    Args:
        workspace: of the release.
        model: the one that is about to be used.
        names: the physical names of all collections there are.
        aliases: those of upstream's names of this workspace that are an alias, with what they stand for.

    Raises:
        UnsafeStartError: with the collection that is in the way.
    """
    if aliases or any(_GENERATION.search(name) for name in _of_workspace(workspace, names)):
        message = (
            f"workspace '{workspace}' was loaded through lightrag-api, whose collections lightrag-server must not touch"
        )
        hint = (
            "name another one with --set workspace=NAME and load the documents again, "
            "or go on without it: --set components.lightrag-server.enabled=false"
        )
        raise UnsafeStartError(message, hint)
    for kind in KINDS:
        wanted = collection_name(workspace, kind, model)
        if wanted in names:
            continue
        _check_missing(f"{workspace}_{kind}", wanted, names)


def _check_missing(legacy: str, wanted: str, names: Sequence[str]) -> None:
    """`wanted` will be made: empty, or by copying `legacy`, whose model nobody knows."""
    if legacy in names:
        raise UnsafeStartError(
            f"lightrag-server would copy the vectors of {legacy} into {wanted}, and nobody knows which model made them",
            "name another workspace with --set workspace=NAME, and load the documents again",
        )
    others = [name for name in names if name.startswith(f"{legacy}_") and _MODEL.search(name) and name != wanted]
    if others:
        raise UnsafeStartError(
            f"{wanted} is not there, and the documents were loaded with another model: {', '.join(sorted(others))}",
            "set models.embedding back to that model, or name another workspace and load the documents again",
        )


def _of_workspace(workspace: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if any(name.startswith(f"{workspace}_{kind}") for kind in KINDS)]


def query_error(status: int, document: object) -> str:
    """Why an answer to a query says that the server cannot answer; empty when it can. Nothing found is an answer."""
    if status != 200:
        detail = document.get("detail") if isinstance(document, dict) else None
        return f"a query was answered with {status}: {detail or 'no reason'}"
    told = document if isinstance(document, dict) else {}
    metadata = told.get("metadata") if isinstance(told.get("metadata"), dict) else {}
    if told.get("status") == "success" or (metadata or {}).get("failure_reason") == "no_results":
        return ""
    return f"a query failed: {told.get('message') or 'without a reason'}"


class UpstreamHealth:
    """Whether the server answers queries; `reason` is why not, empty when it does.

    Once it has answered, it takes two errors in a row, or silence for `SILENT_S`, to be unready: while documents are
    loaded, a question waits behind their passages for the one embedder.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answered_s: float | None = None
        self._errors = 0
        self.reason = "starting"

    @property
    def uncertain(self) -> bool:
        """Whether the last question was not answered."""
        return bool(self.reason or self._errors)

    def note(self, trouble: str) -> None:
        """An answer, or an error with its reason."""
        if not trouble:
            self._answered_s, self._errors, self.reason = self._clock(), 0, ""
            return
        self._errors += 1
        if self._answered_s is None or self._errors >= MOST_ERRORS:
            self.reason = trouble

    def note_slow(self, waited_s: float) -> None:
        """No answer within this time."""
        if self._answered_s is None or self._clock() - self._answered_s > SILENT_S:
            self.reason = f"a query was not answered within {waited_s:g} s"
