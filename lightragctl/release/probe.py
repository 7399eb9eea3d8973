"""The proof that a release serves: a search through it is answered. Waits; does network I/O through its clients."""

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
"""What `up` asks to prove that a search is answered; nobody's question, so that it is not recorded."""
_LOADING_S = 60.0
"""How long a Milvus that was started again may answer without what it is still loading; up to 20 s were measured."""


def prove_search(release: Release, outcome: UpOutcome, timeout_s: float, notify: Notify) -> float | None:
    """Search once, as a client would; milliseconds, or None when the release has no lightrag-api."""

    def tell(waiting: RetryWait) -> None:
        notify(Event(waiting.reason, "waiting", passing=True))

    if "lightrag-api" not in [part.name for part in outcome.status.components]:
        return None
    notify(Event("asking lightrag-api", "searching", passing=True))
    begin = time.monotonic()
    retries = RetryPolicy(timeout_s, time.monotonic, threading.Event(), tell)
    found = retries.call("a search", lambda sign: release.api.retrieve(_PROOF, top_k=1, recorded=False))
    took_ms = round((time.monotonic() - begin) * 1000, 1)
    if not found.hits:
        _refuse_empty_store(release, notify)
    return took_ms


def _refuse_empty_store(release: Release, notify: Notify) -> None:
    """Stop where lightrag-server knows documents and no passage is found: Milvus has lost them.

    Raises:
        NeedsAttentionError: so it is.
    """
    try:
        target = release.lightrag(None)
    except NotRunningError:  # it is not ready at this moment, as `status` says
        return
    known = [one for one in target.server.documents() if one.status == DONE] if target else []
    until_s = time.monotonic() + _LOADING_S
    while known and not release.api.retrieve(_PROOF, top_k=1, recorded=False).hits:
        if time.monotonic() > until_s:
            message = f"it runs, but Milvus is empty, and lightrag-server knows {len(known)} documents: they are lost"
            hint = Hint("load them into a new release: ", Command("down", "--purge"), ", then `up` and `ingest`")
            raise NeedsAttentionError(message, hint)
        notify(Event(f"Milvus finds none of {len(known)} documents yet", "waiting", passing=True))
        time.sleep(1.0)
