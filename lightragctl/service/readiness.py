"""Readiness of lightrag-api: a test search in its own workspace has succeeded. No sockets."""

import asyncio
import logging
from functools import partial
from typing import Any

import numpy as np

from lightragctl.core.errors import UnavailableError
from lightragctl.core.settings import ApiSettings
from lightragctl.service.background import Background
from lightragctl.service.threads import Threads
from lightragctl.service.workspaces import Workspaces
from lightragctl.vectors.model import Page, SearchBatch
from lightragctl.vectors.store import SearchStore, VectorStore

log = logging.getLogger(__name__)

_RETRY_S = 0.5


class Readiness:
    """`reason` is why the service is not ready; it stays empty after the first success."""

    def __init__(self, settings: ApiSettings, workspaces: Workspaces, store: VectorStore, search: SearchStore) -> None:
        self._settings = settings
        self._workspaces = workspaces
        self._store = store
        self._search = search
        self._threads = Threads("readiness", 1)
        self.reason = "starting"

    def close(self) -> None:
        """Start no further call to the store."""
        self._threads.close()

    async def wait(self) -> None:
        """Retry until the service's own workspace can be searched, or is found to be empty."""
        background = Background()
        while trouble := await background.attempt("readiness", self._prove_search):
            self.reason = trouble
            await asyncio.sleep(_RETRY_S)
        self.reason = ""
        log.info("ready: workspace %s", self._settings.workspace)

    async def _prove_search(self) -> None:
        """Check that the model responds, and that a search for a stored vector finds it."""
        await self._workspaces.check_probe()
        workspace = self._settings.workspace
        if (await self._workspaces.refresh(workspace)).physical is None:
            return  # nothing of this model yet; data of another model is reported to each request
        collection = await self._workspaces.readable(workspace)
        rows = await self._first_row(workspace, collection) if collection else []
        if not rows or not collection:
            return
        vector = np.asarray(rows[0]["vector"], dtype=np.float32)
        batch = SearchBatch(collection, vector[None], 10, self._workspaces.index_of(collection), ())
        hits = (await self._search.search(batch))[0]
        # Equal texts have equal vectors: then another row may rank first, with the same score.
        if hits and (rows[0]["id"] in {hit.id for hit in hits} or hits[0].score == hits[-1].score):
            return
        raise UnavailableError(f"a search in collection {collection} does not find row {rows[0]['id']} yet")

    async def _first_row(self, workspace: str, collection: str) -> list[dict[str, Any]]:
        read = partial(self._store.scan, collection, ["vector"], Page(limit=1))
        if not self._workspaces.is_ours(workspace, collection):
            return await self._threads.run(read)
        return await self._workspaces.loads.when_loaded(self._threads, collection, read)
