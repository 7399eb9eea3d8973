"""lightrag-api as its clients see it: one search, and how many documents it holds. Does network I/O."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import httpx

from lightragctl.client.api import ApiClient, ApiError, StoredDocument
from lightragctl.core.errors import LightragctlError
from lightragctl.diagnose.collect.source import Collector, Source
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import DOCUMENTS, SEARCHED
from lightragctl.diagnose.lookup import chunks_name
from lightragctl.diagnose.model import DocumentCounts, Searched
from lightragctl.diagnose.text import redacted
from lightragctl.vectors.milvus import MilvusStore

_PROBE = "is anybody there?"
_SILENCE_S = 8.0


def read_search(source: Source, facts: Facts) -> None:
    """Put `SEARCHED`: the second of two searches, as the first opens connections. It is not recorded."""
    key = source.release.runtime.api_key()
    url = source.address("lightrag-api")
    with ApiClient(url, _SILENCE_S, api_key=key) as api:
        found = _searched(api)
        if found.status == httpx.codes.OK:
            found = _searched(api)
    facts.put(SEARCHED, replace(found, without_key=_without_key(source, url), key_given=key is not None))


def _without_key(source: Source, url: str) -> int:
    """What a client without a key is answered; 0 where nothing is."""
    try:
        return source.http.get(f"{url}/documents", params={"limit": 1}).status_code
    except httpx.HTTPError:
        return 0


def _searched(api: ApiClient) -> Searched:
    begin = time.monotonic()
    try:
        found = api.retrieve(_PROBE, top_k=5, recorded=False)
    except ApiError as error:
        return Searched(error.status, error.code, redacted(error.message), time.monotonic() - begin)
    except LightragctlError as error:
        return Searched(error=redacted(error.message), took_s=time.monotonic() - begin)
    took_s = round(time.monotonic() - begin, 4)
    return Searched(httpx.codes.OK, took_s=took_s, hits=len(found.hits), stages_ms=dict(found.timing_ms))


def read_documents(source: Source, facts: Facts) -> None:
    """Put `DOCUMENTS`: read before and after the rows are counted, as documents may be written meanwhile."""
    key = source.release.runtime.api_key()
    with ApiClient(source.address("lightrag-api"), _SILENCE_S, api_key=key) as api:
        before = _counts(api.list_documents(), source.now)
        rows = _rows(source)
        after = _counts(api.list_documents(), source.now)
    facts.put(DOCUMENTS, replace(after, rows=rows if before == after else None))


def _counts(documents: Sequence[StoredDocument], now: float) -> DocumentCounts:
    writing = [one for one in documents if one.state == "writing"]
    return DocumentCounts(
        total=len(documents),
        writing=len(writing),
        oldest_writing_s=max(0.0, now - min((one.updated_at for one in writing), default=now)),
        outdated=sum(not one.current for one in documents),
        chunks=sum(one.chunks for one in documents if one.state == "ready"),
    )


def _rows(source: Source) -> int | None:
    """Rows of the workspace's passages; None when the store does not tell."""
    try:
        with closing(MilvusStore(source.address("vector-engine"), _SILENCE_S)) as store:
            return store.row_count(chunks_name(source.deployed))
    except LightragctlError:
        return None


COLLECTORS = (
    Collector("search", (SEARCHED,), read_search, deadline_s=45.0, component="lightrag-api"),
    Collector("documents", (DOCUMENTS,), read_documents, deadline_s=30.0, component="lightrag-api"),
)
