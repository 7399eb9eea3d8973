"""The search probe after `up`: waits until a search through the release succeeds. Network I/O."""

import threading
import time

from lightragctl.client.lightrag import DONE
from lightragctl.client.retry import RetryPolicy, RetryWait
from lightragctl.core.errors import NeedsAttentionError, NotRunningError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Event, Notify
from lightragctl.core.runtime import UpOutcome
from lightragctl.release.release import Release

_PROOF = "is anybody there?"
"""The query of the probe; it is not recorded."""
_LOADING_S = 60.0
"""How long a restarted Milvus may answer without collections that it is still loading; measured: up to 20 s."""


def prove_search(release: Release, outcome: UpOutcome, timeout_s: float, notify: Notify) -> float | None:
    """The duration of one search in milliseconds; None when the release has no lightrag-api."""

    def report(waiting: RetryWait) -> None:
        notify(Event(waiting.reason, "waiting", passing=True))

    if "lightrag-api" not in [part.name for part in outcome.status.components]:
        return None
    notify(Event("querying lightrag-api", "search probe", passing=True))
    begin = time.monotonic()
    retries = RetryPolicy(timeout_s, time.monotonic, threading.Event(), report)
    found = retries.call("a search", lambda sign: release.api.retrieve(_PROOF, top_k=1, recorded=False))
    took_ms = round((time.monotonic() - begin) * 1000, 1)
    if not found.hits:
        _refuse_empty_store(release, notify)
    return took_ms


def _refuse_empty_store(release: Release, notify: Notify) -> None:
    """Fail when lightrag-server knows documents but Milvus is empty.

    Raises:
        NeedsAttentionError: the vectors are lost.
    """
    try:
        target = release.lightrag(None)
    except NotRunningError:  # not ready yet; `status` reports it
        return
    known = [one for one in target.server.documents() if one.status == DONE] if target else []
    until_s = time.monotonic() + _LOADING_S
    while known and not release.api.retrieve(_PROOF, top_k=1, recorded=False).hits:
        if time.monotonic() > until_s:
            message = f"Milvus is empty: the vectors of {len(known)} documents of lightrag-server are lost"
            hint = Hint(
                "load the documents into a new release: ", Command("down", "--purge"), ", then `up` and `ingest`"
            )
            raise NeedsAttentionError(message, hint)
        notify(Event(f"waiting for Milvus to load the vectors of {len(known)} documents", "waiting", passing=True))
        time.sleep(1.0)
