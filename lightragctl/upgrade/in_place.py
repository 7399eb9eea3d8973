"""Replaces the one pod of a vector store and measures for how long it does not answer. I/O through the site.

Its collections are flushed first, so that nothing depends on how the old server ends: Milvus 2.3 may take half an hour
after SIGTERM, or not end at all, and its pod is given no more than `STOP_S`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from lightragctl.core.errors import LightragctlError, WaitExpired
from lightragctl.core.objects import KubernetesObject, ref
from lightragctl.core.result import Event
from lightragctl.kube.labels import pod_selector
from lightragctl.kube.objects import is_terminating
from lightragctl.kube.scope import Scope
from lightragctl.observe.kstatus import Status
from lightragctl.observe.snapshot import read_causes, read_snapshot, resource_status
from lightragctl.observe.wait import NotReadyError
from lightragctl.operations.kind import Context
from lightragctl.upgrade.engine_checks import searchable
from lightragctl.upgrade.engine_site import Engine, EngineSite
from lightragctl.vectors.schema import CollectionSchema

STOP_S = 30.0
"""After SIGTERM. A flushed Milvus 2.3 ends in 10 to 11 s on an idle machine. To kill it sooner is not quicker: the next
start then waits up to a minute, until the old session has expired in etcd."""
_KILL_S = 1
_LOOK_S, _CAUSES_S = 0.2, 3.0
_LIMIT_S = 900.0
_MOST_PROBED = 20


def flush(site: EngineSite) -> list[str]:
    """Write all rows of the loaded collections to storage; returns the collections that answer searches."""
    with site.live(False) as engine:
        for name in engine.store.list_collections():
            if engine.store.is_loaded(name):
                engine.store.flush(name)
        return list(searchable(engine.store))[:_MOST_PROBED]


def replace(context: Context, site: EngineSite, component: str, change: Callable[[], None], key: str) -> None:
    """Apply a change, and wait until the component is ready with it and answers searches.

    Args:
        context: of the step.
        site: the release.
        component: with one pod.
        change: applies without waiting; may be called again.
        key: of the results: `KEY_began` is when it first gave no answer, `KEY_s` for how many seconds.

    Raises:
        NotReadyError: its new pod cannot become ready.
        WaitExpired: it is not ready after 15 minutes.
    """
    prober = Prober(site, _probed(context, site, key))
    prober.answers()
    change()
    begun, looked_s = context.now(), 0.0
    while True:
        answers, now = prober.answers(), context.now()
        began = context.record.results.get(f"{key}_began")
        if not answers and began is None:
            context.save_result(f"{key}_began", now.isoformat())
        snapshot = read_snapshot(site.site.scope)
        status = resource_status(snapshot, component)
        if answers and status.status is Status.CURRENT:
            break
        elapsed_s = (now - begun).total_seconds()
        if status.status is not Status.CURRENT and elapsed_s >= looked_s + _CAUSES_S:
            looked_s = elapsed_s
            _refuse_hopeless(site.site.scope, snapshot, component, elapsed_s)
        if elapsed_s > _LIMIT_S:
            raise WaitExpired(f"{component} does not answer searches after {_LIMIT_S:g} s: {status.message}", "")
        hurry(context, site, component)
        context.report(round(elapsed_s), None, "s", status.message or "waiting until every collection answers")
        site.pause(_LOOK_S)
    began = context.record.results.get(f"{key}_began")
    outage_s = (context.now() - datetime.fromisoformat(began)).total_seconds() if began else 0.0
    context.save_result(f"{key}_s", round(outage_s, 1))
    context.notify(Event(f"no answers for {outage_s:.1f} s", component))


def _probed(context: Context, site: EngineSite, key: str) -> Sequence[str]:
    """The collections to probe; they are flushed and noted before the first change."""
    noted = context.record.results.get(f"{key}_probed")
    if noted is not None:
        return list(noted)
    probed: list[str] = []
    try:
        probed = flush(site)
    except LightragctlError as error:  # a broken server is replaced too
        context.notify(Event(f"not flushed: {error.message}"))
        probed = [name for name, one in context.record.originals.get("state", {}).items() if "known" in one]
    context.save_result(f"{key}_probed", probed)
    return probed


class Prober:
    """Whether every one of these collections answers a search; their schemas are read once, as that takes longer."""

    def __init__(self, site: EngineSite, collections: Sequence[str]) -> None:
        self._site, self._collections = site, collections
        self._schemas: dict[str, CollectionSchema] = {}

    def answers(self) -> bool:
        """Whether all of them do, each within a second."""
        try:
            with self._site.live(True) as engine:
                searched = all(self._is_searched(engine, name) for name in self._collections)
                return searched and bool(self._collections or engine.store.server_version())
        except LightragctlError:
            return False

    def _is_searched(self, engine: Engine, name: str) -> bool:
        if name not in self._schemas:
            self._schemas[name] = engine.store.describe(name)
        schema = self._schemas[name]
        field = schema.field("vector")
        vector = np.ones((1, (field.dimension if field else None) or 1), np.float32)
        return not any(one.error for one in engine.ask(name, schema, vector, 1))


def hurry(context: Context, site: EngineSite, component: str) -> None:
    """End a pod that is still ending after `STOP_S`."""
    scope = site.site.guarded(context)
    for pod in scope.cluster.select("v1", "Pod", scope.namespace, pod_selector(scope.release, component)):
        if is_terminating(pod) and _ending_s(pod, context.now()) > STOP_S and not _is_hurried(pod):
            context.notify(Event(f"killed: it had not stopped {STOP_S:g} s after SIGTERM", str(ref(pod))))
            scope.cluster.delete(ref(pod), pod["metadata"]["uid"], grace_s=_KILL_S)


def _ending_s(pod: KubernetesObject, now: datetime) -> float:
    """Seconds since SIGTERM: the deletion timestamp is the end of the grace period."""
    metadata: Any = pod["metadata"]
    end = datetime.fromisoformat(str(metadata["deletionTimestamp"]))
    return (now - end).total_seconds() + float(metadata.get("deletionGracePeriodSeconds") or 0)


def _is_hurried(pod: KubernetesObject) -> bool:
    return int(pod["metadata"].get("deletionGracePeriodSeconds") or 0) <= _KILL_S


def _refuse_hopeless(scope: Scope, snapshot: Any, component: str, elapsed_s: float) -> None:
    causes = read_causes(scope, snapshot, component)
    lasting = next((one for one in causes if elapsed_s >= max(one.grace_s, _CAUSES_S)), None)
    if lasting is not None:
        raise NotReadyError(f"{component} does not become ready: {lasting}", lasting.hint)
