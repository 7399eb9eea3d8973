"""Observations of indexes: read from the replicas of lightrag-api, kept in the control collection. Network I/O."""

import msgspec

from lightragctl.client.scrape import read_metrics
from lightragctl.client.server_metrics import series
from lightragctl.core.errors import LightragctlError, NotRunningError
from lightragctl.core.runtime import ReleaseRuntime
from lightragctl.index.lifecycle import Counts, Observation
from lightragctl.vectors.control import control_name, control_row, when_loaded
from lightragctl.vectors.model import CONTENT_BYTES, CollectionMissingError, control_spec
from lightragctl.vectors.store import VectorStore

ROW = "lifecycle"
"""The id of the row in the control collection of the release's workspace."""
_SEARCHES = "lightragctl_searches"
_STARTED = "process_start_time_seconds"


def read_counts(runtime: ReleaseRuntime) -> Counts:
    """Searches by collection of each replica of lightrag-api; those that do not answer are left out."""
    try:
        addresses = runtime.endpoints("lightrag-api")
    except NotRunningError:
        return {}
    texts = {name: read_metrics(address) for name, address in addresses.items()}
    return {name: counts_in(text) for name, text in texts.items() if text is not None}


def counts_in(text: str) -> tuple[float, dict[str, float]]:
    """When a process started, and its searches by collection, from its metrics. Pure."""
    started, searches = 0.0, {}
    for name, labels, value in series(text):
        if name == _STARTED:
            started = value
        elif name == _SEARCHES and "collection" in labels:
            searches[labels["collection"]] = value
    return started, searches


def read_observations(store: VectorStore, workspace: str) -> dict[str, Observation]:
    """What was observed before; nothing at first."""
    control = control_name(workspace)
    try:
        rows = when_loaded(store, control, lambda: store.get(control, [ROW], ["value"]))
    except CollectionMissingError:
        return {}
    return msgspec.json.decode(str(rows[ROW]["value"]), type=dict[str, Observation]) if ROW in rows else {}


def write_observations(store: VectorStore, workspace: str, found: dict[str, Observation], now_s: float) -> None:
    """Keep observations for the next time. The epoch stays: no answer changes.

    Raises:
        LightragctlError: there are too many collections for one row.
    """
    size = len(msgspec.json.encode(found))
    if size > CONTENT_BYTES:
        raise LightragctlError(f"the observations of {len(found)} collections take {size} bytes, over {CONTENT_BYTES}")
    control = control_name(workspace)
    store.create(control_spec(control))
    store.upsert(control, [control_row(ROW, dict(found), int(now_s))])
